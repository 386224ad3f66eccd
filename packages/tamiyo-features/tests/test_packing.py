"""Packing: by hand, and every kind of mistake named with its environment and slot, all of them together."""

import copy
import dataclasses
import random
from collections import defaultdict, deque
from collections.abc import Iterator
from fractions import Fraction
from math import inf, nan, nextafter
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from observation_maker import Maker

from leyline_types import (
    BlueprintAction,
    LifecycleOp,
    SeedStage,
    SeedStateReport,
    SignalColumns,
    SlotColumns,
    SlotConfig,
    SlotDiagnostics,
    TaskConfig,
    TelemetryColumns,
    TrainingSignals,
)
from tamiyo_features import (
    ImpossibleCountError,
    InvalidChoiceError,
    InvalidObservationError,
    InvalidStageError,
    MisplacedReportError,
    MissingSlotError,
    MissingValueError,
    NonFiniteValueError,
    ObservationError,
    ObservationShapeError,
    OutOfRangeError,
    RepeatedSlotError,
    UnknownBlueprintError,
    UnknownSlotError,
    WrongTypeError,
    pack_observations,
)
from tamiyo_features.reading import _layout_of
from tamiyo_features.sources import (
    DIAGNOSTIC_SOURCES,
    SIGNAL_SOURCES,
    SLOT_SOURCES,
    TELEMETRY_SOURCES,
    Source,
    SourceTable,
)

SLOTS = SlotConfig.default()
EMPTY: dict[str, SeedStateReport | None] = dict.fromkeys(SLOTS.slot_ids)


def signals_of(make: Maker, **metrics: Any) -> TrainingSignals:
    signals = make.signals(random.Random(0))
    return dataclasses.replace(signals, metrics=dataclasses.replace(signals.metrics, **metrics))


def diagnostics_of(slot_id: str = "r0c1", **fields: Any) -> SlotDiagnostics:
    known: dict[str, Any] = {"host_gradient_share": 0.25, "activation_rank": 0.5, "within_map_variance": None}
    return SlotDiagnostics(slot_id=slot_id, **known | fields)


def report_of(make: Maker, slot_id: str = "r0c1", **fields: Any) -> SeedStateReport:
    return dataclasses.replace(make.report(random.Random(1), slot_id), **fields)


def test_unknowns_by_hand(make: Maker) -> None:
    fresh = signals_of(make, loss_delta=None, accuracy_delta=None, best_val_loss=inf, best_val_accuracy=55.0)
    fresh = dataclasses.replace(fresh, loss_history=(2.0, 1.0), last_op=None, last_op_took_effect=None)
    signals = pack_observations([fresh], [EMPTY], SLOTS, task=make.task).signals
    for name in ("loss_delta", "accuracy_delta", "best_val_loss", "best_val_accuracy"):
        assert getattr(signals, name).isnan().all(), name
    torch.testing.assert_close(
        signals.loss_history, torch.tensor([[nan, nan, nan, 2.0, 1.0]]), equal_nan=True
    )
    assert signals.last_op.tolist() == signals.last_op_took_effect.tolist() == [-1]


def test_knowns_by_hand(make: Maker) -> None:
    known = signals_of(make, best_val_loss=0.5, best_val_accuracy=55.0, loss_delta=-0.25)
    known = dataclasses.replace(
        known, loss_history=tuple(map(float, range(7))), last_op=LifecycleOp.PRUNE, last_op_took_effect=False
    )
    signals = pack_observations([known], [EMPTY], SLOTS, task=make.task).signals
    assert signals.best_val_loss.item() == 0.5
    assert signals.best_val_accuracy.item() == 55.0
    assert signals.loss_history.tolist() == [[2.0, 3.0, 4.0, 5.0, 6.0]]
    assert (signals.last_op.item(), signals.last_op_took_effect.item()) == (3, 0)
    assert (signals.max_epochs.item(), signals.seed_capacity.item(), signals.topology.item()) == (25, 2, 0)
    assert signals.epoch.dtype == torch.int64
    assert signals.host_stabilized.dtype == torch.bool


