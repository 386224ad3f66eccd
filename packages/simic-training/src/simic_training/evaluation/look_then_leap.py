"""Look, then leap: what a host shows before anything grows in it, and the arm that a model of that expects to pay.

A contextual bandit of one decision, whose arms have all been tried on some training hosts. Playing all arms takes some
forty times as long as looking, so that more training hosts are looked at than played on: from these a classifier learns
what hosts lack, and an arm is expected to bring what it brought on training hosts that lack the same.
"""

from collections.abc import Callable, Sequence
from functools import cache
from types import ModuleType
from typing import TYPE_CHECKING, Final, NamedTuple, final

import torch
from jaxtyping import Float, Int
from torch import Tensor

from leyline_types import FactoredActions, LegalityRules, Observation, SlotConfig
from simic_training.evaluation.schedules import Schedule, follow, orders_of
from simic_training.growth.draws import HostGroup, slots_of
from simic_training.growth.reward import POINTS_PER_REWARD
from simic_training.growth.world import GrowthWorld
from simic_training.runs.tensor_bytes import tensors_from_bytes, tensors_to_bytes
from tamiyo_features import check_observation, extract_features
from tamiyo_policies import WaitController

if TYPE_CHECKING:
    from sklearn.ensemble import ExtraTreesClassifier

LOOK_EPOCHS: Final = 4
"""Epochs without growth after which what a host lacks shows."""

TREES: Final = 300
MIN_LEAF: Final = 2
"""Hosts in a leaf."""
FOLDS: Final = 5
"""Of a cross-validation."""
FEATURE_SHARE: Final = 0.5
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
    """Training hosts that were looked at, on the first of which every arm was played: all that a model is fitted on.

    Args:
        features: of each host that was looked at, from `look`.
        lack: what it lacks, counted from 0 in any order.
        gain, added: see `ArmEffects`, of as many of these hosts, from the first on.
    """

    features: Float[Tensor, "looked feature"]
    lack: Int[Tensor, " looked"]
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
    """The mean effects of arms on training hosts of each kind, weighted by how likely a host is to be of that kind.

    Kinds are told apart by extremely randomised trees (P. Geurts et al., Extremely randomized trees, 2006,
    https://doi.org/10.1007/s10994-006-6226-1). Equal tables give equal models.

    Args:
        table: at least one host of each kind on which the arms were played.

    Raises:
        ValueError: hosts of some kind were only looked at.
    """
    played = table.lack[: len(table.gain)]
    only_seen = sorted(set(table.lack.tolist()) - set(played.tolist()))
    if only_seen:
        raise ValueError(
            f"arms must be played on hosts of every kind that is looked at, but were on none of kind {only_seen[0]}"
        )
    forest = _forest().fit(table.features.numpy(), table.lack.numpy())
    gain, added = (
        torch.stack([effect[played == kind].mean(0) for kind in forest.classes_.tolist()]).double()
        for effect in (table.gain, table.added)
    )

    def predict(features: Float[Tensor, "host feature"]) -> ArmEffects:
        likely = torch.from_numpy(forest.predict_proba(features.numpy()))
        return ArmEffects(likely @ gain, likely @ added)

    return predict


def mean_arms(table: ArmTable) -> Predict:
    """The mean effects of arms on all training hosts, whatever a host shows: to leap without a look."""

    def predict(features: Float[Tensor, "host feature"]) -> ArmEffects:
        return ArmEffects(*(effect.double().mean(0).expand(len(features), -1) for effect in table[2:]))

    return predict


def named_share(table: ArmTable, members: Sequence[int]) -> dict[int, float]:
    """How often the classifier of `fit_arms` names what hosts of each kind lack, 0 to 1, by cross-validation.

    Args:
        table: of hosts of at least two members.
        members: the member of the family that each host that was looked at is of: hosts of one are told apart by a
            classifier that has seen none of it.
    """
    # Stratified, as members come in the order of kinds: whole kinds would be left out.
    lacks, folds = table.lack.numpy(), _selection().StratifiedGroupKFold(min(FOLDS, len(set(members))))
    named = _selection().cross_val_predict(
        _forest(), table.features.numpy(), lacks, groups=list(members), cv=folds
    )
    return {kind: float((named[lacks == kind] == kind).mean()) for kind in sorted(set(lacks.tolist()))}


def _forest() -> "ExtraTreesClassifier":
    return _forest_class()(
        n_estimators=TREES, min_samples_leaf=MIN_LEAF, max_features=FEATURE_SHARE, random_state=0, n_jobs=1
    )


@cache
def _selection() -> ModuleType:
    from sklearn import model_selection  # takes seconds to import

    module: ModuleType = model_selection
    return module


@cache
def _forest_class() -> "type[ExtraTreesClassifier]":
    from sklearn import ensemble  # takes seconds to import

    forest: type[ExtraTreesClassifier] = ensemble.ExtraTreesClassifier
    return forest


def table_to_bytes(table: ArmTable, arms: Sequence[str], hosts: Sequence[Sequence[str | int]]) -> bytes:
    """The table on its way to workers and into a file (safetensors).

    Args:
        table: on the CPU.
        arms: their names. hosts: of each that was looked at, what it is known by; for people who look at the table.
    """
    return tensors_to_bytes(table._asdict(), {"arms": list(arms), "hosts": [list(host) for host in hosts]})


def table_from_bytes(content: bytes) -> ArmTable:
    """The table that `table_to_bytes` wrote.

    Raises:
        DamagedBytesError: it did not write that.
    """
    return ArmTable(**tensors_from_bytes(content)[0])


class LeapMemory(NamedTuple):
    """What the controller remembers: steps taken, and each host's arm, -1 before the leap."""

    step: int
    arm: Int[Tensor, " env"]


@final
class LookThenLeapController:
    """Waits for `LOOK_EPOCHS` epochs, then follows the arm that is expected to be worth most at the host's price.

    No arm where none is expected to be worth more than growing nothing. Seeds advance as soon as their gates let them,
    and stay.

    Args:
        arms: schedules.
        predict: what they bring, in their order.
        slot_config: the slots.
        rules: what is legal.

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
    ) -> None:
        # The last row, which -1 is too, is to grow nothing.
        self._orders = orders_of([*arms, None], slot_config)
        self._predict, self._slot_config, self._rules = predict, slot_config, rules

    def initial_memory(self, num_envs: int) -> LeapMemory:
        """0 steps taken, nothing chosen."""
        return LeapMemory(0, torch.full((num_envs,), -1))

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
        actions = follow(self._orders.rows(arm), observation, memory.step, self._slot_config, self._rules)
        return actions, LeapMemory(memory.step + 1, arm)

    def _best(self, observation: Observation[Tensor]) -> Int[Tensor, " env"]:
        """Of each host the arm that is expected to be worth most; the number of arms where none is worth anything."""
        features = extract_features(observation, self._slot_config)
        worth = self._predict(features).worth(observation.signals.parameter_price)
        most, arm = worth.max(1)
        return torch.where(most > 0, arm, worth.shape[1])
