"""Which hosts there are: pure functions of settings and a seed. Hosts to train on and to judge on never meet."""

from collections.abc import Iterator
from dataclasses import replace
from functools import lru_cache
from os import fstat
from typing import NamedTuple

import numpy as np

from kasmina_hosts import ArrayTask, HostConfig, Task, digits_digest, host_slots
from leyline_types import SlotConfig, open_file
from simic_training.growth.config import DIGITS, GrowthConfig

_HALF = 2**62
GIB = 2**30


class DataError(ValueError):
    """A file that cannot be used as data; one line."""


class OtherDataError(DataError):
    """Data that are not those which the settings were recorded with."""


class HostGroup(NamedTuple):
    """Hosts that share data and settings.

    Args:
        task: the data. config: how the hosts are built and trained.
        host_seeds: one per host; it sets first weights and the order of data.
    """

    task: Task
    config: HostConfig
    host_seeds: tuple[int, ...]

    def describe(self) -> dict[str, object]:
        """What tells groups of one family apart, as plain data."""
        return {
            "task": self.task.name,
            "width": self.config.width,
            "learning_rate": self.config.learning_rate,
        }


def draw_groups(
    config: GrowthConfig, num_hosts: int, seed: int, *, held_out: bool = False
) -> tuple[HostGroup, ...]:
    """`num_hosts` hosts in groups of `config.group_size`, the last perhaps smaller.

    Args:
        config: what to draw from.
        num_hosts: at least 1.
        seed: at least 0. Different seeds draw different hosts.
        held_out: hosts that no call without it can draw: what to judge on. Their tasks may be known from training
            where a family has few (all ten digits without noise are one).

    Raises:
        ValueError: a negative seed or no hosts.
        FileNotFoundError, DataError: `config.data` cannot be read as data.
        OtherDataError: they are other data than `config.data_digest` says.
    """
    if num_hosts < 1 or seed < 0:
        raise ValueError(f"hosts must be at least 1 and the seed at least 0, not {num_hosts} and {seed}")
    rng = np.random.default_rng((int(held_out), seed))
    groups = []
    for first in range(0, num_hosts, config.group_size):
        size = min(config.group_size, num_hosts - first)
        task, host = draw_member(config, draw_seed(rng, held_out))
        seeds = [draw_seed(rng, held_out) for _ in range(-(-size // config.hosts_alike))]
        repeated = tuple(host_seed for host_seed in seeds for _ in range(config.hosts_alike))[:size]
        groups.append(HostGroup(task, host, repeated))
    return tuple(groups)


def draw_member(config: GrowthConfig, seed: int) -> tuple[Task, HostConfig]:
    """The data, width and learning rate of this seed."""
    member = config.family.draw(seed, config.host)
    if config.data == DIGITS:
        _compare(config, digits_digest())
        return member.task, member.config
    task = read_data(config.data, config.data_limit)
    _compare(config, task.digest)
    return task, member.config


def every_member(config: GrowthConfig, seed: int) -> Iterator[tuple[Task, HostConfig]]:
    """One held-out member for each combination of what the family may draw: no luck in which ones came up."""
    rng = np.random.default_rng((1, seed))
    family = config.family
    own = config.data != DIGITS
    for count in family.class_counts[:1] if own else family.class_counts:
        for noise in family.label_noises[:1] if own else family.label_noises:
            for width in family.widths:
                for rate in family.learning_rates:
                    fixed = replace(
                        family,
                        class_counts=(count,),
                        label_noises=(noise,),
                        widths=(width,),
                        learning_rates=(rate,),
                    )
                    yield draw_member(replace(config, family=fixed), draw_seed(rng, held_out=True))


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


def slots_of(host: HostConfig) -> SlotConfig:
    """The slots of such hosts."""
    return SlotConfig.from_specs(host_slots(host.width))
