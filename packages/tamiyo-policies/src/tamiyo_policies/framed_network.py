"""A network whose memory is the frames themselves."""

from jaxtyping import Bool, Float
from torch import Tensor

from tamiyo_policies.frames import FrameStack
from tamiyo_policies.hidden import HiddenState
from tamiyo_policies.policy_network import PolicyNetwork


class FramedNetwork(PolicyNetwork):
    """Reads the stacked frames of `frames`, which subclasses set."""

    frames: FrameStack

    def advance(
        self, features: Float[Tensor, "batch feature"], hidden: HiddenState
    ) -> tuple[Float[Tensor, "batch input"], HiddenState]:
        """See `PolicyNetwork`."""
        return self.frames.step(features, hidden)

    def unroll(
        self,
        features: Float[Tensor, "batch time feature"],
        hidden: HiddenState,
        episode_starts: Bool[Tensor, "batch time"] | None = None,
    ) -> tuple[Float[Tensor, "batch time input"], HiddenState]:
        """See `PolicyNetwork`."""
        return self.frames.unroll(features, hidden, episode_starts)
