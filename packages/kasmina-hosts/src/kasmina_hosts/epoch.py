"""One epoch of training for E hosts at once."""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from kasmina_hosts.blending import each
from kasmina_hosts.evaluation import Score, cross_entropies
from kasmina_hosts.lifecycle import Lifecycle
from kasmina_hosts.network import HostNetworks
from kasmina_hosts.slot_groups import learning_tensors
from kasmina_hosts.tasks import Split
from leyline_types import AlphaMode


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
    learning_rate: float,
) -> EpochResult:
    """Stochastic gradient descent over the data once, each host in its own order.

    The sum of the hosts' losses gives every host its own gradients in one backward pass, and one step of the optimiser
    over the stacked parameters serves all hosts. Seeds whose alpha falls are frozen.
    """
    groups = networks.groups(life, training=True)
    hosts = [tensor for part in networks.parts for tensor in part.tensors()]
    slots = [list(learning_tensors(slot).values()) for slot in groups]
    optimizer = torch.optim.SGD([*hosts, *(tensor for slot in slots for tensor in slot)], lr=learning_rate)
    frozen = life.alpha_mode == AlphaMode.DOWN
    freezes = bool(frozen.any())
    losses, correct = torch.zeros(len(order), dtype=networks.dtype), torch.zeros(len(order))
    host_norms, seed_norms = [], []
    for batch in torch.split(order, batch_size, dim=1):
        labels = data.labels[batch]
        logits = networks.forward(data.images[batch].to(networks.dtype), groups)
        loss = cross_entropies(logits, labels)
        optimizer.zero_grad()
        loss.mean(1).sum().backward()
        losses += loss.detach().sum(1)
        correct += (logits.detach().argmax(-1) == labels).sum(1)
        host_norms.append(_norms(hosts))
        seed_norms.append(torch.stack([_norms(tensors, len(order)) for tensors in slots], dim=1))
        if freezes:
            _freeze(slots, frozen)
        optimizer.step()
    optimizer.zero_grad()
    samples = order.shape[1]
    return EpochResult(
        score=Score((losses / samples).float(), 100 * correct / samples),
        host_gradient=host_norms[-1],
        mean_host_gradient=torch.stack(host_norms).mean(0),
        seed_gradient=torch.where(life.learns, torch.stack(seed_norms).mean(0), torch.nan),
    )


def _norms(tensors: Sequence[Tensor], num_hosts: int = 0) -> Float[Tensor, " host"]:
    """L2 norm of each host's gradients over all these parameters; 0 of none."""
    if not tensors:
        return torch.zeros(num_hosts)
    found = [
        tensor.grad.reshape(len(tensor), -1).norm(dim=1) for tensor in tensors if tensor.grad is not None
    ]
    norm: Tensor = torch.stack(found).norm(dim=0)
    return norm.float()


def _freeze(slots: Sequence[Sequence[Tensor]], frozen: Bool[Tensor, "host slot"]) -> None:
    """Take the gradients of frozen seeds away."""
    for slot, tensors in enumerate(slots):
        for tensor in tensors:
            if tensor.grad is not None:
                tensor.grad.masked_fill_(each(frozen[:, slot], tensor), 0.0)
