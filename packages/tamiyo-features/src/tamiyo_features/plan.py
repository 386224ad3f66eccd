"""The schema's table as the constants of one tensor program: what is gathered, divided, compressed, scaled, clamped.

Raw values stand in one vector: the base's, then slot after slot, then slot after slot of the telemetry; those of
`symlog` fields are compressed there. Feature f is

    clamp(min(rising_slope x + rising_offset, falling_slope x + falling_offset), low, high),  x = raw[source], NaN -> 0

which serves every encoding without a comparison (on a CPU those cost four times the arithmetic): a value has the same
line twice; a category c has the lines x - c + 1 and c - x + 1, whose minimum is 1 at c and at most 0 at every other
integer; a validity bit is clamped to [1, 1], so that all but NaN gives 1.
"""

from collections.abc import Callable
from typing import Final, NamedTuple, ParamSpec, TypeVar

import torch
from torch import Tensor

from leyline_types import (
    DIVISOR_COLUMNS,
    FIELDS,
    OPTIONAL_INTEGER_COLUMNS,
    Block,
    Encoding,
    FieldSpec,
    PlacedField,
    SlotConfig,
    observation_schema,
)

RAW_COLUMNS: Final = {
    block: {
        spec.source: 1 if spec.encoding is Encoding.ONE_HOT else spec.width
        # A dict keeps a key where it first stood, which is that of the value field, not that of its validity bit.
        for spec in sorted(FIELDS[block], key=lambda spec: (spec.of_slot, not spec.symlog))
    }
    for block in Block
}
"""The columns that each block's features are made from, with the values that each holds per environment or slot.

Columns to compress come first and those of the slot itself last, so that each step runs over one piece of memory.
"""


class Pieces(NamedTuple):
    """Raw values of a block, or of one slot in it, in this order: the lengths that its raw values are split into."""

    compressed: int
    plain: int
    of_slot: int


def _pieces(block: Block) -> Pieces:
    widths = RAW_COLUMNS[block]
    compressed = {spec.source for spec in FIELDS[block] if spec.symlog}
    of_slot = {spec.source for spec in FIELDS[block] if spec.of_slot}
    first, last = (sum(widths[source] for source in sources) for sources in (compressed, of_slot))
    return Pieces(first, sum(widths.values()) - first - last, last)


PIECES: Final = {block: _pieces(block) for block in Block}

_BASE_DIM, _SLOT_DIM, _TELEMETRY_DIM = (sum(spec.width for spec in FIELDS[block]) for block in Block)


def _divisor_ranks(block: Block) -> list[int]:
    """For each raw value of a block what divides it: 0 for nothing, else 1 + index in `DIVISOR_COLUMNS`."""
    divided = {spec.source: spec.relative_to for spec in FIELDS[block] if spec.relative_to is not None}
    ranks = []
    for source, width in RAW_COLUMNS[block].items():
        rank = 1 + DIVISOR_COLUMNS.index(divided[source]) if source in divided else 0
        ranks += [rank] * width
    return ranks


BASE_DIVISORS: Final = _divisor_ranks(Block.BASE)
SLOT_DIVISORS: Final = _divisor_ranks(Block.SLOT)


class Line(NamedTuple):
    """One feature's constants; see the head of this module."""

    rising_slope: float
    rising_offset: float
    falling_slope: float
    falling_offset: float
    low: float
    high: float


def line_of(spec: FieldSpec, index: int) -> Line:
    """The constants of a field's feature with this index in the field."""
    match spec.encoding:
        case Encoding.VALUE:
            return Line(spec.scale, 0.0, spec.scale, 0.0, spec.low, spec.high)
        case Encoding.ONE_HOT:
            code = float(spec.categories[index])
            return Line(1.0, 1.0 - code, -1.0, 1.0 + code, 0.0, 1.0)
        case Encoding.KNOWN:
            if spec.source in OPTIONAL_INTEGER_COLUMNS:
                # -1 stands for unknown: it gives 0, as NaN does, and 0 and more give 1.
                return Line(1.0, 1.0, 1.0, 1.0, 0.0, 1.0)
            return Line(1.0, 0.0, 1.0, 0.0, 1.0, 1.0)


