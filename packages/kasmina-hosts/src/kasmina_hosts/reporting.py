"""The state of a population as objects, one per host and slot, for callers that want to read rather than compute."""

from torch import Tensor

from kasmina_hosts.lifecycle import LIVE_STAGES, Lifecycle
from kasmina_hosts.measures import SeedMeasures
from leyline_types import (
    AlphaAlgorithm,
    AlphaMode,
    BlueprintAction,
    LifecycleOp,
    Observation,
    SeedMetrics,
    SeedStage,
    SeedStateReport,
    SlotConfig,
    SlotDiagnostics,
    TrainingMetrics,
    TrainingSignals,
)

IDLE_EPOCHS = 5
"""A seed that trains for so long without improving its host needs attention."""


def signals_of(observation: Observation[Tensor], host: int, slot_config: SlotConfig) -> TrainingSignals:
    """One host's signals."""
    at = {name: column[host] for name, column in observation.signals._asdict().items()}
    known = [int(op) if int(op) >= 0 else None for op in (at["last_op"], at["last_op_took_effect"])]
    active = tuple(
        _seed_id(observation, host, slot, slot_id)
        for slot, slot_id in enumerate(slot_config)
        if int(observation.slots.stage[host, slot]) in LIVE_STAGES
    )
    return TrainingSignals(
        metrics=TrainingMetrics(
            epoch=int(at["epoch"]),
            global_step=int(at["global_step"]),
            train_loss=float(at["train_loss"]),
            val_loss=float(at["val_loss"]),
            loss_delta=_known(at["loss_delta"]),
            train_accuracy=float(at["train_accuracy"]),
            val_accuracy=float(at["val_accuracy"]),
            accuracy_delta=_known(at["accuracy_delta"]),
            plateau_epochs=int(at["plateau_epochs"]),
            host_stabilized=int(at["host_stabilized"]),
            best_val_accuracy=float(at["best_val_accuracy"]),
            best_val_loss=float(at["best_val_loss"]),
            grad_norm_host=_known(at["grad_norm_host"]),
            grad_norm_seed=_known(at["grad_norm_seed"]),
        ),
        active_seeds=active,
        available_slots=int((~observation.slots.occupied[host]).sum()),
        loss_history=tuple(x for x in at["loss_history"].tolist() if x == x),
        accuracy_history=tuple(x for x in at["accuracy_history"].tolist() if x == x),
        total_params=int(at["total_params"]),
        host_params=int(at["host_params"]),
        last_op=None if known[0] is None else LifecycleOp(known[0]),
        last_op_took_effect=None if known[1] is None else bool(known[1]),
        rolled_back=bool(at["rolled_back"]),
        slot_diagnostics=tuple(
            SlotDiagnostics(
                slot_id=slot_id,
                host_gradient_share=_known(observation.slots.host_gradient_share[host, slot]),
                activation_rank=_known(observation.slots.activation_rank[host, slot]),
                within_map_variance=_known(observation.slots.within_map_variance[host, slot]),
            )
            for slot, slot_id in enumerate(slot_config)
        ),
    )


def reports_of(
    observation: Observation[Tensor], life: Lifecycle, seeds: SeedMeasures, host: int, slot_config: SlotConfig
) -> dict[str, SeedStateReport | None]:
    """One host's slots; None where a slot is empty."""
    return {
        slot_id: _report(observation, life, seeds, host, slot, slot_id) if life.occupied[host, slot] else None
        for slot, slot_id in enumerate(slot_config)
    }


def _report(
    observation: Observation[Tensor], life: Lifecycle, seeds: SeedMeasures, host: int, slot: int, slot_id: str
) -> SeedStateReport:
    at = {name: column[host, slot] for name, column in observation.slots._asdict().items()}
    accuracy = float(observation.signals.val_accuracy[host])
    initial, improvement = float(seeds.initial_accuracy[host, slot]), float(at["improvement_in_stage"])
    contribution, stage = _known(at["contribution"]), SeedStage(int(at["stage"]))
    idle = stage is SeedStage.TRAINING and int(at["epochs_in_stage"]) >= IDLE_EPOCHS and improvement <= 0
    needs_attention = idle or (contribution is not None and contribution < 0)
    return SeedStateReport(
        seed_id=_seed_id(observation, host, slot, slot_id),
        slot_id=slot_id,
        blueprint_id=BlueprintAction(int(at["blueprint"])).blueprint_id,
        stage=stage,
        previous_stage=SeedStage(int(life.previous_stage[host, slot])),
        previous_epochs_in_stage=int(life.previous_epochs_in_stage[host, slot]),
        alpha_mode=AlphaMode(int(at["alpha_mode"])),
        alpha_target=float(at["alpha_target"]),
        alpha_steps_total=int(at["alpha_steps_total"]),
        alpha_steps_done=int(at["alpha_steps_done"]),
        time_to_target=int(at["time_to_target"]),
        alpha_velocity=float(at["alpha_velocity"]),
        alpha_algorithm=AlphaAlgorithm(int(at["alpha_algorithm"])),
        blend_tempo_epochs=int(at["blend_tempo_epochs"]),
        metrics=SeedMetrics(
            epochs_total=int(at["age_epochs"]),
            epochs_in_current_stage=int(at["epochs_in_stage"]),
            initial_val_accuracy=initial,
            current_val_accuracy=accuracy,
            best_val_accuracy=float(seeds.best_accuracy[host, slot]),
            accuracy_at_stage_start=float(seeds.stage_accuracy[host, slot]),
            total_improvement=accuracy - initial,
            improvement_since_stage_start=improvement,
            counterfactual_contribution=contribution,
            contribution_velocity=_known(at["contribution_velocity"]),
            interaction_sum=_known(at["interaction_sum"]),
            boost_received=_known(at["boost_received"]),
            upstream_alpha_sum=float(at["upstream_alpha_sum"]),
            downstream_alpha_sum=float(at["downstream_alpha_sum"]),
            seed_gradient_norm_ratio=_known(at["gradient_ratio"]),
            seed_param_count=int(at["param_count"]),
            host_param_count=int(observation.signals.host_params[host]),
            gradient_norm_avg=_known(seeds.gradient_norm[host, slot]),
            current_alpha=float(at["alpha"]),
            alpha_ramp_step=int(at["alpha_steps_done"]),
        ),
        is_healthy=not needs_attention,
        is_improving=improvement > 0,
        needs_attention=needs_attention,
    )


def _seed_id(observation: Observation[Tensor], host: int, slot: int, slot_id: str) -> str:
    """Slot and the epoch in which the seed germinated: unique within the episode of a host."""
    born = int(observation.signals.epoch[host]) - int(observation.slots.age_epochs[host, slot])
    return f"{slot_id}-epoch{born}"


def _known(value: Tensor) -> float | None:
    return None if value.isnan() else float(value)
