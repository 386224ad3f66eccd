"""Everything that can be wrong with the objects of a batch, found in one pass and reported together."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import fields
from math import inf, isfinite

from leyline_types import (
    BlueprintAction,
    SeedMetrics,
    SeedStateReport,
    SeedTelemetry,
    SlotConfig,
    TrainingMetrics,
    TrainingSignals,
    parse_stage,
)
from tamiyo_features.errors import (
    ImpossibleCountError,
    InvalidStageError,
    MissingSlotError,
    NonFiniteValueError,
    ObservationError,
    UnknownBlueprintError,
    UnknownSlotError,
)


def check_batch(
    signals: Sequence[TrainingSignals],
    slot_reports: Sequence[Mapping[str, SeedStateReport | None]],
    slot_config: SlotConfig,
) -> list[ObservationError]:
    """Every problem of every environment, each named by environment, slot, field, value and what was expected."""
    problems: list[ObservationError] = []
    for env, (each, reports) in enumerate(zip(signals, slot_reports, strict=True)):
        problems += _check_signals(env, each)
        problems += _check_slots(env, reports, slot_config)
        for slot_id, report in reports.items():
            if report is not None:
                problems += _check_report(f"environment {env}, slot {slot_id}", slot_id, report)
    return problems


def _check_signals(env: int, signals: TrainingSignals) -> Iterator[ObservationError]:
    where = f"environment {env}"
    metrics = signals.metrics
    may_be_infinite = {"best_val_loss"} if metrics.best_val_loss == inf else set()
    yield from _check_finite(where, metrics, "metrics", may_be_infinite)
    if signals.host_params < 1:
        yield ImpossibleCountError(f"{where}: host_params is {signals.host_params}, it must be at least 1")
    for name in ("loss_history", "accuracy_history"):
        for age, value in enumerate(reversed(getattr(signals, name)), 1):
            if not isfinite(value):
                yield NonFiniteValueError(f"{where}: {name}[-{age}] is {value}, it must be finite")


def _check_slots(
    env: int, reports: Mapping[str, SeedStateReport | None], slot_config: SlotConfig
) -> Iterator[ObservationError]:
    slots = ", ".join(slot_config)
    for slot_id in slot_config:
        if slot_id not in reports:
            yield MissingSlotError(f"environment {env}: no entry for slot {slot_id}; an empty slot is None")
    for slot_id in reports:
        if slot_id not in slot_config.slot_ids:
            yield UnknownSlotError(f"environment {env}: slot {slot_id!r} is unknown; slots are {slots}")


def _check_report(where: str, slot_id: str, report: SeedStateReport) -> Iterator[ObservationError]:
    if report.slot_id != slot_id:
        yield UnknownSlotError(f"{where}: the report is of slot {report.slot_id!r}")
    try:
        BlueprintAction.from_blueprint_id(report.blueprint_id)
    except ValueError as error:
        yield UnknownBlueprintError(f"{where}: {error}")
    try:
        parse_stage(report.stage)
    except ValueError as error:
        yield InvalidStageError(f"{where}: {error}")
    yield from _check_finite(where, report, "report")
    yield from _check_finite(where, report.metrics, "metrics")
    if report.telemetry is not None:
        yield from _check_finite(where, report.telemetry, "telemetry")


def _check_finite(
    where: str, values: object, holder: str, exempt: frozenset[str] | set[str] = frozenset()
) -> Iterator[ObservationError]:
    for name, optional in _NUMBER_FIELDS[type(values)]:
        value = getattr(values, name)
        if value is None and optional:
            continue
        if name not in exempt and (value is None or not isfinite(value)):
            yield NonFiniteValueError(f"{where}: {holder}.{name} is {value}, it must be finite")


_NUMBERS = (int, float, float | None)
_NUMBER_FIELDS: dict[type, tuple[tuple[str, bool], ...]] = {
    cls: tuple((field.name, field.type == float | None) for field in fields(cls) if field.type in _NUMBERS)
    for cls in (TrainingMetrics, SeedStateReport, SeedMetrics, SeedTelemetry)
}
"""The fields of each class that hold a number, and whether it may be None, by their annotations."""
