"""The recurrent on-policy bundle: an LSTM that chooses the op first and the slot given the op."""

from collections.abc import Callable
from typing import final

from jaxtyping import Bool, Float
from torch import Tensor

from leyline_types import head_sizes
from tamiyo_policies.config import CompileMode, PolicyConfig
from tamiyo_policies.hidden import HiddenState
from tamiyo_policies.lstm_network import LSTMNetwork
from tamiyo_policies.network_policy import NetworkPolicy


@final
class LSTMPolicy(NetworkPolicy):
    """Registered as "lstm". `PolicyBundle` says what each member does.

    Evaluating is three functions: the encoder, the fused LSTM kernel, and everything after it. Compiling leaves the
    kernel out: that is faster than compiling around it. Gradient checkpointing leaves it out too, as the kernel keeps
    what it needs.

    Args:
        config: its slots, telemetry and hidden width give the network's sizes.

    Raises:
        ValueError: the configuration stacks frames.
    """

    def __init__(self, config: PolicyConfig) -> None:
        if config.frame_stack != 1:
            raise ValueError(
                f"policy 'lstm' remembers by itself: `frame_stack` must be 1, not {config.frame_stack}"
            )
        network = LSTMNetwork(config.schema.dim, config.hidden_dim, sum(head_sizes(config.slot_config)))
        super().__init__(config, network)
        self._lstm = network
        self._encode: Callable[[Tensor], Tensor] = network.encode

    @property
    def is_recurrent(self) -> bool:
        """True."""
        return True

    def _on_compile(self, mode: CompileMode) -> None:
        super()._on_compile(mode)
        self._encode = self._compiled(self._encode, mode)

    def _unroll(
        self,
        features: Float[Tensor, "batch time feature"],
        hidden: HiddenState,
        episode_starts: Bool[Tensor, "batch time"] | None,
    ) -> tuple[Float[Tensor, "batch time core"], HiddenState]:
        encoded = self._save(self._encode, self._rows(features)).reshape(*features.shape[:2], -1)
        return self._lstm.recur(encoded, hidden, episode_starts)
