"""The state of a population as the columns that policies see."""

from typing import NamedTuple

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from kasmina_hosts.diagnostics import Diagnostics
from kasmina_hosts.lifecycle import Lifecycle
from kasmina_hosts.measures import HostMeasures, SeedMeasures, downstream_alpha, upstream_alpha
from leyline_types import Observation, SignalColumns, SlotColumns, TaskConfig


class LastAction(NamedTuple):
    """Of each host, [host]: op and whether it took effect, -1 before the first action; whether it was rolled back."""

    op: Int[Tensor, " host"]
    took_effect: Int[Tensor, " host"]
    rolled_back: Bool[Tensor, " host"]


def no_action(num_hosts: int) -> LastAction:
    """Before the first one."""
    never = torch.full((num_hosts,), -1)
    return LastAction(never, never, torch.zeros(num_hosts, dtype=torch.bool))


def observe(
    task: TaskConfig,
    life: Lifecycle,
    hosts: HostMeasures,
    seeds: SeedMeasures,
    last: LastAction,
    sizes: Int[Tensor, "host slot"],
    diagnostics: Diagnostics,
    *,
    prices: Float[Tensor, " host"],
    epoch: int,
    global_step: int,
) -> Observation[Tensor]:
    """Columns as `leyline_types.columns` describes them. The price is each host's own, whatever the task's is."""
    num_hosts, num_slots = life.stage.shape

    def same(value: int) -> Int[Tensor, " host"]:
        return torch.full((num_hosts,), value)

    signals = SignalColumns(
        epoch=same(epoch),
        max_epochs=same(task.max_epochs),
        global_step=same(global_step),
        max_steps=same(task.max_steps),
        train_loss=hosts.train.loss,
        val_loss=hosts.validation.loss,
        loss_delta=hosts.loss_delta,
        train_accuracy=hosts.train.accuracy,
        val_accuracy=hosts.validation.accuracy,
        accuracy_delta=hosts.accuracy_delta,
        plateau_epochs=hosts.plateau_epochs,
        host_stabilized=hosts.stabilized,
        rolled_back=last.rolled_back,
        best_val_accuracy=hosts.best.accuracy,
        best_val_loss=hosts.best.loss,
        grad_norm_host=hosts.grad_norm_host,
        grad_norm_seed=hosts.grad_norm_seed,
        loss_history=hosts.loss_history,
        accuracy_history=hosts.accuracy_history,
        baseline_loss=torch.full((num_hosts,), task.baseline_loss),
        total_params=task.host_params + sizes.sum(1),
        host_params=same(task.host_params),
        live_seeds=life.live.sum(1),
        seed_capacity=same(task.seed_capacity(num_slots)),
        topology=same(task.topology.code),
        last_op=last.op,
        last_op_took_effect=last.took_effect,
        parameter_price=prices,
    )
    improvement = hosts.validation.accuracy[:, None] - seeds.stage_accuracy
    slots = SlotColumns(
        occupied=life.occupied,
        stage=life.stage,
        blueprint=life.blueprint,
        alpha=life.alpha,
        alpha_target=life.alpha_target,
        alpha_mode=life.alpha_mode,
        alpha_steps_total=life.steps_total,
        alpha_steps_done=life.steps_done,
        time_to_target=life.steps_total - life.steps_done,
        alpha_velocity=life.alpha_velocity,
        alpha_algorithm=life.algorithm,
        blend_tempo_epochs=life.tempo_epochs,
        age_epochs=life.age,
        epochs_in_stage=life.epochs_in_stage,
        improvement_in_stage=improvement.nan_to_num(0.0),
        contribution=seeds.contribution,
        contribution_velocity=seeds.contribution_velocity,
        interaction_sum=seeds.interaction_sum,
        boost_received=seeds.boost_received,
        gradient_ratio=seeds.gradient_ratio,
        upstream_alpha_sum=torch.where(life.occupied, upstream_alpha(life), 0.0),
        downstream_alpha_sum=torch.where(life.occupied, downstream_alpha(life), 0.0),
        param_count=sizes,
        host_gradient_share=diagnostics.host_gradient_share,
        activation_rank=diagnostics.activation_rank,
        within_map_variance=diagnostics.within_map_variance,
    )
    return Observation(signals, slots)