def test_slots_by_hand(make: Maker) -> None:
    report = report_of(make, stage=SeedStage.HOLDING, blueprint_id="norm", telemetry=None)
    observation = pack_observations([signals_of(make)], [{**EMPTY, "r0c1": report}], SLOTS, task=make.task)
    slots = observation.slots
    assert slots.occupied.tolist() == [[False, True, False]]
    assert slots.stage.tolist() == [[SeedStage.DORMANT, SeedStage.HOLDING, SeedStage.DORMANT]]
    assert slots.blueprint.tolist() == [[BlueprintAction.NOOP, BlueprintAction.NORM, BlueprintAction.NOOP]]
    assert slots.contribution[:, [0, 2]].isnan().all()
    assert slots.alpha[0, 1].item() == pytest.approx(report.metrics.current_alpha)
    assert slots.age_epochs[0, 1].item() == report.metrics.epochs_total
    assert observation.telemetry is not None
    assert not any(column.any() for column in observation.telemetry)


def test_diagnostics_by_hand(make: Maker) -> None:
    """In the order of the slots whatever order they come in, of empty slots too; left out is unknown."""
    found = (diagnostics_of("r0c2", activation_rank=1), diagnostics_of("r0c0", host_gradient_share=None))
    whole = tuple(diagnostics_of(slot_id) for slot_id in SLOTS)
    signals = [dataclasses.replace(signals_of(make), slot_diagnostics=each) for each in (found, (), whole)]
    reports = [{**EMPTY, "r0c2": make.report(random.Random(1), "r0c2")}, EMPTY, EMPTY]
    slots = pack_observations(signals, reports, SLOTS, task=make.task).slots
    for column, expected in (
        (slots.host_gradient_share, [[nan, nan, 0.25], [nan] * 3, [0.25] * 3]),
        (slots.activation_rank, [[0.5, nan, 1.0], [nan] * 3, [0.5] * 3]),
        (slots.within_map_variance, [[nan] * 3] * 3),
    ):
        torch.testing.assert_close(column, torch.tensor(expected), equal_nan=True)


@pytest.mark.parametrize(
    ("found", "kind", "message"),
    [
        (
            (diagnostics_of("r9c9"),),
            UnknownSlotError,
            "environment 1: signals.slot_diagnostics[0]: slot 'r9c9' is unknown; slots are r0c0, r0c1, r0c2",
        ),
        (
            (diagnostics_of([]),),  # type: ignore[arg-type]
            UnknownSlotError,
            "environment 1: signals.slot_diagnostics[0]: slot [] is unknown; slots are r0c0, r0c1, r0c2",
        ),
        (
            (diagnostics_of("r0c2"), diagnostics_of("r0c1"), diagnostics_of("r0c2")),
            RepeatedSlotError,
            "environment 1, slot r0c2: signals.slot_diagnostics holds the slot more than once",
        ),
        (
            (diagnostics_of("r0c2"), None),
            WrongTypeError,
            "environment 1: signals.slot_diagnostics[1] is None, it must be a SlotDiagnostics",
        ),
        (
            tuple(SimpleNamespace(slot_id=slot_id) for slot_id in ("r0c0",)),
            WrongTypeError,
            "environment 1: signals.slot_diagnostics[0] is namespace(slot_id='r0c0'), it must be a SlotDiagnostics",
        ),
        (
            None,
            WrongTypeError,
            "environment 1: signals.slot_diagnostics is None, it must be a tuple of SlotDiagnostics",
        ),
        (
            (diagnostics_of("r0c2", host_gradient_share=1.5),),
            OutOfRangeError,
            "environment 1, slot r0c2: diagnostics.host_gradient_share is 1.5, it must be a finite fraction, 0 to 1",
        ),
        (
            (diagnostics_of("r0c2", within_map_variance=nan),),
            NonFiniteValueError,
            "environment 1, slot r0c2: diagnostics.within_map_variance is nan, it must be a finite fraction, 0 to 1",
        ),
    ],
)
def test_mistakes_in_diagnostics(make: Maker, found: Any, kind: type[ObservationError], message: str) -> None:
    good = signals_of(make)
    with pytest.raises(InvalidObservationError) as caught:
        pack_observations([good, replace(good, slot_diagnostics=found)], [EMPTY] * 2, SLOTS, task=make.task)
    [problem] = caught.value.problems
    assert (type(problem), str(problem)) == (kind, message)


