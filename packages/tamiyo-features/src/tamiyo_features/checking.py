"""Everything that is wrong with the objects of a batch, found one by one and reported together.

Packing reads in bulk and comes here only where that failed, so that speed does not matter and every message can name
environment, slot, field, value and what was expected.
"""

from collections.abc import Iterator, Mapping, Sequence

from leyline_types import (
    BlueprintAction,
    SeedStateReport,
    SlotConfig,
    TaskConfig,
    TrainingSignals,
)
from tamiyo_features.errors import (
    MisplacedReportError,
    MissingSlotError,
    ObservationError,
    UnknownBlueprintError,
    UnknownSlotError,
    WrongTypeError,
)
from tamiyo_features.sources import (
    SIGNAL_SOURCES,
    SLOT_SOURCES,
    TELEMETRY_SOURCES,
    Environment,
    SourceTable,
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
        problems += _check_slots(where, reports, slot_config)
    return problems


def _check_environment(where: str, environment: Environment) -> Iterator[ObservationError]:
    signals: object = environment.signals  # of these types only if the caller keeps to the annotations
    task: object = environment.task
    if not isinstance(signals, TrainingSignals):
        yield WrongTypeError(f"{where}: signals is {signals!r}, it must be a TrainingSignals")
    elif not isinstance(task, TaskConfig):
        yield WrongTypeError(f"{where}: task is {task!r}, it must be a TaskConfig")
    elif not hasattr(signals.active_seeds, "__len__"):
        yield WrongTypeError(
            f"{where}: signals.active_seeds is {signals.active_seeds!r}, it must be a tuple of seed ids"
        )
    else:
        yield from _check_values(where, environment, SIGNAL_SOURCES)


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
        yield MisplacedReportError(f"{where}: the report is of slot {report.slot_id!r}")
    try:
        BlueprintAction.from_blueprint_id(report.blueprint_id)
    except ValueError as error:
        yield UnknownBlueprintError(f"{where}: {error}")
    yield from _check_values(where, report, SLOT_SOURCES)
    if report.telemetry is not None:
        yield from _check_values(where, report.telemetry, TELEMETRY_SOURCES)


def _check_values(where: str, found: object, table: SourceTable) -> Iterator[ObservationError]:
    """Every value that the table reads from an object, against its rule."""
    prefix = f"{where}: {table.name}." if table.name else f"{where}: "
    for sources, read_row, optional in (
        (table.required, table.required_row, False),
        (table.optional, table.optional_row, True),
    ):
        try:
            values = read_row(found)
        except ObservationError as error:
            yield type(error)(f"{where}: {error}")
        except (AttributeError, TypeError) as error:
            yield WrongTypeError(f"{where}: {error}")
        else:
            for source, value in zip(sources, values, strict=True):
                problem = source.rule.find_problem(f"{prefix}{source.path}", value, optional=optional)
                if problem is not None:
                    yield problem
