"""Who plays what, and in which order."""

from collections.abc import Callable, Generator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from made_up import TINY

from leyline_types import BlueprintAction, Controller, LegalityRules
from simic_training.engines.here import HereEngine
from simic_training.engines.unit import Unit
from simic_training.evaluation.headroom_units import HeadroomPlan, headroom_plan
from simic_training.evaluation.parts import Part, PartsRunner, name_of
from simic_training.evaluation.schedules import Schedule, ScheduleChoice
from simic_training.evaluation.stages import EvaluationOptions
from simic_training.evaluation.static import STATIC
from simic_training.evaluation.units import (
    BEST,
    CONTROLLERS,
    Batch,
    Lot,
    Plan,
    Player,
    controller_of,
    lots_of,
    part_of,
    plan_of,
    play_unit,
    run_batches,
)
from simic_training.growth.config import GrowthConfig
from simic_training.growth.draws import OtherDataError

NORM, HEAVY = Schedule(blueprint=BlueprintAction.NORM), Schedule(blueprint=BlueprintAction.CONV_HEAVY)
FEW = replace(TINY, rules=LegalityRules(enabled_blueprints=(BlueprintAction.NORM,)))
OPTIONS = EvaluationOptions(members_per_lack=4, hosts_per_member=2)


def test_a_default_evaluation_plays_schedules_where_they_are_chosen_and_controllers_where_they_are_judged() -> (
    None
):
    plan = plan_of(FEW, OPTIONS)
    assert [schedule.name for schedule in plan.schedules] == [
        "norm r0c0 @0",
        "norm r0c1 @0",
        "norm r0c2 @0",
        "norm all @0",
    ]
    assert {(lot.stage.title, lot.names[0], len(lot.names)) for lot in plan.schedule_lots} == {
        ("training", "none", 5)
    }
    assert [lot.member for lot in plan.schedule_lots] == [0, 1, 2, 3]
    assert {(lot.stage.title, lot.names) for lot in plan.controller_lots} == {("family", CONTROLLERS)}
    assert [lot.member for lot in plan.controller_lots] == list(range(8))
    assert plan.static_lots == ()
    names = [lot.name for lot in plan.lots]
    assert names[0] == "training, member 1, schedules"
    assert len(names) == len(set(names)) == 12


def test_a_full_evaluation_plays_all_that_a_default_one_does_and_more() -> None:
    usual, full = plan_of(FEW, OPTIONS), plan_of(FEW, replace(OPTIONS, full=True))
    assert {lot.name for lot in usual.lots} < {lot.name for lot in full.lots}
    assert len(full.static_lots) == 8
    assert len(full.controller_lots) == 3 * 8  # as in training, and of two other lengths
    schedules = {schedule.name: schedule for schedule in full.schedules}
    parts = {lot.name: part_of(lot, schedules) for lot in full.schedule_lots}
    assert all(parts[lot.name] == part_of(lot, schedules) for lot in usual.schedule_lots)


def test_players_whose_hosts_are_more_than_a_population_come_in_lots() -> None:
    plan = plan_of(FEW, replace(OPTIONS, members_per_lack=2, hosts_per_member=16))
    lots = list(lots_of(plan.held_out, "controllers", CONTROLLERS))
    assert [lot.name for lot in lots[:3]] == [
        "family, member 1, controllers 1",
        "family, member 1, controllers 2",
        "family, member 2, controllers 1",
    ]
    assert [lot.names for lot in lots[:2]] == [CONTROLLERS[:3], CONTROLLERS[3:]]


@pytest.mark.parametrize("hosts", [1, 32, 64])
def test_static_networks_of_a_member_stay_together_however_many_hosts_it_has(hosts: int) -> None:
    """One unit plays all of them: `play_static_unit`."""
    plan = plan_of(FEW, replace(OPTIONS, members_per_lack=8, hosts_per_member=hosts, full=True))
    assert [(lot.member, lot.names) for lot in plan.static_lots] == [(member, STATIC) for member in range(16)]
    assert len({lot.name for lot in plan.lots}) == len(plan.lots)


def test_a_few_hosts_more_than_a_population_stay_together() -> None:
    stage = plan_of(FEW, replace(OPTIONS, members_per_lack=2, hosts_per_member=4)).held_out
    names = tuple(map(str, range(17)))
    assert [lot.names for lot in lots_of(stage, "", names)] == [names] * 4
    assert list(lots_of(stage, "", ())) == []