def test_telemetry_is_known_where_it_is_given(make: Maker) -> None:
    rng = random.Random(2)
    reports = {**EMPTY, "r0c0": make.report(rng, "r0c0", telemetry=True), "r0c1": make.report(rng, "r0c1")}
    telemetry = pack_observations([signals_of(make)], [reports], SLOTS, task=make.task).telemetry
    assert telemetry is not None
    assert telemetry.known.tolist() == [[True, False, False]]


@pytest.mark.parametrize("occupancy", [0.0, 0.5, 1.0])
def test_empty_slots_by_hand(make: Maker, occupancy: float) -> None:
    signals, reports = make.batch(3, 5, SLOTS, occupancy=occupancy)
    slots = pack_observations(signals, reports, SLOTS, task=make.task).slots
    found = [[report is not None for report in each.values()] for each in reports]
    assert slots.occupied.tolist() == found
    empty = ~slots.occupied
    unknown = {"contribution", "contribution_velocity", "interaction_sum", "boost_received", "gradient_ratio"}
    for name, column in slots._asdict().items():
        if name in {source.column for source in DIAGNOSTIC_SOURCES.optional}:
            continue  # of the slot, not of its seed
        if name in unknown:
            assert column[empty].isnan().all(), name
        else:
            assert (column[empty] == (SeedStage.DORMANT if name == "stage" else 0)).all(), name


def test_float64_columns_keep_every_digit(make: Maker) -> None:
    signals = signals_of(make, val_loss=1 / 3)
    observation = pack_observations([signals], [EMPTY], SLOTS, task=make.task, dtype=torch.float64)
    assert observation.signals.val_loss.tolist() == [1 / 3]
    assert observation.signals.loss_history.dtype == observation.slots.alpha.dtype == torch.float64


@pytest.mark.parametrize(
    ("reports", "kind", "message"),
    [
        (
            {"r0c0": None, "r0c2": None},
            MissingSlotError,
            "environment 1: no entry for slot r0c1; an empty slot is None",
        ),
        (
            {**EMPTY, "r9c9": None},
            UnknownSlotError,
            "environment 1: slot 'r9c9' is unknown; slots are r0c0, r0c1, r0c2",
        ),
        (
            {"slot_id": "r0c0"},
            MisplacedReportError,
            "environment 1, slot r0c1: the report's slot_id is 'r0c0', it must be the slot that it stands under",
        ),
        (
            {"blueprint_id": "convx"},
            UnknownBlueprintError,
            "environment 1, slot r0c1: blueprint 'convx' is unknown; blueprints are noop, conv_light,",
        ),
        (
            {"stage": 5},
            InvalidStageError,
            "environment 1, slot r0c1: report.stage is 5, it must be one of UNKNOWN=0, DORMANT=1, GERMINATED=2, "
            "TRAINING=3, BLENDING=4, HOLDING=6, FOSSILIZED=7, PRUNED=8, EMBARGOED=9, RESETTING=10 (5 is retired)",
        ),
        ({"stage": 77}, InvalidStageError, "environment 1, slot r0c1: report.stage is 77, it must be one of"),
        (
            {"alpha_mode": 9},
            InvalidChoiceError,
            "slot r0c1: report.alpha_mode is 9, it must be one of HOLD=0, UP=1, DOWN=2",
        ),
        (
            {"alpha_algorithm": 0},
            InvalidChoiceError,
            "slot r0c1: report.alpha_algorithm is 0, it must be one of ADD=1, MULTIPLY=2, GATE=3",
        ),
        (
            {"alpha_velocity": nan},
            NonFiniteValueError,
            "slot r0c1: report.alpha_velocity is nan, it must be a finite number",
        ),
        (
            {"metrics": None},
            WrongTypeError,
            "environment 1, slot r0c1: report.metrics is None, it must be a SeedMetrics",
        ),
    ],
)
def test_mistakes_in_slots(
    make: Maker, reports: dict[str, Any], kind: type[ObservationError], message: str
) -> None:
    if not set(reports) & set(SLOTS.slot_ids):
        reports = {**EMPTY, "r0c1": report_of(make, **reports)}
    with pytest.raises(InvalidObservationError) as caught:
        pack_observations([signals_of(make)] * 2, [EMPTY, reports], SLOTS, task=make.task)
    first = caught.value.problems[0]
    assert type(first) is kind
    assert message in str(first)


