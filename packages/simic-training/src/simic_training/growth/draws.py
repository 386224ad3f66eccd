"""Which hosts there are: pure functions of settings and a seed. Hosts to train on and to judge on never meet."""

from dataclasses import fields, replace
from enum import Enum
from functools import lru_cache
from math import log
from os import fstat
from typing import Final, NamedTuple

import numpy as np

from kasmina_hosts import LACKS, ArrayTask, FamilyMember, HostConfig, Lack, Task, digits_digest, host_slots
from leyline_types import SlotConfig, open_file
from simic_training.growth.config import DIGITS, GrowthConfig

_HALF: Final = 2**62
GIB = 2**30


class DataError(ValueError):
    """A file that cannot be used as data; one line."""


class OtherDataError(DataError):
    """Data that are not those which the settings were recorded with."""


class HostGroup(NamedTuple):
    """Hosts that share data and settings.

    Args:
        task: the data. config: how the hosts are built and trained, and for how many epochs.
        host_seeds: one per host; it sets first weights and the order of data.
        prices: one per host, see `growth_reward`.
        lack: what the hosts lack; for records and tables alone, no policy sees it.
    """

    task: Task
    config: HostConfig
    host_seeds: tuple[int, ...]
    prices: tuple[float, ...]
    lack: Lack

    def describe(self) -> dict[str, object]:
        """What tells groups of one family apart, as plain data; of the hosts' settings, those that are no defaults."""
        return {**self._alike(), "prices": list(self.prices)}

    def describe_host(self, place: int) -> dict[str, object]:
        """`describe` of one host by its place in the group: its `price` in place of all `prices`."""
        return {**self._alike(), "price": self.prices[place]}

    def _alike(self) -> dict[str, object]:
        always = {
            "task": self.task.name,
            "lack": self.lack.value,
            "width": self.config.width,
            "max_epochs": self.config.max_epochs,
        }
        usual = HostConfig()
        others = {field.name: getattr(self.config, field.name) for field in fields(HostConfig)}
        differing = {name: _plain(value) for name, value in others.items() if value != getattr(usual, name)}
        return {**always, **differing}


