"""What a trained policy is measured against: controllers that need no training, by name."""

from collections.abc import Mapping
from typing import Any, Final

from torch import Tensor

from kasmina_hosts import HostConfig
from leyline_types import Controller, LegalityRules, Topology
from simic_training.evaluation.comparisons import GREEDY, POLICY
from simic_training.evaluation.schedules import Schedule, ScheduleController
from simic_training.growth.draws import slots_of
from simic_training.runs.units import policy_of
from tamiyo_policies import HeuristicController, PolicyController, RandomController, WaitController

NONE: Final = "none"
RANDOM: Final = "random"
HEURISTIC: Final = "heuristic"
RIVALS: Final = (NONE, RANDOM, HEURISTIC)

STARTS: Final = (0.0, 0.2, 0.4)
"""When the schedules of a sweep begin, as parts of the shortest episode."""

FIRST_START: Final = (0.0,)


def rivals(host: HostConfig, rules: LegalityRules, *, seed: int) -> dict[str, Controller[Tensor, Any]]:
    """Those of `RIVALS`, in this order.

    Args:
        host: any of the hosts that they shall grow.
        rules: what is legal.
        seed: of the random one.
    """
    slots = slots_of(host)
    return {
        NONE: WaitController(),
        RANDOM: RandomController(slots, seed=seed, rules=rules),
        HEURISTIC: HeuristicController(slots, rules=rules),
    }


def sweep_schedules(
    topology: Topology, rules: LegalityRules, *, epochs: int, starts: tuple[float, ...] = STARTS
) -> tuple[Schedule, ...]:
    """Every blueprint that may be germinated, from every start on, in all slots and in the first alone.

    Args:
        topology: of the hosts.
        rules: what is legal.
        epochs: of the shortest episode: a schedule is the same one in longer ones.
        starts: parts of that; those that fall on one epoch count once.
    """
    first_epochs = sorted({round(part * epochs) for part in starts})
    return tuple(
        Schedule(blueprint=blueprint, start_epoch=epoch, slots=slots)
        for blueprint in rules.blueprints(topology)
        for epoch in first_epochs
        for slots in (None, 1)
    )


def schedule_controllers(
    schedules: tuple[Schedule, ...], host: HostConfig, rules: LegalityRules
) -> Mapping[str, Controller[Tensor, Any]]:
    """A controller for each, by its name."""
    slots = slots_of(host)
    return {schedule.name: ScheduleController(schedule, slots, rules=rules) for schedule in schedules}


def trained_controllers(
    weights: bytes, rules: LegalityRules, *, seed: int
) -> dict[str, Controller[Tensor, Any]]:
    """A policy, sampled and greedy.

    Args:
        weights: with its normaliser, as its checkpoint holds them.
        rules: what is legal.
        seed: of the samples.

    Raises:
        CheckpointError: they cannot be used.
    """
    policy, normalizer = policy_of(weights)
    return {
        name: PolicyController(
            policy, deterministic=name == GREEDY, seed=seed, rules=rules, normalizer=normalizer
        )
        for name in (POLICY, GREEDY)
    }
