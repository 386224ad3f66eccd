"""Small families, few epochs, and outcomes that nobody had to train for."""

from collections.abc import Sequence
from dataclasses import replace

import torch

from kasmina_hosts import HostConfig, HostFamily, Lack
from simic_training.evaluation.outcomes import Host, Outcomes
from simic_training.evaluation.stages import EvaluationOptions, held_out_stage
from simic_training.growth.config import GrowthConfig
from simic_training.growth.draws import HostGroup

TINY = GrowthConfig(
    family=HostFamily(
        lacks=(Lack.NOTHING, Lack.SQUEEZE),
        widths=(4, 4),
        class_counts=(2, 2),
        train_samples=(64, 64),
        max_epochs=(4, 4),
    ),
    host=HostConfig(interactions=False),
)
"""Two lacks, two classes, four epochs."""


def tiny_groups(count: int, hosts: int, *, lack: Lack = Lack.NOTHING) -> list[HostGroup]:
    """Held-out groups of so many hosts each, all of one lack."""
    config = replace(TINY, family=replace(TINY.family, lacks=(lack,)))
    options = EvaluationOptions(members_per_lack=16, hosts_per_member=hosts)
    return list(held_out_stage(config, options).groups[:count])


def make_host(seed: int, *, lack: Lack = Lack.NOTHING, member: int = 0, price: float = 0.3) -> Host:
    return Host(f"task {member}", lack, price, 25, seed, member)


def make_outcomes(
    accuracies: Sequence[float],
    returns: Sequence[float],
    *,
    sizes: Sequence[float] | None = None,
    hosts: Sequence[Host] | None = None,
) -> Outcomes:
    """On as many hosts as there are numbers; each host a member of its own unless `hosts` says otherwise."""
    size = torch.tensor([1.5] * len(accuracies) if sizes is None else sizes)
    default = [make_host(seed, member=seed) for seed in range(len(accuracies))]
    return Outcomes(
        hosts=tuple(default if hosts is None else hosts),
        test_accuracy=torch.tensor(accuracies),
        val_accuracy=torch.tensor(accuracies) + 1,
        params=400 * size,
        size=size,
        episode_return=torch.tensor(returns),
    )
