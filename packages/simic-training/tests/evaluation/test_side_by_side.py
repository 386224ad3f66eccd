"""Controllers on copies of the same hosts: for each what it reaches alone."""

from collections.abc import Mapping
from typing import Any

import pytest
import torch
from made_up import tiny_groups
from torch import Tensor

from kasmina_hosts import Lack
from leyline_types import (
    BlueprintAction,
    Controller,
    FactoredActions,
    LegalityRules,
    Observation,
    SignalColumns,
    SlotColumns,
    SlotConfig,
)
from simic_training.evaluation.outcomes import (
    Found,
    found_from_bytes,
    found_to_bytes,
    join_found,
    outcomes_of,
)
from simic_training.evaluation.play import Played, SideBySide, play, play_all, rows_of_copies
from simic_training.evaluation.schedules import Schedule, ScheduleController
from simic_training.growth.draws import HostGroup
from tamiyo_policies import (
    HeuristicController,
    PolicyBundle,
    PolicyConfig,
    PolicyController,
    RandomController,
    WaitController,
    create_policy,
    register_builtin_policies,
)

SLOTS = SlotConfig.default()
RULES = LegalityRules()
NORM = Schedule(blueprint=BlueprintAction.NORM)
FIRST = Schedule(blueprint=BlueprintAction.CONV_LIGHT, slots=("r0c0",))
Controllers = Mapping[str, Controller[Tensor, Any]]


@pytest.fixture(scope="module")
def groups() -> tuple[HostGroup, ...]:
    """Groups of 3 and of 1 hosts, each of its own price."""
    (first,), (second,) = tiny_groups(1, 3), tiny_groups(1, 1, lack=Lack.SQUEEZE)
    return first, second


@pytest.fixture(scope="module")
def policy() -> PolicyBundle:
    register_builtin_policies()
    return create_policy(PolicyConfig(policy="lstm", slot_config=SLOTS, hidden_dim=16))


@pytest.fixture(scope="module")
def controllers(policy: PolicyBundle) -> Controllers:
    return {
        "policy": PolicyController(policy, seed=3),
        "policy-greedy": PolicyController(policy, deterministic=True),
        "random": RandomController(SLOTS, seed=5),
        "heuristic": HeuristicController(SLOTS),
        "schedules": ScheduleController([None, NORM, FIRST, NORM], SLOTS),
        "none": WaitController(),
    }


@pytest.fixture(scope="module")
def together(controllers: Controllers, groups: tuple[HostGroup, ...]) -> dict[str, Played]:
    return play_all(controllers, groups, rules=RULES)


def assert_same(one: Played, other: Played) -> None:
    mine, theirs = one.episodes, other.episodes
    assert mine.groups == theirs.groups
    for name in ("stage", "blueprint", "took_effect", "total_params", "host_params", "price"):
        assert torch.equal(getattr(mine, name), getattr(theirs, name)), name
    assert all(torch.equal(a, b) for a, b in zip(mine.actions, theirs.actions, strict=True))
    assert mine.grown == theirs.grown
    # Accuracies in percent; one sample of the smallest validation part is 1.6 points.
    torch.testing.assert_close(mine.val_accuracy, theirs.val_accuracy, rtol=0, atol=0.01)
    torch.testing.assert_close(mine.reward.total, theirs.reward.total, rtol=0, atol=0.001)
    torch.testing.assert_close(one.test_accuracy, other.test_accuracy, rtol=0, atol=0.01)


@pytest.mark.parametrize("name", ["policy", "policy-greedy", "random", "heuristic", "schedules", "none"])
def test_the_same_as_alone(
    together: dict[str, Played], controllers: Controllers, groups: tuple[HostGroup, ...], name: str
) -> None:
    assert_same(together[name], play(controllers[name], groups, rules=RULES))


def test_order_does_not_matter(
    together: dict[str, Played], controllers: Controllers, groups: tuple[HostGroup, ...]
) -> None:
    backwards = play_all(dict(reversed(list(controllers.items()))), groups, rules=RULES)
    for name, played in backwards.items():
        assert_same(played, together[name])


def test_sampled_and_greedy_differ(together: dict[str, Played]) -> None:
    sampled, greedy = (together[name].episodes.actions for name in ("policy", "policy-greedy"))
    assert any(not torch.equal(a, b) for a, b in zip(sampled, greedy, strict=True))


def test_return_is_accuracy_gained_minus_rent(together: dict[str, Played]) -> None:
    episodes = together["random"].episodes
    gained = episodes.val_accuracy[:, -1] - episodes.val_accuracy[:, 0]
    prices = torch.tensor([price for group in episodes.groups for price in group.prices])
    assert len(prices.unique()) == 4
    torch.testing.assert_close(episodes.episode_return, gained / 10 - prices * (episodes.size - 1))
    assert (episodes.size > 1).any()
    assert (together["none"].episodes.size == 1).all()