def test_more_epochs_samples_and_players_cost_more() -> None:
    (lot, *_) = plan_of(FEW, OPTIONS).controller_lots
    group = lot.stage.draw.group(0)
    samples = 2 * len(CONTROLLERS) * len(group.task.train.labels)
    assert lot.cost == group.config.max_epochs * (4000 + samples)
    assert lot._replace(names=lot.names[:1]).cost < lot.cost


def test_every_host_is_played_with_what_is_best_at_its_own_price() -> None:
    (lot, *_) = plan_of(FEW, replace(OPTIONS, members_per_lack=2, hosts_per_member=16)).controller_lots
    prices = lot.stage.draw.group(0).prices
    choice = ScheduleChoice(
        (NORM, HEAVY), gain=(1.0, 4.0), added=(0.1, 1.0)
    )  # equal at a third; 1 is too dear
    part = part_of(lot._replace(names=("none", BEST)), {}, choice)
    none, best = part.unit.arguments[2]
    assert none == Player("none")
    assert best.schedules == tuple(
        HEAVY if price < 1 / 3 else NORM if price < 1 else None for price in prices
    )
    assert {HEAVY, NORM} <= set(best.schedules)


def test_controllers_by_name() -> None:
    for name in ("none", "random", "heuristic"):
        assert isinstance(controller_of(Player(name), TINY, seed=0), Controller)
    assert isinstance(controller_of(Player("a name of its own", (NORM, None)), TINY, seed=0), Controller)
    with pytest.raises(
        ValueError, match="no controller is called 'nobody'; there are none, random, heuristic"
    ):
        controller_of(Player("nobody"), TINY, seed=0)


def add(shared: bytes, number: int) -> bytes:
    return shared + bytes([number])


def test_batches_are_made_from_what_the_ones_before_gave() -> None:
    def batches() -> Generator[Batch, list[bytes], Any]:
        found = yield Batch(add, b"a", [Part(Unit("1", (1,)), 1.0), Part(Unit("2", (2,)), 1.0)])
        more = yield Batch(add, b"".join(found), [Part(Unit("1", (3,)), 1.0)])
        return found, more

    runner = PartsRunner(HereEngine(), None, total=3, total_cost=3.0)
    assert run_batches(batches(), runner) == ([b"a\x01", b"a\x02"], [b"a\x01a\x02\x03"])


def write(path: Path, seed: int) -> None:
    """60 samples of three classes, others for each seed."""
    np.savez(path, x=np.random.default_rng(seed).normal(size=(60, 6, 6)), y=np.arange(60) % 3)


def lots_and_names(plan: Plan | HeadroomPlan) -> tuple[tuple[Lot, ...], set[str]]:
    """Of what plays schedules where they are chosen: it depends on nothing that was played before."""
    lots, candidates = (
        (plan.schedule_lots, plan.schedules) if isinstance(plan, Plan) else (plan.training_lots, plan.arms)
    )
    schedules = {schedule.name: schedule for schedule in candidates}
    return lots, {name_of(play_unit, b"", part_of(lot, schedules).unit) for lot in lots}


@pytest.mark.parametrize("make_plan", [plan_of, headroom_plan])
def test_parts_on_data_that_changed_are_no_parts_of_these(
    make_plan: Callable[[GrowthConfig, EvaluationOptions], Plan | HeadroomPlan], tmp_path: Path
) -> None:
    """Though the settings name the file alone, as those of a caller may."""
    path = tmp_path / "mine.npz"
    env = replace(FEW, data=str(path), family=replace(FEW.family, max_epochs=(5, 5)))
    found, names, images = [], [], []
    for seed in (0, 1, 0):
        write(path, seed)
        plan = make_plan(env, OPTIONS)
        lots, of_lots = lots_and_names(plan)
        names.append(of_lots)
        images.append(lots[0].stage.draw.group(0).task.train.images)
        found.append({stage.draw.env.data_digest for stage in (plan.training, plan.held_out)})
    assert not names[0] & names[1]
    assert names[0] == names[2]
    assert not torch.equal(images[0], images[1])
    assert torch.equal(images[0], images[2])
    assert [len(digests) for digests in found] == [1, 1, 1]
    assert None not in found[0]
    with pytest.raises(OtherDataError, match=r"found 60 samples of 1x6x6, .* recorded .* 70 samples"):
        make_plan(replace(env, data_digest="70 samples"), OPTIONS)
