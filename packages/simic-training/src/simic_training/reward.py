"""What a step of growth is worth: accuracy gained, minus rent for the parameters that were added."""

from typing import NamedTuple

from jaxtyping import Float, Int
from torch import Tensor

POINTS_PER_REWARD = 10.0
"""Validation accuracy (percentage points) that is worth a reward of 1."""


class RewardTerms(NamedTuple):
    """The reward of one step, [env] each: `total` is the sum of the others."""

    accuracy: Float[Tensor, "*batch"]
    rent: Float[Tensor, "*batch"]
    total: Float[Tensor, "*batch"]


class HostState(NamedTuple):
    """The part of an observation that is paid for, [env] each: percent, parameters, parameters of the bare host."""

    val_accuracy: Float[Tensor, "*batch"]
    total_params: Int[Tensor, "*batch"]
    host_params: Int[Tensor, "*batch"]


def growth_reward(before: HostState, after: HostState, *, rent_rate: float) -> RewardTerms:
    """Reward for moving a host from one state to the next.

    total = (accuracy' - accuracy) / 10 - rent_rate * (params' - params) / host_params

    Both terms telescope: over an episode only the first and the last state count, so that no action is paid for by
    itself (pay per action teaches to prune and germinate in turns).

    Args:
        before, after: the same hosts at the end of two epochs.
        rent_rate: reward lost per host's worth of added parameters.
    """
    accuracy = (after.val_accuracy - before.val_accuracy) / POINTS_PER_REWARD
    rent = -rent_rate * (after.total_params - before.total_params) / after.host_params
    return RewardTerms(accuracy, rent, accuracy + rent)
