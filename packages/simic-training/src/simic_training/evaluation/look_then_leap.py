"""Look, then leap: what a host shows before anything grows in it, and the arm that a model of that expects to pay.

A contextual bandit of one decision, whose arms have all been tried on every training host: what is left of it is to
regress what each arm brings on what the host shows. It is the simplest rule that looks.
"""

from collections.abc import Callable, Sequence
from functools import cache
from typing import TYPE_CHECKING, Final, NamedTuple, final

import torch
from jaxtyping import Float, Int
from torch import Tensor

from leyline_types import FactoredActions, LegalityRules, LifecycleOp, Observation, SlotConfig
from simic_training.evaluation.schedules import Schedule, follow, orders_of
from simic_training.growth.draws import HostGroup, slots_of
from simic_training.growth.reward import POINTS_PER_REWARD
from simic_training.growth.world import GrowthWorld
from simic_training.runs.tensor_bytes import tensors_from_bytes, tensors_to_bytes
from tamiyo_features import check_observation, extract_features
from tamiyo_policies import HeuristicController, HeuristicMemory, HeuristicSettings, WaitController

if TYPE_CHECKING:
    from sklearn.ensemble import RandomForestRegressor

LOOK_EPOCHS: Final = 4
"""Epochs without growth after which what a host lacks shows."""

TREES: Final = 300
MIN_LEAF: Final = 3
"""Hosts in a leaf: their mean steadies gains of single episodes, which differ by 3 points on hosts of one kind."""
FEATURE_SHARE: Final = 0.3
"""Of the features, those among which each split is chosen."""


class ArmEffects(NamedTuple):
    """What arms bring beside growing nothing.

    Args:
        gain: validation accuracy, points.
        added: parameters, in parameters of the bare host.
    """

    gain: Float[Tensor, "host arm"]
    added: Float[Tensor, "host arm"]

    def worth(self, price: Float[Tensor, " host"] | float) -> Float[Tensor, "host arm"]:
        """The return of each arm beside that of growing nothing, at one price or at each host's own.

        >>> effects = ArmEffects(gain=torch.tensor([[2.0, 10.0]]), added=torch.tensor([[0.25, 1.0]]))
        >>> effects.worth(0.5).tolist()
        [[0.07500000298023224, 0.5]]
        """
        prices = torch.as_tensor(price, dtype=self.added.dtype).reshape(-1, 1)
        return self.gain / POINTS_PER_REWARD - prices * self.added


class ArmTable(NamedTuple):
    """Training hosts on which every arm was played: all that a model is fitted on.

    Args:
        features: of each host, from `look`.
        gain, added: see `ArmEffects`.
    """

    features: Float[Tensor, "host feature"]
    gain: Float[Tensor, "host arm"]
    added: Float[Tensor, "host arm"]


Predict = Callable[[Float[Tensor, "host feature"]], ArmEffects]
"""What arms are expected to bring on hosts that show these features; each host's answer depends on its own alone."""


def look(group: HostGroup, *, rules: LegalityRules) -> Float[Tensor, "host feature"]:
    """What fresh hosts show after `LOOK_EPOCHS` epochs without growth.

    All are shown as if they paid a price of 1: what an arm gains does not depend on the price, and a model could only
    be misled by it.

    Args:
        group: the hosts; their episodes are longer than that.
        rules: see `GrowthWorld`.
    """
    world, waiting = GrowthWorld(rules=rules), WaitController()
    observation = world.reset([group._replace(prices=(1.0,) * len(group.prices))])
    for _ in range(LOOK_EPOCHS):
        observation = world.step(waiting.act(observation, None)[0]).observation
    return extract_features(observation, slots_of(group.config))


def fit_arms(table: ArmTable) -> Predict:
    """A random forest (L. Breiman, Random Forests, 2001) from features to the gains and sizes of all arms at once.

    Sizes are learnt too: they depend on the host's width and on where it is squeezed, which features tell. Equal
    tables give equal models.

    Args:
        table: at least one host.
    """
    forest = _forest_class()(
        n_estimators=TREES, min_samples_leaf=MIN_LEAF, max_features=FEATURE_SHARE, random_state=0, n_jobs=1
    )
    forest.fit(table.features.numpy(), torch.cat([table.gain / POINTS_PER_REWARD, table.added], 1).numpy())

    def predict(features: Float[Tensor, "host feature"]) -> ArmEffects:
        worth, added = torch.from_numpy(forest.predict(features.numpy())).chunk(2, dim=1)
        return ArmEffects(worth * POINTS_PER_REWARD, added)

    return predict


