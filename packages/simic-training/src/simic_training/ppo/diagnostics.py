"""What an update's trajectory tells about the policy; nothing here is learnt from."""

import torch
from jaxtyping import Float
from torch import Tensor

from leyline_types import HEAD_NAMES
from simic_training.ppo.trajectory import Trajectory, Transitions, in_chunks
from tamiyo_masks import relevant_heads
from tamiyo_policies import PolicyBundle


def head_entropies(policy: PolicyBundle, trajectory: Trajectory) -> dict[str, float | None]:
    """How undecided the policy is at each head, 0 to 1: mean normalised entropy given the op that was taken.

    Only steps at which the head was free count (`Transitions.free_heads`): a head that does not matter or has one
    legal choice has entropy 0 whatever the policy, and would hide a collapse. The policy's own probabilities are
    taken, without exploration floors.

    Args:
        policy: with whatever weights it has now; one pass without gradients.
        trajectory: the steps to look at.

    Returns:
        By name of the head; None where it was never free.
    """
    chunks = in_chunks(trajectory)
    steps = chunks.steps
    with torch.no_grad():
        result = policy.forward(
            steps.features, steps.masks, chunks.hidden.for_training(), episode_starts=steps.starts
        )
        entropies = result.distribution.head_entropies(steps.actions.op)
    free = steps.free_heads
    counts = free.sum((0, 1)).tolist()
    totals = torch.where(free, entropies, 0.0).sum((0, 1), dtype=torch.float64).tolist()
    return {
        name: total / count if count else None
        for name, total, count in zip(HEAD_NAMES, totals, counts, strict=True)
    }


def action_counts(steps: Transitions) -> dict[str, list[int]]:
    """How often each choice of each head was taken, over the steps at which the head mattered for the op."""
    matters = relevant_heads(steps.actions.op).unbind(-1)
    return {
        name: torch.bincount(choices[used], minlength=size).tolist()
        for name, choices, used, size in zip(
            HEAD_NAMES, steps.actions, matters, steps.masks.head_sizes, strict=True
        )
    }


def explained_variance(prediction: Float[Tensor, "*any"], target: Float[Tensor, "*any"]) -> float | None:
    """1 - Var(target - prediction) / Var(target); None where the target does not vary."""
    variance = target.var(correction=0)
    return float(1 - (target - prediction).var(correction=0) / variance) if variance > 0 else None
