"""Schedules, worked by hand: which action at which step."""

import re
from collections.abc import Mapping
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from made_up import make_host, make_outcomes, tiny_groups
from torch import Tensor

from leyline_types import (
    AlphaTargetAction,
    BlueprintAction,
    FactoredActions,
    GerminationStyle,
    LegalityRules,
    LifecycleOp,
    Observation,
    SeedStage,
    SlotConfig,
    TempoAction,
    Topology,
)
from simic_training.evaluation.play import play
from simic_training.evaluation.schedules import (
    Schedule,
    ScheduleChoice,
    ScheduleController,
    arms,
    choose_schedules,
)
from simic_training.growth.world import GrowthWorld

SLOTS = SlotConfig.default()
NORM, HEAVY = BlueprintAction.NORM, BlueprintAction.CONV_HEAVY
WAIT, GERMINATE, ADVANCE = LifecycleOp.WAIT, LifecycleOp.GERMINATE, LifecycleOp.ADVANCE


@pytest.fixture(scope="module")
def fresh() -> Observation[Tensor]:
    """Two hosts before any training."""
    return GrowthWorld().reset(tiny_groups(1, 2))


def seen(
    fresh: Observation[Tensor],
    stages: list[SeedStage],
    *,
    signals: Mapping[str, Any] | None = None,
    slots: Mapping[str, Any] | None = None,
) -> Observation[Tensor]:
    """Both hosts with these stages, other columns as given (or as they were)."""
    stage = torch.tensor([[int(each) for each in stages]] * 2)
    occupied = stage != SeedStage.DORMANT
    more = {name: torch.full_like(getattr(fresh.slots, name), value) for name, value in (slots or {}).items()}
    now = {
        name: torch.full_like(getattr(fresh.signals, name), value) for name, value in (signals or {}).items()
    }
    return Observation(
        fresh.signals._replace(live_seeds=occupied.sum(1), **now),
        fresh.slots._replace(stage=stage, occupied=occupied, **more),
    )


def act(
    schedule: Schedule, observation: Observation[Tensor], step: int = 0, rules: LegalityRules | None = None
) -> tuple[LifecycleOp, int]:
    """Op and slot; the same for both hosts."""
    controller = ScheduleController([schedule] * 2, SLOTS, rules=rules or LegalityRules())
    actions, memory = controller.act(observation, step)
    assert memory == step + 1
    assert (actions.op == actions.op[0]).all()
    assert (actions.slot == actions.slot[0]).all()
    return LifecycleOp(int(actions.op[0])), int(actions.slot[0])


EMPTY, YOUNG, GROWING, BLENDING, HELD = (
    SeedStage.DORMANT,
    SeedStage.GERMINATED,
    SeedStage.TRAINING,
    SeedStage.BLENDING,
    SeedStage.HOLDING,
)


@pytest.mark.parametrize(
    ("stages", "step", "expected"),
    [
        ([EMPTY, EMPTY, EMPTY], 0, (GERMINATE, 0)),
        ([YOUNG, EMPTY, EMPTY], 1, (GERMINATE, 1)),
        ([YOUNG, YOUNG, EMPTY], 2, (GERMINATE, 2)),
        ([YOUNG, YOUNG, YOUNG], 3, (ADVANCE, 0)),
        ([GROWING, YOUNG, YOUNG], 4, (ADVANCE, 1)),  # turns: the first slot's gate may hold it up
        ([GROWING, YOUNG, YOUNG], 5, (ADVANCE, 2)),
        ([GROWING, YOUNG, YOUNG], 6, (ADVANCE, 0)),
        ([HELD, GROWING, HELD], 7, (ADVANCE, 1)),
        ([HELD, HELD, HELD], 8, (WAIT, 0)),
        ([HELD, EMPTY, HELD], 9, (GERMINATE, 1)),
    ],
)
def test_all_slots_in_turn(
    fresh: Observation[Tensor], stages: list[SeedStage], step: int, expected: tuple[LifecycleOp, int]
) -> None:
    assert act(Schedule(blueprint=NORM), seen(fresh, stages), step) == expected


def test_one_slot_alone(fresh: Observation[Tensor]) -> None:
    schedule = Schedule(blueprint=NORM, slots=("r0c1",))
    assert act(schedule, seen(fresh, [EMPTY, EMPTY, EMPTY])) == (GERMINATE, 1)
    assert act(schedule, seen(fresh, [EMPTY, YOUNG, EMPTY]), 1) == (ADVANCE, 1)
    assert act(schedule, seen(fresh, [EMPTY, HELD, EMPTY]), 2) == (WAIT, 0)


