"""Rollouts: a policy acts in environments, and what the update needs is written down."""

from collections.abc import Mapping
from typing import NamedTuple

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from simic_training.ppo.environments import Environments, EnvStep, Seen
from simic_training.ppo.stopwatch import Stopwatch
from simic_training.ppo.trajectory import Trajectory, Transitions, stack_steps
from tamiyo_features import FrozenNormalizer, normalize
from tamiyo_policies import HiddenState, PolicyBundle


class Carry(NamedTuple):
    """Where a rollout left off and the next goes on: what is seen, the hidden state, whether an episode starts."""

    seen: Seen
    hidden: HiddenState
    starts: Bool[Tensor, " env"]


def first_carry(environments: Environments, policy: PolicyBundle) -> Carry:
    """Fresh episodes everywhere."""
    seen = environments.reset()
    num_envs = environments.num_envs
    starts = torch.ones(num_envs, dtype=torch.bool, device=seen.features.device)
    return Carry(seen, policy.initial_hidden(num_envs), starts)


def collect(
    environments: Environments,
    policy: PolicyBundle,
    carry: Carry,
    num_steps: int,
    *,
    generator: torch.Generator,
    chunk_length: int | None = None,
    floors: Mapping[str, float] | None = None,
    normalizer: FrozenNormalizer | None = None,
    stopwatch: Stopwatch | None = None,
) -> tuple[Trajectory, Carry]:
    """`num_steps` in each environment, actions sampled from the policy.

    Args:
        environments: advanced in place.
        policy: whose actions, log-probabilities and values are recorded.
        carry: from `first_carry` or the rollout before.
        num_steps: at least 1.
        generator: the source of the actions' randomness.
        chunk_length: steps that the update goes back in time, a divisor of `num_steps`; None for all of them.
        floors: exploration floors by head, see `PolicyBundle.get_action`.
        normalizer: of the features; frozen, so that every step and the update see the same numbers.
        stopwatch: counts the policy's time under "policy", that of `environments.step` under "environments".

    Raises:
        ValueError: `chunk_length` does not divide `num_steps`, or episodes were cut off and the environments gave no
            final states.
    """
    length = num_steps if chunk_length is None else chunk_length
    if num_steps < 1 or length < 1 or num_steps % length:
        raise ValueError(
            f"`chunk_length` must divide `num_steps`, which is at least 1: {length} and {num_steps}"
        )
    stopwatch = stopwatch or Stopwatch()
    seen, hidden, starts = carry
    steps: list[Transitions] = []
    chunk_starts: list[HiddenState] = []
    for index in range(num_steps):
        if index % length == 0:
            chunk_starts.append(hidden)
        with stopwatch.time("policy"):
            features = _as_seen(seen.features, normalizer)
            result = policy.get_action(features, seen.masks, hidden, generator=generator, floors=floors)
        with stopwatch.time("environments"):
            outcome = environments.step(result.actions)
        with stopwatch.time("policy"):
            cut_value = _cut_value(policy, outcome, result.hidden, normalizer)
        steps.append(
            Transitions(
                observed=seen.features,
                features=features,
                masks=seen.masks,
                actions=result.actions,
                log_prob=result.log_prob,
                head_log_probs=result.head_log_probs,
                value=result.value,
                reward=outcome.reward,
                starts=starts,
                terminated=outcome.terminated,
                truncated=outcome.truncated,
                cut_value=cut_value,
            )
        )
        seen, starts = outcome.seen, outcome.terminated | outcome.truncated
        hidden = result.hidden.reset(starts)
    with stopwatch.time("policy"):
        last_value = policy.get_value(_as_seen(seen.features, normalizer), hidden, seen.masks)
    at_starts = HiddenState(*(torch.stack(each, dim=1) for each in zip(*chunk_starts, strict=True)))
    last_value = last_value.clone()  # like all else, no inference tensor
    trajectory = Trajectory(stack_steps(steps), at_starts, last_value)
    return trajectory, Carry(seen, hidden, starts)


def _cut_value(
    policy: PolicyBundle, outcome: EnvStep, hidden: HiddenState, normalizer: FrozenNormalizer | None
) -> Float[Tensor, " env"]:
    """Values of the states in which episodes were cut off, seen with the hidden state that led there; 0 elsewhere."""
    cut_off = outcome.truncated & ~outcome.terminated
    if not cut_off.any():
        return torch.zeros(cut_off.shape, device=cut_off.device)
    if outcome.final is None:
        raise ValueError("episodes were cut off, but the environments gave no final states")
    features = _as_seen(outcome.final.features, normalizer)
    return torch.where(cut_off, policy.get_value(features, hidden, outcome.final.masks), 0.0)


def _as_seen(features: Tensor, normalizer: FrozenNormalizer | None) -> Tensor:
    return features if normalizer is None else normalize(normalizer, features)
