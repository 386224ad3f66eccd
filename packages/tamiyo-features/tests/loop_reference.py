"""The plain way: environment by environment, slot by slot, each feature by a line of its own, from the objects.

Written from the tables of OBSERVATION.md and without the schema, so that it proves the schema's use too. The
arithmetic is Python's float64, in the order that those tables give: symlog(value / divisor) x scale.
"""

from collections.abc import Callable, Iterator, Sequence
from math import copysign, inf, log1p

import torch
from observation_maker import Reports
from torch import Tensor

from leyline_types import (
    AlphaAlgorithm,
    AlphaMode,
    BlueprintAction,
    LifecycleOp,
    SeedStage,
    SeedStateReport,
    SlotConfig,
    TaskConfig,
    Topology,
    TrainingSignals,
)


def clamp(value: float, low: float, high: float) -> float:
    return min(max(value, low), high)


def symlog(value: float) -> float:
    """sign(x) ln(1 + |x|), clamped to -12 and 12."""
    return clamp(copysign(log1p(abs(value)), value), -12, 12)


def optional(value: float | None, scale: float, low: float, high: float) -> Iterator[float]:
    yield 0.0 if value is None else clamp(value * scale, low, high)
    yield float(value is not None)


def optional_symlog(value: float | None, relative: float = 1.0) -> Iterator[float]:
    yield 0.0 if value is None else symlog(value / relative)
    yield float(value is not None)


def one_hot(value: int | None, members: list[int]) -> Iterator[float]:
    for member in members:
        yield float(value == member)


def history(points: Sequence[float], encode: Callable[[float], float]) -> Iterator[float]:
    newest = points[-5:]
    missing = 5 - len(newest)
    yield from [0.0] * missing
    for point in newest:
        yield encode(point)
    yield from [0.0] * missing
    yield from [1.0] * len(newest)


def base_features(signals: TrainingSignals, task: TaskConfig, num_slots: int) -> Iterator[float]:
    m, baseline = signals.metrics, task.baseline_loss
    validated = m.best_val_loss != inf
    yield clamp(m.epoch / task.max_epochs, 0, 1)
    yield clamp(m.global_step / task.max_steps, 0, 1)
    yield symlog(m.train_loss / baseline)
    yield symlog(m.val_loss / baseline)
    yield from optional_symlog(m.loss_delta, baseline)
    yield clamp(m.train_accuracy * 0.01, 0, 1)
    yield clamp(m.val_accuracy * 0.01, 0, 1)
    yield from optional_symlog(m.accuracy_delta)
    yield clamp(m.plateau_epochs * 0.1, 0, 1)
    yield from optional(m.best_val_accuracy if validated else None, 0.01, 0, 1)
    yield from optional_symlog(m.best_val_loss if validated else None, baseline)
    yield from history(signals.loss_history, lambda loss: symlog(loss / baseline))
    yield from history(signals.accuracy_history, lambda accuracy: clamp(accuracy * 0.01, 0, 1))
    yield symlog(signals.total_params / signals.host_params)
    yield clamp(len(signals.active_seeds) / min(task.max_seeds or num_slots, num_slots), 0, 1)
    yield from one_hot(signals.last_op, list(LifecycleOp))
    yield from optional(signals.last_op_took_effect, 1, 0, 1)
    yield from optional_symlog(m.grad_norm_host)
    yield from optional_symlog(m.grad_norm_seed)
    yield float(m.host_stabilized)
    yield float(signals.rolled_back)
    yield float(task.topology is Topology.TRANSFORMER)
    yield symlog(task.parameter_price)


