"""What controllers' episodes come to, host by host: all that tables look at."""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from simic_training.evaluation.hosts import clusters, kind_of
from simic_training.evaluation.play import Played
from simic_training.growth.draws import HostGroup
from simic_training.statistics import Estimate, estimate


class Host(NamedTuple):
    """A host, told by what it was drawn as.

    Args:
        task, classes, kind: name of its data, number of classes, and see `hosts.kind_of`.
        width, learning_rate: of the bare host.
        host_seed: of its first weights and order of data.
        cluster: what it is resampled with, see `hosts.clusters`.
    """

    task: str
    classes: int
    kind: str
    width: int
    learning_rate: float
    host_seed: int
    cluster: int

    @property
    def identity(self) -> tuple[str, float, int]:
        """What must be equal in hosts that are compared. Width is not among it: it may be what is compared."""
        return self.task, self.learning_rate, self.host_seed


class Outcomes(NamedTuple):
    """The end of an episode on each of some hosts.

    Args:
        hosts: which.
        test_accuracy, val_accuracy: percent.
        params: of the grown network. size: that over the bare host's.
        episode_return: sum of rewards.
    """

    hosts: tuple[Host, ...]
    test_accuracy: Float[Tensor, " host"]
    val_accuracy: Float[Tensor, " host"]
    params: Float[Tensor, " host"]
    size: Float[Tensor, " host"]
    episode_return: Float[Tensor, " host"]

    def of_kind(self, kind: str) -> "Outcomes":
        """Those of the hosts on tasks of one kind."""
        return self._take([place for place, host in enumerate(self.hosts) if host.kind == kind])

    @property
    def most_classes(self) -> int:
        """Of any of the tasks."""
        return max(host.classes for host in self.hosts)

    def hard(self) -> "Outcomes":
        """Those of the hosts on the hard tasks: the ones with the most classes, training labels noisy or not.

        Noise makes no class of its own here, since validation and test labels are true; tables by kind of task tell
        the two apart.
        """
        most = self.most_classes
        return self._take([place for place, host in enumerate(self.hosts) if host.classes == most])

    def mean(self, values: Float[Tensor, " host"]) -> Estimate:
        """Of these hosts' values, with an interval that resamples whole members of the family."""
        together = torch.tensor([host.cluster for host in self.hosts])
        return estimate(values, together if len(together.unique()) > 1 else None)

    def _take(self, places: list[int]) -> "Outcomes":
        return Outcomes(
            tuple(self.hosts[place] for place in places), *(values[places] for values in self[1:])
        )


def outcomes_of(played: Played) -> Outcomes:
    """The ends of what was played."""
    episodes = played.episodes
    return Outcomes(
        hosts=tuple(hosts_in(episodes.groups)),
        test_accuracy=played.test_accuracy,
        val_accuracy=episodes.val_accuracy[:, -1],
        params=episodes.total_params[:, -1].double(),
        size=episodes.size,
        episode_return=episodes.episode_return,
    )


def join_outcomes(parts: Sequence[Outcomes]) -> Outcomes:
    """The same on the hosts of all parts, one after the other."""
    hosts = tuple(host for part in parts for host in part.hosts)
    return Outcomes(hosts, *(torch.cat(values) for values in zip(*(part[1:] for part in parts), strict=True)))


def check_paired(name: str, one: Outcomes, other: Outcomes) -> None:
    """That two were played on the same hosts.

    Raises:
        ValueError: they were not; names the controller and the first host that differs.
    """
    if len(one.hosts) != len(other.hosts):
        raise ValueError(f"{name} was played on {len(one.hosts)} hosts, the policy on {len(other.hosts)}")
    for mine, theirs in zip(one.hosts, other.hosts, strict=True):
        if mine.identity != theirs.identity:
            raise ValueError(f"{name} was played on host {mine.identity}, the policy on {theirs.identity}")


def hosts_in(groups: Sequence[HostGroup]) -> Iterator[Host]:
    """The hosts of groups, in order."""
    together = clusters(groups).tolist()
    place = 0
    for group in groups:
        for host_seed in group.host_seeds:
            yield Host(
                task=group.task.name,
                classes=group.task.num_classes,
                kind=kind_of(group.task),
                width=group.config.width,
                learning_rate=group.config.learning_rate,
                host_seed=host_seed,
                cluster=together[place],
            )
            place += 1
