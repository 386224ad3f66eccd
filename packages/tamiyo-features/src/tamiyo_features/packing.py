"""Objects to columns: the one place where Python objects become tensors."""

from collections.abc import Mapping, Sequence
from types import NoneType
from typing import Final

import torch
from torch import Tensor

from leyline_types import (
    BlueprintAction,
    Observation,
    SeedStateReport,
    SeedTelemetry,
    SignalColumns,
    SlotColumns,
    SlotConfig,
    SlotDiagnostics,
    TaskConfig,
    TelemetryColumns,
    TrainingSignals,
)
from tamiyo_features.checking import find_problems
from tamiyo_features.errors import InvalidObservationError, ObservationShapeError
from tamiyo_features.reading import BrokenRuleError, read_columns
from tamiyo_features.sources import (
    DIAGNOSTIC_SOURCES,
    SIGNAL_SOURCES,
    SLOT_SOURCES,
    TELEMETRY_SOURCES,
    Environment,
)

SlotReports = Mapping[str, SeedStateReport | None]

_BLUEPRINTS: Final = {blueprint.blueprint_id: int(blueprint) for blueprint in BlueprintAction}

_SIGNS_OF_A_PROBLEM: Final = (
    BrokenRuleError,
    AttributeError,
    KeyError,
    OverflowError,
    RuntimeError,
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
    The telemetry block is always there, and says of each slot whether it gave telemetry. Diagnostics of slots that
    `TrainingSignals.slot_diagnostics` leaves out are unknown.

    Args:
        signals: one per environment, at least one.
        slot_reports: one mapping per environment, with every slot of `slot_config`; None is an empty slot.
        slot_config: the slots, in the order of the slot axis.
        task: of all environments, or one per environment.
        device: of the columns; None is torch's default device.
        dtype: of the floating columns, float32 or float64.

    Returns:
        Signals [env], slots and telemetry [env, slot].

    Raises:
        ObservationShapeError: no environments, lists of unequal length, something else than lists, or another `dtype`.
        InvalidObservationError: holds every other problem of the batch, each with its environment and slot: slots that
            are missing, unknown, repeated or mixed up, unknown blueprints, invalid stages, and values that are
            missing, not finite, out of range or of another type. What columns do not hold is neither read nor checked.
    """
    if dtype not in (torch.float32, torch.float64):
        raise ObservationShapeError(f"`dtype` is {dtype}, columns are torch.float32 or torch.float64")
    for name, found in (("signals", signals), ("slot_reports", slot_reports)):
        if not isinstance(found, Sequence):
            raise ObservationShapeError(
                f"`{name}` is a {type(found).__name__}, it must be a sequence, one per environment"
            )
    if not isinstance(task, (TaskConfig, Sequence)):
        raise ObservationShapeError(
            f"`task` is {task!r}, it must be a TaskConfig or a sequence, one per environment"
        )
    tasks = [task] * len(signals) if isinstance(task, TaskConfig) else list(task)
    place = torch.get_default_device() if device is None else torch.device(device)
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
            _pack_signals(environments, dtype, place),
            *_pack_slots(signals, slot_reports, slot_config, dtype, place),
        )
    except _SIGNS_OF_A_PROBLEM as sign:
        problems = find_problems(environments, slot_reports, slot_config)
        if not problems:
            raise AssertionError(
                "reading in bulk finds a problem that checking one by one does not"
            ) from sign
        raise InvalidObservationError(problems) from None


def _pack_signals(
    environments: Sequence[Environment], dtype: torch.dtype, device: torch.device
) -> SignalColumns[Tensor]:
    _require_types([each.signals for each in environments], TrainingSignals)
    _require_types([each.task for each in environments], TaskConfig)
    shape = (len(environments),)
    return SignalColumns(**read_columns(environments, SIGNAL_SOURCES, shape, dtype=dtype, device=device))


def _pack_slots(
    signals: Sequence[TrainingSignals],
    slot_reports: Sequence[SlotReports],
    slot_config: SlotConfig,
    dtype: torch.dtype,
    device: torch.device,
) -> tuple[SlotColumns[Tensor], TelemetryColumns[Tensor]]:
    shape = (len(slot_reports), len(slot_config))
    reports = _in_order(slot_reports, slot_config)
    blueprint = [0 if report is None else _BLUEPRINTS[report.blueprint_id] for report in reports]
    diagnostics = _diagnostics_in_order(signals, slot_config)
    slots = SlotColumns(
        **read_columns(reports, SLOT_SOURCES, shape, dtype=dtype, device=device),
        **read_columns(diagnostics, DIAGNOSTIC_SOURCES, shape, dtype=dtype, device=device),
        occupied=torch.tensor([report is not None for report in reports], device=device).view(shape),
        blueprint=torch.tensor(blueprint, device=device).view(shape),
    )
    looks = [None if report is None else report.telemetry for report in reports]
    _require_types(looks, SeedTelemetry, NoneType)
    known = torch.tensor([look is not None for look in looks], device=device).view(shape)
    columns = read_columns(looks, TELEMETRY_SOURCES, shape, dtype=dtype, device=device)
    return slots, TelemetryColumns(**columns, known=known)


def _in_order(slot_reports: Sequence[SlotReports], slot_config: SlotConfig) -> list[SeedStateReport | None]:
    """Every environment's reports one after another, in the order of the slots.

    Raises:
        BrokenRuleError: a mapping has other slots, or something is no report or not of the slot that it stands under.
    """
    expected = set(slot_config)
    found: list[SeedStateReport | None] = []
    for reports in slot_reports:
        _require(reports.keys() == expected)
        found += [reports[slot_id] for slot_id in slot_config]
    _require_types(found, SeedStateReport, NoneType)
    places = list(slot_config) * len(slot_reports)
    _require(
        places == [at if report is None else report.slot_id for at, report in zip(places, found, strict=True)]
    )
    return found


def _diagnostics_in_order(
    signals: Sequence[TrainingSignals], slot_config: SlotConfig
) -> list[SlotDiagnostics | None]:
    """Every environment's diagnostics one after another, in the order of the slots; None where there are none.

    Raises:
        BrokenRuleError: some are of an unknown slot or of the same one as others, or something is no diagnostics.
        AttributeError, TypeError: something is no diagnostics.
    """
    _require_types([each.slot_diagnostics for each in signals], tuple, list)
    slot_ids, expected = list(slot_config), set(slot_config)
    found: list[SlotDiagnostics | None] = []
    for each in signals:
        named = [diagnostics.slot_id for diagnostics in each.slot_diagnostics]
        if named == slot_ids:  # as hosts report them
            found += each.slot_diagnostics
            continue
        by_slot = dict(zip(named, each.slot_diagnostics, strict=True))
        _require(len(by_slot) == len(named) and by_slot.keys() <= expected)
        found += map(by_slot.get, slot_ids)
    _require_types(found, SlotDiagnostics, NoneType)
    return found


def _require_types(found: Sequence[object], *types: type) -> None:
    others = set(map(type, found)) - set(types)
    _require(all(issubclass(other, types) for other in others))


def _require(met: bool) -> None:
    if not met:
        raise BrokenRuleError
