"""Memory that feature extraction reuses from step to step."""

from collections.abc import Sequence
from typing import NamedTuple, final

import torch
from torch import Tensor

from leyline_types import DIVISOR_COLUMNS, Block, SlotConfig, observation_schema
from tamiyo_features.errors import ObservationShapeError
from tamiyo_features.plan import PIECES, raw_widths


class Scratch(NamedTuple):
    """Where each step of the program writes to; None lets it allocate."""

    ones: Tensor | None = None
    divisors: Tensor | None = None
    base: Tensor | None = None
    base_divisors: Tensor | None = None
    base_sizes: Tensor | None = None
    slots: Tensor | None = None
    slot_divisors: Tensor | None = None
    slot_sizes: Tensor | None = None
    slot_rows: Tensor | None = None
    closer: Tensor | None = None
    closer_sizes: Tensor | None = None
    closer_rows: Tensor | None = None
    gone: Tensor | None = None
    closer_gone: Tensor | None = None
    raw: Tensor | None = None
    rising: Tensor | None = None
    falling: Tensor | None = None


@final
class FeatureWorkspace:
    """The result and all intermediates of `extract_features(..., out=workspace)`, allocated once.

    With it a step allocates no tensor memory. Each call overwrites the result of the one before. Not for autograd,
    `torch.func.vmap` or several threads at once.

    Args:
        slot_config: the slots.
        batch_shape: the leading shape of the observations, for example (64,); () for a single environment.
        telemetry: whether the telemetry block is part of the vector.
        dtype: of the features.
        device: of the observations.

    Attributes:
        features: [*batch_shape, dim], the result.

    Raises:
        ObservationShapeError: `batch_shape` is a number.
    """

    def __init__(
        self,
        slot_config: SlotConfig,
        batch_shape: Sequence[int],
        *,
        telemetry: bool = False,
        dtype: torch.dtype = torch.float32,
        device: torch.device | str = "cpu",
    ) -> None:
        if isinstance(batch_shape, int):
            raise ObservationShapeError(
                f"`batch_shape` is {batch_shape}, it must be a sequence such as ({batch_shape},)"
            )
        precise = torch.float64 if dtype is torch.float64 else torch.float32
        batch, num_slots = tuple(batch_shape), len(slot_config)
        base, slot, closer = raw_widths(num_slots, telemetry=telemetry)
        dim = observation_schema(slot_config, telemetry=telemetry).dim

        def empty(*shape: int) -> Tensor:
            # An inference tensor could not be written to outside of that mode.
            with torch.inference_mode(False):
                return torch.empty(shape, dtype=precise, device=device)

        self.scratch = Scratch(
            ones=empty(*batch).fill_(1.0),
            divisors=empty(1 + len(DIVISOR_COLUMNS), *batch),
            base=empty(base, *batch),
            base_divisors=empty(base, *batch),
            base_sizes=empty(PIECES[Block.BASE].compressed, *batch),
            slots=empty(slot, *batch, num_slots),
            slot_divisors=empty(slot, *batch),
            slot_sizes=empty(PIECES[Block.SLOT].compressed, *batch, num_slots),
            slot_rows=empty(*batch, num_slots, slot),
            closer=empty(closer, *batch, num_slots),
            closer_sizes=empty(PIECES[Block.TELEMETRY].compressed if telemetry else 0, *batch, num_slots),
            closer_rows=empty(*batch, num_slots, closer),
            gone=empty(*batch, num_slots),
            closer_gone=empty(*batch, num_slots),
            raw=empty(*batch, base + num_slots * (slot + closer)),
            rising=empty(*batch, dim),
            falling=empty(*batch, dim),
        )
        assert self.scratch.rising is not None
        with torch.inference_mode(False):
            self.features = self.scratch.rising if dtype is precise else self.scratch.rising.to(dtype)
