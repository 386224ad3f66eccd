"""Controllers grow fresh hosts, and everything that happened is kept for tables and pictures."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from jaxtyping import Float
from torch import Tensor

from kasmina_hosts import GrownSeed
from leyline_types import Controller, LegalityRules
from simic_training.growth.draws import HostGroup
from simic_training.growth.episodes import EpisodeRecorder, Episodes
from simic_training.growth.world import GrowthWorld


class Played(NamedTuple):
    """Episodes to their end, and the accuracy of the grown hosts on the test part, percent [host]."""

    episodes: Episodes
    test_accuracy: Float[Tensor, " host"]


def play(
    controller: Controller[Tensor, Any],
    groups: Sequence[HostGroup],
    *,
    rules: LegalityRules,
    grown: Sequence[Mapping[str, GrownSeed]] | None = None,
) -> Played:
    """One episode of `controller` on each host of the groups.

    Args:
        controller: decides.
        groups: the hosts.
        rules: see `GrowthWorld`.
        grown: seeds that each host holds from the start; None for bare hosts.
    """
    world = GrowthWorld(rules=rules)
    observation = world.reset(groups, grown)
    recorder = EpisodeRecorder(world)
    memory = controller.initial_memory(world.num_hosts)
    for _ in range(world.max_epochs):
        actions, memory = controller.act(observation, memory)
        step = world.step(actions)
        recorder.add(actions, step)
        observation = step.observation
    return Played(recorder.episodes(), world.test_accuracy())
