"""Schedules, worked by hand: which action at which step."""

from collections.abc import Mapping
from typing import Any

import pytest
import torch
from made_up import tiny_groups
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
)
from simic_training.evaluation.play import play
from simic_training.evaluation.schedules import Schedule, ScheduleController
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
    controller = ScheduleController(schedule, SLOTS, rules=rules or LegalityRules())
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
    schedule = Schedule(blueprint=NORM, slots=1)
    assert act(schedule, seen(fresh, [EMPTY, EMPTY, EMPTY])) == (GERMINATE, 0)
    assert act(schedule, seen(fresh, [YOUNG, EMPTY, EMPTY]), 1) == (ADVANCE, 0)
    assert act(schedule, seen(fresh, [HELD, EMPTY, EMPTY]), 2) == (WAIT, 0)
    assert act(Schedule(blueprint=NORM, slots=9), seen(fresh, [HELD, HELD, EMPTY])) == (GERMINATE, 2)


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
    actions, _ = ScheduleController(Schedule(blueprint=NORM, start_epoch=5), SLOTS).act(mixed, 0)
    assert actions.op.tolist() == [WAIT, GERMINATE]
    assert actions.blueprint.tolist() == [0, NORM]


def test_every_head_of_a_germination(fresh: Observation[Tensor]) -> None:
    schedule = Schedule(
        blueprint=HEAVY,
        style=GerminationStyle.GATED_GATE,
        tempo=TempoAction.SLOW,
        alpha_target=AlphaTargetAction.SEVENTY,
    )
    actions, _ = ScheduleController(schedule, SLOTS).act(seen(fresh, [EMPTY] * 3), 0)
    expected = FactoredActions(
        slot=0, blueprint=HEAVY, style=3, tempo=2, alpha_target=1, alpha_speed=0, alpha_curve=0, op=GERMINATE
    )
    assert [head.tolist() for head in actions] == [[int(index)] * 2 for index in expected]
    assert all(head.dtype == torch.int64 for head in actions)


def test_an_episode_of_a_schedule() -> None:
    controller = ScheduleController(Schedule(blueprint=NORM, start_epoch=1, slots=2), SLOTS)
    episodes = play(controller, tiny_groups(1, 2), rules=LegalityRules()).episodes
    assert episodes.actions.op.tolist() == [[WAIT, GERMINATE, GERMINATE, ADVANCE]] * 2
    assert episodes.actions.slot.tolist() == [[0, 0, 1, 0]] * 2
    assert episodes.took_effect.all()
    assert episodes.stage[:, -1].tolist() == [[GROWING, YOUNG, EMPTY]] * 2


def test_names() -> None:
    assert Schedule(blueprint=BlueprintAction.CONV_LIGHT, start_epoch=2).name == "conv_light xall @2"
    assert Schedule(blueprint=NORM, slots=1).name == "norm x1 @0"


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("start_epoch", -1, "`start_epoch` must be at least 0, not -1"),
        ("slots", 0, "`slots` must be at least 1, not 0"),
    ],
)
def test_bad_settings_are_named(field: str, value: int, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Schedule(blueprint=NORM, **{field: value})  # type: ignore[arg-type]
