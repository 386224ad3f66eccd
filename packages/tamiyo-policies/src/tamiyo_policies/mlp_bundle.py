"""The feed-forward on-policy bundle, with the last frames for a memory if it is given any."""

from typing import final

from leyline_types import head_sizes
from tamiyo_policies.config import PolicyConfig
from tamiyo_policies.framed_policy import FramedPolicy
from tamiyo_policies.frames import FrameStack
from tamiyo_policies.mlp_network import MLPNetwork


@final
class MLPPolicy(FramedPolicy):
    """Registered as "mlp". `PolicyBundle` says what each member does.

    Args:
        config: its slots, telemetry, hidden width and frames give the network's sizes.
    """

    def __init__(self, config: PolicyConfig) -> None:
        frames = FrameStack(config.schema.dim, config.frame_stack)
        super().__init__(config, MLPNetwork(frames, config.hidden_dim, sum(head_sizes(config.slot_config))))