def draw_groups(
    config: GrowthConfig, num_hosts: int, seed: int, *, held_out: bool = False
) -> tuple[HostGroup, ...]:
    """`num_hosts` hosts in groups of `config.group_size`, the last perhaps smaller.

    All have one length of episodes, so that they can stand side by side. Each group has a member of the family of its
    own, and each set of replicas a price.

    Args:
        config: what to draw from.
        num_hosts: at least 1.
        seed: at least 0. Different seeds draw different hosts.
        held_out: hosts that no call without it can draw: what to judge on. Their tasks may be known from training
            where a family has few.

    Raises:
        ValueError: a negative seed or no hosts.
        FileNotFoundError, DataError: `config.data` cannot be read as data.
        OtherDataError: they are other data than `config.data_digest` says.
    """
    if num_hosts < 1 or seed < 0:
        raise ValueError(f"hosts must be at least 1 and the seed at least 0, not {num_hosts} and {seed}")
    rng = np.random.default_rng((int(held_out), seed))
    epochs = config.family.draw_max_epochs(draw_seed(rng, held_out))
    groups = []
    for first in range(0, num_hosts, config.group_size):
        size = min(config.group_size, num_hosts - first)
        member = draw_member(config, draw_seed(rng, held_out))
        sets = -(-size // config.hosts_alike)
        seeds = [draw_seed(rng, held_out) for _ in range(sets)]
        prices = draw_prices(config, rng, sets)
        places = [place // config.hosts_alike for place in range(size)]
        groups.append(
            HostGroup(
                member.task,
                replace(member.config, max_epochs=epochs),
                tuple(seeds[place] for place in places),
                tuple(prices[place] for place in places),
                member.lack,
            )
        )
    return tuple(groups)


def draw_member(config: GrowthConfig, seed: int, *, lack: Lack | None = None) -> FamilyMember:
    """The member of the family of this seed: its data, and how its hosts are built.

    Its `config.max_epochs` is that of `config.host`: lengths are drawn for what stands side by side.

    Args:
        config: what to draw from.
        seed: at least 0.
        lack: what its hosts are to lack, one of `lacks_of(config)`; None draws that too.

    Raises:
        FileNotFoundError, DataError, OtherDataError: see `draw_groups`.
    """
    if config.data == DIGITS:
        _compare(config, digits_digest())
        return config.family.draw(seed, config.host, lack=lack)
    task = read_data(config.data, config.data_limit)
    _compare(config, task.digest)
    return config.family.draw(seed, config.host, task, lack=lack)


def lacks_of(config: GrowthConfig) -> tuple[Lack, ...]:
    """What the hosts of these settings may lack: the kinds that the family draws and the topology knows."""
    return tuple(lack for lack in LACKS[config.host.topology] if lack in config.family.lacks)


def family_member(config: GrowthConfig, number: int, seed: int, *, held_out: bool) -> FamilyMember:
    """A member with a length of episodes of its own, of each kind of `lacks_of(config)` in turn.

    So no luck decides which kinds come up; and each is the same one however many there are.

    Args:
        config: what to draw from.
        number: which, from 0.
        seed: at least 0.
        held_out: to judge on, rather than to train and choose on.

    Raises:
        FileNotFoundError, DataError, OtherDataError: see `draw_groups`.
    """
    rng = np.random.default_rng((2 + held_out, seed, number))  # 0 and 1 draw groups
    lacks = lacks_of(config)
    member = draw_member(config, draw_seed(rng, held_out), lack=lacks[number % len(lacks)])
    epochs = config.family.draw_max_epochs(draw_seed(rng, held_out))
    return member._replace(config=replace(member.config, max_epochs=epochs))


def draw_prices(config: GrowthConfig, rng: np.random.Generator, count: int) -> tuple[float, ...]:
    """`count` prices, log-uniform within `config.prices`."""
    least, greatest = config.prices
    drawn = np.exp(rng.uniform(log(least), log(greatest), count))
    return tuple(np.clip(drawn, least, greatest).tolist())  # exp and log round


def draw_seed(rng: np.random.Generator, held_out: bool) -> int:
    """Even to train on, odd to judge on."""
    return 2 * int(rng.integers(_HALF)) + held_out


def with_data_digest(config: GrowthConfig) -> GrowthConfig:
    """The settings with the digest of the data that are there now.

    Raises:
        FileNotFoundError, DataError: see `draw_groups`.
    """
    check_data(config)
    return replace(config, data_digest=_digest(config))


def check_data(config: GrowthConfig) -> None:
    """See that the data are those which the settings were recorded with.

    Raises:
        FileNotFoundError, DataError: see `draw_groups`.
    """
    _compare(config, _digest(config))


def _compare(config: GrowthConfig, found: str) -> None:
    if config.data_digest not in (None, found):
        raise OtherDataError(
            f"the data {config.data} are other than recorded: found {found}; recorded (`env.data_digest`) "
            f"{config.data_digest}"
        )


def _digest(config: GrowthConfig) -> str:
    return digits_digest() if config.data == DIGITS else read_data(config.data, config.data_limit).digest


def read_data(path: str, limit: float) -> ArrayTask:
    """The data in an .npz file, read once for as long as it stays what it is.

    Args:
        path: of the file.
        limit: GiB that its arrays may take.

    Raises:
        FileNotFoundError: no such file.
        DataError: it cannot be used as data.
    """
    max_bytes = int(limit * GIB)
    try:
        with open_file(path, max_bytes=max_bytes) as file:
            found = fstat(file.fileno())
        return _read_data(path, max_bytes, (found.st_ino, found.st_size, found.st_mtime_ns))
    except ValueError as error:
        raise DataError(str(error)) from error


@lru_cache(maxsize=8)
def _read_data(path: str, max_bytes: int, version: tuple[int, ...]) -> ArrayTask:
    return ArrayTask.from_npz(path, max_bytes=max_bytes)


def _plain(value: object) -> object:
    match value:
        case Enum():
            return value.value
        case tuple():
            return list(value)
        case _:
            return value


def slots_of(host: HostConfig) -> SlotConfig:
    """The slots of such hosts."""
    return SlotConfig.from_specs(host_slots(host.width))
