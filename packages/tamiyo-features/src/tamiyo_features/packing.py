"""Objects to columns: the one place where Python objects become tensors."""

from collections.abc import Mapping, Sequence
from math import inf, nan

import torch
from torch import Tensor

from leyline_types import (
    HISTORY_LENGTH,
    BlueprintAction,
    Observation,
    SeedStage,
    SeedStateReport,
    SignalColumns,
    SlotColumns,
    SlotConfig,
    TaskConfig,
    TelemetryColumns,
    TrainingSignals,
)
from tamiyo_features.checking import check_batch
from tamiyo_features.errors import InvalidObservationError, ObservationShapeError

SlotReports = Mapping[str, SeedStateReport | None]

TELEMETRY_BITS = ("known", "has_vanishing", "has_exploding")
"""The boolean columns of `TelemetryColumns`."""


def pack_observations(
    signals: Sequence[TrainingSignals],
    slot_reports: Sequence[SlotReports],
    slot_config: SlotConfig,
    *,
    task: TaskConfig | Sequence[TaskConfig],
    device: torch.device | str | None = None,
) -> Observation[Tensor]:
    """Columns from what training loops report.

    None and a best loss of inf (before the first validation) become unknown: NaN, or -1 in integer columns. Histories
    keep their newest points, with unknown ones in front where there are too few. Columns have the dtypes float32, int64
    and bool. The telemetry block is there if any report carries telemetry.

    Args:
        signals: one per environment, at least one.
        slot_reports: one mapping per environment, with every slot of `slot_config`; None is an empty slot.
        slot_config: the slots, in the order of the slot axis.
        task: of all environments, or one per environment.
        device: of the columns.

    Returns:
        Signals [env], slots and telemetry [env, slot].

    Raises:
        ObservationShapeError: no environments, or lists of unequal length.
        InvalidObservationError: holds every other problem of the batch: slots missing, unknown or mixed up, unknown
            blueprints, invalid stages, values that are not finite.
    """
    tasks = [task] * len(signals) if isinstance(task, TaskConfig) else list(task)
    if not signals:
        raise ObservationShapeError("`signals` must hold at least one environment")
    for name, other in (("slot_reports", slot_reports), ("task", tasks)):
        if len(other) != len(signals):
            raise ObservationShapeError(
                f"`{name}` describes {len(other)} environments, `signals` {len(signals)}"
            )
    problems = check_batch(signals, slot_reports, slot_config)
    if problems:
        raise InvalidObservationError(problems)
    rows = [[reports[slot_id] for slot_id in slot_config] for reports in slot_reports]
    with_telemetry = any(
        report is not None and report.telemetry is not None for row in rows for report in row
    )
    return Observation(
        _pack_signals(signals, tasks, len(slot_config), device),
        _pack_slots(rows, device),
        _pack_telemetry(rows, device) if with_telemetry else None,
    )


def _pack_signals(
    signals: Sequence[TrainingSignals],
    tasks: Sequence[TaskConfig],
    num_slots: int,
    device: torch.device | str | None,
) -> SignalColumns[Tensor]:
    metrics = [each.metrics for each in signals]
    validated = [each.best_val_loss < inf for each in metrics]

    def numbers(values: Sequence[float | None] | Sequence[list[float]]) -> Tensor:
        known = [nan if value is None else value for value in values]
        return torch.tensor(known, dtype=torch.float32, device=device)

    def integers(values: Sequence[int | None]) -> Tensor:
        return torch.tensor([-1 if value is None else int(value) for value in values], device=device)

    def bits(values: Sequence[object]) -> Tensor:
        return torch.tensor([bool(value) for value in values], device=device)

    return SignalColumns(
        epoch=integers([each.epoch for each in metrics]),
        max_epochs=integers([task.max_epochs for task in tasks]),
        global_step=integers([each.global_step for each in metrics]),
        max_steps=integers([task.max_steps for task in tasks]),
        train_loss=numbers([each.train_loss for each in metrics]),
        val_loss=numbers([each.val_loss for each in metrics]),
        loss_delta=numbers([each.loss_delta for each in metrics]),
        train_accuracy=numbers([each.train_accuracy for each in metrics]),
        val_accuracy=numbers([each.val_accuracy for each in metrics]),
        accuracy_delta=numbers([each.accuracy_delta for each in metrics]),
        plateau_epochs=integers([each.plateau_epochs for each in metrics]),
        host_stabilized=bits([each.host_stabilized for each in metrics]),
        rolled_back=bits([each.rolled_back for each in signals]),
        best_val_accuracy=numbers(
            [
                each.best_val_accuracy if known else None
                for each, known in zip(metrics, validated, strict=True)
            ]
        ),
        best_val_loss=numbers(
            [each.best_val_loss if known else None for each, known in zip(metrics, validated, strict=True)]
        ),
        grad_norm_host=numbers([each.grad_norm_host for each in metrics]),
        grad_norm_seed=numbers([each.grad_norm_seed for each in metrics]),
        loss_history=numbers([_newest(each.loss_history) for each in signals]),
        accuracy_history=numbers([_newest(each.accuracy_history) for each in signals]),
        baseline_loss=numbers([task.baseline_loss for task in tasks]),
        total_params=integers([each.total_params for each in signals]),
        host_params=integers([each.host_params for each in signals]),
        live_seeds=integers([len(each.active_seeds) for each in signals]),
        seed_capacity=integers([task.seed_capacity(num_slots) for task in tasks]),
        topology=integers([task.topology.code for task in tasks]),
        last_op=integers([each.last_op for each in signals]),
        last_op_took_effect=integers([each.last_op_took_effect for each in signals]),
    )