def bad_values(source: Source, *, optional: bool) -> Iterator[tuple[object, type[ObservationError]]]:
    """Values that the rule of a source must refuse, and how."""
    rule = source.rule
    yield "3", WrongTypeError
    yield [1.0], WrongTypeError
    yield 10**400, WrongTypeError
    yield torch.ones((), device="meta"), WrongTypeError
    yield nan, NonFiniteValueError
    yield -inf, NonFiniteValueError
    if source.path != "signals.metrics.best_val_loss":  # inf: there was no validation yet
        yield inf, NonFiniteValueError
    yield 1e39, NonFiniteValueError
    if not optional or "history" in source.path or source.column == "best_val_loss":
        yield None, MissingValueError
    if rule.low > -1e30:
        yield rule.low - 1 if rule.whole else nextafter(rule.low, -inf), rule.error
    if rule.high < 1e30:
        yield rule.high + 2 if rule.whole else nextafter(rule.high, inf), rule.error
    if rule.whole:
        yield rule.low + 0.5, rule.error


def with_value(found: Any, path: str, value: object) -> Any:
    """The object with the attribute at a path replaced, or with the point of a history, "loss_history[-2]"."""
    name, _, rest = path.partition(".")
    if rest:
        return replace(found, **{name: with_value(getattr(found, name), rest, value)})
    history, _, place = name.partition("[")
    if place:
        points = list(getattr(found, history))
        points[int(place[:-1])] = value
        return replace(found, **{history: tuple(points)})
    return replace(found, **{name: value})


def replace(found: Any, **changes: object) -> Any:
    """`dataclasses.replace` without the checks of `TaskConfig`."""
    changed = copy.copy(found)
    for name, value in changes.items():
        object.__setattr__(changed, name, value)
    return changed


MISTAKES = [
    pytest.param(table, source, value, kind, id=f"{table.name}.{source.path}={value}")
    for table in (SIGNAL_SOURCES, SLOT_SOURCES, TELEMETRY_SOURCES, DIAGNOSTIC_SOURCES)
    for sources, optional in ((table.required, False), (table.optional, True))
    for source in sources
    if "(" not in source.path and source.path != "task.topology.code"
    for value, kind in bad_values(source, optional=optional)
]


@pytest.mark.parametrize(("table", "source", "value", "kind"), MISTAKES)
def test_every_value_has_its_rule(
    make: Maker, table: SourceTable, source: Source, value: object, kind: type[ObservationError]
) -> None:
    """One broken value among good ones: one problem, of its kind, with its place."""
    signals = [signals_of(make, best_val_loss=1.0), signals_of(make, best_val_loss=1.0)]
    signals = [replace(each, loss_history=(1.0,) * 7, accuracy_history=(1.0,) * 7) for each in signals]
    report = make.report(random.Random(1), "r0c1", telemetry=True)
    tasks, where = [make.task, make.task], f"environment 1: {source.path}"
    if table is SIGNAL_SOURCES:
        root, _, path = source.path.partition(".")
        if root == "task":
            tasks[1] = with_value(make.task, path, value)
        else:
            signals[1] = with_value(signals[1], path, value)
    elif table is DIAGNOSTIC_SOURCES:
        broken = with_value(diagnostics_of(), source.path, value)
        signals[1] = replace(signals[1], slot_diagnostics=(diagnostics_of("r0c0"), broken))
        where = f"environment 1, slot r0c1: diagnostics.{source.path}"
    else:
        path = f"telemetry.{source.path}" if table is TELEMETRY_SOURCES else source.path
        report = with_value(report, path, value)
        where = f"environment 1, slot r0c1: {table.name}.{source.path}"
    with pytest.raises(InvalidObservationError) as caught:
        pack_observations(signals, [EMPTY, {**EMPTY, "r0c1": report}], SLOTS, task=tasks)
    [problem] = caught.value.problems
    assert type(problem) is kind
    assert str(problem).startswith(where)


def test_every_column_has_a_source_or_is_found_otherwise() -> None:
    otherwise = {SignalColumns: set(), SlotColumns: {"occupied", "blueprint"}, TelemetryColumns: {"known"}}
    for columns, tables in (
        (SignalColumns, (SIGNAL_SOURCES,)),
        (SlotColumns, (SLOT_SOURCES, DIAGNOSTIC_SOURCES)),
        (TelemetryColumns, (TELEMETRY_SOURCES,)),
    ):
        named = {source.column for table in tables for source in table.required + table.optional}
        assert named | otherwise[columns] == set(columns._fields)


