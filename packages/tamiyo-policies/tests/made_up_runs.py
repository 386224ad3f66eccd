"""Policies that act, and that are evaluated and trained, on made-up inputs: the same for equal sizes."""

from collections.abc import Callable, Mapping

import torch
from torch import Tensor

from leyline_types import FactoredActions
from tamiyo_masks import ActionMasks
from tamiyo_policies import ActionResult, PolicyBundle

MakeMasks = Callable[..., ActionMasks]


def act(
    policy: PolicyBundle,
    make_masks: MakeMasks,
    batch: int,
    *,
    deterministic: bool = False,
    floors: Mapping[str, float] | None = None,
) -> ActionResult:
    """One step."""
    generator = torch.Generator().manual_seed(batch)
    features = torch.randn(batch, policy.feature_dim, generator=generator)
    masks = make_masks(batch, generator=generator, slots=len(policy.slot_config))
    hidden = policy.initial_hidden(batch)
    return policy.get_action(
        features, masks, hidden, deterministic=deterministic, generator=generator, floors=floors
    )


def evaluate(
    policy: PolicyBundle,
    make_masks: MakeMasks,
    batch: int,
    time: int,
    *,
    resets: bool = False,
    floors: Mapping[str, float] | None = None,
) -> list[Tensor]:
    """Results and gradients; with resets, of sequences in which episodes start."""
    generator = torch.Generator().manual_seed(batch)
    features = torch.randn(batch, time, policy.feature_dim, generator=generator)
    masks = make_masks(batch, time, generator=generator, slots=len(policy.slot_config))
    starts = torch.rand(batch, time, generator=generator) < 0.3 if resets else None
    with torch.no_grad():
        actions: FactoredActions[Tensor] = policy.forward(features, masks).distribution.mode()
    result = policy.evaluate_actions(features, actions, masks, episode_starts=starts, floors=floors)
    policy.network.zero_grad()
    torch.autograd.backward(result.log_prob.sum() + result.value.sum() + result.entropy.sum())
    gradients = [parameter.grad for parameter in policy.network.parameters() if parameter.grad is not None]
    return [result.log_prob, result.head_log_probs, result.value, result.entropy, *result.hidden, *gradients]