def test_some_slots(fresh: Observation[Tensor]) -> None:
    schedule = Schedule(blueprint=NORM, slots=("r0c2", "r0c0"))
    assert act(schedule, seen(fresh, [EMPTY, EMPTY, EMPTY])) == (GERMINATE, 0)
    assert act(schedule, seen(fresh, [HELD, EMPTY, EMPTY])) == (GERMINATE, 2)
    assert act(schedule, seen(fresh, [HELD, EMPTY, HELD])) == (WAIT, 0)
    with pytest.raises(ValueError, match="slot 'r0c7' is not one of r0c0, r0c1, r0c2"):
        act(Schedule(blueprint=NORM, slots=("r0c7",)), seen(fresh, [EMPTY] * 3))


def test_every_host_follows_its_own_schedule(fresh: Observation[Tensor]) -> None:
    """The second is left alone; the third waits for its epoch."""
    hosts = Observation(
        fresh.signals._replace(
            **{name: column[[0, 0, 0]] for name, column in fresh.signals._asdict().items()}
        ),
        fresh.slots._replace(**{name: column[[0, 0, 0]] for name, column in fresh.slots._asdict().items()}),
    )
    schedules = [
        Schedule(blueprint=HEAVY, slots=("r0c1",), tempo=TempoAction.SLOW),
        None,
        Schedule(blueprint=NORM, start_epoch=1),
    ]
    controller = ScheduleController(schedules, SLOTS)
    actions, _ = controller.act(hosts, controller.initial_memory(3))
    assert actions.op.tolist() == [GERMINATE, WAIT, WAIT]
    assert actions.slot.tolist() == [1, 0, 0]
    assert actions.blueprint.tolist() == [HEAVY, 0, 0]
    assert actions.tempo.tolist() == [TempoAction.SLOW, 0, 0]
    later = hosts._replace(signals=hosts.signals._replace(epoch=torch.tensor([1, 1, 1])))
    actions, _ = controller.act(later, 1)
    assert actions.op.tolist() == [GERMINATE, WAIT, GERMINATE]
    assert actions.blueprint.tolist() == [HEAVY, 0, NORM]


def test_there_is_a_schedule_for_every_host() -> None:
    with pytest.raises(ValueError, match="3 hosts are to be grown, by 2 schedules"):
        ScheduleController([None, None], SLOTS).initial_memory(3)
    with pytest.raises(ValueError, match="`schedules` must hold one for each host"):
        ScheduleController([], SLOTS)


@pytest.mark.parametrize(("epoch", "op"), [(0, WAIT), (4, WAIT), (5, GERMINATE), (6, GERMINATE)])
def test_start_epoch(fresh: Observation[Tensor], epoch: int, op: LifecycleOp) -> None:
    schedule = Schedule(blueprint=NORM, start_epoch=5)
    assert act(schedule, seen(fresh, [EMPTY] * 3, signals={"epoch": epoch})) == (op, 0)


@pytest.mark.parametrize(("alpha", "op"), [(0.5, WAIT), (0.999, WAIT), (1.0, ADVANCE)])
def test_a_blending_seed_advances_when_alpha_has_arrived(
    fresh: Observation[Tensor], alpha: float, op: LifecycleOp
) -> None:
    blending = seen(fresh, [BLENDING, HELD, HELD], slots={"alpha": alpha, "alpha_target": 1.0})
    assert act(Schedule(blueprint=NORM), blending, 3) == (op, 0)


def test_only_what_is_legal(fresh: Observation[Tensor]) -> None:
    empty = seen(fresh, [EMPTY] * 3)
    assert act(Schedule(blueprint=HEAVY), empty, rules=LegalityRules(enabled_blueprints=(NORM,))) == (WAIT, 0)
    assert act(Schedule(blueprint=NORM), empty, rules=LegalityRules(enabled_slots=("r0c2",))) == (
        GERMINATE,
        2,
    )
    busy, one_by_one = seen(fresh, [YOUNG, EMPTY, EMPTY]), LegalityRules(sequential_development=True)
    assert act(Schedule(blueprint=NORM), busy, 1, one_by_one) == (ADVANCE, 0)
    assert act(Schedule(blueprint=BlueprintAction.MLP), empty) == (WAIT, 0)  # no blueprint of a cnn


