"""The off-policy bundle: twin critics of factored actions, and a policy that follows from them."""

from collections.abc import Callable
from typing import final

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from leyline_types import head_sizes
from tamiyo_masks import ActionMasks
from tamiyo_policies.config import CompileMode, PolicyConfig
from tamiyo_policies.framed_policy import FramedPolicy
from tamiyo_policies.frames import FrameStack
from tamiyo_policies.hidden import HiddenState
from tamiyo_policies.network_policy import as_sequence
from tamiyo_policies.q_network import QNetwork

MIN_TEMPERATURE, MAX_TEMPERATURE = 1e-4, 1e4
"""What float16 has normal numbers for."""


@final
class MLPQPolicy(FramedPolicy):
    """Registered as "mlp-q". `PolicyBundle` says what each member does.

    Acts by the mean of its critics: sampled from the softmax of Q / temperature over all legal actions, or, when
    deterministic, the legal action of the greatest Q. Values are those of that softmax, its entropy counted in, so that
    `get_value` needs the masks.

    Args:
        config: its slots, telemetry, hidden width and frames give the network's sizes.
    """

    def __init__(self, config: PolicyConfig) -> None:
        sizes = head_sizes(config.slot_config)
        frames = FrameStack(config.schema.dim, config.frame_stack)
        network = QNetwork(frames, config.hidden_dim, sum(sizes), sizes[-1])
        super().__init__(config, network)
        self._critics = network
        self._values: Callable[[Tensor], Tensor] = network.q_values

    @property
    def supports_off_policy(self) -> bool:
        """True."""
        return True

    @property
    def temperature(self) -> float:
        """Of the softmax, in units of return: 1e-4 to 1e4, 1 at first.

        Part of the weights: rounded to their dtype, and saved, loaded and synced with them.
        """
        return float(self._critics.temperature)

    @temperature.setter
    def temperature(self, value: float) -> None:
        if not MIN_TEMPERATURE <= value <= MAX_TEMPERATURE:
            raise ValueError(f"`temperature` must lie in [{MIN_TEMPERATURE}, {MAX_TEMPERATURE}], not {value}")
        with torch.no_grad():
            self._critics.temperature.fill_(value)

    def _on_compile(self, mode: CompileMode) -> None:
        super()._on_compile(mode)
        self._values = self._compiled(self._values, mode)

    def _on_q_values(
        self,
        features: Float[Tensor, "*batch feature"],
        masks: ActionMasks,
        hidden: HiddenState,
        episode_starts: Bool[Tensor, "*batch"] | None,
    ) -> Float[Tensor, "critic *batch choices"]:
        features, episode_starts = as_sequence(features, episode_starts)
        core, _ = self._unroll(features, hidden, episode_starts)
        values = self._save(self._values, self._rows(core))
        legal = masks.flat()
        return values.reshape(values.shape[0], *legal.shape).masked_fill(~legal, -torch.inf)
