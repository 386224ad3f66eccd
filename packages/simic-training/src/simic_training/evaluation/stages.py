"""What an evaluation plays, part by part, and what each part comes to."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import partial
from typing import Any

from torch import Tensor

from leyline_types import Controller
from simic_training.evaluation.budget import Budget, budget_table, payback_table
from simic_training.evaluation.comparisons import GREEDY, POLICY, controllers_table
from simic_training.evaluation.controllers import (
    FIRST_START,
    NONE,
    RANDOM,
    STARTS,
    random_attempts,
    rivals,
    schedule_controllers,
    sweep_schedules,
)
from simic_training.evaluation.family import FAMILY, FamilyOutcomes
from simic_training.evaluation.options import EvaluationOptions
from simic_training.evaluation.outcomes import outcomes_of
from simic_training.evaluation.play import Played
from simic_training.evaluation.results import HostRow, host_rows
from simic_training.evaluation.side_by_side import play_all
from simic_training.evaluation.static import STATIC_SEEDS, STATIC_WIDE, play_static_seeds, play_static_wide
from simic_training.evaluation.tables import Table
from simic_training.evaluation.transfer import Setting
from simic_training.growth.config import GrowthConfig
from simic_training.growth.draws import HostGroup

OnProgress = Callable[[str, float], None]
"""Told what is being played and which part of that is done, up to 1."""

Controllers = Mapping[str, Controller[Tensor, Any]]


def play_family(
    env: GrowthConfig,
    trained: Controllers,
    groups: tuple[HostGroup, ...],
    options: EvaluationOptions,
    on_progress: OnProgress,
) -> tuple[FamilyOutcomes, Played]:
    """All controllers on hosts as in training; also the sampled policy's episodes as they are."""
    starts = {"none": (), "first": FIRST_START, "all": STARTS}[options.schedules]
    schedules = schedule_controllers(sweep_schedules(env.host, env.rules, starts=starts), env.host, env.rules)
    usual = {**trained, **rivals(env.host, env.rules, seed=options.seed)}
    played = play_all(
        {**usual, **schedules},
        groups,
        rent_rate=env.rent_rate,
        rules=env.rules,
        on_progress=partial(on_progress, "family"),
    )
    static = {}
    for name, play_static in ((STATIC_SEEDS, play_static_seeds), (STATIC_WIDE, play_static_wide)):
        static[name] = outcomes_of(
            play_static(
                played[POLICY],
                rent_rate=env.rent_rate,
                rules=env.rules,
                on_progress=partial(on_progress, name),
            )
        )
    family = FamilyOutcomes(
        {name: outcomes_of(played[name]) for name in usual},
        {name: outcomes_of(played[name]) for name in schedules},
        static,
    )
    return family, played[POLICY]


def play_transfer(
    env: GrowthConfig,
    trained: Controllers,
    settings: Iterable[Setting],
    options: EvaluationOptions,
    on_progress: OnProgress,
) -> Iterator[tuple[Table, list[HostRow]]]:
    """A table, and the hosts behind it, for each setting that the policy was not trained in."""
    controllers = {**trained, **rivals(env.host, env.rules, seed=options.seed)}
    for setting in settings:
        played = play_all(
            controllers,
            setting.groups,
            rent_rate=env.rent_rate,
            rules=env.rules,
            on_progress=partial(on_progress, setting.title),
        )
        outcomes = {name: outcomes_of(each) for name, each in played.items()}
        rows = [row for name, each in outcomes.items() for row in host_rows(setting.title, name, each)]
        yield controllers_table(setting.title, setting.note, outcomes), rows


def play_budget(
    env: GrowthConfig,
    family: FamilyOutcomes,
    groups: tuple[HostGroup, ...],
    options: EvaluationOptions,
    trained_episodes: int,
    on_progress: OnProgress,
) -> tuple[list[Table], list[HostRow]]:
    """The tables of equal total budget, and the hosts behind them that no other table has.

    The first random attempt on each host is that of the other tables.
    """
    more = random_attempts(options.budget - 1, env.host, env.rules, seed=options.seed + 1)
    played = play_all(
        more,
        groups,
        rent_rate=env.rent_rate,
        rules=env.rules,
        on_progress=partial(on_progress, "random attempts"),
    )
    attempts = {name: outcomes_of(each) for name, each in played.items()}
    schedules = list(family.schedules.values())
    pools = {RANDOM: [family.controllers[RANDOM], *attempts.values()]}
    budget = Budget(
        policy=family.controllers[POLICY],
        greedy=family.controllers[GREEDY],
        none=family.controllers[NONE],
        pools={**pools, "schedules": schedules} if schedules else pools,
        schedules=schedules,
        trained_episodes=trained_episodes,
        epochs=env.host.max_epochs,
    )
    rows = [row for name, each in attempts.items() for row in host_rows(FAMILY, name, each)]
    return [budget_table(budget), payback_table(budget)], rows