def test_hosts_decide_each_for_itself(fresh: Observation[Tensor]) -> None:
    mixed = seen(fresh, [EMPTY] * 3)
    mixed = mixed._replace(signals=mixed.signals._replace(epoch=torch.tensor([0, 5])))
    schedules = [Schedule(blueprint=NORM, start_epoch=5)] * 2
    actions, _ = ScheduleController(schedules, SLOTS).act(mixed, 0)
    assert actions.op.tolist() == [WAIT, GERMINATE]
    assert actions.blueprint.tolist() == [0, NORM]


def test_every_head_of_a_germination(fresh: Observation[Tensor]) -> None:
    schedule = Schedule(
        blueprint=HEAVY,
        style=GerminationStyle.GATED_GATE,
        tempo=TempoAction.SLOW,
        alpha_target=AlphaTargetAction.SEVENTY,
    )
    actions, _ = ScheduleController([schedule] * 2, SLOTS).act(seen(fresh, [EMPTY] * 3), 0)
    expected = FactoredActions(
        slot=0, blueprint=HEAVY, style=3, tempo=2, alpha_target=1, alpha_speed=0, alpha_curve=0, op=GERMINATE
    )
    assert [head.tolist() for head in actions] == [[int(index)] * 2 for index in expected]
    assert all(head.dtype == torch.int64 for head in actions)


def test_an_episode_of_a_schedule() -> None:
    schedule = Schedule(blueprint=NORM, start_epoch=1, slots=("r0c0", "r0c1"))
    controller = ScheduleController([schedule] * 2, SLOTS)
    episodes = play(controller, tiny_groups(1, 2), rules=LegalityRules()).episodes
    assert episodes.actions.op.tolist() == [[WAIT, GERMINATE, GERMINATE, ADVANCE]] * 2
    assert episodes.actions.slot.tolist() == [[0, 0, 1, 0]] * 2
    assert episodes.took_effect.all()
    assert episodes.stage[:, -1].tolist() == [[GROWING, YOUNG, EMPTY]] * 2


def test_names() -> None:
    assert Schedule(blueprint=BlueprintAction.CONV_LIGHT, start_epoch=2).name == "conv_light all @2"
    assert Schedule(blueprint=NORM, slots=("r0c1",)).name == "norm r0c1 @0"
    assert Schedule(blueprint=NORM, slots=("r0c0", "r0c2")).name == "norm r0c0+r0c2 @0"


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("start_epoch", -1, "`start_epoch` must be at least 0, not -1"),
        ("slots", (), "`slots` must name at least one slot and each once, not ()"),
        (
            "slots",
            ("r0c0", "r0c0"),
            "`slots` must name at least one slot and each once, not ('r0c0', 'r0c0')",
        ),
    ],
)
def test_bad_settings_are_named(field: str, value: object, message: str) -> None:
    with pytest.raises(ValueError, match=re.escape(message)):
        Schedule(blueprint=NORM, **{field: value})  # type: ignore[arg-type]


RULES = LegalityRules()


def test_arms_are_each_blueprint_in_each_slot_and_in_all() -> None:
    names = [arm.name for arm in arms(Topology.CNN, SLOTS, RULES)]
    assert len(names) == len(set(names)) == 5 * 4
    assert names[:5] == ["norm r0c0 @0", "norm r0c1 @0", "norm r0c2 @0", "norm all @0", "depthwise r0c0 @0"]
    tokens = [arm.blueprint.blueprint_id for arm in arms(Topology.TRANSFORMER, SLOTS, RULES)]
    assert list(dict.fromkeys(tokens)) == ["norm", "lora", "mlp_small", "attention"]


def test_arms_are_what_the_rules_allow() -> None:
    norms = LegalityRules(enabled_blueprints=(NORM,), enabled_slots=("r0c1",))
    assert [arm.name for arm in arms(Topology.CNN, SLOTS, norms)] == ["norm r0c1 @0"]
    unusual = LegalityRules(enabled_blueprints=(BlueprintAction.CONV_SMALL,))
    assert {arm.blueprint for arm in arms(Topology.CNN, SLOTS, unusual)} == {BlueprintAction.CONV_SMALL}


