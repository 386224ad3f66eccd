"""The units of work that an evaluation consists of, for any engine."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any, NamedTuple

from simic_training.engines.unit import Done, Engine, Unit
from simic_training.evaluation.comparisons import POLICY
from simic_training.evaluation.options import EvaluationOptions
from simic_training.evaluation.outcomes import Outcomes, join_outcomes, outcomes_of
from simic_training.evaluation.outcomes_bytes import outcomes_from_bytes, outcomes_to_bytes
from simic_training.evaluation.play import Played
from simic_training.evaluation.side_by_side import play_all
from simic_training.evaluation.stages import Stage, controllers_of, parts_of, stages_of
from simic_training.evaluation.static import STATIC_SEEDS, STATIC_WIDE, play_static_seeds, play_static_wide
from simic_training.growth.config import GrowthConfig
from simic_training.growth.draws import HostGroup, slots_of
from simic_training.runs.records import episode_records

OnProgress = Callable[[Done, float], None]
"""Told of every unit that was done, and which part of all work is, up to 1."""


def tell_nobody(done: Done, part: float) -> None:
    """For those who do not ask."""


class Found(NamedTuple):
    """What a stage, or a part of it, came to.

    Args:
        outcomes: by controller, all on the same hosts.
        episodes: what the sampled policy did on each host, where it played on hosts as in training.
    """

    outcomes: Mapping[str, Outcomes]
    episodes: Sequence[Mapping[str, Any]]


def units_of(weights: bytes, env: GrowthConfig, options: EvaluationOptions) -> list[Unit]:
    """All that has to be played: every group of every stage, in as many parts as it takes.

    Args:
        weights, env, options: see `controllers_of`.

    Raises:
        CheckpointError, ValueError, FileNotFoundError: see `controllers_of` and `stages_of`.
    """
    return [unit for unit, _ in _units(weights, env, options)]


def play_unit(
    weights: bytes, env: GrowthConfig, options: EvaluationOptions, stage: int, group: int, part: int
) -> bytes:
    """Play one unit.

    Args:
        weights, env, options: see `controllers_of`.
        stage, group, part: which, counted from 0.

    Returns:
        What came of it, see `outcomes_from_bytes`.
    """
    here = stages_of(env, options)[stage]
    hosts = here.groups[group]
    controllers = controllers_of(here, env, options, weights, group)
    names = parts_of(list(controllers), hosts)[part]
    played = play_all({name: controllers[name] for name in names}, [hosts], rules=env.rules)
    episodes: list[dict[str, Any]] = []
    if POLICY in played and here.everybody:
        grown = played[POLICY]
        for name, play_static in ((STATIC_SEEDS, play_static_seeds), (STATIC_WIDE, play_static_wide)):
            played[name] = play_static(grown, rules=env.rules)
        episodes = list(_records(grown, env))
    return outcomes_to_bytes({name: outcomes_of(each) for name, each in played.items()}, episodes)


def play_stages(
    weights: bytes,
    env: GrowthConfig,
    options: EvaluationOptions,
    engine: Engine,
    on_progress: OnProgress,
) -> list[tuple[Stage, Found]]:
    """Play everything.

    Args:
        weights, env, options: see `controllers_of`.
        engine: who plays.
        on_progress: see `OnProgress`.

    Raises:
        CheckpointError, ValueError, FileNotFoundError: see `controllers_of` and `stages_of`; nothing was played.
        UnitFailedError: see `Batch`.
    """
    stages, pairs = stages_of(env, options), list(_units(weights, env, options))
    units, costs = [unit for unit, _ in pairs], {unit.name: cost for unit, cost in pairs}
    contents = engine.start(play_unit, weights, units).results(partial(_tell, on_progress, costs, []))
    found: list[list[Found]] = [[] for _ in stages]
    for unit, content in zip(units, contents, strict=True):
        _, _, stage, group, _ = unit.arguments
        found[stage].append(Found(*outcomes_from_bytes(content, hosts_of(*unit.arguments), group)))
    return [(stage, _joined(parts)) for stage, parts in zip(stages, found, strict=True)]


def hosts_of(env: GrowthConfig, options: EvaluationOptions, stage: int, group: int, part: int) -> HostGroup:
    """Those that a unit is played on; arguments as those of `play_unit`."""
    return stages_of(env, options)[stage].groups[group]


def _units(weights: bytes, env: GrowthConfig, options: EvaluationOptions) -> Iterator[tuple[Unit, float]]:
    """Each with how long it takes beside others, as far as is known before."""
    for place, stage in enumerate(stages_of(env, options)):
        for group, hosts in enumerate(stage.groups):
            names = list(controllers_of(stage, env, options, weights, group))
            parts = parts_of(names, hosts)
            once = len(hosts.host_seeds) * hosts.config.max_epochs * len(hosts.task.train.labels)
            for part, controllers in enumerate(parts):
                name = f"{stage.title}, group {group + 1}" + (f", part {part + 1}" if len(parts) > 1 else "")
                yield Unit(name, (env, options, place, group, part)), len(controllers) * once


def _tell(on_progress: OnProgress, costs: Mapping[str, float], done: list[float], unit: Done) -> None:
    done.append(costs[unit.unit])
    on_progress(unit, min(1.0, sum(done) / sum(costs.values())))


def _joined(parts: Sequence[Found]) -> Found:
    """The outcomes of all groups, controller by controller."""
    by_name: dict[str, list[Outcomes]] = {}
    for found in parts:
        for name, each in found.outcomes.items():
            by_name.setdefault(name, []).append(each)
    outcomes = {name: join_outcomes(several) for name, several in by_name.items()}
    return Found(outcomes, [episode for found in parts for episode in found.episodes])


def _records(played: Played, env: GrowthConfig) -> Iterator[dict[str, Any]]:
    records = episode_records(played.episodes, slots_of(env.host), first=0, update=0)
    for record, accuracy in zip(records, played.test_accuracy.tolist(), strict=True):
        yield {**record, "test_accuracy": round(accuracy, 4)}
