"""Objects to columns: the one place where Python objects become tensors."""

from collections.abc import Mapping, Sequence
from typing import Final

import torch
from torch import Tensor

from leyline_types import (
    BlueprintAction,
    Observation,
    SeedStateReport,
    SignalColumns,
    SlotColumns,
    SlotConfig,
    TaskConfig,
    TelemetryColumns,
    TrainingSignals,
)
from tamiyo_features.checking import find_problems
from tamiyo_features.errors import InvalidObservationError, ObservationError, ObservationShapeError
from tamiyo_features.reading import BrokenRuleError, read_columns
from tamiyo_features.sources import SIGNAL_SOURCES, SLOT_SOURCES, TELEMETRY_SOURCES, Environment

SlotReports = Mapping[str, SeedStateReport | None]

_BLUEPRINTS: Final = {blueprint.blueprint_id: int(blueprint) for blueprint in BlueprintAction}

_SIGNS_OF_A_PROBLEM: Final = (
    BrokenRuleError,
    ObservationError,
    AttributeError,
    KeyError,
    OverflowError,
    TypeError,
    ValueError,
)
"""What reading in bulk runs into where an object, a value or a mapping is not what it should be."""


def pack_observations(
    signals: Sequence[TrainingSignals],
    slot_reports: Sequence[SlotReports],
    slot_config: SlotConfig,
    *,
    task: TaskConfig | Sequence[TaskConfig],
    device: torch.device | str | None = None,
    dtype: torch.dtype = torch.float32,
) -> Observation[Tensor]:
    """Columns from what training loops report.

    None and a best loss of inf (before the first validation) become unknown: NaN, or -1 in integer columns. Histories
    keep their newest points, with unknown ones in front where there are too few. Integer columns are int64, flags bool.
    The telemetry block is there if any report carries telemetry.

    Args:
        signals: one per environment, at least one.
        slot_reports: one mapping per environment, with every slot of `slot_config`; None is an empty slot.
        slot_config: the slots, in the order of the slot axis.
        task: of all environments, or one per environment.
        device: of the columns; None is torch's default device.
        dtype: of the floating columns.

    Returns:
        Signals [env], slots and telemetry [env, slot].

    Raises:
        ObservationShapeError: no environments, or lists of unequal length.
        InvalidObservationError: holds every other problem of the batch, each with its environment and slot: slots that
            are missing, unknown or mixed up, unknown blueprints, invalid stages, and values that are missing, not
            finite, out of range or of another type. What columns do not hold is neither read nor checked.
    """
    tasks = [task] * len(signals) if isinstance(task, TaskConfig) else list(task)
    if not signals:
        raise ObservationShapeError("`signals` must hold at least one environment")
    for name, other in (("slot_reports", slot_reports), ("task", tasks)):
        if len(other) != len(signals):
            raise ObservationShapeError(
                f"`{name}` describes {len(other)} environments, `signals` {len(signals)}"
            )
    environments = [
        Environment(each, its_task, len(slot_config)) for each, its_task in zip(signals, tasks, strict=True)
    ]
    try:
        return Observation(
            _pack_signals(environments, dtype, device),
            *_pack_slots(slot_reports, slot_config, dtype, device),
        )
    except _SIGNS_OF_A_PROBLEM:
        problems = find_problems(environments, slot_reports, slot_config)
        if not problems:
            raise
        raise InvalidObservationError(problems) from None


def _pack_signals(
    environments: Sequence[Environment], dtype: torch.dtype, device: torch.device | str | None
) -> SignalColumns[Tensor]:
    shape = (len(environments),)
    return SignalColumns(**read_columns(environments, SIGNAL_SOURCES, shape, dtype=dtype, device=device))


def _pack_slots(
    slot_reports: Sequence[SlotReports],
    slot_config: SlotConfig,
    dtype: torch.dtype,
    device: torch.device | str | None,
) -> tuple[SlotColumns[Tensor], TelemetryColumns[Tensor] | None]:
    shape = (len(slot_reports), len(slot_config))
    reports = _in_order(slot_reports, slot_config)
    occupied = torch.tensor([report is not None for report in reports], device=device)
    blueprint = [0 if report is None else _BLUEPRINTS[report.blueprint_id] for report in reports]
    slots = SlotColumns(
        **read_columns(reports, SLOT_SOURCES, shape, dtype=dtype, device=device),
        occupied=occupied.view(shape),
        blueprint=torch.tensor(blueprint, device=device).view(shape),
    )
    looks = [None if report is None else report.telemetry for report in reports]
    if looks.count(None) == len(looks):
        return slots, None
    known = torch.tensor([look is not None for look in looks], device=device).view(shape)
    columns = read_columns(looks, TELEMETRY_SOURCES, shape, dtype=dtype, device=device)
    return slots, TelemetryColumns(**columns, known=known)


def _in_order(slot_reports: Sequence[SlotReports], slot_config: SlotConfig) -> list[SeedStateReport | None]:
    """Every environment's reports one after another, in the order of the slots.

    Raises:
        BrokenRuleError: a mapping has other slots, or a report is not of the slot that it stands under.
    """
    expected = set(slot_config)
    found: list[SeedStateReport | None] = []
    for reports in slot_reports:
        if reports.keys() != expected:
            raise BrokenRuleError
        found += [reports[slot_id] for slot_id in slot_config]
    places = list(slot_config) * len(slot_reports)
    claimed = [
        place if report is None else report.slot_id for place, report in zip(places, found, strict=True)
    ]
    if claimed != places:
        raise BrokenRuleError
    return found
