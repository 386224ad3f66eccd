"""Look, then leap: what it looks at, what it learns, and that it waits and leaps as it says."""

from dataclasses import replace

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from made_up import TINY, tiny_groups
from torch import Tensor

from leyline_types import BlueprintAction, LifecycleOp, SlotConfig, observation_schema
from simic_training.evaluation.look_then_leap import (
    LOOK_EPOCHS,
    ArmEffects,
    ArmTable,
    LookThenLeapController,
    Predict,
    fit_arms,
    look,
    mean_arms,
    named_share,
    table_from_bytes,
    table_to_bytes,
)
from simic_training.evaluation.play import Played, play, play_all
from simic_training.evaluation.schedules import Schedule
from simic_training.growth.draws import HostGroup, slots_of
from simic_training.growth.world import GrowthWorld
from simic_training.runs.tensor_bytes import DamagedBytesError
from tamiyo_features import NonFiniteValueError, extract_features

SLOTS = SlotConfig.default()
NORM = Schedule(blueprint=BlueprintAction.NORM)
HEAVY = Schedule(blueprint=BlueprintAction.CONV_HEAVY, slots=("r0c1",))
ARMS = (NORM, HEAVY)
EPOCHS = 14


def longer(groups: list[HostGroup], *prices: float) -> list[HostGroup]:
    """Of episodes that leave time to grow, at these prices."""
    return [
        group._replace(config=replace(group.config, max_epochs=EPOCHS), prices=prices or group.prices)
        for group in groups
    ]


def always(gain: list[float], added: list[float]) -> Predict:
    """The same of every host."""

    def predict(features: Tensor) -> ArmEffects:
        hosts = len(features)
        return ArmEffects(torch.tensor([gain] * hosts), torch.tensor([added] * hosts))

    return predict


def played(predict: Predict, *prices: float) -> Played:
    (group,) = tiny_groups(1, len(prices))
    controller = LookThenLeapController(ARMS, predict, SLOTS, rules=TINY.rules)
    return play(controller, longer([group], *prices), rules=TINY.rules)


def test_waits_and_then_takes_the_arm_that_is_best_at_each_price() -> None:
    """Worth 0.1 and 1.2 at a price of 0, 0.08 and 0.7 at 0.1, 0.04 and 0.2 at 0.2; from 0.5 on nothing pays."""
    episodes = played(always([1.0, 12.0], [0.2, 5.0]), 0.1, 0.235, 0.6).episodes
    ops, slots, blueprints = episodes.actions.op, episodes.actions.slot, episodes.actions.blueprint
    assert (ops[:, :LOOK_EPOCHS] == LifecycleOp.WAIT).all()
    leap = slice(LOOK_EPOCHS, LOOK_EPOCHS + 3)
    assert ops[0, leap].tolist() == [LifecycleOp.GERMINATE, LifecycleOp.ADVANCE, LifecycleOp.ADVANCE]
    assert slots[0, LOOK_EPOCHS] == 1
    assert blueprints[0, LOOK_EPOCHS] == BlueprintAction.CONV_HEAVY
    assert ops[1, leap].tolist() == [LifecycleOp.GERMINATE] * 3
    assert slots[1, leap].tolist() == [0, 1, 2]
    assert blueprints[1, leap].tolist() == [BlueprintAction.NORM] * 3
    assert (ops[2] == LifecycleOp.WAIT).all()


def test_grows_nothing_where_an_arm_is_worth_exactly_nothing() -> None:
    episodes = played(always([-1.0, 10.0], [0.0, 1.0]), 1.0, 0.99).episodes
    assert (episodes.actions.op[0] == LifecycleOp.WAIT).all()
    assert (episodes.actions.op[1] == LifecycleOp.GERMINATE).any()


