"""What columns are held against before anything is made of them: their shapes, and that what must be finite is.

Encoding hides what is not finite: it clamps infinity into range, and takes NaN for unknown. So the columns are looked
at, not the features.
"""

from math import isfinite
from typing import Final

import torch
from torch import Tensor

from leyline_types import (
    DIVISOR_COLUMNS,
    HISTORY_LENGTH,
    OPTIONAL_COLUMNS,
    Block,
    Observation,
    SignalColumns,
    SlotColumns,
    SlotConfig,
    TelemetryColumns,
    find_not_finite,
)
from tamiyo_features.errors import NonFiniteValueError, ObservationShapeError

Columns = SignalColumns[Tensor] | SlotColumns[Tensor] | TelemetryColumns[Tensor]

_HISTORIES: Final = ("loss_history", "accuracy_history")

_FIELDS: Final = (SignalColumns._fields, SlotColumns._fields, TelemetryColumns._fields)

_IS_OPTIONAL: Final = [
    [name in OPTIONAL_COLUMNS[block] for name in fields] for block, fields in zip(Block, _FIELDS, strict=True)
]
"""Of each column of an observation, block by block: whether it may be unknown."""


def check_observation(observation: Observation[Tensor], slot_config: SlotConfig) -> None:
    """Check that all of an observation is finite but for what may be unknown, and that divisors are above 0.

    NaN is fine in the columns of `leyline_types.OPTIONAL_COLUMNS`, infinity nowhere; the columns of empty slots, and
    telemetry that a policy does not look at, are no exceptions. A batch is looked at in one pass, which waits for the
    device; only where something is wrong is every value asked.

    Args:
        observation: signals [*batch], slots and, if there is any, telemetry [*batch, slot].
        slot_config: the slots, in the order of the slot axis.

    Raises:
        NonFiniteValueError: names environment, slot, feature and value of the first that is wrong, and says how many
            others are.
        ObservationShapeError: something is wrong, and a column has another shape than the batch and `slot_config`
            imply, so that it cannot be said where.
    """
    if _seems_finite(observation) and _divides(observation):
        return
    check_shapes(observation, slot_config, telemetry=observation.telemetry is not None)
    found = list(find_not_finite(observation, slot_config))
    if found:
        more = f" (and {len(found) - 1} more)" if len(found) > 1 else ""
        raise NonFiniteValueError(f"{found[0]}{more}")


def _seems_finite(observation: Observation[Tensor]) -> bool:
    """Whether everything is finite that must be. False also where finite values are too large to be added up."""
    required: list[Tensor] = []
    optional: list[Tensor] = []
    for columns, is_optional in zip(observation, _IS_OPTIONAL, strict=True):
        if columns is not None:
            for column, may_be_unknown in zip(columns, is_optional, strict=True):
                if column.is_floating_point():
                    (optional if may_be_unknown else required).append(column.reshape(-1))
    # Sums are the cheapest look at all values: NaN and infinity survive in them. The second one leaves NaN out.
    sums = [torch.cat(required).sum()] if required else []
    sums += [torch.cat(optional).nansum()] if optional else []
    return isfinite(sum(sums))


def _divides(observation: Observation[Tensor]) -> bool:
    divisors = torch.stack([getattr(observation.signals, name) for name in DIVISOR_COLUMNS])
    return bool((divisors > 0).all())


def check_shapes(
    observation: Observation[Tensor],
    slot_config: SlotConfig,
    *,
    telemetry: bool,
    differentiable: bool = True,
) -> None:
    """Check every column against the batch, the slots and the device of the first column; reads no value.

    Raises:
        ObservationShapeError: of the first column that does not fit, that has a gradient and is not to be
            `differentiable`, or for telemetry that is asked for and not there.
    """
    signals, slots, closer = observation
    if telemetry and closer is None:
        raise ObservationShapeError("`telemetry` is asked for, but the observation carries none")
    batch, device = signals.epoch.shape, signals.epoch.device
    expected: dict[str, tuple[Columns, tuple[int, ...]]]
    expected = {"signals": (signals, batch), "slots": (slots, (*batch, len(slot_config)))}
    if telemetry and closer is not None:
        expected["telemetry"] = (closer, (*batch, len(slot_config)))
    for holder, (columns, due) in expected.items():
        for name, column in zip(columns._fields, columns, strict=True):
            shape = (*due, HISTORY_LENGTH) if name in _HISTORIES else due
            if column.shape != shape:
                raise ObservationShapeError(
                    f"`observation.{holder}.{name}` has shape {tuple(column.shape)}; with {len(slot_config)} slots and "
                    f"`signals.epoch` of shape {tuple(batch)} it must be {tuple(shape)}"
                )
            if column.device != device:
                raise ObservationShapeError(
                    f"`observation.{holder}.{name}` is on {column.device}, `signals.epoch` on {device}"
                )
            if not differentiable and column.requires_grad:
                raise ObservationShapeError(
                    f"`observation.{holder}.{name}` wants a gradient, which a workspace as `out` cannot give"
                )
