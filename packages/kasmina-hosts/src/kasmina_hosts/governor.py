"""A host that diverges goes back to its last sound state, alone, and loses its youngest seed."""

from typing import NamedTuple

import torch
from jaxtyping import Bool
from torch import Tensor

from kasmina_hosts.epoch import EpochResult, Score
from kasmina_hosts.lifecycle import Lifecycle, in_stages, prune_now
from kasmina_hosts.network import HostNetworks
from leyline_types import DEVELOPING_STAGES


class Snapshot(NamedTuple):
    """Copies of every stacked parameter, by the tensor's identity, at a time when all hosts were sound."""

    tensors: dict[int, Tensor]


def take_snapshot(networks: HostNetworks) -> Snapshot:
    """Copy the parameters of all hosts and seeds."""
    return Snapshot({id(tensor): tensor.detach().clone() for tensor in networks.tensors()})


def find_diverged(train: Score, validation: Score) -> Bool[Tensor, " host"]:
    """Hosts whose training or validation loss is NaN or infinite."""
    return ~(train.loss.isfinite() & validation.loss.isfinite())


def roll_back(
    networks: HostNetworks, snapshot: Snapshot, life: Lifecycle, diverged: Bool[Tensor, " host"]
) -> Lifecycle:
    """Restore the diverged hosts' parameters and prune each one's youngest seed; all other hosts stay as they are.

    Seeds that were planted after the snapshot are among the youngest; their parameters start afresh when planted anew.

    Returns:
        The lifecycle with the youngest seed of each diverged host PRUNED; a fossilized seed stays.
    """
    with torch.no_grad():
        for tensor in networks.tensors():
            if id(tensor) in snapshot.tensors:
                tensor[diverged] = snapshot.tensors[id(tensor)][diverged]
            else:
                tensor[diverged] = 0.0
    candidates = in_stages(life.stage, tuple(DEVELOPING_STAGES)) & diverged[:, None]
    age = torch.where(candidates, life.age, torch.iinfo(torch.long).max)
    youngest = torch.arange(life.stage.shape[1]) == age.argmin(1)[:, None]
    removed = candidates & youngest
    return prune_now(life, removed).where(removed, epochs_in_stage=1.0)  # this epoch counts, its tick is over


def forget_epoch(epoch: EpochResult, train_before: Score, diverged: Bool[Tensor, " host"]) -> EpochResult:
    """The epoch's figures with those of the diverged hosts taken back: their last score, and no gradients."""
    loss, accuracy = (
        torch.where(diverged, old, new) for old, new in zip(train_before, epoch.score, strict=True)
    )
    return EpochResult(
        score=Score(loss, accuracy),
        host_gradient=epoch.host_gradient.masked_fill(diverged, torch.nan),
        mean_host_gradient=epoch.mean_host_gradient.masked_fill(diverged, torch.nan),
        seed_gradient=epoch.seed_gradient.masked_fill(diverged[:, None], torch.nan),
    )
