"""Controllers grow fresh hosts, one alone or several side by side, and everything that happened is kept."""

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any, NamedTuple, final

import torch
from jaxtyping import Float, Int
from torch import Tensor

from kasmina_hosts import GrownSeed
from leyline_types import (
    Controller,
    FactoredActions,
    LegalityRules,
    Observation,
    SignalColumns,
    SlotColumns,
)
from simic_training.growth.draws import HostGroup
from simic_training.growth.episodes import EpisodeRecorder, Episodes
from simic_training.growth.reward import RewardTerms
from simic_training.growth.world import GrowthWorld

Rows = Int[Tensor, " host"]


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


def play_all(
    controllers: Mapping[str, Controller[Tensor, Any]],
    groups: Sequence[HostGroup],
    *,
    rules: LegalityRules,
    prices: Mapping[str, float] = MappingProxyType({}),
) -> dict[str, Played]:
    """One episode of every controller on each host of the groups: for each what `play` gives, up to rounding.

    A group's copies are one population, which trains twice as fast as one for each controller.

    Args:
        controllers: by name. Each sees its own hosts alone, in the order of `groups`, as if it played alone.
        groups: the hosts.
        rules: see `GrowthWorld`.
        prices: by controller, what all its hosts pay in place of their own prices.

    Raises:
        ValueError: no groups, or groups that cannot stand side by side.
    """
    copies = {
        name: [at_price(group, prices[name]) for group in groups] if name in prices else groups
        for name in controllers
    }
    times = len(controllers)
    side_by_side = [
        same[0]._replace(
            host_seeds=same[0].host_seeds * times,
            prices=tuple(price for group in same for price in group.prices),
        )
        for same in zip(*copies.values(), strict=True)
    ]
    rows = rows_of_copies([len(group.host_seeds) for group in groups], times)
    together = play(SideBySide(list(controllers.values()), rows), side_by_side, rules=rules)
    return {
        name: take_hosts(together, mine, copies[name]) for name, mine in zip(controllers, rows, strict=True)
    }


@final
class SideBySide:
    """Controllers as one, each of which sees and acts on its own rows alone.

    Args:
        controllers: at least one.
        rows: of each; all together are every row once.
    """

    def __init__(self, controllers: Sequence[Controller[Tensor, Any]], rows: Sequence[Rows]) -> None:
        self._controllers, self._rows = tuple(controllers), tuple(rows)
        self._back = torch.cat(self._rows).argsort()

    def initial_memory(self, num_envs: int) -> tuple[Any, ...]:
        """What each of them remembers at first."""
        return tuple(
            controller.initial_memory(len(rows))
            for controller, rows in zip(self._controllers, self._rows, strict=True)
        )

    def act(
        self, observation: Observation[Tensor], memory: tuple[Any, ...]
    ) -> tuple[FactoredActions[Tensor], tuple[Any, ...]]:
        """What each does to its rows, int64 [env] in each head."""
        acted = [
            controller.act(take_rows(observation, rows), each)
            for controller, rows, each in zip(self._controllers, self._rows, memory, strict=True)
        ]
        heads = zip(*(actions for actions, _ in acted), strict=True)
        actions = FactoredActions(*(torch.cat(head)[self._back] for head in heads))
        return actions, tuple(remembered for _, remembered in acted)


def at_price(group: HostGroup, price: float) -> HostGroup:
    """The same hosts, all of which pay this price."""
    return group._replace(prices=(price,) * len(group.prices))


def rows_of_copies(sizes: Sequence[int], copies: int) -> list[Rows]:
    """Of each copy the rows, where every group stands with all its copies one after another.

    Groups of 2 and 1 hosts, two copies: rows 0, 1 and 4 are the first copy's, 2, 3 and 5 the second's.
    """
    first = 0
    rows: list[list[int]] = [[] for _ in range(copies)]
    for size in sizes:
        for copy in rows:
            copy.extend(range(first, first + size))
            first += size
    return [torch.tensor(copy) for copy in rows]


def take_rows(observation: Observation[Tensor], rows: Rows) -> Observation[Tensor]:
    """What these hosts show; the world's observations have no telemetry."""
    return Observation(
        SignalColumns(*(column[rows] for column in observation.signals)),
        SlotColumns(*(column[rows] for column in observation.slots)),
    )


def take_hosts(played: Played, rows: Rows, groups: Sequence[HostGroup]) -> Played:
    """What happened to these hosts.

    Args:
        played: of all hosts.
        rows: of those to take.
        groups: what they are, in the same order.
    """
    episodes = played.episodes
    taken = Episodes(
        groups=tuple(groups),
        val_accuracy=episodes.val_accuracy[rows],
        stage=episodes.stage[rows],
        blueprint=episodes.blueprint[rows],
        alpha=episodes.alpha[rows],
        actions=FactoredActions(*(head[rows] for head in episodes.actions)),
        took_effect=episodes.took_effect[rows],
        rolled_back=episodes.rolled_back[rows],
        reward=RewardTerms(*(term[rows] for term in episodes.reward)),
        total_params=episodes.total_params[rows],
        host_params=episodes.host_params[rows],
        price=episodes.price[rows],
        grown=tuple(episodes.grown[row] for row in rows.tolist()),
    )
    return Played(taken, played.test_accuracy[rows])