def test_numbers_of_other_libraries_are_numbers(make: Maker) -> None:
    known = signals_of(make, val_loss=torch.tensor(0.5), epoch=torch.tensor(3), train_loss=Fraction(1, 4))
    signals = pack_observations([known], [EMPTY], SLOTS, task=make.task).signals
    assert (signals.val_loss.item(), signals.epoch.item(), signals.train_loss.item()) == (0.5, 3, 0.25)
    with pytest.raises(InvalidObservationError, match=r"metrics\.val_loss is nan"):
        pack_observations([signals_of(make, val_loss=torch.tensor(nan))], [EMPTY], SLOTS, task=make.task)


def test_other_objects_are_refused(make: Maker) -> None:
    good = signals_of(make)
    cases: list[tuple[Any, Any, Any, str]] = [
        ("text", EMPTY, make.task, "environment 0: signals is 'text', it must be a TrainingSignals"),
        (good, [None] * 3, make.task, "the reports are a list, they must map slot ids to reports"),
        (good, {**EMPTY, "r0c1": 7}, make.task, "slot r0c1: the report is 7, it must be a SeedStateReport"),
        (good, EMPTY, [None], "environment 0: task is None, it must be a TaskConfig"),
        (
            replace(good, active_seeds=3),
            EMPTY,
            make.task,
            "active_seeds is 3, it must be a tuple of seed ids",
        ),
        (
            replace(good, loss_history=None),
            EMPTY,
            make.task,
            "signals.loss_history is None, it must be a sequence of numbers",
        ),
    ]
    for signals, reports, task, message in cases:
        with pytest.raises(InvalidObservationError) as caught:
            pack_observations([signals], [reports], SLOTS, task=task)
        [problem] = caught.value.problems
        assert type(problem) is WrongTypeError
        assert message in str(problem)


def test_histories_of_other_kinds(make: Maker) -> None:
    for history in ([1.0, 2.0], deque([0.0, 1.0, 2.0], maxlen=2), (1.0, 2.0)):
        signals: Any = replace(signals_of(make), loss_history=history)
        columns = pack_observations([signals], [EMPTY], SLOTS, task=make.task).signals
        assert columns.loss_history[0, 3:].tolist() == [1.0, 2.0]


def test_arguments_that_are_no_lists(make: Maker) -> None:
    signals: Any = signals_of(make)
    nothing: Any = None
    reports: Any = EMPTY
    with pytest.raises(
        ObservationShapeError, match="`signals` is a TrainingSignals, it must be a sequence, one"
    ):
        pack_observations(signals, [EMPTY], SLOTS, task=make.task)
    with pytest.raises(ObservationShapeError, match="`slot_reports` is a dict, it must be a sequence"):
        pack_observations([signals], reports, SLOTS, task=make.task)
    with pytest.raises(ObservationShapeError, match="`task` is None, it must be a TaskConfig or a sequence"):
        pack_observations([signals], [EMPTY], SLOTS, task=nothing)
    with pytest.raises(ObservationShapeError, match=r"`dtype` is torch.int64, columns are torch.float32 or"):
        pack_observations([signals], [EMPTY], SLOTS, task=make.task, dtype=torch.int64)


def test_objects_that_only_look_right_are_refused(make: Maker) -> None:
    report = report_of(make)
    names = [field.name for field in dataclasses.fields(report)]
    double: Any = SimpleNamespace(**{name: getattr(report, name) for name in names})
    look: Any = SimpleNamespace(**dict.fromkeys(TelemetryColumns._fields, 0.0))
    for reports, message in (
        ({**EMPTY, "r0c1": double}, "it must be a SeedStateReport"),
        ({**EMPTY, "r0c1": replace(report, telemetry=look)}, "it must be a SeedTelemetry or None"),
    ):
        with pytest.raises(InvalidObservationError, match=message):
            pack_observations([signals_of(make)], [reports], SLOTS, task=make.task)


