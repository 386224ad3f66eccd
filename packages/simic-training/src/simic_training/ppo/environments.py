"""What rollouts are collected from: any environments that show features and masks and take factored actions."""

from typing import NamedTuple, Protocol, runtime_checkable

from jaxtyping import Bool, Float
from torch import Tensor

from leyline_types import FactoredActions
from tamiyo_masks import ActionMasks


class Seen(NamedTuple):
    """What a policy is shown, [env, ...]."""

    features: Float[Tensor, "env feature"]
    masks: ActionMasks


class EnvStep(NamedTuple):
    """What a step led to, [env, ...].

    Args:
        seen: the next state; the first one of the next episode where one ended.
        reward: for the step.
        terminated: whether the episode ended for good; truncated: whether it was cut off. Where both are True it
            ended for good.
        final: the last states of episodes that were cut off, in their rows, whose other rows are not looked at; None
            where none was.
    """

    seen: Seen
    reward: Float[Tensor, " env"]
    terminated: Bool[Tensor, " env"]
    truncated: Bool[Tensor, " env"]
    final: Seen | None = None


@runtime_checkable
class Environments(Protocol):
    """Environments side by side, each of which starts over by itself when its episode ends.

    What they return is kept: later steps must write to new tensors.
    """

    @property
    def num_envs(self) -> int:
        """How many there are."""
        ...

    def reset(self) -> Seen:
        """Start an episode in each."""
        ...

    def step(self, actions: FactoredActions[Tensor]) -> EnvStep:
        """Take an action in each, [env] indices in every head."""
        ...
