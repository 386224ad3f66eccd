"""A host that diverges goes back to its last sound state, alone, and loses its youngest seed."""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from kasmina_hosts.blending import each
from kasmina_hosts.epoch import EpochResult
from kasmina_hosts.evaluation import Score
from kasmina_hosts.lifecycle import Lifecycle, in_stages, prune_now
from kasmina_hosts.network import HostNetworks
from leyline_types import DEVELOPING_STAGES

EXPLODED = 12.0
"""Loss (nats) below which a host is never taken for diverging: a guess among e^12 classes."""
SIGMAS, TIMES_MEAN = 6.0, 3.0
"""How far above its own past a host's loss must lie."""
MAX_STRIKES = 3
"""Epochs in a row with such a loss, after which the host is rolled back."""


class LossWatch(NamedTuple):
    """What the governor remembers of each host's losses, [host].

    Args:
        epochs, mean, squares: epochs counted, their mean loss, and the sum of squared deviations from it. Epochs that
            earn a strike are not counted.
        strikes: epochs in a row with a suspicious loss.
    """

    epochs: Int[Tensor, " host"]
    mean: Float[Tensor, " host"]
    squares: Float[Tensor, " host"]
    strikes: Int[Tensor, " host"]


class Snapshot(NamedTuple):
    """Copies of every stacked parameter by name, each host's of a time when it was sound."""

    tensors: dict[str, Tensor]


def first_watch(validation: Score) -> LossWatch:
    """Of fresh hosts."""
    zero = torch.zeros_like(validation.loss)
    return LossWatch(zero.long() + 1, validation.loss, zero, zero.long())


def is_finite(train: Score, validation: Score) -> Bool[Tensor, " host"]:
    """Hosts whose training and validation loss are numbers."""
    return train.loss.isfinite() & validation.loss.isfinite()


def watch(last: LossWatch, train: Score, validation: Score) -> tuple[LossWatch, Bool[Tensor, " host"]]:
    """The watch after another epoch, and which hosts have diverged.

    A host has diverged if a loss is not finite, or if for `MAX_STRIKES` epochs in a row its validation loss exceeds
    `EXPLODED`, its mean by `SIGMAS` standard deviations, and `TIMES_MEAN` times its mean.
    """
    loss = validation.loss
    sigma = (last.squares / last.epochs).sqrt()
    suspicious = (loss > EXPLODED) & (loss > last.mean + SIGMAS * sigma) & (loss > TIMES_MEAN * last.mean)
    strikes = torch.where(suspicious, last.strikes + 1, 0)
    diverged = ~is_finite(train, validation) | (strikes >= MAX_STRIKES)
    counts = ~suspicious & ~diverged
    epochs = last.epochs + counts
    mean = torch.where(counts, last.mean + (loss - last.mean) / epochs, last.mean)
    squares = torch.where(counts, last.squares + (loss - last.mean) * (loss - mean), last.squares)
    return LossWatch(epochs, mean, squares, torch.where(diverged, 0, strikes)), diverged


def take_snapshot(networks: HostNetworks) -> Snapshot:
    """Copy the parameters of all hosts and seeds."""
    return Snapshot({name: tensor.detach().clone() for name, tensor in networks.named_tensors()})


def update_snapshot(networks: HostNetworks, snapshot: Snapshot, hosts: Bool[Tensor, " host"]) -> Snapshot:
    """The snapshot with these hosts' present parameters."""
    if bool(hosts.all()):
        return take_snapshot(networks)
    rows = {
        name: torch.where(each(hosts, tensor), tensor.detach(), snapshot.tensors.get(name, tensor.detach()))
        for name, tensor in networks.named_tensors()
    }
    return Snapshot(rows)


def add_planted(networks: HostNetworks, snapshot: Snapshot, planted: Sequence[tuple[int, int]]) -> Snapshot:
    """The snapshot with the first values of seeds that were planted after it was taken.

    Args:
        planted: (host, slot).
    """
    tensors = dict(snapshot.tensors)
    for name, tensor in networks.named_tensors():
        rows = torch.zeros(len(tensor), dtype=torch.bool)
        for host, slot in planted:
            rows[host] |= name.removeprefix("optimizer.").startswith(f"slots.{slot}.")
        if rows.any() or name not in tensors:
            kept = tensors.get(name, tensor.detach())
            tensors[name] = torch.where(each(rows, tensor), tensor.detach(), kept)
    return Snapshot(tensors)


def roll_back(
    networks: HostNetworks, snapshot: Snapshot, life: Lifecycle, diverged: Bool[Tensor, " host"]
) -> Lifecycle:
    """Restore the diverged hosts' parameters and prune each one's youngest seed; all other hosts stay as they are.

    Returns:
        The lifecycle with the youngest seed of each diverged host PRUNED; a fossilized seed stays.
    """
    with torch.no_grad():
        for name, tensor in networks.named_tensors():
            tensor[diverged] = snapshot.tensors[name][diverged]
    candidates = in_stages(life.stage, tuple(DEVELOPING_STAGES)) & diverged[:, None]
    age = torch.where(candidates, life.age, torch.iinfo(torch.long).max)
    youngest = torch.arange(life.stage.shape[1]) == age.argmin(1)[:, None]
    removed = candidates & youngest
    # This epoch counts, its tick is over; over it alpha went from what it was before the tick to 0.
    fall = life.alpha_velocity - life.alpha
    life = prune_now(life, removed).where(removed, epochs_in_stage=1.0, alpha_velocity=fall)
    # The snapshot may be of a time when seeds lived that have been pruned since.
    for host, slot in (diverged[:, None] & ~life.live).nonzero().tolist():
        networks.forget(host, slot)
    return life


def forget_epoch(epoch: EpochResult, restored: Score, diverged: Bool[Tensor, " host"]) -> EpochResult:
    """The epoch's figures with those of the diverged hosts taken back: their score as restored, and no gradients."""
    loss, accuracy = (torch.where(diverged, old, new) for old, new in zip(restored, epoch.score, strict=True))
    return EpochResult(
        score=Score(loss, accuracy),
        host_gradient=epoch.host_gradient.masked_fill(diverged, torch.nan),
        mean_host_gradient=epoch.mean_host_gradient.masked_fill(diverged, torch.nan),
        seed_gradient=epoch.seed_gradient.masked_fill(diverged[:, None], torch.nan),
    )
