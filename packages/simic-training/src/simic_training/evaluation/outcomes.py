"""What controllers' episodes come to, host by host: all that tables look at."""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from kasmina_hosts import Lack
from simic_training.evaluation.play import Played
from simic_training.growth.draws import HostGroup
from simic_training.statistics import Estimate, estimate


class Host(NamedTuple):
    """A host, told by what it was drawn as.

    Args:
        task: name of its data. lack: what the bare host lacks.
        price: of growing it to twice its parameters, in reward. epochs: of its episode.
        host_seed: of its first weights and order of data.
        member: number of the member of the family. Hosts of a member share data, architecture and length, so that they
            are no independent proofs and are resampled together.
    """

    task: str
    lack: Lack
    price: float
    epochs: int
    host_seed: int
    member: int

    @property
    def identity(self) -> tuple[str, str, float, int, int]:
        """What must be equal in hosts that are compared. Width is not among it: it may be what is compared."""
        return self.task, self.lack.value, self.price, self.epochs, self.host_seed


class Outcomes(NamedTuple):
    """The end of an episode on each of some hosts.

    Args:
        hosts: which; their episodes may differ in length.
        test_accuracy, val_accuracy: percent.
        params: of the grown network. size: that over the bare host's.
        episode_return: sum of rewards, at the host's own price.
    """

    hosts: tuple[Host, ...]
    test_accuracy: Float[Tensor, " host"]
    val_accuracy: Float[Tensor, " host"]
    params: Float[Tensor, " host"]
    size: Float[Tensor, " host"]
    episode_return: Float[Tensor, " host"]

    def of_lack(self, lack: Lack) -> "Outcomes":
        """Those of the hosts that lack this."""
        places = [place for place, host in enumerate(self.hosts) if host.lack is lack]
        return Outcomes(
            tuple(self.hosts[place] for place in places), *(values[places] for values in self[1:])
        )

    def mean(self, values: Float[Tensor, " host"]) -> Estimate:
        """Of these hosts' values, with an interval that resamples whole members of the family."""
        return estimate(values, torch.tensor([host.member for host in self.hosts]))


def outcomes_of(played: Played, member: int = 0) -> Outcomes:
    """The ends of what was played on hosts of one member of the family, which bears this number."""
    episodes = played.episodes
    return Outcomes(
        hosts=tuple(host for group in episodes.groups for host in hosts_in(group, member)),
        test_accuracy=played.test_accuracy,
        val_accuracy=episodes.val_accuracy[:, -1],
        params=episodes.total_params[:, -1].double(),
        size=episodes.size,
        episode_return=episodes.episode_return,
    )


def hosts_in(group: HostGroup, member: int = 0) -> Iterator[Host]:
    """The hosts of a group, in order."""
    for host_seed, price in zip(group.host_seeds, group.prices, strict=True):
        yield Host(group.task.name, group.lack, price, group.config.max_epochs, host_seed, member)


def join_outcomes(parts: Sequence[Outcomes]) -> Outcomes:
    """The same on the hosts of all parts, one after the other."""
    hosts = tuple(host for part in parts for host in part.hosts)
    return Outcomes(hosts, *(torch.cat(values) for values in zip(*(part[1:] for part in parts), strict=True)))


def chosen_elsewhere(rivals: Sequence[Outcomes]) -> Outcomes:
    """What the rival with the best mean return reaches where it was not chosen.

    For the hosts of each member of the family it is the best on the hosts of all other members: the best of many noisy
    means on the very hosts that it is scored on would look better than it is.

    Args:
        rivals: outcomes on the same hosts, of at least two members.
    """
    hosts = rivals[0].hosts
    returns = torch.stack([each.episode_return for each in rivals])  # [rival, host]
    members = torch.tensor([host.member for host in hosts])
    elsewhere = members[:, None] != members  # [host, host]
    best = torch.stack([returns[:, other].mean(1).argmax() for other in elsewhere])
    places = torch.arange(len(hosts))
    stacked = [torch.stack(values) for values in zip(*(each[1:] for each in rivals), strict=True)]
    return Outcomes(hosts, *(values[best, places] for values in stacked))


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
