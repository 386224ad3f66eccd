"""What a policy is apart from what it computes: its configuration, weights, place and compilation."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Self, final

import torch
from torch import Tensor, nn

from leyline_types import SlotConfig
from tamiyo_policies.config import CompileMode, PolicyConfig
from tamiyo_policies.errors import CompiledPolicyError, PolicyInputError
from tamiyo_policies.hidden import HiddenState
from tamiyo_policies.settled import settle


class PlacedPolicy:
    """The part of `PolicyBundle` that needs no inputs. `PolicyBundle` says what each member does.

    Args:
        config: what the policy is made from. Its device, dtype and compile mode are applied by `create_policy`.
        network: holds every parameter.
    """

    def __init__(self, config: PolicyConfig, network: nn.Module) -> None:
        self._config = config
        self._network = network
        self._compile_mode = CompileMode.OFF

    @property
    def config(self) -> PolicyConfig:
        """See `PolicyBundle`."""
        return replace(
            self._config, device=str(self.device), dtype=self.dtype, compile_mode=self._compile_mode
        )

    @property
    def slot_config(self) -> SlotConfig:
        """See `PolicyBundle`."""
        return self._config.slot_config

    @property
    def feature_dim(self) -> int:
        """See `PolicyBundle`."""
        return self._config.schema.dim

    @property
    def hidden_dim(self) -> int:
        """See `PolicyBundle`."""
        return self._config.hidden_dim

    @property
    def network(self) -> nn.Module:
        """See `PolicyBundle`."""
        return self._network

    @property
    def device(self) -> torch.device:
        """See `PolicyBundle`."""
        return next(self._network.parameters()).device

    @property
    def dtype(self) -> torch.dtype:
        """See `PolicyBundle`."""
        return next(self._network.parameters()).dtype

    @property
    def is_compiled(self) -> bool:
        """See `PolicyBundle`."""
        return self._compile_mode is not CompileMode.OFF

    @final
    def initial_hidden(self, batch_size: int) -> HiddenState:
        """See `PolicyBundle`."""
        with torch.inference_mode():
            return self._zero_state(batch_size)

    @final
    def state_dict(self) -> dict[str, Tensor]:
        """See `PolicyBundle`."""
        return self._network.state_dict()

    @final
    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        """See `PolicyBundle`."""
        self._check_weights(state)
        self._network.load_state_dict(state)

    @final
    def to(self, device: torch.device | str | None = None, dtype: torch.dtype | None = None) -> Self:
        """See `PolicyBundle`."""
        self._network.to(device=device, dtype=dtype)
        return self

    @final
    def compile(self, mode: CompileMode = CompileMode.DEFAULT) -> None:
        """See `PolicyBundle`."""
        mode = CompileMode(mode)
        if self.is_compiled:
            raise CompiledPolicyError(
                f"the policy is compiled already, with mode {self._compile_mode.value!r}, and stays so; "
                "create_policy makes another"
            )
        if mode is CompileMode.OFF:
            return
        self._on_compile(mode)
        self._compile_mode = mode
        settle(self._network)

    def _on_compile(self, mode: CompileMode) -> None:
        """Replace what acting and evaluating run by compiled functions; for policies that can be compiled."""
        raise CompiledPolicyError(f"policy {self.config.policy!r} has nothing to compile")

    @property
    def _state_dims(self) -> tuple[int, int]:
        """Widths of `h` and `c`."""
        return self.hidden_dim, self.hidden_dim

    def _zero_state(self, batch_size: int) -> HiddenState:
        h, c = (
            torch.zeros(batch_size, width, device=self.device, dtype=self.dtype) for width in self._state_dims
        )
        return HiddenState(h, c)

    def _check_weights(self, state: Mapping[str, Tensor]) -> None:
        """Hold the names and shapes of weights against the policy's own."""
        own = self.state_dict()
        faults = [f"{name} is missing" for name in own.keys() - state.keys()]
        faults += [f"{name} is unknown" for name in state.keys() - own.keys()]
        faults += [
            f"{name} {fault}"
            for name in own.keys() & state.keys()
            if (fault := _misfit(state[name], own[name]))
        ]
        if faults:
            raise PolicyInputError(f"these weights do not fit the policy: {'; '.join(sorted(faults))}")

    def _check_kind(self, config: PolicyConfig) -> None:
        """Hold the kind of another policy against this one: weights of one shape may stand for other things.

        Raises:
            PolicyInputError: another policy, other slots, frames or telemetry.
        """
        own = self._config
        for name in ("policy", "slot_config", "frame_stack", "telemetry"):
            if getattr(config, name) != getattr(own, name):
                raise PolicyInputError(
                    f"these weights do not fit the policy: their `{name}` is {getattr(config, name)!r}, not "
                    f"{getattr(own, name)!r}"
                )


def _misfit(given: object, own: Tensor) -> str | None:
    """What keeps a tensor from being copied into one of the policy's own, in words; None if nothing does."""
    if not isinstance(given, Tensor):
        return f"is of type {type(given).__name__}, not Tensor"
    if given.shape != own.shape:
        return f"has shape {tuple(given.shape)} but the policy's has {tuple(own.shape)}"
    if given.layout is not torch.strided or given.is_meta or not given.is_floating_point():
        return f"is {given.dtype} on {given.device}, {given.layout}, not a dense floating tensor with values"
    return None