@cache
def _forest_class() -> "type[RandomForestRegressor]":
    from sklearn import ensemble  # takes seconds to import

    forest: type[RandomForestRegressor] = ensemble.RandomForestRegressor
    return forest


def table_to_bytes(table: ArmTable, arms: Sequence[str], hosts: Sequence[Sequence[str | int]]) -> bytes:
    """The table on its way to workers and into a file (safetensors).

    Args:
        table: on the CPU.
        arms: their names. hosts: of each, what it is known by; for people who look at the table.
    """
    return tensors_to_bytes(table._asdict(), {"arms": list(arms), "hosts": [list(host) for host in hosts]})


def table_from_bytes(content: bytes) -> ArmTable:
    """The table that `table_to_bytes` wrote.

    Raises:
        DamagedBytesError: it did not write that.
    """
    return ArmTable(**tensors_from_bytes(content)[0])


class LeapMemory(NamedTuple):
    """What the controller remembers: steps taken, each host's arm (-1 before the leap), and what the rules know."""

    step: int
    arm: Int[Tensor, " env"]
    kept: HeuristicMemory


@final
class LookThenLeapController:
    """Waits for `LOOK_EPOCHS` epochs, then follows the arm that is expected to be worth most at the host's price.

    No arm where none is expected to be worth more than growing nothing.

    Args:
        arms: schedules.
        predict: what they bring, in their order.
        slot_config: the slots.
        rules: what is legal.
        keep: whether the rules of the heuristic judge what was planted: they prune what does not bring its price, and
            decide when a seed advances. Otherwise seeds advance as soon as their gates let them, and stay.

    Raises:
        ValueError: an arm that fills a slot that there is not.
    """

    def __init__(
        self,
        arms: Sequence[Schedule],
        predict: Predict,
        slot_config: SlotConfig,
        *,
        rules: LegalityRules = LegalityRules(),  # noqa: B008  (frozen)
        keep: bool = False,
    ) -> None:
        self._orders = orders_of(
            [*arms, None], slot_config
        )  # the last row, which -1 is too, is to grow nothing
        self._predict, self._slot_config, self._rules, self._keep = predict, slot_config, rules, keep
        plants_nothing = HeuristicSettings(cnn=(), transformer=())
        self._keeper = HeuristicController(slot_config, settings=plants_nothing, rules=rules)

    def initial_memory(self, num_envs: int) -> LeapMemory:
        """0 steps taken, nothing chosen or pruned."""
        return LeapMemory(0, torch.full((num_envs,), -1), self._keeper.initial_memory(num_envs))

    def act(
        self, observation: Observation[Tensor], memory: LeapMemory
    ) -> tuple[FactoredActions[Tensor], LeapMemory]:
        """Int64 [env] in each head.

        Raises:
            ObservationError: a value that is not finite (`tamiyo_features.check_observation`).
        """
        check_observation(observation, self._slot_config)
        leaps = (memory.arm < 0) & (observation.signals.epoch >= LOOK_EPOCHS)
        arm = torch.where(leaps, self._best(observation), memory.arm) if leaps.any() else memory.arm
        orders, kept = self._orders.rows(arm), memory.kept
        if not self._keep:
            actions = follow(orders, observation, memory.step, self._slot_config, self._rules)
            return actions, LeapMemory(memory.step + 1, arm, kept)
        orders = orders._replace(used=orders.used & ~kept.pruned.any(-1))  # what failed is not tried again
        planned = follow(orders, observation, memory.step, self._slot_config, self._rules)
        judged, kept = self._keeper.act(observation, kept)
        plants = (planned.op == int(LifecycleOp.GERMINATE)) & (judged.op != int(LifecycleOp.PRUNE))
        actions = FactoredActions(
            *(torch.where(plants, *heads) for heads in zip(planned, judged, strict=True))
        )
        return actions, LeapMemory(memory.step + 1, arm, kept)

    def _best(self, observation: Observation[Tensor]) -> Int[Tensor, " env"]:
        """Of each host the arm that is expected to be worth most; the number of arms where none is worth anything."""
        features = extract_features(observation, self._slot_config)
        worth = self._predict(features).worth(observation.signals.parameter_price)
        most, arm = worth.max(1)
        return torch.where(most > 0, arm, worth.shape[1])
