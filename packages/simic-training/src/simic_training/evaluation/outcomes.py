"""What controllers' episodes come to, host by host: all that tables look at, and its way through bytes."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final, NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from kasmina_hosts import GrownSeed, Lack
from leyline_types import AlphaAlgorithm, BlueprintAction
from simic_training.evaluation.play import Played
from simic_training.growth.draws import HostGroup
from simic_training.runs.tensor_bytes import tensors_from_bytes, tensors_to_bytes
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
    def identity(self) -> tuple[str, str, float, int]:
        """What must be equal in hosts that are compared. Width and length are not: they may be what is compared."""
        return self.task, self.lack.value, self.price, self.host_seed


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
        return self.take([place for place, host in enumerate(self.hosts) if host.lack is lack])

    def take(self, places: Sequence[int]) -> "Outcomes":
        """Those of the hosts at these places, in this order."""
        return Outcomes(
            tuple(self.hosts[place] for place in places), *(values[list(places)] for values in self[1:])
        )

    def at_price(self, price: float) -> "Outcomes":
        """What the same episodes would have been worth at this price, where nobody acted by the price."""
        own = torch.tensor([host.price for host in self.hosts], dtype=self.episode_return.dtype)
        return self._replace(
            hosts=tuple(host._replace(price=price) for host in self.hosts),
            episode_return=self.episode_return + (own - price) * (self.size - 1),
        )

    def mean(self, values: Float[Tensor, " host"]) -> Estimate:
        """Of these hosts' values, with an interval that resamples whole members of the family."""
        return estimate(values, torch.tensor([host.member for host in self.hosts]))


class Grown(NamedTuple):
    """What a host had become when its episode ended: all that networks of equal size or time are made from.

    Args:
        seeds: those that alter its output, by slot id.
        params: parameters.
        host_epochs: epochs of the bare host that cost as much as the episode, parameters of every epoch counted.
    """

    seeds: tuple[tuple[str, GrownSeed], ...]
    params: int
    host_epochs: int


class Found(NamedTuple):
    """What playing on some hosts came to.

    Args:
        outcomes: by controller, all on the same hosts.
        episodes: what the sampled policy did on each host, as plain data; none where it did not play.
        grown: what each host had become under it.
        features: what each host showed after a few epochs without growth (`look_then_leap.look`); None where nobody
            looked.
    """

    outcomes: Mapping[str, Outcomes]
    episodes: Sequence[Mapping[str, Any]] = ()
    grown: Sequence[Grown] = ()
    features: Float[Tensor, "host feature"] | None = None


_MEASURED = Outcomes._fields[1:]
_FEATURES: Final = "features"


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


def grown_of(played: Played) -> list[Grown]:
    """What each host has become."""
    episodes = played.episodes
    epochs = (episodes.total_params[:, 1:] / episodes.host_params[:, None]).sum(1).round()
    ends = zip(episodes.grown, episodes.total_params[:, -1].tolist(), epochs.int().tolist(), strict=True)
    return [Grown(tuple(seeds.items()), params, host_epochs) for seeds, params, host_epochs in ends]


def join_outcomes(parts: Sequence[Outcomes]) -> Outcomes:
    """The same on the hosts of all parts, one after the other."""
    hosts = tuple(host for part in parts for host in part.hosts)
    return Outcomes(hosts, *(torch.cat(values) for values in zip(*(part[1:] for part in parts), strict=True)))


def join_found(parts: Sequence[Found]) -> Found:
    """The same on the hosts of all parts, controller by controller.

    Args:
        parts: a controller that plays on the hosts of one member plays on those of all; others of its hosts may come in
            another part. Hosts are looked at in one of their parts.
    """
    by_name: dict[str, list[Outcomes]] = {}
    for found in parts:
        for name, each in found.outcomes.items():
            by_name.setdefault(name, []).append(each)
    features = [found.features for found in parts if found.features is not None]
    return Found(
        {name: join_outcomes(several) for name, several in by_name.items()},
        [episode for found in parts for episode in found.episodes],
        [grown for found in parts for grown in found.grown],
        torch.cat(features) if features else None,
    )


def check_paired(name: str, one: Outcomes, other: Outcomes) -> None:
    """That two were played on the same hosts.

    Raises:
        ValueError: they were not; names the controller and the first host that differs.
    """
    if len(one.hosts) != len(other.hosts):
        raise ValueError(f"{name} was played on {len(one.hosts)} hosts, the other on {len(other.hosts)}")
    for mine, theirs in zip(one.hosts, other.hosts, strict=True):
        if mine.identity != theirs.identity:
            raise ValueError(f"{name} was played on host {mine.identity}, the other on {theirs.identity}")


def found_to_bytes(found: Found) -> bytes:
    """What came of one group of hosts, on its way between processes and into files."""
    tensors = {
        f"{place}.{field}": getattr(each, field)
        for place, each in enumerate(found.outcomes.values())
        for field in _MEASURED
    }
    if found.features is not None:
        tensors[_FEATURES] = found.features
    note = {
        "names": list(found.outcomes),
        "prices": [[host.price for host in each.hosts] for each in found.outcomes.values()],
        "epochs": [[host.epochs for host in each.hosts] for each in found.outcomes.values()],
        "episodes": list(found.episodes),
        "grown": [_plain(grown) for grown in found.grown],
    }
    return tensors_to_bytes(tensors, note)


def found_from_bytes(content: bytes, group: HostGroup, member: int = 0) -> Found:
    """What `found_to_bytes` wrote.

    Args:
        content: the bytes.
        group: the hosts.
        member: number of the member of the family that they are.
    """
    tensors, note = tensors_from_bytes(content)
    hosts = tuple(hosts_in(group, member))
    outcomes = {}
    told = zip(note["names"], note["prices"], note["epochs"], strict=True)
    for place, (name, prices, epochs) in enumerate(told):
        played = tuple(
            host._replace(price=price, epochs=each)
            for host, price, each in zip(hosts, prices, epochs, strict=True)
        )
        outcomes[name] = Outcomes(played, *(tensors[f"{place}.{field}"] for field in _MEASURED))
    grown = [_grown(plain) for plain in note["grown"]]
    return Found(outcomes, note["episodes"], grown, tensors.get(_FEATURES))


def _plain(grown: Grown) -> list[Any]:
    seeds = [[slot_id, int(seed.blueprint), int(seed.algorithm), seed.alpha] for slot_id, seed in grown.seeds]
    return [seeds, grown.params, grown.host_epochs]


def _grown(plain: list[Any]) -> Grown:
    seeds, params, host_epochs = plain
    return Grown(
        tuple(
            (slot_id, GrownSeed(BlueprintAction(blueprint), AlphaAlgorithm(algorithm), alpha))
            for slot_id, blueprint, algorithm, alpha in seeds
        ),
        params,
        host_epochs,
    )
