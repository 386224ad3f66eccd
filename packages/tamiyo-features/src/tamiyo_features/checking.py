"""Everything that is wrong with the objects of a batch, found one by one and reported together.

Packing reads in bulk and comes here only where that failed, so that speed does not matter and every message can name
environment, slot, field, value and what was expected.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from math import inf
from typing import Final

from leyline_types import (
    BlueprintAction,
    SeedMetrics,
    SeedStateReport,
    SeedTelemetry,
    SlotConfig,
    SlotDiagnostics,
    TaskConfig,
    Topology,
    TrainingMetrics,
    TrainingSignals,
)
from tamiyo_features.errors import (
    MisplacedReportError,
    MissingSlotError,
    ObservationError,
    RepeatedSlotError,
    UnknownBlueprintError,
    UnknownSlotError,
    WrongTypeError,
)
from tamiyo_features.rules import NUMBER, PERCENT, Rule
from tamiyo_features.sources import (
    DIAGNOSTIC_SOURCES,
    SIGNAL_SOURCES,
    SLOT_SOURCES,
    TELEMETRY_SOURCES,
    Environment,
    SourceTable,
    newest_points,
)


def find_problems(
    environments: Sequence[Environment],
    slot_reports: Sequence[Mapping[str, SeedStateReport | None]],
    slot_config: SlotConfig,
) -> list[ObservationError]:
    """Every problem of every environment, in their order."""
    problems: list[ObservationError] = []
    for env, (environment, reports) in enumerate(zip(environments, slot_reports, strict=True)):
        where = f"environment {env}"
        problems += _check_environment(where, environment)
        problems += _check_diagnostics(where, environment.signals, slot_config)
        problems += _check_slots(where, reports, slot_config)
    return problems


def _check_environment(where: str, environment: Environment) -> Iterator[ObservationError]:
    yield from _check_values(f"{where}: ", environment, SIGNAL_SOURCES)
    signals: object = environment.signals  # of this type only if the caller keeps to the annotations
    if not isinstance(signals, TrainingSignals):
        return
    if not hasattr(signals.active_seeds, "__len__"):
        yield WrongTypeError(
            f"{where}: signals.active_seeds is {signals.active_seeds!r}, it must be a tuple of seed ids"
        )
    for name, rule in (("loss_history", NUMBER), ("accuracy_history", PERCENT)):
        yield from _check_history(f"{where}: signals.{name}", getattr(signals, name), rule)
    metrics: object = signals.metrics
    if isinstance(metrics, TrainingMetrics):
        yield from _check_best(f"{where}: signals.metrics", metrics)


def _check_best(where: str, metrics: TrainingMetrics) -> Iterator[ObservationError]:
    """The best values, which are not read before the first validation."""
    best: object = metrics.best_val_loss
    if isinstance(best, float) and best == inf:
        return
    yield from _found(NUMBER.find_problem(f"{where}.best_val_loss", best))
    yield from _found(PERCENT.find_problem(f"{where}.best_val_accuracy", metrics.best_val_accuracy))


def _check_history(where: str, history: object, rule: Rule) -> Iterator[ObservationError]:
    """The points that the columns hold."""
    if isinstance(history, (str, bytes)) or not isinstance(history, Iterable):
        yield WrongTypeError(f"{where} is {history!r}, it must be a sequence of numbers, newest last")
        return
    newest = newest_points(history)
    for index, point in enumerate(newest):
        yield from _found(rule.find_problem(f"{where}[{index - len(newest)}]", point))


def _check_diagnostics(where: str, signals: object, slot_config: SlotConfig) -> Iterator[ObservationError]:
    if not isinstance(signals, TrainingSignals):
        return  # which has been said
    found: object = signals.slot_diagnostics
    if not isinstance(found, (tuple, list)):
        yield WrongTypeError(
            f"{where}: signals.slot_diagnostics is {found!r}, it must be a tuple of SlotDiagnostics"
        )
        return
    seen: list[str] = []
    for index, diagnostics in enumerate(found):
        at = f"{where}: signals.slot_diagnostics[{index}]"
        if not isinstance(diagnostics, SlotDiagnostics):
            yield WrongTypeError(f"{at} is {diagnostics!r}, it must be a SlotDiagnostics")
            continue
        slot_id = diagnostics.slot_id
        if slot_id not in slot_config.slot_ids:
            yield UnknownSlotError(f"{at}: slot {slot_id!r} is unknown; slots are {', '.join(slot_config)}")
            continue
        if slot_id in seen:
            yield RepeatedSlotError(
                f"{where}, slot {slot_id}: signals.slot_diagnostics holds the slot more than once"
            )
        seen.append(slot_id)
        yield from _check_values(f"{where}, slot {slot_id}: diagnostics.", diagnostics, DIAGNOSTIC_SOURCES)


def _check_slots(where: str, reports: object, slot_config: SlotConfig) -> Iterator[ObservationError]:
    if not isinstance(reports, Mapping):
        yield WrongTypeError(
            f"{where}: the reports are a {type(reports).__name__}, they must map slot ids to reports"
        )
        return
    for slot_id in slot_config:
        if slot_id not in reports:
            yield MissingSlotError(f"{where}: no entry for slot {slot_id}; an empty slot is None")
    for slot_id in reports:
        if slot_id not in slot_config.slot_ids:
            yield UnknownSlotError(
                f"{where}: slot {slot_id!r} is unknown; slots are {', '.join(slot_config)}"
            )
    for slot_id, report in reports.items():
        if report is not None:
            yield from _check_report(f"{where}, slot {slot_id}", slot_id, report)


def _check_report(where: str, slot_id: str, report: object) -> Iterator[ObservationError]:
    if not isinstance(report, SeedStateReport):
        yield WrongTypeError(f"{where}: the report is {report!r}, it must be a SeedStateReport")
        return
    if report.slot_id != slot_id:
        yield MisplacedReportError(
            f"{where}: the report's slot_id is {report.slot_id!r}, it must be the slot that it stands under"
        )
    try:
        BlueprintAction.from_blueprint_id(report.blueprint_id)
    except ValueError as error:
        yield UnknownBlueprintError(f"{where}: {error}")
    yield from _check_values(f"{where}: report.", report, SLOT_SOURCES)
    telemetry: object = report.telemetry
    if isinstance(telemetry, SeedTelemetry):
        yield from _check_values(f"{where}: telemetry.", telemetry, TELEMETRY_SOURCES)
    elif telemetry is not None:
        yield WrongTypeError(
            f"{where}: report.telemetry is {telemetry!r}, it must be a SeedTelemetry or None"
        )


def _check_values(prefix: str, found: object, table: SourceTable) -> Iterator[ObservationError]:
    """Every attribute that the table reads from an object, against its rule; what holds attributes, only once."""
    refused: set[str] = set()
    for optional, sources in ((False, table.required), (True, table.optional)):
        for source in sources:
            *holders, last = source.path.split(".")
            if "(" in source.path or "[" in last or last.startswith("best_"):
                continue  # counts are made here; histories and best values have rules of their own
            holder = found
            for depth, name in enumerate(holders, 1):
                holder, path = getattr(holder, name), ".".join(holders[:depth])
                if not isinstance(holder, _HOLDERS[path]):
                    if path not in refused:
                        yield WrongTypeError(
                            f"{prefix}{path} is {holder!r}, it must be a {_HOLDERS[path].__name__}"
                        )
                    refused.add(path)
                    break
            else:
                value = getattr(holder, last)
                yield from _found(
                    source.rule.find_problem(f"{prefix}{source.path}", value, optional=optional)
                )


_HOLDERS: Final[dict[str, type]] = {
    "signals": TrainingSignals,
    "signals.metrics": TrainingMetrics,
    "task": TaskConfig,
    "task.topology": Topology,
    "metrics": SeedMetrics,
}
"""What must stand at the first parts of a path."""


def _found(problem: ObservationError | None) -> Iterator[ObservationError]:
    if problem is not None:
        yield problem
