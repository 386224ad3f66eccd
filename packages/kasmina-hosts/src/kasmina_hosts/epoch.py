"""One epoch of training for E hosts at once."""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor

from kasmina_hosts.evaluation import Score, cross_entropies
from kasmina_hosts.lifecycle import Lifecycle
from kasmina_hosts.network import HostNetworks
from kasmina_hosts.stacked_optimizer import Learning
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
    hosts = networks.learning_hosts()
    slots = [networks.learning_seeds(life, slot) for slot in range(len(groups))]
    learning = [*hosts, *(each for slot in slots for each in slot)]
    losses, correct = torch.zeros(len(order), dtype=networks.dtype), torch.zeros(len(order))
    host_norms, seed_norms = [], []
    for batch in torch.split(order, batch_size, dim=1):
        labels = data.labels[batch]
        logits = networks.forward(data.images[batch].to(networks.dtype), groups)
        loss = cross_entropies(logits, labels)
        for _, parameter in networks.named_parameters():
            parameter.grad = None
        loss.mean(1).sum().backward()
        losses += loss.detach().sum(1)
        correct += (logits.detach().argmax(-1) == labels).sum(1)
        host_norms.append(gradient_norms(hosts, len(order)))
        seed_norms.append(torch.stack([gradient_norms(seeds, len(order)) for seeds in slots], dim=1))
        networks.optimizer.step(learning)
    for _, parameter in networks.named_parameters():
        parameter.grad = None
    samples = order.shape[1]
    return EpochResult(
        score=Score((losses / samples).float(), 100 * correct / samples),
        host_gradient=host_norms[-1],
        mean_host_gradient=torch.stack(host_norms).mean(0),
        seed_gradient=torch.where(life.learns, torch.stack(seed_norms).mean(0), torch.nan),
    )


def gradient_norms(learning: Sequence[Learning], num_hosts: int) -> Float[Tensor, " host"]:
    """L2 norm of each host's gradients over all these parameters; 0 of none."""
    gradients = [each.tensor.grad for each in learning]
    found = [
        gradient.reshape(len(gradient), -1).norm(dim=1) for gradient in gradients if gradient is not None
    ]
    if not found:
        return torch.zeros(num_hosts)
    norm: Tensor = torch.stack(found).norm(dim=0)
    return norm.float()
