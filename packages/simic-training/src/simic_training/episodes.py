"""A controller grows fresh hosts, and everything that happened is kept for tables and pictures."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple, TypeVar

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from kasmina_hosts import GrownSeed, HostPopulation
from leyline_types import Controller, FactoredActions, Observation
from simic_training.reward import POINTS_PER_REWARD
from simic_training.rollout import host_state

MemoryT = TypeVar("MemoryT")


class Episodes(NamedTuple):
    """What a controller did to a set of hosts. Time runs from 0 (nothing trained) to the last epoch.

    Args:
        host_seeds: one per host.
        val_accuracy: percent, [host, epoch + 1].
        stage, blueprint: enum values, [host, epoch + 1, slot]; alpha: the same shape.
        actions: [host, epoch] in every head; took_effect: whether each was neither refused nor stopped by its gate.
        test_accuracy: percent, at the end, [host].
        total_params, host_params: at the end, [host].
        grown: the seeds that each host holds in the end.
    """

    host_seeds: tuple[int, ...]
    val_accuracy: Float[Tensor, "host time"]
    stage: Int[Tensor, "host time slot"]
    blueprint: Int[Tensor, "host time slot"]
    alpha: Float[Tensor, "host time slot"]
    actions: FactoredActions[Tensor]
    took_effect: Bool[Tensor, "host epoch"]
    test_accuracy: Float[Tensor, " host"]
    total_params: Int[Tensor, " host"]
    host_params: Int[Tensor, " host"]
    grown: tuple[Mapping[str, GrownSeed], ...]

    @property
    def size(self) -> Float[Tensor, " host"]:
        """Parameters at the end over the bare host's."""
        return self.total_params / self.host_params

    def episode_return(self, rent_rate: float) -> Float[Tensor, " host"]:
        """Sum of `growth_reward` over each episode; its terms telescope to first and last state."""
        gained = self.val_accuracy[:, -1] - self.val_accuracy[:, 0]
        return gained / POINTS_PER_REWARD - rent_rate * (self.size - 1)


def play_episodes(
    controller: Controller[Tensor, MemoryT],
    population: HostPopulation,
    host_seeds: Sequence[int],
    *,
    grown: Sequence[Mapping[str, GrownSeed]] | None = None,
) -> Episodes:
    """One episode of `controller` on each of the hosts with these seeds.

    Args:
        controller: decides.
        population: where the hosts are grown; it is reset first.
        host_seeds: one per host.
        grown: seeds that each host holds from the start; None for bare hosts.
    """
    observation = population.reset(host_seeds, grown)
    memory = controller.initial_memory(len(host_seeds))
    seen: list[Observation[Tensor]] = [observation]
    done: list[FactoredActions[Tensor]] = []
    took_effect: list[Tensor] = []
    for _ in range(population.task_config.max_epochs):
        actions, memory = controller.act(observation, memory)
        outcome = population.step(actions)
        observation = outcome.observation
        seen.append(observation)
        done.append(actions)
        took_effect.append(outcome.took_effect)
    end = host_state(observation)
    return Episodes(
        host_seeds=tuple(host_seeds),
        val_accuracy=torch.stack([each.signals.val_accuracy for each in seen], dim=1),
        stage=torch.stack([each.slots.stage for each in seen], dim=1),
        blueprint=torch.stack([each.slots.blueprint for each in seen], dim=1),
        alpha=torch.stack([each.slots.alpha for each in seen], dim=1),
        actions=FactoredActions(*(torch.stack(head, dim=1) for head in zip(*done, strict=True))),
        took_effect=torch.stack(took_effect, dim=1),
        test_accuracy=population.test_accuracy(),
        total_params=end.total_params,
        host_params=end.host_params,
        grown=tuple(population.grown()),
    )
