"""Columns to features: the schema's table as one batched tensor program."""

import torch
from jaxtyping import Float
from torch import Tensor

from leyline_types import DIVISOR_COLUMNS, Block, Observation, SlotConfig
from tamiyo_features.column_checks import Columns, check_shapes
from tamiyo_features.errors import ObservationShapeError
from tamiyo_features.plan import PIECES, RAW_COLUMNS, Program, feature_dim, program_for
from tamiyo_features.workspace import FeatureWorkspace, Scratch

_NO_SCRATCH = Scratch()
_HALVES = (torch.float16, torch.bfloat16)
_DTYPES = (torch.float64, torch.float32, *_HALVES)


def extract_features(
    observation: Observation[Tensor],
    slot_config: SlotConfig,
    *,
    telemetry: bool = False,
    dtype: torch.dtype = torch.float32,
    out: Tensor | FeatureWorkspace | None = None,
) -> Float[Tensor, "*batch feature"]:
    """The feature vector of every environment, as `observation_schema(slot_config, telemetry=telemetry)` lays it out.

    No loop over environments or slots, no synchronisation with a device. Compiles with fullgraph; with `dynamic=True`
    once for all numbers of environments above 1, otherwise once more when the number first changes. Maps with
    `torch.func.vmap`, where an observation without telemetry needs `in_dims=(Observation._make((0, 0, None)),)`.
    Unknown values are 0 with their validity bit 0, and so are all features of an empty slot but for the diagnostics of
    the layer before it (`FieldSpec.of_slot`). Gradients are those of the formulas, but 0 for a `symlog` field at 0.

    Args:
        observation: signals [*batch], slots [*batch, slot] and, if asked for, telemetry [*batch, slot]. Values are not
            checked here, which would wait for the device: NaN stands for unknown and only in columns that may be
            unknown, and the columns that others are divided by (max_epochs, max_steps, host_params, seed_capacity,
            baseline_loss) are above 0. `pack_observations` and the hosts of kasmina-hosts see to that;
            `check_observation` finds out.
        slot_config: the slots, in the order of the slot axis.
        telemetry: whether the telemetry block is part of the vector.
        dtype: of the result, float64, float32, float16 or bfloat16; the arithmetic is float64 for float64 and float32
            otherwise.
        out: [*batch, dim] of this dtype to write to, or a workspace, which also serves for all intermediates.

    Returns:
        [*batch, dim]: `out` or `out.features` where given.

    Raises:
        ObservationShapeError: a column has another shape than the batch and `slot_config` imply or is on another device
            than the first one, telemetry is asked for and not there, `dtype` is none of the four, `out` has another
            shape, dtype or device than the result, or a workspace is given and a gradient wanted.
    """
    if dtype not in _DTYPES:
        raise ObservationShapeError(f"`dtype` is {dtype}, it must be one of {', '.join(map(str, _DTYPES))}")
    check_shapes(
        observation,
        slot_config,
        telemetry=telemetry,
        differentiable=not isinstance(out, FeatureWorkspace),
    )
    batch, device = observation.signals.epoch.shape, observation.signals.epoch.device
    result = out.features if isinstance(out, FeatureWorkspace) else out
    if result is not None:
        _check_result(result, batch, slot_config, telemetry, dtype, device)
    compiling = torch.compiler.is_compiling()  # the compiler plans memory by itself
    scratch = out.scratch if isinstance(out, FeatureWorkspace) and not compiling else _NO_SCRATCH
    precise = torch.float64 if dtype is torch.float64 else torch.float32
    program = program_for(slot_config.slot_ids, telemetry, precise, device)
    features = _evaluate(_gather(observation, telemetry, precise, program, scratch), program, scratch)
    if result is None:
        return features.to(dtype)
    return result if features is result else result.copy_(features)


