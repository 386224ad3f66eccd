"""Where a policy was never trained: other lengths of episodes, other tasks and hosts, other data."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Final, NamedTuple, TypeVar

from kasmina_hosts import DigitsFamily, HostConfig, HostPopulation, Task
from simic_training.evaluation.hosts import MIN_HOSTS, hosts_on, paired_hosts
from simic_training.evaluation.unseen_data import breast_cancer, photographs
from simic_training.growth.config import DIGITS, GrowthConfig
from simic_training.growth.draws import HostGroup, every_member, read_data

LENGTHS: Final = (0.6, 1.6)
"""Lengths of episodes, in those of training."""

OUTSIDE: Final = DigitsFamily(
    class_counts=(3, 4, 7, 8), widths=(5, 8), label_noises=(0.25, 0.75), learning_rates=(0.15, 0.3)
)
"""What tasks and hosts may be that the default family does not draw."""

ValueT = TypeVar("ValueT")


class Setting(NamedTuple):
    """Hosts unlike those of training.

    Args:
        title: for the table. note: how they differ.
        groups: the hosts.
    """

    title: str
    note: str
    groups: tuple[HostGroup, ...]


def transfer_settings(
    config: GrowthConfig, hosts_per_member: int, seed: int, data: Sequence[Path]
) -> Iterator[Setting]:
    """The settings one after another.

    Args:
        config: what was trained on.
        hosts_per_member, seed: see `paired_hosts`; where that makes fewer than 16 hosts there are more.
        data: .npz files to grow networks on too.

    Raises:
        FileNotFoundError, ValueError: a file that cannot be used as data, or on which such hosts cannot be built.
    """
    for part in LENGTHS:
        epochs = max(1, round(part * config.host.max_epochs))
        longer = replace(config, host=replace(config.host, max_epochs=epochs))
        yield Setting(
            f"Unseen length: {epochs} epochs",
            f"Episodes of {epochs} epochs instead of {config.host.max_epochs}.",
            paired_hosts(longer, hosts_per_member, seed),
        )
    family = outside(config.family)
    moved = replace(config, family=family)
    members = len(list(every_member(moved, seed)))
    yield Setting(
        "Unseen tasks and hosts" if config.data == DIGITS else "Unseen hosts",
        f"What the family of training does not draw: {_describe(moved)}.",
        paired_hosts(moved, max(hosts_per_member, -(-MIN_HOSTS // members)), seed),
    )
    shipped = [task for task in (breast_cancer(), photographs()) if fits(task, config.host)]
    own = [read_data(str(path), config.data_limit) for path in data]
    for task, name in zip(own, data, strict=True):
        HostPopulation(task, config.host)
        if [each.name for each in (*shipped, *own)].count(task.name) > 1:
            raise ValueError(
                f"there are other data called {task.name!r} beside those of {name}: rename the file"
            )
    for task in (*shipped, *own):
        yield Setting(
            f"Unseen data: {task.name}",
            f"{len(task.train.labels)} samples to train on, of {task.num_classes} classes; hosts as in training.",
            hosts_on(task, config, hosts_per_member, seed),
        )


def fits(task: Task, host: HostConfig) -> bool:
    """Whether such hosts can be built for the task's images."""
    try:
        HostPopulation(task, host)
    except ValueError:
        return False
    return True


def outside(family: DigitsFamily) -> DigitsFamily:
    """A family of which every draw is one that `family` never makes, as far as `OUTSIDE` has any."""
    return DigitsFamily(
        class_counts=_others(OUTSIDE.class_counts, family.class_counts),
        widths=_others(OUTSIDE.widths, family.widths),
        label_noises=_others(OUTSIDE.label_noises, family.label_noises)[:1],
        learning_rates=_others(OUTSIDE.learning_rates, family.learning_rates)[:1],
    )


def _others(choices: tuple[ValueT, ...], known: tuple[ValueT, ...]) -> tuple[ValueT, ...]:
    return tuple(choice for choice in choices if choice not in known) or known


def _describe(config: GrowthConfig) -> str:
    family = config.family
    counts, widths = (", ".join(map(str, each)) for each in (family.class_counts, family.widths))
    tasks = f"{counts} classes, label noise {family.label_noises[0]}, " if config.data == DIGITS else ""
    return f"{tasks}widths {widths}, learning rate {family.learning_rates[0]}"
