"""The plain way: each environment and slot in turn, each feature by its own line, straight from the objects."""

from collections.abc import Iterator, Mapping
from math import inf, isfinite
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

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
    observation_schema,
)
from tamiyo_features import batch_obs_to_features, get_feature_size, obs_to_multislot_features


def clamp(value: float, low: float, high: float) -> float:
    return min(max(value, low), high)


def optional(value: float | None, scale: float, low: float, high: float) -> Iterator[float]:
    known = value is not None and isfinite(value)
    yield clamp(value * scale, low, high) if value is not None and known else 0.0
    yield float(known)


def one_hot(value: int | None, members: list[int]) -> Iterator[float]:
    for member in members:
        yield float(value == member)


def base_features(signals: TrainingSignals, task: TaskConfig, num_slots: int) -> Iterator[float]:
    m, loss = signals.metrics, 1 / task.baseline_loss
    yield clamp(m.epoch / task.max_epochs, 0, 1)
    yield clamp(m.global_step / task.max_steps, 0, 1)
    yield clamp(m.train_loss * loss, 0, 4)
    yield clamp(m.val_loss * loss, 0, 4)
    yield from optional(m.loss_delta, loss, -1, 1)
    yield clamp(m.train_accuracy / 100, 0, 1)
    yield clamp(m.val_accuracy / 100, 0, 1)
    yield from optional(m.accuracy_delta, 0.1, -1, 1)
    yield clamp(m.plateau_epochs / 10, 0, 1)
    yield from optional(None if m.best_val_loss == inf else m.best_val_accuracy, 0.01, 0, 1)
    yield from optional(m.best_val_loss, loss, 0, 4)
    for history, scale, high in ((signals.loss_history, loss, 4), (signals.accuracy_history, 0.01, 1)):
        padded = [None] * 5 + list(history)
        values = [list(optional(value, scale, 0, high)) for value in padded[-5:]]
        yield from (value for value, _ in values)
        yield from (known for _, known in values)
    yield clamp(signals.total_params / signals.host_params / 10, 0, 1)
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
    yield clamp(report.blend_tempo_epochs / 8, 0, 1)
    yield clamp(report.alpha_target, 0, 1)
    yield from one_hot(report.alpha_mode, list(AlphaMode))
    yield clamp(report.alpha_steps_total / 8, 0, 1)
    yield clamp(report.alpha_steps_done / 8, 0, 1)
    yield clamp(report.time_to_target / 8, 0, 1)
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
    yield clamp(m.seed_param_count / signals.host_params / 4, 0, 1)
    yield from one_hot(BlueprintAction.from_blueprint_id(report.blueprint_id), list(BlueprintAction))


def telemetry_features(report: SeedStateReport | None) -> Iterator[float]:
    if report is None or report.telemetry is None:
        yield from [0.0] * 8
        return
    t = report.telemetry
    yield 1.0
    yield clamp(t.gradient_norm / 10, 0, 1)
    yield t.gradient_health
    yield float(t.has_vanishing)
    yield float(t.has_exploding)
    yield t.accuracy / 100
    yield clamp(t.accuracy_delta / 10, -1, 1)
    yield clamp(t.blending_velocity, -1, 1)


def reference_features(
    signals: TrainingSignals,
    reports: Mapping[str, SeedStateReport | None],
    slot_config: SlotConfig,
    task: TaskConfig,
    *,
    telemetry: bool,
) -> list[float]:
    features = list(base_features(signals, task, len(slot_config)))
    for slot_id in slot_config:
        report = reports[slot_id]
        features += [0.0] * 53 if report is None else list(slot_features(report, signals, task))
    if telemetry:
        for slot_id in slot_config:
            features += telemetry_features(reports[slot_id])
    return features


@pytest.mark.parametrize(
    "slot_config", [SlotConfig.default(), SlotConfig(("r2c1",)), SlotConfig.for_grid(5, 5)]
)
@pytest.mark.parametrize("telemetry", [False, True])
def test_features_equal_the_loop(make: Any, slot_config: SlotConfig, telemetry: bool) -> None:
    for seed in range(20):
        signals, reports = make.batch(seed, 4, slot_config.slot_ids, telemetry=telemetry)
        found = batch_obs_to_features(signals, reports, slot_config, task=make.task, telemetry=telemetry)
        expected = [
            reference_features(one, slots, slot_config, make.task, telemetry=telemetry)
            for one, slots in zip(signals, reports, strict=True)
        ]
        torch.testing.assert_close(found, torch.tensor(expected), atol=1e-6, rtol=1e-6)


@given(st.integers(0, 2**31))
def test_every_feature_lies_in_its_declared_range(make: Any, seed: int) -> None:
    slots = SlotConfig.default()
    signals, reports = make.batch(seed, 3, slots.slot_ids, telemetry=True)
    features = batch_obs_to_features(signals, reports, slots, task=make.task, telemetry=True)
    schema = observation_schema(slots, telemetry=True)
    assert features.isfinite().all()
    assert (features >= torch.tensor(schema.low)).all()
    assert (features <= torch.tensor(schema.high)).all()


def test_one_environment_is_a_row_of_the_batch(make: Any) -> None:
    slots = SlotConfig.default()
    signals, reports = make.batch(0, 3, slots.slot_ids)
    batch = batch_obs_to_features(signals, reports, slots, task=make.task)
    for env in range(3):
        row = obs_to_multislot_features(signals[env], reports[env], slots, task=make.task)
        assert torch.equal(row, batch[env])
    assert batch.shape[-1] == get_feature_size(slots) == observation_schema(slots).dim


def test_tasks_may_differ_by_environment(make: Any) -> None:
    slots = SlotConfig.default()
    signals, reports = make.batch(0, 2, slots.slot_ids)
    other = TaskConfig("other", Topology.TRANSFORMER, 50, 900, 0, 4, 1.4, 0.1, 400)
    found = batch_obs_to_features(signals, reports, slots, task=[make.task, other])
    expected = [
        reference_features(one, here, slots, task, telemetry=False)
        for one, here, task in zip(signals, reports, [make.task, other], strict=True)
    ]
    torch.testing.assert_close(found, torch.tensor(expected), atol=1e-6, rtol=1e-6)