def seed_features(
    report: SeedStateReport | None, signals: TrainingSignals, task: TaskConfig
) -> Iterator[float]:
    if report is None:
        yield from [0.0] * 53
        return
    m = report.metrics
    yield 1.0
    yield from one_hot(report.stage, list(SeedStage))
    yield clamp(m.current_alpha, 0, 1)
    yield from optional_symlog(m.counterfactual_contribution)
    yield from optional_symlog(m.contribution_velocity)
    yield clamp(report.blend_tempo_epochs * 0.125, 0, 1)
    yield clamp(report.alpha_target, 0, 1)
    yield from one_hot(report.alpha_mode, list(AlphaMode))
    yield clamp(report.alpha_steps_total * 0.125, 0, 1)
    yield clamp(report.alpha_steps_done * 0.125, 0, 1)
    yield clamp(report.time_to_target * 0.125, 0, 1)
    yield clamp(report.alpha_velocity, -1, 1)
    yield from one_hot(report.alpha_algorithm, list(AlphaAlgorithm))
    yield from optional_symlog(m.interaction_sum)
    yield from optional_symlog(m.boost_received)
    yield clamp(m.upstream_alpha_sum * 0.2, 0, 1)
    yield clamp(m.downstream_alpha_sum * 0.2, 0, 1)
    yield clamp(m.epochs_total / task.max_epochs, 0, 1)
    yield clamp(m.epochs_in_current_stage / task.max_epochs, 0, 1)
    yield symlog(m.improvement_since_stage_start)
    yield from optional_symlog(m.seed_gradient_norm_ratio)
    yield symlog(m.seed_param_count / signals.host_params)
    yield from one_hot(BlueprintAction.from_blueprint_id(report.blueprint_id), list(BlueprintAction))


def diagnostic_features(slot_id: str, signals: TrainingSignals) -> Iterator[float]:
    for diagnostics in signals.slot_diagnostics:
        if diagnostics.slot_id == slot_id:
            yield from optional(diagnostics.host_gradient_share, 1, 0, 1)
            yield from optional(diagnostics.activation_rank, 1, 0, 1)
            yield from optional(diagnostics.within_map_variance, 1, 0, 1)
            return
    yield from [0.0] * 6


def telemetry_features(report: SeedStateReport | None) -> Iterator[float]:
    if report is None or report.telemetry is None:
        yield from [0.0] * 8
        return
    t = report.telemetry
    yield 1.0
    yield symlog(t.gradient_norm)
    yield t.gradient_health
    yield float(t.has_vanishing)
    yield float(t.has_exploding)
    yield t.accuracy * 0.01
    yield symlog(t.accuracy_delta)
    yield clamp(t.blending_velocity, -1, 1)


def features_of(
    signals: TrainingSignals, reports: Reports, slot_config: SlotConfig, task: TaskConfig, *, telemetry: bool
) -> Iterator[float]:
    """One environment's features in order."""
    yield from base_features(signals, task, len(slot_config))
    for slot_id in slot_config:
        yield from seed_features(reports[slot_id], signals, task)
        yield from diagnostic_features(slot_id, signals)
    if telemetry:
        for slot_id in slot_config:
            yield from telemetry_features(reports[slot_id])


def loop(
    signals: Sequence[TrainingSignals],
    slot_reports: Sequence[Reports],
    slot_config: SlotConfig,
    tasks: Sequence[TaskConfig],
    *,
    telemetry: bool = False,
    out: Tensor,
) -> Tensor:
    """The reference: writes each element of `out`, [env, feature], one after another."""
    for env in range(len(signals)):
        features = features_of(signals[env], slot_reports[env], slot_config, tasks[env], telemetry=telemetry)
        for index, value in enumerate(features):
            out[env, index] = value
    return out


def list_loop(
    signals: Sequence[TrainingSignals],
    slot_reports: Sequence[Reports],
    slot_config: SlotConfig,
    tasks: Sequence[TaskConfig],
    *,
    telemetry: bool = False,
    dtype: torch.dtype = torch.float32,
) -> Tensor:
    """The same features, gathered in lists of Python numbers that become a tensor at the end."""
    return torch.tensor(
        [
            list(features_of(each, reports, slot_config, task, telemetry=telemetry))
            for each, reports, task in zip(signals, slot_reports, tasks, strict=True)
        ],
        dtype=dtype,
    )
