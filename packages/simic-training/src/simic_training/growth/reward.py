"""What a step of growth is worth: accuracy gained, minus rent for added parameters at the host's own price."""

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


def growth_reward(before: Observation[Tensor], after: Observation[Tensor]) -> RewardTerms:
    """Reward for moving hosts from one state to the next.

    (accuracy' - accuracy) / 10 - price * (params' - params) / host_params

    The price is each host's own, and part of what is observed (`SignalColumns.parameter_price`): at a price of 1 a host
    must gain ten points of accuracy for doubling its parameters to pay.

    Both terms telescope: over an episode only the first and the last state count, so that no action is paid for by
    itself (pay per action teaches to prune and germinate in turns).

    Args:
        before, after: the same hosts at the end of two epochs.
    """
    old, new = before.signals, after.signals
    accuracy = (new.val_accuracy - old.val_accuracy) / POINTS_PER_REWARD
    rent = -new.parameter_price * (new.total_params - old.total_params) / new.host_params
    return RewardTerms(accuracy, rent)
