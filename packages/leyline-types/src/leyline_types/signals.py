"""What a training loop reports of its host after each epoch, as objects."""

from dataclasses import dataclass
from math import inf

from leyline_types.actions import LifecycleOp


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingMetrics:
    """One host's curves at the end of an epoch. None means not measured.

    Args:
        epoch: epochs trained in this episode, from 0 (nothing trained yet).
        global_step: optimiser steps taken in this episode.
        train_loss, val_loss: mean cross-entropy, nats.
        loss_delta: previous validation loss minus this one, nats: above 0 is improvement.
        train_accuracy, val_accuracy: percent, 0 to 100.
        accuracy_delta: this validation accuracy minus the previous one, percentage points.
        plateau_epochs: epochs since the last improvement worth the name.
        host_stabilized: 1 once the host's first steep descent is over, else 0.
        best_val_accuracy: percent, the best so far; not read before the first validation.
        best_val_loss: nats, the best so far; inf before the first validation.
        grad_norm_host, grad_norm_seed: L2 norm of the last gradient of the host's and all seeds' parameters.
    """

    epoch: int
    global_step: int
    train_loss: float
    val_loss: float
    loss_delta: float | None
    train_accuracy: float
    val_accuracy: float
    accuracy_delta: float | None
    plateau_epochs: int
    host_stabilized: int
    best_val_accuracy: float
    best_val_loss: float = inf
    grad_norm_host: float | None
    grad_norm_seed: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class SlotDiagnostics:
    """What the network itself shows at one slot, with or without a seed there. Fractions, 0 to 1; None means unknown.

    Each is free of scale: neither the size of weights and activations nor the units of the loss change it.

    >>> SlotDiagnostics(slot_id="r0c1", host_gradient_share=0.2, activation_rank=0.9, within_map_variance=None).slot_id
    'r0c1'

    Args:
        slot_id: "r{row}c{col}".
        host_gradient_share: how much the loss hangs on the layer before this slot, as a share of what it hangs on all
            layers before slots.
        activation_rank: effective rank of the activation before the slot, as a fraction of its channels: the
            participation ratio of the channels' covariance, (sum of eigenvalues)^2 / sum of their squares. P. Gao et
            al., A theory of multineuronal dimensionality, dynamics and measurement, https://doi.org/10.1101/214262.
        within_map_variance: share of that activation's variance that lies between the positions of one sample's map;
            the rest lies between samples.
    """

    slot_id: str
    host_gradient_share: float | None
    activation_rank: float | None
    within_map_variance: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingSignals:
    """All that a policy learns about one host besides its slots.

    Args:
        metrics: the curves' newest point.
        active_seeds: ids of the seeds that the network holds (fossilized ones included, cooling slots not).
        available_slots: number of slots without a seed.
        loss_history, accuracy_history: validation loss (nats) and accuracy (percent), newest last, any length.
        total_params, host_params: parameters with and without seeds.
        last_op: the op of the last action; None before the first.
        last_op_took_effect: False where the action was refused or failed its gate; None before the first.
        rolled_back: the governor restored this host's last snapshot in this epoch.
        slot_diagnostics: of each slot that was looked at, with or without a seed; slots that are missing are unknown.
    """

    metrics: TrainingMetrics
    active_seeds: tuple[str, ...]
    available_slots: int
    loss_history: tuple[float, ...]
    accuracy_history: tuple[float, ...]
    total_params: int
    host_params: int
    last_op: LifecycleOp | None = None
    last_op_took_effect: bool | None = None
    rolled_back: bool = False
    slot_diagnostics: tuple[SlotDiagnostics, ...] = ()