def test_decides_once_from_what_it_saw_then() -> None:
    seen: list[Tensor] = []

    def predict(features: Tensor) -> ArmEffects:
        seen.append(features)
        return always([1.0, 2.0], [0.1, 0.1])(features)

    group = longer(tiny_groups(1, 2), 1.0, 1.0)[0]
    play(LookThenLeapController(ARMS, predict, SLOTS), [group], rules=TINY.rules)
    (features,) = seen
    torch.testing.assert_close(features, look(group, rules=TINY.rules), rtol=0, atol=0)


def test_looking_sees_the_hosts_after_four_epochs_without_growth_whatever_they_pay() -> None:
    (group,) = longer(tiny_groups(1, 2), 0.1, 0.7)
    features = look(group, rules=TINY.rules)
    assert features.shape == (2, observation_schema(slots_of(group.config)).dim)
    torch.testing.assert_close(features, look(group._replace(prices=(0.3, 0.2)), rules=TINY.rules))
    world = GrowthWorld(rules=TINY.rules)
    fresh = world.reset([group._replace(prices=(1.0, 1.0))])
    assert not torch.equal(features, extract_features(fresh, SLOTS))


def test_alone_and_side_by_side_it_does_the_same() -> None:
    groups = longer(tiny_groups(2, 2), 0.1, 0.6)
    predict = always([1.0, 12.0], [0.2, 5.0])
    controllers = {
        name: LookThenLeapController(ARMS, model, SLOTS, rules=TINY.rules)
        for name, model in (("one", predict), ("other", always([1.0, 0.0], [0.2, 5.0])))
    }
    together = play_all(controllers, groups, rules=TINY.rules)
    for name, controller in controllers.items():
        alone = play(controller, groups, rules=TINY.rules)
        for one, other in zip(together[name].episodes.actions, alone.episodes.actions, strict=True):
            assert torch.equal(one, other)
        torch.testing.assert_close(together[name].episodes.val_accuracy, alone.episodes.val_accuracy)


def test_what_was_planted_stays() -> None:
    left = played(always([9_000.0, 0.0], [0.0, 0.0]), 40.0).episodes
    assert not (left.actions.op == LifecycleOp.PRUNE).any()
    assert left.size > 1


def test_refuses_what_is_not_finite() -> None:
    observation = GrowthWorld(rules=TINY.rules).reset(tiny_groups(1, 2))
    signals = observation.signals
    broken = observation._replace(
        signals=signals._replace(val_loss=torch.full_like(signals.val_loss, torch.inf))
    )
    controller = LookThenLeapController(ARMS, always([1.0, 1.0], [0.1, 0.1]), SLOTS)
    with pytest.raises(NonFiniteValueError):
        controller.act(broken, controller.initial_memory(2))


def made_up_table(looked: int, played: int) -> ArmTable:
    """Of two kinds of hosts, which the first of eight features tells: the first arm helps one, the second the other.

    Hosts of kind 3 are twice as wide.
    """
    generator = torch.Generator().manual_seed(0)
    features = torch.rand(looked, 8, generator=generator)
    kind = (features[:, 0] > 0.5).float()
    gain = torch.stack([10 * kind, 20 * (1 - kind)], 1) + torch.randn(looked, 2, generator=generator)
    added = torch.tensor([[0.1, 1.0]]) * (1 + kind[:, None])
    return ArmTable(features, (1 + 2 * kind).long(), gain[:played], added[:played])


def test_the_model_learns_what_each_arm_brings_on_hosts_that_lack_what_hosts_that_look_so_lack() -> None:
    predict, unseen = fit_arms(made_up_table(80, 12)), torch.full((2, 8), 0.5)
    unseen[:, 0] = torch.tensor([0.1, 0.9])
    effects = predict(unseen)
    torch.testing.assert_close(
        effects.gain, torch.tensor([[0.0, 20.0], [10.0, 0.0]]).double(), rtol=0, atol=2.5
    )
    torch.testing.assert_close(
        effects.added, torch.tensor([[0.1, 1.0], [0.2, 2.0]]).double(), rtol=0, atol=0.15
    )