def _newest(history: Sequence[float]) -> list[float]:
    kept = list(history[-HISTORY_LENGTH:])
    return [nan] * (HISTORY_LENGTH - len(kept)) + kept


def _slot_row(report: SeedStateReport | None) -> SlotColumns[float | None]:
    """One slot's value in every column; None is unknown."""
    if report is None:
        return _EMPTY_SLOT
    metrics = report.metrics
    return SlotColumns(
        occupied=True,
        stage=report.stage,
        blueprint=BlueprintAction.from_blueprint_id(report.blueprint_id),
        alpha=metrics.current_alpha,
        alpha_target=report.alpha_target,
        alpha_mode=report.alpha_mode,
        alpha_steps_total=report.alpha_steps_total,
        alpha_steps_done=report.alpha_steps_done,
        time_to_target=report.time_to_target,
        alpha_velocity=report.alpha_velocity,
        alpha_algorithm=report.alpha_algorithm,
        blend_tempo_epochs=report.blend_tempo_epochs,
        age_epochs=metrics.epochs_total,
        epochs_in_stage=metrics.epochs_in_current_stage,
        improvement_in_stage=metrics.improvement_since_stage_start,
        contribution=metrics.counterfactual_contribution,
        contribution_velocity=metrics.contribution_velocity,
        interaction_sum=metrics.interaction_sum,
        boost_received=metrics.boost_received,
        gradient_ratio=metrics.seed_gradient_norm_ratio,
        upstream_alpha_sum=metrics.upstream_alpha_sum,
        downstream_alpha_sum=metrics.downstream_alpha_sum,
        param_count=metrics.seed_param_count,
    )


_UNKNOWN = ("contribution", "contribution_velocity", "interaction_sum", "boost_received", "gradient_ratio")


def _empty_value(name: str) -> float | None:
    if name == "stage":
        return SeedStage.DORMANT
    return None if name in _UNKNOWN else 0


_EMPTY_SLOT: SlotColumns[float | None] = SlotColumns(*map(_empty_value, SlotColumns._fields))

_DTYPES = dict.fromkeys(SlotColumns._fields, torch.float32) | dict.fromkeys(
    (
        "stage",
        "blueprint",
        "alpha_mode",
        "alpha_steps_total",
        "alpha_steps_done",
        "time_to_target",
        "alpha_algorithm",
        "blend_tempo_epochs",
        "age_epochs",
        "epochs_in_stage",
        "param_count",
    ),
    torch.int64,
)
_DTYPES["occupied"] = torch.bool


def _pack_slots(
    rows: Sequence[Sequence[SeedStateReport | None]], device: torch.device | str | None
) -> SlotColumns[Tensor]:
    shape = (len(rows), len(rows[0]))
    values = zip(*(_slot_row(report) for row in rows for report in row), strict=True)
    return SlotColumns(
        *(
            torch.tensor([nan if x is None else x for x in column], dtype=_DTYPES[name], device=device).view(
                shape
            )
            for name, column in zip(SlotColumns._fields, values, strict=True)
        )
    )


def _pack_telemetry(
    rows: Sequence[Sequence[SeedStateReport | None]], device: torch.device | str | None
) -> TelemetryColumns[Tensor]:
    shape = (len(rows), len(rows[0]))
    values = zip(*(_telemetry_row(report) for row in rows for report in row), strict=True)
    return TelemetryColumns(
        *(
            torch.tensor(
                column, dtype=torch.bool if name in TELEMETRY_BITS else torch.float32, device=device
            ).view(shape)
            for name, column in zip(TelemetryColumns._fields, values, strict=True)
        )
    )


def _telemetry_row(report: SeedStateReport | None) -> TelemetryColumns[float]:
    if report is None or report.telemetry is None:
        return TelemetryColumns(*([0] * len(TelemetryColumns._fields)))
    seen = report.telemetry
    return TelemetryColumns(
        known=True,
        gradient_norm=seen.gradient_norm,
        gradient_health=seen.gradient_health,
        has_vanishing=seen.has_vanishing,
        has_exploding=seen.has_exploding,
        accuracy=seen.accuracy,
        accuracy_delta=seen.accuracy_delta,
        blending_velocity=seen.blending_velocity,
    )
