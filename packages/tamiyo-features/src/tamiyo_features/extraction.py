"""Columns to features: the schema's table as one batched tensor program."""

from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from leyline_types import (
    Block,
    Observation,
    SignalColumns,
    SlotColumns,
    SlotConfig,
    TelemetryColumns,
    observation_schema,
)
from tamiyo_features.errors import ObservationShapeError
from tamiyo_features.plan import PLANS

Columns = SignalColumns[Tensor] | SlotColumns[Tensor] | TelemetryColumns[Tensor]


def extract_features(
    observation: Observation[Tensor],
    slot_config: SlotConfig,
    *,
    telemetry: bool = False,
    dtype: torch.dtype = torch.float32,
    out: Tensor | None = None,
) -> Float[Tensor, "*batch feature"]:
    """The feature vector of every environment, as `observation_schema(slot_config, telemetry=telemetry)` lays it out.

    No loop over environments or slots; compiles with fullgraph and maps with `torch.func.vmap`. Unknown values are 0
    with their validity bit 0, and so are all features of an empty slot.

    Args:
        observation: signals [*batch], slots [*batch, slot] and, if asked for, telemetry [*batch, slot].
        slot_config: the slots, in the order of the slot axis.
        telemetry: whether the telemetry block is part of the vector.
        dtype: of the result; the arithmetic is float64 for float64 and float32 otherwise.
        out: [*batch, dim] of this dtype, written to and returned.

    Raises:
        ObservationShapeError: the slot axis has another length than `slot_config`, telemetry is asked for and not
            there, or `out` has another shape or dtype than the result.
    """
    signals, slots, closer = observation
    if slots.occupied.shape[-1:] != (len(slot_config),):
        raise ObservationShapeError(
            f"`observation.slots` has shape {tuple(slots.occupied.shape)}, not {len(slot_config)} slots last"
        )
    precise = torch.float64 if dtype is torch.float64 else torch.float32
    parts = [_encode(signals, signals, Block.BASE, precise)]
    parts.append(_encode(slots, signals, Block.SLOT, precise, slots.occupied).flatten(-2))
    if telemetry:
        if closer is None:
            raise ObservationShapeError("`telemetry` is asked for, but the observation carries none")
        parts.append(
            _encode(closer, signals, Block.TELEMETRY, precise, slots.occupied & closer.known).flatten(-2)
        )
    features = torch.cat(parts, dim=-1)
    if out is None:
        return features.to(dtype)
    expected = (*slots.occupied.shape[:-1], observation_schema(slot_config, telemetry=telemetry).dim)
    if tuple(out.shape) != expected or out.dtype != dtype:
        raise ObservationShapeError(
            f"`out` is {tuple(out.shape)} of {out.dtype}, features are {expected} of {dtype}"
        )
    return out.copy_(features)


class _Constants(NamedTuple):
    """A plan's numbers as tensors."""

    scale: Tensor
    low: Tensor
    high: Tensor
    divisor: Tensor
    codes: tuple[Tensor, ...]
    order: Tensor


def _encode(
    columns: Columns,
    signals: SignalColumns[Tensor],
    block: Block,
    dtype: torch.dtype,
    present: Tensor | None = None,
) -> Float[Tensor, "*place feature"]:
    """The features of one block; 0 where nothing is present."""
    plan = PLANS[block]
    constants = _constants(block, dtype, signals.epoch.device)
    raw = _gather(columns, plan.values, dtype)
    scaled = raw.nan_to_num(0.0) * constants.scale
    if plan.divisors:
        divisors = torch.stack([getattr(signals, name).to(dtype) for name in plan.divisors], dim=-1)
        shares = torch.cat([torch.ones_like(divisors[..., :1]), divisors.reciprocal()], dim=-1)
        shares = shares.index_select(-1, constants.divisor)
        scaled = scaled * (shares if block is Block.BASE else shares[..., None, :])
    parts = [scaled.clamp(constants.low, constants.high)]
    parts += [_is_known(getattr(columns, name), width).to(dtype) for name, width in plan.known]
    parts += [
        (getattr(columns, name)[..., None] == codes).to(dtype)
        for (name, _), codes in zip(plan.one_hots, constants.codes, strict=True)
    ]
    features = torch.cat(parts, dim=-1).index_select(-1, constants.order)
    return features if present is None else torch.where(present[..., None], features, 0.0)


def _gather(
    columns: Columns, names: tuple[tuple[str, int], ...], dtype: torch.dtype
) -> Float[Tensor, "*place value"]:
    found = [(getattr(columns, name).to(dtype), width) for name, width in names]
    return torch.cat([column if width > 1 else column[..., None] for column, width in found], dim=-1)


def _is_known(column: Tensor, width: int) -> Tensor:
    known = ~column.isnan() if column.is_floating_point() else column >= 0
    return known if width > 1 else known[..., None]


_cache: dict[tuple[Block, torch.dtype, torch.device], _Constants] = {}


def _constants(block: Block, dtype: torch.dtype, device: torch.device) -> _Constants:
    """The plan's tensors on a device: kept between calls, or part of the graph where one is being compiled."""
    if torch.compiler.is_compiling():
        return _make_constants(block, dtype, device)
    key = (block, dtype, device)
    if key not in _cache:
        with torch.inference_mode(False):  # an inference tensor could not be part of a later backward pass
            _cache[key] = _make_constants(block, dtype, device)
    return _cache[key]


def _make_constants(block: Block, dtype: torch.dtype, device: torch.device) -> _Constants:
    plan = PLANS[block]
    return _Constants(
        scale=torch.tensor(plan.scale, dtype=dtype, device=device),
        low=torch.tensor(plan.low, dtype=dtype, device=device),
        high=torch.tensor(plan.high, dtype=dtype, device=device),
        divisor=torch.tensor(plan.divisor, device=device),
        codes=tuple(torch.tensor(codes, device=device) for _, codes in plan.one_hots),
        order=torch.tensor(plan.order, device=device),
    )