def test_rows_by_hand() -> None:
    assert [rows.tolist() for rows in rows_of_copies([2, 1], 2)] == [[0, 1, 4], [2, 3, 5]]
    assert [rows.tolist() for rows in rows_of_copies([1], 3)] == [[0], [1], [2]]


class Spy:
    """Waits, and notes how many hosts it is asked about and which."""

    def __init__(self) -> None:
        self.asked: list[int] = []
        self.params: list[list[int]] = []

    def initial_memory(self, num_envs: int) -> int:
        self.asked.append(num_envs)
        return num_envs

    def act(self, observation: Observation[Tensor], memory: int) -> tuple[FactoredActions[Tensor], int]:
        self.params.append(observation.signals.host_params.tolist())
        return WaitController().act(observation, None)[0], memory + 1


def test_each_sees_its_own_rows_alone() -> None:
    spies = [Spy(), Spy()]
    rows = rows_of_copies([2, 1], 2)
    world = SideBySide(spies, rows)
    memory = world.initial_memory(6)
    assert memory == (3, 3)
    names = ("epoch", "host_params")
    columns = {name: torch.arange(6) for name in names}
    signals = _blank_signals()._replace(**columns)
    observation = Observation(signals, _blank_slots())
    _, memory = world.act(observation, memory)
    assert memory == (4, 4)
    assert [spy.params for spy in spies] == [[[0, 1, 4]], [[2, 3, 5]]]


def test_who_pays_a_price_of_its_own_and_who_that_of_each_host(groups: tuple[HostGroup, ...]) -> None:
    """A schedule does the same at any price, and is paid by it."""
    hosts = sum(len(group.host_seeds) for group in groups)
    following = {name: ScheduleController([NORM] * hosts, SLOTS) for name in ("own", "dear", "cheap")}
    played = play_all(following, groups, rules=RULES, prices={"dear": 0.9, "cheap": 0.1})
    assert played["own"].episodes.groups == groups
    own = outcomes_of(played["own"])
    for name, price in (("dear", 0.9), ("cheap", 0.1)):
        episodes = played[name].episodes
        assert episodes.price.tolist() == pytest.approx([price] * hosts)
        assert [group.prices for group in episodes.groups] == [(price,) * 3, (price,)]
        found, expected = outcomes_of(played[name]), own.at_price(price)
        assert found.hosts == expected.hosts
        torch.testing.assert_close(found.episode_return, expected.episode_return)


def test_prices_and_what_hosts_showed_go_through_bytes(groups: tuple[HostGroup, ...]) -> None:
    group = groups[0]
    played = play_all(
        {"none": WaitController(), "dear": WaitController()}, [group], rules=RULES, prices={"dear": 0.9}
    )
    features = torch.rand(3, 7)
    found = Found({name: outcomes_of(each, 2) for name, each in played.items()}, features=features)
    back = found_from_bytes(found_to_bytes(found), group, 2)
    assert {name: each.hosts for name, each in back.outcomes.items()} == {
        name: each.hosts for name, each in found.outcomes.items()
    }
    assert back.features is not None
    assert torch.equal(back.features, features)
    joined = join_found([back, Found({"random": back.outcomes["none"]}), back])
    assert joined.features is not None
    assert joined.features.shape == (6, 7)
    assert found_from_bytes(found_to_bytes(found._replace(features=None)), group, 2).features is None


class Numbered:
    """Answers with the number of the row that it was shown."""

    def initial_memory(self, num_envs: int) -> None:
        pass

    def act(self, observation: Observation[Tensor], memory: None) -> tuple[FactoredActions[Tensor], None]:
        return FactoredActions(*[observation.signals.epoch] * 8), None


def test_actions_go_back_to_their_rows() -> None:
    world = SideBySide([Numbered(), Numbered(), Numbered()], rows_of_copies([2, 1], 3))
    observation = Observation(_blank_signals(9)._replace(epoch=torch.arange(9)), _blank_slots(9))
    actions, _ = world.act(observation, world.initial_memory(9))
    assert all(head.tolist() == list(range(9)) for head in actions)


def _blank_signals(rows: int = 6) -> SignalColumns[Tensor]:
    return SignalColumns(*[torch.zeros(rows)] * len(SignalColumns._fields))


def _blank_slots(rows: int = 6) -> SlotColumns[Tensor]:
    return SlotColumns(*[torch.zeros(rows, 3)] * len(SlotColumns._fields))


def test_no_groups() -> None:
    with pytest.raises(ValueError, match="at least one group"):
        play_all({"none": WaitController()}, [], rules=RULES)