def test_kinds_that_look_alike_count_by_how_often_they_occur() -> None:
    """Nothing tells the kinds apart: of 40 hosts that look alike 30 are of the first."""
    table = ArmTable(
        torch.zeros(40, 3),
        torch.tensor([0, 0, 0, 1] * 10),
        gain=torch.tensor([[8.0], [8.0], [8.0], [-4.0]]),
        added=torch.tensor([[1.0], [1.0], [1.0], [3.0]]),
    )
    effects = fit_arms(table)(torch.zeros(1, 3))
    assert effects.gain.item() == pytest.approx(0.75 * 8 - 0.25 * 4, abs=0.2)
    assert effects.added.item() == pytest.approx(1.5, abs=0.05)


def test_arms_must_be_played_on_every_kind_that_is_looked_at() -> None:
    table = made_up_table(30, 20)
    with pytest.raises(ValueError, match=r"arms must be played on hosts of every kind .* on none of kind 7"):
        fit_arms(table._replace(lack=torch.cat([table.lack[:-1], torch.tensor([7])])))


def test_without_a_look_all_hosts_are_expected_to_gain_the_same() -> None:
    table = made_up_table(30, 20)
    effects = mean_arms(table)(table.features[:3])
    torch.testing.assert_close(effects.gain, table.gain.double().mean(0).expand(3, 2))
    torch.testing.assert_close(effects.added, table.added.double().mean(0).expand(3, 2))


def test_kinds_are_named_from_other_members_alone() -> None:
    """By the first feature; and by chance where each member shows its own number alone."""
    table = made_up_table(60, 20)
    members = [place // 2 for place in range(60)]
    assert all(share > 0.9 for share in named_share(table, members).values())
    own = table._replace(
        features=torch.tensor(members).float()[:, None], lack=(torch.tensor(members) % 2) + 4
    )
    assert set(named_share(own, members)) == {4, 5}
    assert all(share < 0.7 for share in named_share(own, members).values())


def test_members_that_come_in_the_order_of_kinds_are_named_as_well() -> None:
    kinds = torch.arange(5).repeat_interleave(2).repeat(12)
    table = ArmTable(kinds.float()[:, None], kinds, torch.zeros(10, 1), torch.zeros(10, 1))
    assert named_share(table, [place // 2 for place in range(120)]) == dict.fromkeys(range(5), 1.0)


def test_equal_tables_give_equal_models_and_each_host_its_own_answer() -> None:
    table = made_up_table(30, 20)
    one, other = (
        fit_arms(table),
        fit_arms(table_from_bytes(table_to_bytes(table, ["a", "b"], [["nothing", 0]]))),
    )
    assert torch.equal(one(table.features).gain, other(table.features).gain)
    assert torch.equal(one(table.features).gain[3:4], one(table.features[3:4]).gain)


def test_tables_that_are_none() -> None:
    with pytest.raises(DamagedBytesError):
        table_from_bytes(b"none")


@given(st.floats(-50, 50), st.floats(0, 10), st.lists(st.floats(0.05, 2), min_size=1, max_size=4))
def test_worth_is_gain_minus_price_times_size(gain: float, added: float, prices: list[float]) -> None:
    hosts = len(prices)
    effects = ArmEffects(torch.full((hosts, 1), gain), torch.full((hosts, 1), added))
    for found in (
        effects.worth(torch.tensor(prices)),
        torch.cat([effects.worth(price)[:1] for price in prices]),
    ):
        expected = torch.tensor([[gain / 10 - price * added] for price in prices])
        torch.testing.assert_close(found, expected)


def test_arms_fill_slots_that_there_are() -> None:
    stranger = Schedule(blueprint=BlueprintAction.NORM, slots=("r0c7",))
    with pytest.raises(ValueError, match="slot 'r0c7' is not one of r0c0, r0c1, r0c2"):
        LookThenLeapController([stranger], always([1.0], [0.1]), SLOTS)
