"""What a slot reports of the seed in it, as objects."""

from dataclasses import dataclass

from leyline_types.actions import AlphaAlgorithm, AlphaMode
from leyline_types.stages import SeedStage


@dataclass(frozen=True, slots=True, kw_only=True)
class SeedMetrics:
    """What is measured of one seed. None means not measured (yet).

    Args:
        epochs_total, epochs_in_current_stage: age, epochs.
        initial_val_accuracy, current_val_accuracy, best_val_accuracy, accuracy_at_stage_start: percent, of the host.
        total_improvement, improvement_since_stage_start: percentage points since germination and stage start.
        counterfactual_contribution: validation accuracy with the seed minus without it, points.
        contribution_velocity: change of the contribution since the epoch before, points.
        interaction_sum: sum of its pairwise interactions with other seeds, points.
        boost_received: largest gain that another seed brings it, points.
        upstream_alpha_sum, downstream_alpha_sum: alphas of the live seeds nearer input and nearer output, summed.
        seed_gradient_norm_ratio: gradient norm of the seed over the host's, each per root of parameter count.
        seed_param_count, host_param_count: parameters.
        gradient_norm_avg: L2 norm of the seed's gradient, averaged over the epoch.
        current_alpha: blend amplitude, 0 to 1.
        alpha_ramp_step: steps done in the current change of alpha.
    """

    epochs_total: int
    epochs_in_current_stage: int
    initial_val_accuracy: float
    current_val_accuracy: float
    best_val_accuracy: float
    accuracy_at_stage_start: float
    total_improvement: float
    improvement_since_stage_start: float
    counterfactual_contribution: float | None = None
    contribution_velocity: float | None
    interaction_sum: float | None
    boost_received: float | None
    upstream_alpha_sum: float
    downstream_alpha_sum: float
    seed_gradient_norm_ratio: float | None
    seed_param_count: int
    host_param_count: int
    gradient_norm_avg: float | None
    current_alpha: float
    alpha_ramp_step: int


@dataclass(frozen=True, slots=True, kw_only=True)
class SeedTelemetry:
    """Optional closer look at one seed in training.

    Args:
        seed_id, blueprint_id, layer_id: which seed, built from what, after which layer.
        gradient_norm: L2 norm, at least 0.
        gradient_health: 0 (dead or exploding) to 1 (healthy).
        has_vanishing, has_exploding: what the gradient suffers from.
        accuracy: percent; accuracy_delta: points since the epoch before.
        epochs_in_stage, stage: where the seed stands.
        alpha, alpha_target: blend amplitude and where it goes, 0 to 1; alpha_velocity: change per epoch.
        alpha_mode, alpha_algorithm, alpha_steps_total, alpha_steps_done, time_to_target: the change of alpha.
        epoch, max_epochs: position in the episode.
        blend_tempo_epochs: length of the first rise, epochs.
        blending_velocity: alpha per epoch, averaged over the blend.
    """

    seed_id: str
    blueprint_id: str
    layer_id: str
    gradient_norm: float
    gradient_health: float
    has_vanishing: bool
    has_exploding: bool
    accuracy: float
    accuracy_delta: float
    epochs_in_stage: int
    stage: SeedStage
    alpha: float
    alpha_target: float
    alpha_mode: AlphaMode
    alpha_steps_total: int
    alpha_steps_done: int
    time_to_target: int
    alpha_velocity: float
    alpha_algorithm: AlphaAlgorithm
    epoch: int
    max_epochs: int
    blend_tempo_epochs: int
    blending_velocity: float


@dataclass(frozen=True, slots=True, kw_only=True)
class SeedStateReport:
    """The state of the seed in one slot. An empty slot has no report (None).

    Args:
        seed_id, slot_id, blueprint_id: which seed, where, built from what.
        stage, previous_stage: where it stands and stood; previous_epochs_in_stage: epochs in the stage before.
        alpha_mode: whether alpha moves; alpha_target: where to, 0 to 1.
        alpha_steps_total, alpha_steps_done, time_to_target: length, progress and rest of the change, epochs.
        alpha_velocity: change of alpha in the last epoch.
        alpha_algorithm: how the seed joins the host.
        blend_tempo_epochs: length of the first rise, epochs.
        metrics: what is measured of it.
        telemetry: the closer look, where one is taken.
        is_healthy, is_improving, needs_attention: the loop's own summary.
    """

    seed_id: str
    slot_id: str
    blueprint_id: str
    stage: SeedStage
    previous_stage: SeedStage
    previous_epochs_in_stage: int
    alpha_mode: AlphaMode
    alpha_target: float
    alpha_steps_total: int
    alpha_steps_done: int
    time_to_target: int
    alpha_velocity: float
    alpha_algorithm: AlphaAlgorithm
    blend_tempo_epochs: int = 5
    metrics: SeedMetrics
    telemetry: SeedTelemetry | None = None
    is_healthy: bool
    is_improving: bool
    needs_attention: bool


@dataclass(frozen=True, slots=True)
class MaskSeedInfo:
    """The little that legality needs to know of a seed: stage, age in epochs, whether its alpha moves."""

    stage: SeedStage
    seed_age_epochs: int
    alpha_mode: AlphaMode = AlphaMode.HOLD
