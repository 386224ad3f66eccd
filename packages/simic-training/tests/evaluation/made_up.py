"""Small families, few epochs, and outcomes that nobody had to train for."""

from collections.abc import Sequence

import torch

from kasmina_hosts import DigitsFamily, HostConfig
from simic_training.evaluation.outcomes import Host, Outcomes
from simic_training.growth.config import GrowthConfig

TINY = GrowthConfig(
    family=DigitsFamily(class_counts=(2,), widths=(4,), label_noises=(0.0,), learning_rates=(0.1, 0.2)),
    host=HostConfig(max_epochs=4, interactions=False),
    rent_rate=0.3,
)
"""Two members: 2 classes at either learning rate."""


def make_host(seed: int, *, classes: int = 10, cluster: int = 0, kind: str = "10 classes") -> Host:
    return Host(f"task {cluster}", classes, kind, 4, 0.2, seed, cluster)


def make_outcomes(
    accuracies: Sequence[float],
    returns: Sequence[float],
    *,
    sizes: Sequence[float] | None = None,
    hosts: Sequence[Host] | None = None,
) -> Outcomes:
    """On as many hosts as there are numbers; each host its own cluster unless `hosts` says otherwise."""
    size = torch.tensor([1.5] * len(accuracies) if sizes is None else sizes)
    default = [make_host(seed, cluster=seed) for seed in range(len(accuracies))]
    return Outcomes(
        hosts=tuple(default if hosts is None else hosts),
        test_accuracy=torch.tensor(accuracies),
        val_accuracy=torch.tensor(accuracies) + 1,
        params=400 * size,
        size=size,
        episode_return=torch.tensor(returns),
    )
