"""What is measured of hosts and seeds. Pure: the next measures from the last ones and the newest figures."""

from typing import NamedTuple

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from kasmina_hosts.epoch import EpochResult
from kasmina_hosts.evaluation import Evaluation, Score
from kasmina_hosts.gates import GateInputs
from kasmina_hosts.lifecycle import Lifecycle
from leyline_types import HISTORY_LENGTH

PLATEAU_POINTS = 0.5
"""Validation accuracy has to pass its best so far by this much, or the epoch counts towards a plateau."""
STEADY_FALL = 0.1
"""A host counts as stabilised once its validation loss falls by less than this fraction in an epoch."""


class HostMeasures(NamedTuple):
    """The curves of each host, [host]; units as in `leyline_types.TrainingMetrics`, NaN where unknown."""

    train: Score
    validation: Score
    loss_delta: Float[Tensor, " host"]
    accuracy_delta: Float[Tensor, " host"]
    best: Score
    plateau_epochs: Int[Tensor, " host"]
    stabilized: Bool[Tensor, " host"]
    grad_norm_host: Float[Tensor, " host"]
    grad_norm_seed: Float[Tensor, " host"]
    loss_history: Float[Tensor, "host point"]
    accuracy_history: Float[Tensor, "host point"]


class SeedMeasures(NamedTuple):
    """What is known of each seed, [host, slot]; NaN where unknown or where there is no seed.

    Args:
        initial_accuracy, stage_accuracy, best_accuracy: validation accuracy of the host when the seed germinated, when
            its stage began, and at its best since; percent.
        gradient_norm: mean over the last epoch. gradient_ratio: over the host's, each per root of its size.
        contribution, contribution_velocity: points, points per epoch.
        interaction_sum, boost_received: with the host's other seeds, points; see `contributions.Contributions`.
    """

    initial_accuracy: Float[Tensor, "host slot"]
    stage_accuracy: Float[Tensor, "host slot"]
    best_accuracy: Float[Tensor, "host slot"]
    gradient_norm: Float[Tensor, "host slot"]
    gradient_ratio: Float[Tensor, "host slot"]
    contribution: Float[Tensor, "host slot"]
    contribution_velocity: Float[Tensor, "host slot"]
    interaction_sum: Float[Tensor, "host slot"]
    boost_received: Float[Tensor, "host slot"]


def first_measures(train: Score, validation: Score) -> HostMeasures:
    """Of fresh hosts, before any training."""
    num_hosts = len(validation.loss)
    unknown = torch.full((num_hosts,), torch.nan)
    history = torch.full((num_hosts, HISTORY_LENGTH), torch.nan)
    return HostMeasures(
        train=train,
        validation=validation,
        loss_delta=unknown,
        accuracy_delta=unknown,
        best=validation,
        plateau_epochs=torch.zeros(num_hosts, dtype=torch.long),
        stabilized=torch.zeros(num_hosts, dtype=torch.bool),
        grad_norm_host=unknown,
        grad_norm_seed=unknown,
        loss_history=_append(history, validation.loss),
        accuracy_history=_append(history, validation.accuracy),
    )


def next_measures(last: HostMeasures, epoch: EpochResult, validation: Score) -> HostMeasures:
    """After another epoch."""
    fall = last.validation.loss - validation.loss
    improved = validation.accuracy >= last.best.accuracy + PLATEAU_POINTS
    squared = known_norm(epoch.seed_gradient).square()
    return HostMeasures(
        train=epoch.score,
        validation=validation,
        loss_delta=fall,
        accuracy_delta=validation.accuracy - last.validation.accuracy,
        best=Score(
            torch.minimum(last.best.loss, validation.loss),
            torch.maximum(last.best.accuracy, validation.accuracy),
        ),
        plateau_epochs=torch.where(improved, 0, last.plateau_epochs + 1),
        stabilized=last.stabilized | (fall < STEADY_FALL * last.validation.loss),
        grad_norm_host=known_norm(epoch.host_gradient),
        grad_norm_seed=known_norm(torch.where(squared.isnan().all(1), torch.nan, squared.nansum(1).sqrt())),
        loss_history=_append(last.loss_history, validation.loss),
        accuracy_history=_append(last.accuracy_history, validation.accuracy),
    )


def no_seed_measures(num_hosts: int, num_slots: int) -> SeedMeasures:
    """Nothing is known yet."""
    unknown = torch.full((num_hosts, num_slots), torch.nan)
    return SeedMeasures(*(unknown for _ in SeedMeasures._fields))


def next_seed_measures(
    last: SeedMeasures,
    life: Lifecycle,
    accuracy_before: Float[Tensor, " host"],
    epoch: EpochResult,
    evaluation: Evaluation,
    sizes: Int[Tensor, "host slot"],
    host_size: int,
) -> SeedMeasures:
    """After another epoch.

    Args:
        life: the lifecycle that the epoch was trained under, its ages counting that epoch.
        accuracy_before: validation accuracy before the epoch: where new seeds and new stages start from.
        sizes, host_size: parameters.
    """
    there, before = life.occupied, accuracy_before[:, None].expand_as(life.alpha)
    now = evaluation.score.accuracy[:, None].expand_as(life.alpha)
    initial = torch.where(life.age == 1, before, last.initial_accuracy)
    stage = torch.where(life.epochs_in_stage == 1, before, last.stage_accuracy)
    best = torch.where(life.age == 1, now, torch.fmax(last.best_accuracy, now))
    host_scale = known_norm(epoch.mean_host_gradient)[:, None] / host_size**0.5
    seed_gradient = known_norm(epoch.seed_gradient)
    ratio = seed_gradient / sizes.clamp(min=1).sqrt() / host_scale
    columns = SeedMeasures(
        initial_accuracy=initial,
        stage_accuracy=stage,
        best_accuracy=best,
        gradient_norm=seed_gradient,
        gradient_ratio=torch.where(ratio.isfinite(), ratio, torch.nan),
        contribution=evaluation.seeds.contribution,
        contribution_velocity=evaluation.seeds.contribution - last.contribution,
        interaction_sum=evaluation.seeds.interaction_sum,
        boost_received=evaluation.seeds.boost_received,
    )
    return SeedMeasures(*(torch.where(there, column, torch.nan) for column in columns))


def known_norm(norm: Float[Tensor, "..."]) -> Float[Tensor, "..."]:
    """Norms of gradients; NaN, unknown, where they are too large for float32, though every gradient may be finite."""
    return torch.where(norm.isfinite(), norm, torch.nan)


def gate_inputs(hosts: HostMeasures, seeds: SeedMeasures) -> GateInputs:
    """What the gates look at."""
    improvement = hosts.validation.accuracy[:, None] - seeds.stage_accuracy
    return GateInputs(improvement, seeds.gradient_ratio, seeds.contribution)


def upstream_alpha(life: Lifecycle) -> Float[Tensor, "host slot"]:
    """Sum of the alphas of live seeds nearer the input."""
    alpha = torch.where(life.live, life.alpha, 0.0)
    return alpha.cumsum(1) - alpha


def downstream_alpha(life: Lifecycle) -> Float[Tensor, "host slot"]:
    """Sum of the alphas of live seeds nearer the output."""
    alpha = torch.where(life.live, life.alpha, 0.0)
    return alpha.flip(1).cumsum(1).flip(1) - alpha


def _append(
    history: Float[Tensor, "host point"], newest: Float[Tensor, " host"]
) -> Float[Tensor, "host point"]:
    return torch.cat([history[:, 1:], newest[:, None]], dim=1)
