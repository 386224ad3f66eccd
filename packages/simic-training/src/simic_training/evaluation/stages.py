"""Which hosts an evaluation plays on: pure functions of settings, so that all controllers meet the same ones."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Final, NamedTuple

import numpy as np

from simic_training.growth.config import GrowthConfig
from simic_training.growth.draws import (
    HostGroup,
    draw_prices,
    draw_seed,
    family_member,
    lacks_of,
    with_data_digest,
)

FAMILY: Final = "family"
TRAINING: Final = "training"

MIN_HOSTS: Final = 16
"""Of fewer hosts the intervals are too wide to tell controllers apart."""

LENGTHS: Final = (0.6, 1.6)
"""Lengths that are not trained on: of the shortest and of the longest episode of training."""

MOST: Final = 10_000
"""Members of each lack, and hosts of each member: far more than any interval needs."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EvaluationOptions:
    """Settings of an evaluation.

    Args:
        members_per_lack: held-out members of the family for each lack that it draws, 2 to `MOST`: they are what
            intervals resample.
        hosts_per_member: hosts of each held-out member, at most `MOST`; there must be 16 in all.
        training_members_per_lack: members of those that may be trained on, on which schedules are chosen, 1 to `MOST`.
        training_hosts_per_member: hosts of each of them, at most `MOST`: members differ more than hosts of one of them.
        full: whether every schedule, static networks and unseen lengths are played on held-out hosts too.
        seed: of hosts and sampled actions.
        data: .npz files of different names that networks are grown on too.

    Raises:
        ValueError: a field outside its range.
    """

    members_per_lack: int = 4
    hosts_per_member: int = 2
    training_members_per_lack: int = 2
    training_hosts_per_member: int = 1
    full: bool = False
    seed: int = 0
    data: tuple[Path, ...] = ()

    def __post_init__(self) -> None:
        for name, least in (
            ("members_per_lack", 2),
            ("training_members_per_lack", 1),
            ("hosts_per_member", 1),
            ("training_hosts_per_member", 1),
        ):
            if not least <= getattr(self, name) <= MOST:
                raise ValueError(f"`{name}` must be from {least} to {MOST}, not {getattr(self, name)}")
        if self.seed < 0:
            raise ValueError(f"`seed` must be at least 0, not {self.seed}")
        names = [path.stem for path in self.data]
        if len(set(names)) < len(names):
            raise ValueError(
                f"`data` must be files of different names, which tables bear, not {', '.join(names)}"
            )


FULL: Final = EvaluationOptions(training_members_per_lack=8, full=True)
"""Schedules are chosen on more hosts: of few hosts the best of many schedules is luck."""


class HostDraw(NamedTuple):
    """How hosts are drawn: all that they depend on besides the number of the member that they are of.

    Args:
        env: what to draw from. Its `group_size` and `replicas` are for training and do not matter here.
        held_out: to judge on, rather than to choose on; the two never meet.
        per_member: hosts of each member.
        seed: at least 0.
    """

    env: GrowthConfig
    held_out: bool
    per_member: int
    seed: int

    def group(self, member: int) -> HostGroup:
        """The hosts of a member of the family, by its number from 0: the same ones however many members there are.

        Raises:
            FileNotFoundError, DataError, OtherDataError: see `growth.draws.draw_groups`.
        """
        return _group(self, member)


class Stage(NamedTuple):
    """Hosts to play on.

    Args:
        title: for tables and people. note: how the hosts differ from those of training.
        draw: how they are drawn. members: how many members of the family, of each lack as many.
    """

    title: str
    note: str
    draw: HostDraw
    members: int

    @property
    def groups(self) -> tuple[HostGroup, ...]:
        """One for each member. All hosts of a group play one length of episodes, those of others perhaps another."""
        return tuple(self.draw.group(member) for member in range(self.members))


def training_stage(env: GrowthConfig, options: EvaluationOptions) -> Stage:
    """Hosts to choose schedules on: as many members of each lack, whatever luck would have drawn.

    Args:
        env: hosts and prices as in training. Hosts are drawn with the digest of the data that are there now, so that
            what was played on other data is not taken for what these give.
        options: how many hosts; its seed gives other ones.

    Raises:
        FileNotFoundError, DataError, OtherDataError: see `growth.draws.with_data_digest`.
    """
    env = with_data_digest(env)
    draw = HostDraw(env, held_out=False, per_member=options.training_hosts_per_member, seed=options.seed)
    return Stage(TRAINING, "", draw, len(lacks_of(env)) * options.training_members_per_lack)


def held_out_stage(env: GrowthConfig, options: EvaluationOptions) -> Stage:
    """Hosts to judge on, which nobody trained or chose anything on: as many members of each lack.

    Args:
        env, options: see `training_stage`.

    Raises:
        ValueError: fewer than 16 hosts in all.
        FileNotFoundError, DataError, OtherDataError: see `training_stage`.
    """
    lacks, each = len(lacks_of(env)), options.hosts_per_member
    members = lacks * options.members_per_lack
    if members * each < MIN_HOSTS:
        raise ValueError(
            f"{members} members of the family ({options.members_per_lack} for each lack) with {each} hosts each make "
            f"{members * each} hosts, but at least {MIN_HOSTS} are needed to tell controllers apart; set "
            f"`members_per_lack` to {-(-MIN_HOSTS // (lacks * each))} or more"
        )
    draw = HostDraw(with_data_digest(env), held_out=True, per_member=each, seed=options.seed)
    return Stage(FAMILY, "", draw, members)


def unseen_stages(env: GrowthConfig, options: EvaluationOptions) -> Iterator[Stage]:
    """Where a policy was never trained: other lengths of episodes in a full evaluation, and the data of `options`.

    Args:
        env, options: see `training_stage`.

    Raises:
        ValueError: too few hosts; a file of `options.data` cannot be used as data.
        FileNotFoundError: there is no such file.
    """
    least, greatest = env.family.max_epochs
    for part, end in zip(LENGTHS, (least, greatest), strict=True) if options.full else ():
        epochs = max(1, round(part * end))
        moved = replace(env, family=replace(env.family, max_epochs=(epochs, epochs)))
        note = f"Training has {least} to {greatest} epochs."
        yield held_out_stage(moved, options)._replace(title=f"Unseen length: {epochs} epochs", note=note)
    for path in options.data:
        moved = replace(env, data=str(path), data_digest=None)
        yield held_out_stage(moved, options)._replace(title=f"Unseen data: {path.stem}")


@lru_cache(maxsize=1024)
def _group(draw: HostDraw, member: int) -> HostGroup:
    drawn = family_member(draw.env, member, draw.seed, held_out=draw.held_out)
    rng = np.random.default_rng((4 + draw.held_out, draw.seed, member))  # 0 to 3 draw groups and members
    return HostGroup(
        drawn.task,
        drawn.config,
        tuple(draw_seed(rng, draw.held_out) for _ in range(draw.per_member)),
        draw_prices(draw.env, rng, draw.per_member),
        drawn.lack,
    )
