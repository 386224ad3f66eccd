"""The plain way: environment by environment, slot by slot, each feature by a line of its own, from the objects.

Written from the tables of OBSERVATION.md and without the schema, so that it proves the schema's use too. The
arithmetic is Python's float64, in the order that those tables give: value / divisor x scale.
"""

from collections.abc import Iterator, Sequence
from math import inf

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


def optional(
    value: float | None, scale: float, low: float, high: float, *, relative: float = 1.0
) -> Iterator[float]:
    yield 0.0 if value is None else clamp(value / relative * scale, low, high)
    yield float(value is not None)


def one_hot(value: int | None, members: list[int]) -> Iterator[float]:
    for member in members:
        yield float(value == member)


def history(points: Sequence[float], scale: float, high: float, relative: float) -> Iterator[float]:
    newest = points[-5:]
    missing = 5 - len(newest)
    yield from [0.0] * missing
    for point in newest:
        yield clamp(point / relative * scale, 0, high)
    yield from [0.0] * missing
    yield from [1.0] * len(newest)


def base_features(signals: TrainingSignals, task: TaskConfig, num_slots: int) -> Iterator[float]:
    m, baseline = signals.metrics, task.baseline_loss
    validated = m.best_val_loss != inf
    yield clamp(m.epoch / task.max_epochs, 0, 1)
    yield clamp(m.global_step / task.max_steps, 0, 1)
    yield clamp(m.train_loss / baseline, 0, 4)
    yield clamp(m.val_loss / baseline, 0, 4)
    yield from optional(m.loss_delta, 1, -1, 1, relative=baseline)
    yield clamp(m.train_accuracy * 0.01, 0, 1)
    yield clamp(m.val_accuracy * 0.01, 0, 1)
    yield from optional(m.accuracy_delta, 0.1, -1, 1)
    yield clamp(m.plateau_epochs * 0.1, 0, 1)
    yield from optional(m.best_val_accuracy if validated else None, 0.01, 0, 1)
    yield from optional(m.best_val_loss if validated else None, 1, 0, 4, relative=baseline)
    yield from history(signals.loss_history, 1, 4, baseline)
    yield from history(signals.accuracy_history, 0.01, 1, 1)
    yield clamp(signals.total_params / signals.host_params * 0.1, 0, 1)
    yield clamp(len(signals.active_seeds) / min(task.max_seeds or num_slots, num_slots), 0, 1)
    yield from one_hot(signals.last_op, list(LifecycleOp))
    yield from optional(signals.last_op_took_effect, 1, 0, 1)
    yield from optional(m.grad_norm_host, 0.1, 0, 1)
    yield from optional(m.grad_norm_seed, 0.1, 0, 1)
    yield float(m.host_stabilized)
    yield float(signals.rolled_back)
    yield float(task.topology is Topology.TRANSFORMER)


def slot_features(report: SeedStateReport, signals: TrainingSignals, task: TaskConfig) -> Iterator[float]:
    m = report.metrics
    yield 1.0
    yield from one_hot(report.stage, list(SeedStage))
    yield clamp(m.current_alpha, 0, 1)
    yield from optional(m.counterfactual_contribution, 0.1, -1, 1)
    yield from optional(m.contribution_velocity, 0.1, -1, 1)
    yield clamp(report.blend_tempo_epochs * 0.125, 0, 1)
    yield clamp(report.alpha_target, 0, 1)
    yield from one_hot(report.alpha_mode, list(AlphaMode))
    yield clamp(report.alpha_steps_total * 0.125, 0, 1)
    yield clamp(report.alpha_steps_done * 0.125, 0, 1)
    yield clamp(report.time_to_target * 0.125, 0, 1)
    yield clamp(report.alpha_velocity, -1, 1)
    yield from one_hot(report.alpha_algorithm, list(AlphaAlgorithm))
    yield from optional(m.interaction_sum, 0.1, -1, 1)
    yield from optional(m.boost_received, 0.1, -1, 1)
    yield clamp(m.upstream_alpha_sum * 0.2, 0, 1)
    yield clamp(m.downstream_alpha_sum * 0.2, 0, 1)
    yield clamp(m.epochs_total / task.max_epochs, 0, 1)
    yield clamp(m.epochs_in_current_stage / task.max_epochs, 0, 1)
    yield clamp(m.improvement_since_stage_start * 0.1, -1, 1)
    yield from optional(m.seed_gradient_norm_ratio, 0.5, 0, 1)
    yield clamp(m.seed_param_count / signals.host_params * 0.25, 0, 1)
    yield from one_hot(BlueprintAction.from_blueprint_id(report.blueprint_id), list(BlueprintAction))


def telemetry_features(report: SeedStateReport | None) -> Iterator[float]:
    if report is None or report.telemetry is None:
        yield from [0.0] * 8
        return
    t = report.telemetry
    yield 1.0
    yield clamp(t.gradient_norm * 0.1, 0, 1)
    yield t.gradient_health
    yield float(t.has_vanishing)
    yield float(t.has_exploding)
    yield t.accuracy * 0.01
    yield clamp(t.accuracy_delta * 0.1, -1, 1)
    yield clamp(t.blending_velocity, -1, 1)


def features_of(
    signals: TrainingSignals, reports: Reports, slot_config: SlotConfig, task: TaskConfig, *, telemetry: bool
) -> Iterator[float]:
    """One environment's features in order."""
    yield from base_features(signals, task, len(slot_config))
    for slot_id in slot_config:
        report = reports[slot_id]
        if report is None:
            yield from [0.0] * 53
        else:
            yield from slot_features(report, signals, task)
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