class Program(NamedTuple):
    """The constants as tensors: indices into the raw vector and into the divisors, then one number per feature."""

    source: Tensor
    base_divisor: Tensor
    slot_divisor: Tensor
    rising_slope: Tensor
    rising_offset: Tensor
    falling_slope: Tensor
    falling_offset: Tensor
    low: Tensor
    high: Tensor
    zero: Tensor
    nan: Tensor


_ParametersT = ParamSpec("_ParametersT")
_MadeT = TypeVar("_MadeT")

_programs: dict[tuple[tuple[str, ...], bool, torch.dtype, torch.device], Program] = {}


def _constant_when_compiled(function: Callable[_ParametersT, _MadeT]) -> Callable[_ParametersT, _MadeT]:
    """`torch.compiler.assume_constant_result`, which sets this mark too, but imports the compiler, and so seconds."""
    function.__dict__["_dynamo_marked_constant"] = True
    return function


@_constant_when_compiled
def program_for(
    slot_ids: tuple[str, ...], telemetry: bool, dtype: torch.dtype, device: torch.device
) -> Program:
    """The program of a network with these slots, kept between calls; copied to the device by the first one only."""
    key = (slot_ids, telemetry, dtype, device)
    found = _programs.get(key)
    if found is None:
        found = _make_program(slot_ids, telemetry, dtype, device)
        if type(found.source) is Tensor:  # while a graph is traced there are only stand-ins, not to be kept
            _programs[key] = found
    return found


def _make_program(
    slot_ids: tuple[str, ...], telemetry: bool, dtype: torch.dtype, device: torch.device
) -> Program:
    schema = observation_schema(SlotConfig(slot_ids), telemetry=telemetry)
    starts = _raw_starts(slot_ids)
    placed = [(field, index) for field in schema.fields for index in range(field.spec.width)]

    def column(values: tuple[float, ...]) -> Tensor:
        return torch.tensor(values, dtype=dtype, device=device)

    lines = zip(*(line_of(field.spec, index) for field, index in placed), strict=True)
    # Ordinary tensors, for they are kept: not of inference mode, and not of a torch.func transform.
    with torch.inference_mode(False), torch._C._DisableFuncTorch():
        return Program(
            source=torch.tensor([_raw_index(field, index, starts) for field, index in placed], device=device),
            base_divisor=torch.tensor(BASE_DIVISORS, device=device),
            slot_divisor=torch.tensor(SLOT_DIVISORS, device=device),
            zero=column((0.0,)).squeeze(),
            nan=column((torch.nan,)).squeeze(),
            **{name: column(values) for name, values in zip(Line._fields, lines, strict=True)},
        )


def feature_dim(num_slots: int, *, telemetry: bool) -> int:
    """Features of a network with so many slots: the schema's `dim`, for code that is compiled."""
    return _BASE_DIM + num_slots * (_SLOT_DIM + (_TELEMETRY_DIM if telemetry else 0))


def raw_widths(num_slots: int, *, telemetry: bool) -> tuple[int, int, int]:
    """Raw values of the base, of one slot and of one slot's telemetry (0 without)."""
    base, slot, closer = (sum(RAW_COLUMNS[block].values()) for block in Block)
    return base, slot, closer if telemetry else 0


def _raw_starts(slot_ids: tuple[str, ...]) -> dict[tuple[Block, str | None], int]:
    base, slot, closer = raw_widths(len(slot_ids), telemetry=True)
    after_slots = base + slot * len(slot_ids)
    starts: dict[tuple[Block, str | None], int] = {(Block.BASE, None): 0}
    for index, slot_id in enumerate(slot_ids):
        starts[Block.SLOT, slot_id] = base + slot * index
        starts[Block.TELEMETRY, slot_id] = after_slots + closer * index
    return starts


def _raw_index(field: PlacedField, index: int, starts: dict[tuple[Block, str | None], int]) -> int:
    start = starts[field.spec.block, field.slot_id]
    for source, width in RAW_COLUMNS[field.spec.block].items():
        if source == field.spec.source:
            return start + (index if width > 1 else 0)
        start += width
    raise AssertionError(f"{field.spec.source} is no raw column")
