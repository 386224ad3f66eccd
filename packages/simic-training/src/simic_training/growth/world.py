"""Hosts in groups that grow together: tensors in, tensors out, no clock and no random state of its own."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple, final

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from kasmina_hosts import GrownSeed, HostPopulation
from leyline_types import FactoredActions, LegalityRules, Observation, SignalColumns, SlotColumns, SlotConfig
from simic_training.growth.draws import HostGroup
from simic_training.growth.reward import RewardTerms, growth_reward


class WorldStep(NamedTuple):
    """What a step did, [host] each.

    Args:
        observation: the new one.
        reward: in terms.
        legal, took_effect: of each action; WAIT always takes effect.
        rolled_back: whether the host diverged and its last sound state was restored.
    """

    observation: Observation[Tensor]
    reward: RewardTerms
    legal: Bool[Tensor, " host"]
    took_effect: Bool[Tensor, " host"]
    rolled_back: Bool[Tensor, " host"]


@final
class GrowthWorld:
    """Groups of hosts of one topology and one length of episodes, side by side.

    A host depends on its own group and seed alone.

    Args:
        rules: what is legal.
    """

    def __init__(
        self,
        *,
        rules: LegalityRules = LegalityRules(),  # noqa: B008  (frozen)
    ) -> None:
        self.rules = rules
        self._groups: tuple[HostGroup, ...] = ()
        self._populations: list[HostPopulation] = []
        self._observation: Observation[Tensor] | None = None

    @property
    def groups(self) -> tuple[HostGroup, ...]:
        """What was set out last."""
        return self._groups

    @property
    def num_hosts(self) -> int:
        """Hosts of all groups."""
        return sum(len(group.host_seeds) for group in self._groups)

    @property
    def slot_config(self) -> SlotConfig:
        """The slots of every host."""
        return self._started()[0].slot_config

    @property
    def max_epochs(self) -> int:
        """Steps of an episode."""
        return self._started()[0].task_config.max_epochs

    @property
    def epoch(self) -> int:
        """Steps taken in the present episode."""
        return self._started()[0].epoch

    def reset(
        self, groups: Sequence[HostGroup], grown: Sequence[Mapping[str, GrownSeed]] | None = None
    ) -> Observation[Tensor]:
        """Set out fresh hosts.

        Args:
            groups: at least one, all of one topology and length of episodes; each host pays its own price.
            grown: seeds that each host holds from the start; None for bare hosts.

        Raises:
            ValueError: no groups, or groups that cannot stand side by side; `grown` is of another length.
        """
        if not groups:
            raise ValueError("`groups` must hold at least one group of hosts")
        kinds = {(group.config.topology, group.config.max_epochs) for group in groups}
        if len(kinds) > 1:
            raise ValueError(f"groups must be of one topology and length of episodes, not {sorted(kinds)}")
        sizes = [len(group.host_seeds) for group in groups]
        if grown is not None and len(grown) != sum(sizes):
            raise ValueError(f"`grown` describes {len(grown)} hosts, `groups` {sum(sizes)}")
        populations, first, parts = [], 0, []
        for group in groups:
            last = first + len(group.host_seeds)
            population = HostPopulation(group.task, group.config, rules=self.rules)
            held = None if grown is None else grown[first:last]
            parts.append(population.reset(group.host_seeds, held, parameter_prices=group.prices))
            populations.append(population)
            first = last
        self._groups, self._populations = tuple(groups), populations
        self._observation = join_observations(parts)
        return self._observation

    def step(self, actions: FactoredActions[Tensor]) -> WorldStep:
        """Apply the actions, let seeds live, train one epoch, evaluate, reward.

        Args:
            actions: [host] indices in every head; an illegal one changes nothing.

        Raises:
            ValueError: wrong shapes or indices outside their heads.
            RuntimeError: before `reset`, or after the last epoch.
            DivergedHostError: a host is not finite although its last sound state was restored.
        """
        before = self.observe()
        sizes = [population.num_envs for population in self._started()]
        if any(len(head) != sum(sizes) for head in actions):
            lengths = [len(head) for head in actions]
            raise ValueError(f"`actions` must hold {sum(sizes)} actions per head, not {lengths}")
        split = zip(*(head.split(sizes) for head in actions), strict=True)
        outcomes = [
            population.step(FactoredActions(*heads))
            for population, heads in zip(self._populations, split, strict=True)
        ]
        after = join_observations([outcome.observation for outcome in outcomes])
        self._observation = after
        return WorldStep(
            observation=after,
            reward=growth_reward(before, after),
            legal=torch.cat([outcome.legal for outcome in outcomes]),
            took_effect=torch.cat([outcome.took_effect for outcome in outcomes]),
            rolled_back=torch.cat([outcome.rolled_back for outcome in outcomes]),
        )

    def observe(self) -> Observation[Tensor]:
        """The present state as columns, [host] and [host, slot]."""
        if self._observation is None:
            raise RuntimeError("the world has no hosts yet; call reset")
        return self._observation

    def grown(self) -> list[Mapping[str, GrownSeed]]:
        """Of each host, the seeds that alter its output, by slot id."""
        return [host for population in self._started() for host in population.grown()]

    def test_accuracy(self) -> Float[Tensor, " host"]:
        """Percent on the test parts, which nothing else looks at."""
        return torch.cat([population.test_accuracy() for population in self._started()])

    def _started(self) -> list[HostPopulation]:
        if not self._populations:
            raise RuntimeError("the world has no hosts yet; call reset")
        return self._populations


def join_observations(parts: Sequence[Observation[Tensor]]) -> Observation[Tensor]:
    """Observations of several populations as one; none of them has telemetry."""
    signals = SignalColumns(*map(torch.cat, zip(*(part.signals for part in parts), strict=True)))
    slots = SlotColumns(*map(torch.cat, zip(*(part.slots for part in parts), strict=True)))
    return Observation(signals, slots)
