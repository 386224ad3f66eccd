"""One epoch of training for E hosts at once."""

from collections.abc import Sequence
from itertools import pairwise
from typing import NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.linalg import vector_norm

from kasmina_hosts.evaluation import Score, cross_entropies
from kasmina_hosts.lifecycle import Lifecycle
from kasmina_hosts.network import HostNetworks
from kasmina_hosts.stacked_optimizer import side_by_side
from kasmina_hosts.tasks import Split


class EpochResult(NamedTuple):
    """What an epoch of training showed of each host.

    Args:
        score: means over the epoch's samples, each seen before the step that learnt from it.
        host_gradient: L2 norm of the last gradient of the host's own parameters.
        mean_host_gradient, seed_gradient: means over the epoch's steps, of the host's norm and each slot's; NaN for
            slots whose seed does not compute or is frozen.
    """

    score: Score
    host_gradient: Float[Tensor, " host"]
    mean_host_gradient: Float[Tensor, " host"]
    seed_gradient: Float[Tensor, "host slot"]


def train_epoch(
    networks: HostNetworks,
    life: Lifecycle,
    data: Split,
    order: Int[Tensor, "host sample"],
    *,
    batch_size: int,
) -> EpochResult:
    """Learn from the data once, each host in its own order.

    The sum of the hosts' losses gives every host its own gradients in one backward pass, and one step of the optimiser
    over the stacked parameters serves all hosts. Seeds whose alpha falls are frozen.
    """
    groups = networks.groups(life, training=True)
    learning = networks.learning_hosts()
    ends = [len(learning)]
    for slot in range(len(groups)):
        learning += networks.learning_seeds(life, slot)
        ends.append(len(learning))
    tensors = [each.tensor for each in learning]
    sizes = [sum(tensor[0].numel() for tensor in tensors[start:end]) for start, end in pairwise([0, *ends])]
    losses, correct, norms = [], [], []
    with networks.optimizer.stepping(learning) as steps:
        for batch in torch.split(order, batch_size, dim=1):
            labels = data.labels[batch]
            logits = networks.forward(data.images[batch].to(networks.dtype), groups)
            loss = cross_entropies(logits, labels)
            gradient = side_by_side(torch.autograd.grad(loss.mean(1).sum(), tensors))
            losses.append(loss.detach())
            correct.append(logits.detach().argmax(-1) == labels)
            norms.append(gradient_norms(gradient, sizes))
            steps.take(gradient)
    every_norm = torch.stack(norms)
    mean = every_norm.mean(0)
    return EpochResult(
        score=Score(
            torch.cat(losses, dim=1).mean(1).float(), 100 * torch.cat(correct, dim=1).float().mean(1)
        ),
        host_gradient=every_norm[-1, :, 0],
        mean_host_gradient=mean[:, 0],
        seed_gradient=torch.where(life.learns, mean[:, 1:], torch.nan),
    )


def gradient_norms(
    gradient: Float[Tensor, "host number"], sizes: Sequence[int]
) -> Float[Tensor, "host part"]:
    """L2 norm of each part of each host's gradient, the parts being so large; 0 of none."""
    norms = torch.stack([vector_norm(part, dim=1) for part in gradient.split(list(sizes), dim=1)], dim=1)
    return norms.float()
