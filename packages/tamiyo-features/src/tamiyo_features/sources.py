"""Where each column's value stands in the objects, and which rule it must satisfy: a table per kind of object.

These tables are all that packing reads, and all that it checks.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from math import inf
from operator import attrgetter
from typing import Any, Final, NamedTuple, TypeVar

from leyline_types import HISTORY_LENGTH, SeedStage, TaskConfig, TrainingSignals
from tamiyo_features.errors import MissingValueError
from tamiyo_features.rules import (
    ALPHA_ALGORITHM,
    ALPHA_MODE,
    BIT,
    COUNT,
    FRACTION,
    LOSS_SCALE,
    NORM,
    NUMBER,
    OP,
    PERCENT,
    POSITIVE_COUNT,
    STAGE,
    Rule,
)

_PointT = TypeVar("_PointT")


class Source(NamedTuple):
    """One value of an object.

    Args:
        column: where it goes; a history's points, in order, go to the same one.
        path: the attribute that holds it.
        rule: what it must satisfy.
        empty: what an absent object gives to a required column; optional ones are then unknown.
    """

    column: str
    path: str
    rule: Rule
    empty: float = 0.0


@dataclass(frozen=True, eq=False)
class SourceTable:
    """The sources of one kind of object, and the functions that read an object's values in their order.

    Args:
        name: what messages call the object.
        required: sources whose value is never None; `required_row` reads them.
        optional: sources whose value may be None, for unknown; `optional_row` reads them.
    """

    name: str
    required: tuple[Source, ...]
    optional: tuple[Source, ...]
    required_row: Callable[[Any], Sequence[object]]
    optional_row: Callable[[Any], Sequence[object]]


def _getter(sources: tuple[Source, ...]) -> Callable[[Any], Sequence[object]]:
    return attrgetter(*(source.path for source in sources))


def _nothing(_: object) -> tuple[()]:
    return ()


_SLOT: Final = (
    Source("alpha", "metrics.current_alpha", FRACTION),
    Source("alpha_target", "alpha_target", FRACTION),
    Source("alpha_velocity", "alpha_velocity", NUMBER),
    Source("improvement_in_stage", "metrics.improvement_since_stage_start", NUMBER),
    Source("upstream_alpha_sum", "metrics.upstream_alpha_sum", NORM),
    Source("downstream_alpha_sum", "metrics.downstream_alpha_sum", NORM),
    Source("stage", "stage", STAGE, empty=SeedStage.DORMANT),
    Source("alpha_mode", "alpha_mode", ALPHA_MODE),
    Source("alpha_algorithm", "alpha_algorithm", ALPHA_ALGORITHM),
    Source("alpha_steps_total", "alpha_steps_total", COUNT),
    Source("alpha_steps_done", "alpha_steps_done", COUNT),
    Source("time_to_target", "time_to_target", COUNT),
    Source("blend_tempo_epochs", "blend_tempo_epochs", COUNT),
    Source("age_epochs", "metrics.epochs_total", COUNT),
    Source("epochs_in_stage", "metrics.epochs_in_current_stage", COUNT),
    Source("param_count", "metrics.seed_param_count", COUNT),
)

_SLOT_MEASURES: Final = (
    Source("contribution", "metrics.counterfactual_contribution", NUMBER),
    Source("contribution_velocity", "metrics.contribution_velocity", NUMBER),
    Source("interaction_sum", "metrics.interaction_sum", NUMBER),
    Source("boost_received", "metrics.boost_received", NUMBER),
    Source("gradient_ratio", "metrics.seed_gradient_norm_ratio", NORM),
)

SLOT_SOURCES: Final = SourceTable("report", _SLOT, _SLOT_MEASURES, _getter(_SLOT), _getter(_SLOT_MEASURES))
"""Of `SeedStateReport`; besides, the blueprint is found by its id."""

_TELEMETRY: Final = (
    Source("gradient_norm", "gradient_norm", NORM),
    Source("gradient_health", "gradient_health", FRACTION),
    Source("accuracy", "accuracy", PERCENT),
    Source("accuracy_delta", "accuracy_delta", NUMBER),
    Source("blending_velocity", "blending_velocity", NUMBER),
    Source("has_vanishing", "has_vanishing", BIT),
    Source("has_exploding", "has_exploding", BIT),
)

TELEMETRY_SOURCES: Final = SourceTable("telemetry", _TELEMETRY, (), _getter(_TELEMETRY), _nothing)
"""Of `SeedTelemetry`."""


_DIAGNOSED: Final = (
    Source("host_gradient_share", "host_gradient_share", FRACTION),
    Source("activation_rank", "activation_rank", FRACTION),
    Source("within_map_variance", "within_map_variance", FRACTION),
)

DIAGNOSTIC_SOURCES: Final = SourceTable("diagnostics", (), _DIAGNOSED, _nothing, _getter(_DIAGNOSED))
"""Of `SlotDiagnostics`."""


class Environment(NamedTuple):
    """What the signal columns are read from."""

    signals: TrainingSignals
    task: TaskConfig
    num_slots: int


_REPORTED: Final = (
    Source("train_loss", "signals.metrics.train_loss", NUMBER),
    Source("val_loss", "signals.metrics.val_loss", NUMBER),
    Source("train_accuracy", "signals.metrics.train_accuracy", PERCENT),
    Source("val_accuracy", "signals.metrics.val_accuracy", PERCENT),
    Source("epoch", "signals.metrics.epoch", COUNT),
    Source("global_step", "signals.metrics.global_step", COUNT),
    Source("plateau_epochs", "signals.metrics.plateau_epochs", COUNT),
    Source("total_params", "signals.total_params", COUNT),
    Source("host_params", "signals.host_params", POSITIVE_COUNT),
    Source("host_stabilized", "signals.metrics.host_stabilized", BIT),
    Source("rolled_back", "signals.rolled_back", BIT),
    Source("baseline_loss", "task.baseline_loss", LOSS_SCALE),
    Source("max_epochs", "task.max_epochs", POSITIVE_COUNT),
    Source("max_steps", "task.max_steps", POSITIVE_COUNT),
    Source("parameter_price", "task.parameter_price", NORM),
)

_COUNTED: Final = (
    Source("live_seeds", "len(signals.active_seeds)", COUNT),
    Source("seed_capacity", "task.seed_capacity(num_slots)", POSITIVE_COUNT),
    Source("topology", "task.topology.code", COUNT),
)

_MEASURED: Final = (
    Source("loss_delta", "signals.metrics.loss_delta", NUMBER),
    Source("accuracy_delta", "signals.metrics.accuracy_delta", NUMBER),
    Source("grad_norm_host", "signals.metrics.grad_norm_host", NORM),
    Source("grad_norm_seed", "signals.metrics.grad_norm_seed", NORM),
    Source("last_op", "signals.last_op", OP),
    Source("last_op_took_effect", "signals.last_op_took_effect", BIT),
)

_AGES: Final = range(HISTORY_LENGTH, 0, -1)

_CURVES: Final = (
    Source("best_val_loss", "signals.metrics.best_val_loss", NUMBER),
    Source("best_val_accuracy", "signals.metrics.best_val_accuracy", PERCENT),
    *(Source("loss_history", f"signals.loss_history[-{age}]", NUMBER) for age in _AGES),
    *(Source("accuracy_history", f"signals.accuracy_history[-{age}]", PERCENT) for age in _AGES),
)

_get_reported: Final = _getter(_REPORTED)
_get_measured: Final = _getter(_MEASURED)


def _required_signals(environment: Environment) -> Sequence[object]:
    """The values of `_REPORTED` and `_COUNTED`."""
    signals, task, num_slots = environment
    counted = (len(signals.active_seeds), task.seed_capacity(num_slots), task.topology.code)
    return (*_get_reported(environment), *counted)


def _optional_signals(environment: Environment) -> Sequence[object]:
    """The values of `_MEASURED` and `_CURVES`: what is not known yet is None, whatever form it has in the objects.

    Raises:
        MissingValueError: None where these objects may not hold it.
    """
    signals = environment.signals
    best: tuple[float | None, float] = (signals.metrics.best_val_loss, signals.metrics.best_val_accuracy)
    curves = (newest_points(signals.loss_history), newest_points(signals.accuracy_history))
    if best[0] is None or any(None in points for points in curves):
        raise MissingValueError
    unknown = (None,) * HISTORY_LENGTH
    return (
        *_get_measured(environment),
        *((None, None) if best[0] == inf else best),
        *(value for points in curves for value in (unknown + points)[-HISTORY_LENGTH:]),
    )


def newest_points(history: Iterable[_PointT]) -> tuple[_PointT, ...]:
    """The points that the columns hold, at most `HISTORY_LENGTH`."""
    return tuple(history)[-HISTORY_LENGTH:]


SIGNAL_SOURCES: Final = SourceTable(
    "", _REPORTED + _COUNTED, _MEASURED + _CURVES, _required_signals, _optional_signals
)
"""Of `Environment`. Of histories only the points that columns hold are read."""
