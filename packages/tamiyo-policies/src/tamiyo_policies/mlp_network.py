"""The feed-forward actor-critic: two layers over the last frames."""

from typing import final

from jaxtyping import Float
from torch import Tensor

from tamiyo_masks import ActionMasks
from tamiyo_policies.framed_network import FramedNetwork
from tamiyo_policies.frames import FrameStack
from tamiyo_policies.layers import ActorCriticLayers
from tamiyo_policies.policy_network import Outputs


@final
class MLPNetwork(ActorCriticLayers, FramedNetwork):
    """The layers over stacked frames.

    Args:
        frames: what it sees.
        hidden_dim: width of every layer.
        num_choices: choices of all heads together.
    """

    def __init__(self, frames: FrameStack, hidden_dim: int, num_choices: int) -> None:
        super().__init__(frames.input_dim, hidden_dim, num_choices)
        self.frames = frames

    def read(self, core: Float[Tensor, "*batch input"], masks: ActionMasks | None) -> Outputs:
        """See `PolicyNetwork`. The masks make no difference."""
        return self.decode(self.encode(core))