CHEAP, DEAR = Schedule(blueprint=NORM), Schedule(blueprint=HEAVY)
CHOICE = ScheduleChoice((CHEAP, DEAR), gain=(2.0, 10.0), added=(0.25, 1.0))
"""Worth 0.2 - p / 4, up to a price of 0.8, and 1 - p, up to 1."""


@pytest.mark.parametrize(
    ("price", "best"),
    [(0.0, DEAR), (0.9, DEAR), (1.0, None), (3.0, None)],
)
def test_the_best_schedule_at_a_price(price: float, best: Schedule | None) -> None:
    assert CHOICE.best_at(price) == best


def test_growing_nothing_is_chosen_where_nothing_pays() -> None:
    harmful = ScheduleChoice((CHEAP, DEAR), gain=(-1.0, 0.0), added=(0.1, 0.5))
    assert harmful.best_at(0.01) is None
    assert ScheduleChoice((), (), ()).best_at(0.1) is None


def test_a_cheap_schedule_takes_over_as_the_price_rises() -> None:
    choice = ScheduleChoice((CHEAP, DEAR), gain=(4.0, 10.0), added=(0.25, 1.0))
    assert [choice.best_at(price) for price in (0.7, 0.9, 1.7)] == [DEAR, CHEAP, None]  # they meet at 0.8
    assert choice.best_single([0.1, 0.1, 2.1]) == DEAR  # 0.77 on average
    assert choice.best_single([0.1, 0.1, 2.3]) == CHEAP


@given(
    worth=st.lists(st.tuples(st.floats(-20, 50), st.floats(0, 10)), min_size=1, max_size=8),
    prices=st.lists(st.floats(0.01, 5), min_size=1, max_size=5),
)
def test_choices_are_the_best_of_all_returns(worth: list[tuple[float, float]], prices: list[float]) -> None:
    """Against every return of every schedule."""
    schedules = tuple(Schedule(blueprint=NORM, start_epoch=epoch) for epoch in range(len(worth)))
    gain, added = zip(*worth, strict=True)
    choice = ScheduleChoice(schedules, gain, added)
    returns: dict[Schedule | None, list[float]] = {
        None: [0.0] * len(prices),
        **{
            schedule: [points / 10 - price * size for price in prices]
            for schedule, (points, size) in zip(schedules, worth, strict=True)
        },
    }
    for place, price in enumerate(prices):
        most = max(each[place] for each in returns.values())
        assert returns[choice.best_at(price)][place] == pytest.approx(most, abs=1e-9)
    totals = {schedule: sum(each) for schedule, each in returns.items()}
    assert totals[choice.best_single(prices)] == pytest.approx(max(totals.values()), abs=1e-7)


def test_what_hosts_tell_of_schedules() -> None:
    """The accuracies of `make_outcomes` are those on validation data less 1; sizes are over the bare host's."""
    outcomes = {
        "none": make_outcomes([50.0, 70.0], [0.0, 0.0], sizes=[1.0, 1.0]),
        CHEAP.name: make_outcomes([53.0, 71.0], [0.0, 0.0], sizes=[1.1, 1.3]),
        DEAR.name: make_outcomes([60.0, 64.0], [0.0, 0.0], sizes=[3.0, 5.0]),
    }
    choice = choose_schedules((CHEAP, DEAR), outcomes)
    assert choice.arms == (CHEAP, DEAR)
    assert choice.gain == pytest.approx((2.0, 2.0))
    assert choice.added == pytest.approx((0.2, 3.0))
    elsewhere = make_outcomes([53.0, 71.0], [0.0, 0.0], hosts=[make_host(7), make_host(9)])
    with pytest.raises(ValueError, match="norm all @0 was played on host"):
        choose_schedules((CHEAP,), {**outcomes, CHEAP.name: elsewhere})


def test_gains_do_not_depend_on_the_price() -> None:
    """Which is why one episode of a schedule tells its return at any."""
    (group,) = tiny_groups(1, 2)
    ends = []
    for prices in ((0.1, 0.1), (2.0, 2.0)):
        controller = ScheduleController([CHEAP, DEAR], SLOTS)
        episodes = play(controller, [group._replace(prices=prices)], rules=RULES).episodes
        ends.append((episodes.val_accuracy, episodes.total_params))
    for cheap, dear in zip(*ends, strict=True):
        assert torch.equal(cheap, dear)
