"""Observations as columns: one array per quantity over all environments.

The classes are generic in the array type, so that torch, numpy and torch.func take them as they are. Each is a
NamedTuple and thus a pytree. Conventions: [env] stands for any leading batch shape; i marks integer, f floating, b
boolean arrays; a question mark marks what may be unknown: NaN in a floating column, -1 in an integer one.
"""

from typing import Final, Generic, NamedTuple, TypeVar

ArrayT = TypeVar("ArrayT")

HISTORY_LENGTH: Final = 5
"""Points of the loss and accuracy histories that an observation carries, newest last."""

OPTIONAL_INTEGER_COLUMNS: Final = ("last_op", "last_op_took_effect")
"""The integer columns of `SignalColumns` that may be unknown, which -1 stands for in them."""


class SignalColumns(NamedTuple, Generic[ArrayT]):
    """What is known of each host; see `TrainingMetrics`, `TrainingSignals` and `TaskConfig` for meanings and units.

    i: epoch, max_epochs, global_step, max_steps, plateau_epochs, live_seeds, seed_capacity (at least 1), topology
    (`Topology.code`), total_params, host_params, last_op?, last_op_took_effect?. b: host_stabilized, rolled_back.
    f: all others; histories have the shape [env, HISTORY_LENGTH].
    """

    epoch: ArrayT
    max_epochs: ArrayT
    global_step: ArrayT
    max_steps: ArrayT
    train_loss: ArrayT
    val_loss: ArrayT
    loss_delta: ArrayT  # ?
    train_accuracy: ArrayT
    val_accuracy: ArrayT
    accuracy_delta: ArrayT  # ?
    plateau_epochs: ArrayT
    host_stabilized: ArrayT
    rolled_back: ArrayT
    best_val_accuracy: ArrayT  # ?
    best_val_loss: ArrayT  # ?
    grad_norm_host: ArrayT  # ?
    grad_norm_seed: ArrayT  # ?
    loss_history: ArrayT  # ?
    accuracy_history: ArrayT  # ?
    baseline_loss: ArrayT
    total_params: ArrayT
    host_params: ArrayT
    live_seeds: ArrayT
    seed_capacity: ArrayT
    topology: ArrayT
    last_op: ArrayT  # ?
    last_op_took_effect: ArrayT  # ?
    parameter_price: ArrayT


class SlotColumns(NamedTuple, Generic[ArrayT]):
    """What is known of each slot, [env, slot]; see `SeedStateReport` and `SeedMetrics` for meanings and units.

    b: occupied. i: stage, blueprint, alpha_mode, alpha_algorithm (enum values), alpha_steps_total, alpha_steps_done,
    time_to_target, blend_tempo_epochs, age_epochs, epochs_in_stage, param_count. f: all others.
    An empty slot has occupied False, stage DORMANT, blueprint NOOP, unknown measures and 0 elsewhere, but for
    host_gradient_share, activation_rank and within_map_variance, which describe the layer before the slot; see
    `SlotDiagnostics`.
    """

    occupied: ArrayT
    stage: ArrayT
    blueprint: ArrayT
    alpha: ArrayT
    alpha_target: ArrayT
    alpha_mode: ArrayT
    alpha_steps_total: ArrayT
    alpha_steps_done: ArrayT
    time_to_target: ArrayT
    alpha_velocity: ArrayT
    alpha_algorithm: ArrayT
    blend_tempo_epochs: ArrayT
    age_epochs: ArrayT
    epochs_in_stage: ArrayT
    improvement_in_stage: ArrayT
    contribution: ArrayT  # ?
    contribution_velocity: ArrayT  # ?
    interaction_sum: ArrayT  # ?
    boost_received: ArrayT  # ?
    gradient_ratio: ArrayT  # ?
    upstream_alpha_sum: ArrayT
    downstream_alpha_sum: ArrayT
    param_count: ArrayT
    host_gradient_share: ArrayT  # ?
    activation_rank: ArrayT  # ?
    within_map_variance: ArrayT  # ?


class TelemetryColumns(NamedTuple, Generic[ArrayT]):
    """The closer look at each slot, [env, slot]; see `SeedTelemetry`.

    b: known (False where a slot gave no telemetry; its other columns then hold 0), has_vanishing, has_exploding.
    f: all others.
    """

    known: ArrayT
    gradient_norm: ArrayT
    gradient_health: ArrayT
    has_vanishing: ArrayT
    has_exploding: ArrayT
    accuracy: ArrayT
    accuracy_delta: ArrayT
    blending_velocity: ArrayT


class Observation(NamedTuple, Generic[ArrayT]):
    """All that a policy sees: signals [env], slots [env, slot] and, where it is measured, telemetry [env, slot]."""

    signals: SignalColumns[ArrayT]
    slots: SlotColumns[ArrayT]
    telemetry: TelemetryColumns[ArrayT] | None = None
