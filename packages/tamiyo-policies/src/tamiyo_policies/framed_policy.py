"""The bundle of a network that sees stacked frames."""

from tamiyo_policies.config import PolicyConfig
from tamiyo_policies.framed_network import FramedNetwork
from tamiyo_policies.network_policy import NetworkPolicy


class FramedPolicy(NetworkPolicy):
    """Its hidden state is the frames that it remembers.

    Args:
        config: what the policy is made from.
        network: holds every parameter.
    """

    def __init__(self, config: PolicyConfig, network: FramedNetwork) -> None:
        super().__init__(config, network)
        self._frames = network.frames

    @property
    def is_recurrent(self) -> bool:
        """Whether it sees more than the present frame."""
        return self._frames.count > 1

    @property
    def _state_dims(self) -> tuple[int, int]:
        return self._frames.state_dim, 0
