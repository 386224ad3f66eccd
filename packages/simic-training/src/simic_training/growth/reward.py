"""What a step of growth is worth: accuracy gained, minus rent for the parameters that were added."""

from typing import NamedTuple

from jaxtyping import Float
from torch import Tensor

from leyline_types import Observation

POINTS_PER_REWARD = 10.0
"""Validation accuracy (percentage points) that is worth a reward of 1."""


class RewardTerms(NamedTuple):
    """What the reward of one step is the sum of, [env] each."""

    accuracy: Float[Tensor, "*batch"]
    rent: Float[Tensor, "*batch"]

    @property
    def total(self) -> Float[Tensor, "*batch"]:
        """The reward."""
        return self.accuracy + self.rent


def growth_reward(
    before: Observation[Tensor], after: Observation[Tensor], *, rent_rate: float
) -> RewardTerms:
    """Reward for moving hosts from one state to the next.

    (accuracy' - accuracy) / 10 - rent_rate * (params' - params) / host_params

    Both terms telescope: over an episode only the first and the last state count, so that no action is paid for by
    itself (pay per action teaches to prune and germinate in turns).

    Args:
        before, after: the same hosts at the end of two epochs.
        rent_rate: reward lost per host's worth of added parameters.
    """
    old, new = before.signals, after.signals
    accuracy = (new.val_accuracy - old.val_accuracy) / POINTS_PER_REWARD
    rent = -rent_rate * (new.total_params - old.total_params) / new.host_params
    return RewardTerms(accuracy, rent)
