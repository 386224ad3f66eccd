"""The hosts that controllers are judged on: the same for all, none of them ever trained on."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch
from jaxtyping import Int
from torch import Tensor

from kasmina_hosts import HostConfig, Task
from simic_training.growth.config import GrowthConfig
from simic_training.growth.draws import HostGroup, draw_seed, every_member

MIN_HOSTS = 16


def paired_hosts(config: GrowthConfig, hosts_per_member: int, seed: int) -> tuple[HostGroup, ...]:
    """`hosts_per_member` held-out hosts for each combination of what the family may draw, one group each.

    A function of its arguments, so that all controllers meet the same hosts.

    Args:
        config: what to draw from. Its `group_size` and `replicas` are for training and do not matter here.
        hosts_per_member: at least 1.
        seed: at least 0. Different seeds give other hosts, and other digits for the tasks.

    Raises:
        ValueError: fewer than 16 hosts in all or two of a kind, or a number out of its range.
        FileNotFoundError, ValueError: `config.data` cannot be read as data.
    """
    _check(hosts_per_member, seed)
    members = list(every_member(config, seed))
    if len(members) * hosts_per_member < MIN_HOSTS:
        raise ValueError(
            f"{len(members)} members of the family with {hosts_per_member} hosts each make "
            f"{len(members) * hosts_per_member} hosts, but at least {MIN_HOSTS} are needed to tell controllers apart; "
            f"set `hosts_per_member` to {-(-MIN_HOSTS // len(members))} or more"
        )
    alike = len(config.family.widths) * len(config.family.learning_rates) * hosts_per_member
    if alike < 2:
        raise ValueError(
            "there is one host for each kind of task, from which no interval can be made; "
            "set `hosts_per_member` to 2 or more"
        )
    return _groups(members, hosts_per_member, seed)


def hosts_on(task: Task, config: GrowthConfig, hosts_per_member: int, seed: int) -> tuple[HostGroup, ...]:
    """Held-out hosts on one task, of every width and learning rate of the family; at least 16 in all.

    Args:
        task: the data.
        config: for widths, learning rates and what is the same for all hosts.
        hosts_per_member: at least 1; more are taken where they would be fewer than 16.
        seed: at least 0.
    """
    _check(hosts_per_member, seed)
    family = config.family
    members = [
        (task, replace(config.host, width=width, learning_rate=rate))
        for width in family.widths
        for rate in family.learning_rates
    ]
    return _groups(members, max(hosts_per_member, -(-MIN_HOSTS // len(members))), seed)


def clusters(groups: Sequence[HostGroup]) -> Int[Tensor, " host"]:
    """What an interval resamples together, see `estimate`.

    The hosts of a member share the digits (and the noise) that were drawn for it, and its width and learning rate: they
    are not independent proofs, so members are resampled, told apart by their task. Where all groups stand on one
    task, which was then chosen and not drawn, each host stands for itself.
    """
    tasks = list(dict.fromkeys(id(group.task) for group in groups))
    if len(tasks) == 1:
        return torch.arange(sum(len(group.host_seeds) for group in groups))
    return torch.tensor([tasks.index(id(group.task)) for group in groups for _ in group.host_seeds])


def kind_of(task: Task) -> str:
    """What is alike in tasks of a family whatever digits were drawn: "5 classes", "10 classes, noise 0.5"."""
    noise = task.name.partition(" noise ")[2]
    return f"{task.num_classes} classes" + (f", noise {noise}" if noise else "")


def _groups(
    members: Sequence[tuple[Task, HostConfig]], hosts_per_member: int, seed: int
) -> tuple[HostGroup, ...]:
    rng = np.random.default_rng((2, seed))  # (0, seed) and (1, seed) draw groups and members
    return tuple(
        HostGroup(task, host, tuple(draw_seed(rng, held_out=True) for _ in range(hosts_per_member)))
        for task, host in members
    )


def _check(hosts_per_member: int, seed: int) -> None:
    if hosts_per_member < 1 or seed < 0:
        raise ValueError(
            f"`hosts_per_member` must be at least 1 and `seed` at least 0, not {hosts_per_member} and {seed}"
        )
