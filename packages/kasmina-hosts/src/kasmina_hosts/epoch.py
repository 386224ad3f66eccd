"""One epoch of training for E hosts at once, and their evaluation."""

from typing import NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn.functional import cross_entropy

from kasmina_hosts.lifecycle import Lifecycle, in_stages
from kasmina_hosts.network import ALTERS_HOST, SEES_SLOT, HostNetworks
from kasmina_hosts.stacked import squared_norms
from kasmina_hosts.tasks import Split
from leyline_types import AlphaMode


class Score(NamedTuple):
    """Mean cross-entropy (nats) and accuracy (percent) of each host."""

    loss: Float[Tensor, " host"]
    accuracy: Float[Tensor, " host"]


class EpochResult(NamedTuple):
    """What an epoch of training showed of each host.

    Args:
        score: means over the epoch's samples, each seen before the step that learnt from it.
        host_gradient: L2 norm of the last gradient of the host's own parameters.
        mean_host_gradient, seed_gradient: means over the epoch's steps, of the host's norm and each slot's; NaN for
            slots whose seed does not compute.
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

    The sum of the hosts' losses gives every host its own gradients in one backward pass. Seeds whose alpha falls are
    frozen.
    """
    host_tensors = [tensor for part in networks.parts for tensor in part.tensors()]
    seed_tensors = _seed_tensors(networks, life)
    tensors = [*host_tensors, *(tensor for _, tensor in seed_tensors)]
    frozen = life.alpha_mode == AlphaMode.DOWN
    computes = in_stages(life.stage, SEES_SLOT)
    losses = torch.zeros(len(order))
    correct = torch.zeros(len(order))
    host_norms, seed_norms = [], []
    for batch in torch.split(order, batch_size, dim=1):
        labels = data.labels[batch]
        logits = networks.forward(data.images[batch], life, training=True)
        loss = _losses(logits, labels)
        gradients = torch.autograd.grad(
            loss.mean(1).sum(), tensors, allow_unused=True, materialize_grads=True
        )
        with torch.no_grad():
            losses += loss.sum(1)
            correct += (logits.argmax(-1) == labels).sum(1)
            own, grown = gradients[: len(host_tensors)], gradients[len(host_tensors) :]
            host_norms.append(squared_norms(own).sqrt())
            by_slot = torch.zeros_like(life.alpha)
            for (slot, _), gradient in zip(seed_tensors, grown, strict=True):
                by_slot[:, slot] += squared_norms([gradient])
            seed_norms.append(by_slot.sqrt())
            for tensor, gradient in zip(host_tensors, own, strict=True):
                tensor.sub_(gradient, alpha=learning_rate)
            for (slot, tensor), gradient in zip(seed_tensors, grown, strict=True):
                moves = ~frozen[:, slot].reshape(-1, *[1] * (gradient.dim() - 1))
                tensor.sub_(gradient * moves, alpha=learning_rate)
    samples = order.shape[1]
    return EpochResult(
        score=Score(losses / samples, 100 * correct / samples),
        host_gradient=host_norms[-1],
        mean_host_gradient=torch.stack(host_norms).mean(0),
        seed_gradient=torch.where(computes, torch.stack(seed_norms).mean(0), torch.nan),
    )


class Evaluation(NamedTuple):
    """Scores on held-out data, and each seed's contribution: accuracy with it minus without it, points; NaN unknown."""

    score: Score
    contribution: Float[Tensor, "host slot"]


@torch.no_grad()
def evaluate(networks: HostNetworks, life: Lifecycle, data: Split) -> Evaluation:
    """Score every host, and once more without each of its seeds (their alpha forced to 0), all hosts at once.

    A seed's contribution is measured while its alpha is above 0. Without the seed of a slot only the parts after it are
    computed again.
    """
    num_hosts, num_slots = life.stage.shape
    images = data.images.expand(num_hosts, *data.images.shape)
    taps: list[Tensor] = []
    score = _score(networks.forward(images, life, training=False, taps=taps), data)
    contribution = torch.full_like(life.alpha, torch.nan)
    measured = in_stages(life.stage, ALTERS_HOST) & (life.alpha > 0)
    for slot in range(num_slots):
        if measured[:, slot].any():
            without = _score(networks.forward(taps[slot], life, training=False, start=slot + 1), data)
            gained = score.accuracy - without.accuracy
            contribution[:, slot] = torch.where(measured[:, slot], gained, torch.nan)
    return Evaluation(score, contribution)


@torch.no_grad()
def score_hosts(networks: HostNetworks, life: Lifecycle, data: Split) -> Score:
    """Score every host on the same data."""
    images = data.images.expand(len(life.stage), *data.images.shape)
    return _score(networks.forward(images, life, training=False), data)


def _score(logits: Float[Tensor, "host sample choice"], data: Split) -> Score:
    labels = data.labels.expand(len(logits), -1)
    correct = (logits.argmax(-1) == labels).float().mean(1)
    return Score(_losses(logits, labels).mean(1), 100 * correct)


def _losses(
    logits: Float[Tensor, "host sample choice"], labels: Int[Tensor, "host sample"]
) -> Float[Tensor, "host sample"]:
    return cross_entropy(logits.transpose(1, 2), labels, reduction="none")


def _seed_tensors(networks: HostNetworks, life: Lifecycle) -> list[tuple[int, Tensor]]:
    """(slot, stacked parameter) of every seed and gate that computes in some host."""
    found: list[tuple[int, Tensor]] = []
    computes = in_stages(life.stage, SEES_SLOT)
    for slot, modules in enumerate(networks.slots):
        for blueprint, stack in modules.seeds.items():
            if (computes[:, slot] & (life.blueprint[:, slot] == blueprint)).any():
                found += [(slot, tensor) for tensor in stack.tensors()]
        if computes[:, slot].any():
            found += [(slot, tensor) for tensor in modules.gate.tensors()]
    return found