def _gather(
    observation: Observation[Tensor], telemetry: bool, dtype: torch.dtype, program: Program, scratch: Scratch
) -> Float[Tensor, "*batch raw"]:
    """All raw values side by side, divided by what they are relative to, compressed; NaN of slots without a seed."""
    signals, slots, closer = observation
    ones = torch.ones_like(signals.epoch) if scratch.ones is None else scratch.ones
    divisors = _stack([ones, *(getattr(signals, name) for name in DIVISOR_COLUMNS)], dtype, scratch.divisors)
    base = _stack(_columns(signals, Block.BASE), dtype, scratch.base)
    by = torch.index_select(divisors, 0, program.base_divisor, out=scratch.base_divisors)
    base = _compress(torch.div(base, by, out=scratch.base), Block.BASE, None, scratch.base_sizes)
    seeds = _stack(_columns(slots, Block.SLOT), dtype, scratch.slots)
    by = torch.index_select(divisors, 0, program.slot_divisor, out=scratch.slot_divisors)
    seeds = torch.div(seeds, by.unsqueeze(-1), out=scratch.slots)
    gone = torch.where(slots.occupied, program.zero, program.nan, out=scratch.gone)
    seeds = _compress(seeds, Block.SLOT, gone, scratch.slot_sizes)
    parts = [base.movedim(0, -1), _rows(seeds, scratch.slot_rows)]
    if telemetry and closer is not None:
        looks = _stack(_columns(closer, Block.TELEMETRY), dtype, scratch.closer)
        unseen = torch.where(closer.known, gone, program.nan, out=scratch.closer_gone)
        looks = _compress(looks, Block.TELEMETRY, unseen, scratch.closer_sizes)
        parts.append(_rows(looks, scratch.closer_rows))
    return torch.cat(parts, dim=-1, out=scratch.raw)


def _compress(
    raw: Float[Tensor, "column *place"],
    block: Block,
    gone: Float[Tensor, "*place"] | None,
    sizes: Float[Tensor, "compressed *place"] | None,
) -> Float[Tensor, "column *place"]:
    """symlog(x) = sign(x) ln(1 + |x|) of the block's first columns, plus `gone` for all but those of the slot itself.

    Where `sizes` is given it serves for what lies between, and `raw` is overwritten.
    """
    pieces = raw.split(list(PIECES[block]))
    into = (None, None) if sizes is None else pieces[:2]
    compressed = torch.log1p(torch.abs(pieces[0], out=sizes), out=sizes)
    compressed = torch.copysign(compressed, pieces[0], out=into[0])
    plain = pieces[1]
    if gone is not None:
        compressed = torch.add(compressed, gone, out=into[0])
        plain = torch.add(plain, gone, out=into[1])
    return torch.cat([compressed, plain, pieces[2]]) if sizes is None else raw


def _evaluate(
    raw: Float[Tensor, "*batch raw"], program: Program, scratch: Scratch
) -> Float[Tensor, "*batch feature"]:
    """Every feature from its raw value; the formula is at the head of `plan`."""
    x = torch.index_select(raw, -1, program.source, out=scratch.rising)
    falling = torch.addcmul(program.falling_offset, x, program.falling_slope, out=scratch.falling)
    rising = torch.addcmul(program.rising_offset, x, program.rising_slope, out=scratch.rising)
    lower = torch.minimum(rising, falling, out=scratch.rising)
    return torch.clamp(lower, program.low, program.high, out=scratch.rising).nan_to_num_(0.0)


def _columns(columns: Columns, block: Block) -> list[Tensor]:
    """The block's raw columns, each [*place]; a history is one column per point."""
    found: list[Tensor] = []
    for name, width in RAW_COLUMNS[block].items():
        column = getattr(columns, name)
        found += column.unbind(-1) if width > 1 else [column]
    return found


def _stack(columns: list[Tensor], dtype: torch.dtype, out: Tensor | None) -> Float[Tensor, "column *place"]:
    """The columns one after another in memory, whatever their dtypes."""
    if out is not None:
        for row, column in zip(out.unbind(0), columns, strict=True):
            row.copy_(column)
        return out
    # Stacking promotes: integers would become float32 beside float32 columns, and half beside half ones.
    if dtype is torch.float64 or any(column.dtype in _HALVES for column in columns):
        columns = [column.to(dtype) for column in columns]
    return torch.stack(columns).to(dtype)


def _rows(stacked: Float[Tensor, "column *batch slot"], out: Tensor | None) -> Float[Tensor, "*batch raw"]:
    """Slot after slot, each with all its columns."""
    rows = stacked.movedim(0, -1)
    return (rows if out is None else out.copy_(rows)).flatten(-2)


def _check_result(
    result: Tensor,
    batch: torch.Size,
    slot_config: SlotConfig,
    telemetry: bool,
    dtype: torch.dtype,
    device: torch.device,
) -> None:
    shape = (*batch, feature_dim(len(slot_config), telemetry=telemetry))
    if result.shape != shape or result.dtype != dtype or result.device != device:
        raise ObservationShapeError(
            f"`out` is {tuple(result.shape)} of {result.dtype} on {result.device}, "
            f"features are {tuple(shape)} of {dtype} on {device}"
        )
