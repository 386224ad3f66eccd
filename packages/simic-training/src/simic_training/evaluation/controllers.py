"""What a trained policy is measured against: controllers that need no training, by name."""

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any, Final

from torch import Tensor

from kasmina_hosts import HostConfig
from leyline_types import BlueprintAction, Controller, LegalityRules, Topology
from simic_training.evaluation.comparisons import GREEDY, POLICY
from simic_training.evaluation.schedules import Schedule, ScheduleController
from simic_training.growth.draws import slots_of
from simic_training.runs.units import policy_of
from tamiyo_policies import HeuristicController, PolicyController, RandomController, WaitController

NONE: Final = "none"
RANDOM: Final = "random"
HEURISTIC: Final = "heuristic"
PLATEAU: Final = "plateau"
RIVALS: Final = (NONE, RANDOM, HEURISTIC, PLATEAU)

STARTS: Final = (0.0, 0.2, 0.4)
"""When the schedules of a sweep begin, as parts of the episode."""

FIRST_START: Final = (0.0,)

PLATEAU_EPOCHS: Final = 3
"""Epochs without a new best validation accuracy that the plateau rule waits for; the heuristic waits as long."""

PLATEAU_BLUEPRINTS: Final = MappingProxyType(
    {Topology.CNN: BlueprintAction.NORM, Topology.TRANSFORMER: BlueprintAction.MLP_SMALL}
)
"""What the plateau rule germinates: what pays best of all schedules; for transformers an ordinary layer."""


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
        PLATEAU: ScheduleController(plateau_rule(host.topology, rules), slots, rules=rules),
    }


def plateau_rule(topology: Topology, rules: LegalityRules) -> Schedule:
    """Fill the slots one after another, each time that the validation accuracy has not risen for three epochs.

    Its blueprint is that of `PLATEAU_BLUEPRINTS`, or the first that is enabled if that is not.
    """
    enabled, usual = rules.blueprints(topology), PLATEAU_BLUEPRINTS[topology]
    return Schedule(blueprint=usual if usual in enabled else enabled[0], plateau_epochs=PLATEAU_EPOCHS)


def sweep_schedules(
    host: HostConfig, rules: LegalityRules, *, starts: tuple[float, ...] = STARTS
) -> tuple[Schedule, ...]:
    """Every blueprint that may be germinated, from every start on, in all slots and in the first alone.

    Args:
        host: for the topology and the length of an episode.
        rules: what is legal.
        starts: parts of the episode; those that fall on one epoch count once.
    """
    epochs = sorted({round(part * host.max_epochs) for part in starts})
    return tuple(
        Schedule(blueprint=blueprint, start_epoch=epoch, slots=slots)
        for blueprint in rules.blueprints(host.topology)
        for epoch in epochs
        for slots in (None, 1)
    )


def schedule_controllers(
    schedules: tuple[Schedule, ...], host: HostConfig, rules: LegalityRules
) -> Mapping[str, Controller[Tensor, Any]]:
    """A controller for each, by its name."""
    slots = slots_of(host)
    return {schedule.name: ScheduleController(schedule, slots, rules=rules) for schedule in schedules}


def random_attempts(
    host: HostConfig, rules: LegalityRules, *, seeds: Sequence[int]
) -> dict[str, Controller[Tensor, Any]]:
    """A random controller for each seed; the first attempt is the rival's."""
    slots = slots_of(host)
    return {
        f"{RANDOM} attempt {attempt}": RandomController(slots, seed=seed, rules=rules)
        for attempt, seed in enumerate(seeds, start=2)
    }


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