def test_torch_s_default_device_is_followed_and_leaves_nothing_behind(make: Maker) -> None:
    slots = SlotConfig(("r8c8",))
    signals, reports = [signals_of(make)], [{"r8c8": None}]
    torch.set_default_device("meta")
    try:
        _layout_of.cache_clear()
        packed = pack_observations(signals, reports, slots, task=make.task)
    finally:
        torch.set_default_device(None)
    assert {column.device.type for block in packed if block for column in block} == {"meta"}
    packed = pack_observations(signals, reports, slots, task=make.task)
    assert {column.device.type for block in packed if block for column in block} == {"cpu"}


def test_a_broken_part_does_not_hide_the_others(make: Maker) -> None:
    signals: Any = replace(
        signals_of(make, best_val_loss=None, loss_delta=nan), total_params=-3, loss_history=7
    )
    report: Any = replace(report_of(make, stage=5), metrics=None)
    other: Any = replace(signals_of(make), metrics=None, accuracy_history=(1.0, None, 101.0))
    with pytest.raises(InvalidObservationError) as caught:
        pack_observations([signals, other], [{**EMPTY, "r0c1": report}, EMPTY], SLOTS, task=make.task)
    found = [(type(problem), str(problem).partition(" is ")[0]) for problem in caught.value.problems]
    assert found == [
        (ImpossibleCountError, "environment 0: signals.total_params"),
        (NonFiniteValueError, "environment 0: signals.metrics.loss_delta"),
        (WrongTypeError, "environment 0: signals.loss_history"),
        (MissingValueError, "environment 0: signals.metrics.best_val_loss"),
        (WrongTypeError, "environment 0, slot r0c1: report.metrics"),
        (InvalidStageError, "environment 0, slot r0c1: report.stage"),
        (WrongTypeError, "environment 1: signals.metrics"),
        (MissingValueError, "environment 1: signals.accuracy_history[-2]"),
        (OutOfRangeError, "environment 1: signals.accuracy_history[-1]"),
    ]


def test_a_long_list_of_problems_is_cut_in_words_only(make: Maker) -> None:
    with pytest.raises(InvalidObservationError) as caught:
        pack_observations([signals_of(make, val_loss=nan)] * 70, [EMPTY] * 70, SLOTS, task=make.task)
    assert len(caught.value.problems) == 70
    assert str(caught.value).splitlines()[-1] == "and 20 more"


def test_a_mapping_that_makes_up_entries_does_not_hide_a_missing_slot(make: Maker) -> None:
    reports: dict[str, Any] = defaultdict(lambda: None, {"r0c0": None, "r0c1": None})
    with pytest.raises(InvalidObservationError, match="no entry for slot r0c2"):
        pack_observations([signals_of(make)], [reports], SLOTS, task=make.task)
    assert set(reports) == {"r0c0", "r0c1"}


def test_everything_wrong_is_reported_together(make: Maker) -> None:
    wrong = {"r0c0": None, "r0c1": report_of(make, blueprint_id="convx", stage=5), "rXcY": None}
    with pytest.raises(InvalidObservationError) as caught:
        pack_observations(
            [signals_of(make, val_loss=nan, epoch=-1), signals_of(make)],
            [wrong, wrong],
            SLOTS,
            task=make.task,
        )
    kinds = [type(problem) for problem in caught.value.problems]
    each = [MissingSlotError, UnknownSlotError, UnknownBlueprintError, InvalidStageError]
    assert kinds == [NonFiniteValueError, ImpossibleCountError, *each, *each]
    assert str(caught.value).count("\n") == 9


def test_lists_of_another_length(make: Maker) -> None:
    signals = [signals_of(make)]
    with pytest.raises(ObservationShapeError, match="`slot_reports` describes 2 environments, `signals` 1"):
        pack_observations(signals, [EMPTY, EMPTY], SLOTS, task=make.task)
    with pytest.raises(ObservationShapeError, match="`task` describes 0 environments"):
        pack_observations(signals, [EMPTY], SLOTS, task=[])
    with pytest.raises(ObservationShapeError, match="at least one environment"):
        pack_observations([], [], SLOTS, task=make.task)


def test_no_limit_of_seeds_means_every_slot(make: Maker) -> None:
    task = TaskConfig("free", make.task.topology, 25, 450, 0, 10, 2.3, 0.3, 400, 0.3)
    assert pack_observations([signals_of(make)], [EMPTY], SLOTS, task=task).signals.seed_capacity.item() == 3
