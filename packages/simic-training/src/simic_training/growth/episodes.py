"""Everything that happened to a set of hosts in one episode, for logs, tables and pictures."""

from collections.abc import Mapping
from typing import NamedTuple, final

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from kasmina_hosts import GrownSeed
from leyline_types import FactoredActions, Observation
from simic_training.growth.draws import HostGroup
from simic_training.growth.reward import RewardTerms
from simic_training.growth.world import GrowthWorld, WorldStep


class Episodes(NamedTuple):
    """What happened. Time runs from 0 (nothing trained) to the last epoch; an epoch follows each action.

    Args:
        groups: the hosts, in order.
        val_accuracy: percent, [host, epoch + 1].
        stage, blueprint: enum values, [host, epoch + 1, slot]; alpha: the same shape.
        actions: [host, epoch] in every head; took_effect: whether each was neither refused nor stopped by its gate.
        rolled_back: [host, epoch], whether the host diverged in the epoch and was set back to its last sound state.
        reward: [host, epoch] in every term.
        total_params: [host, epoch + 1]. host_params: of the bare host, [host].
        price: that each host paid, [host], see `growth_reward`.
        grown: the seeds that each host holds in the end.
    """

    groups: tuple[HostGroup, ...]
    val_accuracy: Float[Tensor, "host time"]
    stage: Int[Tensor, "host time slot"]
    blueprint: Int[Tensor, "host time slot"]
    alpha: Float[Tensor, "host time slot"]
    actions: FactoredActions[Tensor]
    took_effect: Bool[Tensor, "host epoch"]
    rolled_back: Bool[Tensor, "host epoch"]
    reward: RewardTerms
    total_params: Int[Tensor, "host time"]
    host_params: Int[Tensor, " host"]
    price: Float[Tensor, " host"]
    grown: tuple[Mapping[str, GrownSeed], ...]

    @property
    def size(self) -> Float[Tensor, " host"]:
        """Parameters at the end over the bare host's."""
        return self.total_params[:, -1] / self.host_params

    @property
    def episode_return(self) -> Float[Tensor, " host"]:
        """Sum of the rewards of each episode."""
        return self.reward.total.sum(-1)


@final
class EpisodeRecorder:
    """Gathers an episode of a world, step by step.

    Args:
        world: just reset.
    """

    def __init__(self, world: GrowthWorld) -> None:
        self._world = world
        self._seen: list[Observation[Tensor]] = [world.observe()]
        self._actions: list[FactoredActions[Tensor]] = []
        self._steps: list[WorldStep] = []

    def add(self, actions: FactoredActions[Tensor], step: WorldStep) -> None:
        """Note an action and what it led to."""
        self._actions.append(actions)
        self._steps.append(step)
        self._seen.append(step.observation)

    def episodes(self) -> Episodes:
        """What happened so far.

        Raises:
            RuntimeError: nothing did.
        """
        if not self._steps:
            raise RuntimeError("no step has been taken yet")
        seen, steps = self._seen, self._steps
        return Episodes(
            groups=self._world.groups,
            val_accuracy=torch.stack([each.signals.val_accuracy for each in seen], dim=1),
            stage=torch.stack([each.slots.stage for each in seen], dim=1),
            blueprint=torch.stack([each.slots.blueprint for each in seen], dim=1),
            alpha=torch.stack([each.slots.alpha for each in seen], dim=1),
            actions=FactoredActions(*(torch.stack(head, dim=1) for head in zip(*self._actions, strict=True))),
            took_effect=torch.stack([step.took_effect for step in steps], dim=1),
            rolled_back=torch.stack([step.rolled_back for step in steps], dim=1),
            reward=RewardTerms(
                *(torch.stack(term, dim=1) for term in zip(*(step.reward for step in steps), strict=True))
            ),
            total_params=torch.stack([each.signals.total_params for each in seen], dim=1),
            host_params=seen[0].signals.host_params,
            price=seen[0].signals.parameter_price,
            grown=tuple(self._world.grown()),
        )
