"""What an evaluation plays: who grows which hosts, as pure functions of its settings."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from functools import lru_cache
from typing import Any, Final, NamedTuple

import numpy as np
from torch import Tensor

from leyline_types import Controller
from simic_training.evaluation.controllers import (
    FIRST_START,
    STARTS,
    rivals,
    schedule_controllers,
    sweep_schedules,
    trained_controllers,
)
from simic_training.evaluation.options import EvaluationOptions
from simic_training.growth.config import GrowthConfig
from simic_training.growth.draws import HostGroup, draw_prices, draw_seed, held_out_members, lacks_of
from simic_training.runs.rollout import actions_seed

FAMILY: Final = "family"

MIN_HOSTS: Final = 16
"""Of fewer hosts the intervals are too wide to tell controllers apart."""

LENGTHS: Final = (0.6, 1.6)
"""Lengths that are not trained on: of the shortest and of the longest episode of training."""

POPULATION: Final = 64
"""Hosts in a population from which on more of them are no faster (README of kasmina-hosts, Speed)."""


class Stage(NamedTuple):
    """Hosts, and who grows them.

    Args:
        title: for tables and people. note: how the hosts differ from those of training.
        groups: one for each member of the family. All hosts of a group play one length of episodes, those of others
            perhaps another.
        everybody: whether the schedules and the static networks play too.
    """

    title: str
    note: str
    groups: tuple[HostGroup, ...]
    everybody: bool


@lru_cache(maxsize=2)
def stages_of(env: GrowthConfig, options: EvaluationOptions) -> tuple[Stage, ...]:
    """What is played, in order.

    Args:
        env: hosts and prices as in training.
        options: what to play.

    Raises:
        ValueError: too few hosts, see `paired_hosts`; a file of `options.data` cannot be used as data.
        FileNotFoundError: there is no such file.
    """
    return (
        Stage(FAMILY, "", paired_hosts(env, options), everybody=True),
        *(_transfer_stages(env, options) if options.transfer else ()),
    )


def paired_hosts(env: GrowthConfig, options: EvaluationOptions) -> tuple[HostGroup, ...]:
    """Held-out hosts, a group for each member: as many members of each lack, whatever luck would have drawn.

    A function of its arguments, so that all controllers meet the same hosts.

    Args:
        env: what to draw from. Its `group_size` and `replicas` are for training and do not matter here.
        options: how many hosts; its seed gives other ones.

    Raises:
        ValueError: fewer than 16 hosts in all; `env.data` cannot be used as data.
        FileNotFoundError: there are no such data.
    """
    lacks, each = len(lacks_of(env)), options.hosts_per_member
    members = lacks * options.members_per_lack
    if members * each < MIN_HOSTS:
        raise ValueError(
            f"{members} members of the family ({options.members_per_lack} for each lack) with {each} hosts each make "
            f"{members * each} hosts, but at least {MIN_HOSTS} are needed to tell controllers apart; set "
            f"`members_per_lack` to {-(-MIN_HOSTS // (lacks * each))} or more"
        )
    rng = np.random.default_rng((2, options.seed))  # (0, seed) and (1, seed) draw groups and members
    return tuple(
        HostGroup(
            member.task,
            member.config,
            tuple(draw_seed(rng, held_out=True) for _ in range(each)),
            draw_prices(env, rng, each),
            member.lack,
        )
        for member in held_out_members(env, members, options.seed)
    )


def controllers_of(
    stage: Stage, env: GrowthConfig, options: EvaluationOptions, weights: bytes, group: int
) -> Mapping[str, Controller[Tensor, Any]]:
    """Who plays on the hosts of a group, by name.

    Args:
        stage: where.
        env, options: see `stages_of`.
        weights: of the policy, as its checkpoint holds them; none where no policy plays.
        group: which, counted from 0: what controllers sample differs from group to group.

    Raises:
        CheckpointError: the weights cannot be used.
    """
    host, rules = env.host, env.rules
    seed = actions_seed(options.seed, group)
    trained = trained_controllers(weights, rules, seed=seed) if weights else {}
    usual = {**trained, **rivals(host, rules, seed=seed)}
    if not stage.everybody:
        return usual
    starts = {"none": (), "first": FIRST_START, "all": STARTS}[options.schedules]
    schedules = sweep_schedules(host.topology, rules, epochs=env.family.max_epochs[0], starts=starts)
    return {**usual, **schedule_controllers(schedules, host, rules)}


def parts_of(names: Sequence[str], hosts: HostGroup) -> list[list[str]]:
    """The controllers in lots whose copies of the hosts make one population each, see `POPULATION`."""
    at_once = max(1, POPULATION // len(hosts.host_seeds))
    return [list(names[first : first + at_once]) for first in range(0, len(names), at_once)]


def _transfer_stages(env: GrowthConfig, options: EvaluationOptions) -> Iterator[Stage]:
    """Where a policy was never trained: other lengths of episodes, other data."""
    least, greatest = env.family.max_epochs
    for part, end in zip(LENGTHS, (least, greatest), strict=True):
        epochs = max(1, round(part * end))
        moved = replace(env, family=replace(env.family, max_epochs=(epochs, epochs)))
        note = f"Training has {least} to {greatest} epochs."
        yield Stage(f"Unseen length: {epochs} epochs", note, paired_hosts(moved, options), everybody=False)
    for path in options.data:
        moved = replace(env, data=str(path), data_digest=None)
        yield Stage(f"Unseen data: {path.stem}", "", paired_hosts(moved, options), everybody=False)
