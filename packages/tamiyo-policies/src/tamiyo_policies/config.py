"""Everything that makes a policy what it is, as one frozen value."""

from dataclasses import dataclass, field
from enum import StrEnum

import torch

from leyline_types import ObservationSchema, SlotConfig, observation_schema


class CompileMode(StrEnum):
    """How a policy's functions are compiled: `OFF`, or the `mode` that torch.compile is given."""

    OFF = "off"
    DEFAULT = "default"
    REDUCE_OVERHEAD = "reduce-overhead"
    MAX_AUTOTUNE = "max-autotune"


@dataclass(frozen=True, slots=True)
class PolicyConfig:
    """What `create_policy` builds.

    Args:
        policy: registered name, see `list_policies`.
        slot_config: the slots that the policy sees and acts on.
        hidden_dim: width of every layer; 1 to 8192.
        frame_stack: steps that a feed-forward policy sees, the present one among them; 1 to 64.
        telemetry: whether the observation's telemetry block is part of the features.
        device: where the policy lives, as torch spells it: "cpu", "cuda", "cuda:1".
        dtype: of weights, features and hidden state: float32, float64, bfloat16 or float16. Logits, log-probabilities,
            entropies and values are float32 whatever it is.
        compile_mode: see `CompileMode`; its value as a string is taken too.
        seed: of the first weights; equal seeds give equal weights on every device.

    Raises:
        ValueError: a field outside its range.
    """

    policy: str = "lstm"
    slot_config: SlotConfig = field(default_factory=SlotConfig.default)
    hidden_dim: int = 128
    frame_stack: int = 1
    telemetry: bool = False
    device: str = "cpu"
    dtype: torch.dtype = torch.float32
    compile_mode: CompileMode = CompileMode.OFF
    seed: int = 0

    def __post_init__(self) -> None:
        if not 1 <= self.hidden_dim <= MAX_HIDDEN_DIM:
            raise ValueError(f"`hidden_dim` must lie in [1, {MAX_HIDDEN_DIM}], not {self.hidden_dim}")
        if not 1 <= self.frame_stack <= MAX_FRAME_STACK:
            raise ValueError(f"`frame_stack` must lie in [1, {MAX_FRAME_STACK}], not {self.frame_stack}")
        if self.dtype not in DTYPES:
            raise ValueError(f"`dtype` must be one of {', '.join(map(str, DTYPES))}, not {self.dtype}")
        if not 0 <= self.seed < 2**63:
            raise ValueError(f"`seed` must lie in [0, 2**63), not {self.seed}")
        modes = [mode.value for mode in CompileMode]
        if self.compile_mode not in modes:
            raise ValueError(f"`compile_mode` must be one of {', '.join(modes)}, not {self.compile_mode!r}")
        object.__setattr__(self, "compile_mode", CompileMode(self.compile_mode))
        try:
            torch.device(self.device)
        except RuntimeError as error:
            raise ValueError(f"`device` {self.device!r} is not a device: {error}") from None

    @property
    def schema(self) -> ObservationSchema:
        """The feature vector that the policy takes."""
        return observation_schema(self.slot_config, telemetry=self.telemetry)


DTYPES = (torch.float32, torch.float64, torch.bfloat16, torch.float16)
"""Those that policies compute in."""

MAX_HIDDEN_DIM, MAX_FRAME_STACK = 8192, 64
"""Bound what a damaged or hostile checkpoint can make a loader allocate."""
