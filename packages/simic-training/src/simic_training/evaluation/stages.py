"""What an evaluation plays: who grows which hosts, as pure functions of its settings."""

from collections.abc import Iterator, Mapping, Sequence
from enum import Enum
from functools import lru_cache
from typing import Any, NamedTuple

from torch import Tensor

from leyline_types import Controller
from simic_training.evaluation.controllers import (
    FIRST_START,
    STARTS,
    random_attempts,
    rivals,
    schedule_controllers,
    sweep_schedules,
    trained_controllers,
)
from simic_training.evaluation.hosts import paired_hosts
from simic_training.evaluation.options import EvaluationOptions
from simic_training.evaluation.transfer import transfer_settings
from simic_training.growth.config import GrowthConfig
from simic_training.growth.draws import HostGroup
from simic_training.runs.rollout import actions_seed

FAMILY = "family"
ATTEMPTS = "random attempts"

POPULATION = 64
"""Hosts in a population from which on more of them are no faster (README of kasmina-hosts, Speed)."""


class Entrants(Enum):
    """Who plays: EVERYBODY with the schedules and the static networks, the USUAL ones, or random ATTEMPTS."""

    EVERYBODY = "everybody"
    USUAL = "usual"
    ATTEMPTS = "attempts"


class Stage(NamedTuple):
    """Hosts, and who grows them.

    Args:
        title: for tables and people. note: how the hosts differ from those of training.
        groups: the hosts.
        entrants: who plays.
    """

    title: str
    note: str
    groups: tuple[HostGroup, ...]
    entrants: Entrants


@lru_cache(maxsize=2)
def stages_of(env: GrowthConfig, options: EvaluationOptions) -> tuple[Stage, ...]:
    """What is played, in order.

    Args:
        env: hosts and reward as in training.
        options: what to play.

    Raises:
        ValueError: too few hosts, see `paired_hosts`; a file of `options.data` cannot be used as data.
        FileNotFoundError: there is no such file.
    """
    return tuple(_stages(env, options))


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
    if stage.entrants is Entrants.ATTEMPTS:  # the first attempt on each host is the random rival's
        seeds = [actions_seed(options.seed + attempt, group) for attempt in range(1, options.budget)]
        return random_attempts(host, rules, seeds=seeds)
    seed = actions_seed(options.seed, group)
    trained = trained_controllers(weights, rules, seed=seed) if weights else {}
    usual = {**trained, **rivals(host, rules, seed=seed)}
    if stage.entrants is Entrants.USUAL:
        return usual
    starts = {"none": (), "first": FIRST_START, "all": STARTS}[options.schedules]
    return {**usual, **schedule_controllers(sweep_schedules(host, rules, starts=starts), host, rules)}


def parts_of(names: Sequence[str], hosts: HostGroup) -> list[list[str]]:
    """The controllers in lots whose copies of the hosts make one population each, see `POPULATION`."""
    at_once = max(1, POPULATION // len(hosts.host_seeds))
    return [list(names[first : first + at_once]) for first in range(0, len(names), at_once)]


def _stages(env: GrowthConfig, options: EvaluationOptions) -> Iterator[Stage]:
    groups = paired_hosts(env, options.hosts_per_member, options.seed)
    yield Stage(FAMILY, "", groups, Entrants.EVERYBODY)
    if options.transfer:
        for setting in transfer_settings(env, options.hosts_per_member, options.seed, options.data):
            yield Stage(setting.title, setting.note, setting.groups, Entrants.USUAL)
    if options.budget:
        yield Stage(ATTEMPTS, "", groups, Entrants.ATTEMPTS)
