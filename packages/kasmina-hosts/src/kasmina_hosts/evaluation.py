"""Scores of E hosts on held-out data, with and without each of their seeds."""

from typing import NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn.functional import cross_entropy

from kasmina_hosts.contributions import Contributions, measure_contributions
from kasmina_hosts.diagnostics import DIAGNOSED_SAMPLES, Diagnostics, gradient_effect, slot_diagnostics
from kasmina_hosts.lifecycle import Lifecycle
from kasmina_hosts.network import HostNetworks
from kasmina_hosts.slot_groups import NO_SEEDS
from kasmina_hosts.tasks import Split

_CHUNK = 128
"""Samples of a part of the data that are scored at a time, for every host. Measured, 32 hosts with three heavy seeds on
300 samples: 243 ms at once, 120 to 145 by 75 to 150 of them, whose activations stay in the processor's cache."""


class Score(NamedTuple):
    """Mean cross-entropy (nats) and accuracy (percent) of each host."""

    loss: Float[Tensor, " host"]
    accuracy: Float[Tensor, " host"]


class Evaluation(NamedTuple):
    """Scores on held-out data, and what each seed adds to them."""

    score: Score
    seeds: Contributions


@torch.no_grad()
def evaluate(networks: HostNetworks, life: Lifecycle, data: Split, *, interactions: bool) -> Evaluation:
    """Score every host, and once more without each of its seeds and each pair of them, all hosts at once.

    Seeds are measured while their alpha is above 0. Without the seed of a slot only the parts after it are computed
    again.
    """
    num_hosts, num_slots = life.stage.shape
    groups = networks.groups(life, training=False)
    taps: list[list[Tensor]] = []
    logits = []
    for images in data.images.split(_CHUNK):
        taps.append([])
        logits.append(networks.forward(_seen_by_all(images, networks, num_hosts), groups, taps=taps[-1]))
    score = _score(torch.cat(logits, dim=1), data)

    def accuracy_without(first: int, second: int | None) -> Float[Tensor, " host"]:
        kept = [NO_SEEDS if slot == second else groups[slot] for slot in range(num_slots)]
        reduced = [networks.forward(tap[first], kept, start=first + 1) for tap in taps]
        return _score(torch.cat(reduced, dim=1), data).accuracy

    seeds = measure_contributions(
        score.accuracy, life.alters_output, accuracy_without, interactions=interactions
    )
    return Evaluation(score, seeds)


@torch.enable_grad()
def diagnose(networks: HostNetworks, life: Lifecycle, data: Split) -> Diagnostics:
    """What each slot of every host looks like from the first samples of the data; all hosts see the same ones."""
    images, labels = (part[:DIAGNOSED_SAMPLES] for part in data)
    taps: list[Tensor] = []
    num_hosts = len(life.stage)
    seen = _seen_by_all(images, networks, num_hosts)
    logits = networks.forward(seen, networks.groups(life, training=False), taps=taps)
    loss = cross_entropies(logits, labels.expand(num_hosts, -1)).mean(1).sum()
    layers = [list(part.tensors()) for part in networks.parts[:-1]]
    gradients = iter(torch.autograd.grad(loss, [tensor for layer in layers for tensor in layer]))
    effects = [gradient_effect([(tensor.detach(), next(gradients)) for tensor in layer]) for layer in layers]
    return slot_diagnostics(taps, [effect.float() for effect in effects], networks.topology)


@torch.no_grad()
def score_hosts(networks: HostNetworks, life: Lifecycle, data: Split) -> Score:
    """Score every host on the same data, some hundred samples at a time."""
    groups = networks.groups(life, training=False)
    logits = [
        networks.forward(_seen_by_all(images, networks, len(life.stage)), groups)
        for images in data.images.split(_CHUNK)
    ]
    return _score(torch.cat(logits, dim=1), data)


def cross_entropies(
    logits: Float[Tensor, "host sample choice"], labels: Int[Tensor, "host sample"]
) -> Float[Tensor, "host sample"]:
    """Of each sample, nats."""
    return cross_entropy(logits.flatten(0, 1), labels.flatten(), reduction="none").reshape(labels.shape)


def _seen_by_all(
    images: Float[Tensor, "sample channel row column"], networks: HostNetworks, num_hosts: int
) -> Float[Tensor, "host sample channel row column"]:
    return images.to(networks.dtype).expand(num_hosts, *images.shape)


def _score(logits: Float[Tensor, "host sample choice"], data: Split) -> Score:
    labels = data.labels.expand(len(logits), -1)
    correct = (logits.argmax(-1) == labels).float().mean(1)
    return Score(cross_entropies(logits, labels).mean(1).float(), 100 * correct)
