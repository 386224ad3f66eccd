"""What a batch of episodes leaves behind for the update."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from leyline_types import FactoredActions
from simic_training.reward import RewardTerms
from tamiyo_masks import ActionMasks


class Trajectory(NamedTuple):
    """What was seen, done and earned: [env, ...] for a single step, [env, time, ...] for whole episodes.

    Whole episodes start from a fresh hidden state, and their last step is terminal.
    """

    features: Float[Tensor, "env *time feature"]
    masks: ActionMasks
    actions: FactoredActions[Tensor]
    log_prob: Float[Tensor, "env *time"]
    value: Float[Tensor, "env *time"]
    rewards: RewardTerms
    took_effect: Bool[Tensor, "env *time"]

    @property
    def free(self) -> Bool[Tensor, "env *time"]:
        """Steps at which more than one op was legal."""
        return self.masks.op.sum(-1) > 1

    @property
    def episode_return(self) -> Float[Tensor, " env"]:
        """Sum of the rewards of each episode."""
        return self.rewards.total.sum(-1)

    def select(self, envs: Tensor) -> "Trajectory":
        """The episodes with these indices."""
        return _each_tensor(lambda columns: columns[0][envs], [self])


def stack_steps(steps: Sequence[Trajectory]) -> Trajectory:
    """Episodes [env, time, ...] from their single steps [env, ...], in order of time.

    Raises:
        ValueError: there are no steps.
    """
    if not steps:
        raise ValueError("`steps` must hold at least one step")
    return _each_tensor(lambda columns: torch.stack(list(columns), dim=1), steps)


def _each_tensor(
    function: Callable[[Sequence[Tensor]], Tensor], trajectories: Sequence[Trajectory]
) -> Trajectory:
    """A trajectory whose tensors are `function` of the tensors at the same place in `trajectories`."""
    features, masks, actions, log_prob, value, rewards, took_effect = zip(*trajectories, strict=True)
    return Trajectory(
        features=function(features),
        masks=ActionMasks(*map(function, zip(*masks, strict=True))),
        actions=FactoredActions(*map(function, zip(*actions, strict=True))),
        log_prob=function(log_prob),
        value=function(value),
        rewards=RewardTerms(*map(function, zip(*rewards, strict=True))),
        took_effect=function(took_effect),
    )
