"""The headroom of a family: choices on training hosts alone, rivals on the same hosts, and a gate in plain words."""

import json
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from made_up import TINY, make_host, make_outcomes

from kasmina_hosts import Lack
from leyline_types import BlueprintAction, LegalityRules
from simic_training.engines.here import HereEngine
from simic_training.engines.local import LocalEngine
from simic_training.evaluation.headroom import (
    Bare,
    Headroom,
    bare_hosts,
    best_table,
    choices_table,
    gate_of,
    headroom_to_json,
    headroom_to_markdown,
    kinds_table,
    lead_demand,
    lead_over,
    measure_headroom,
    none_demand,
    norm_demand,
    rivals_table,
)
from simic_training.evaluation.headroom_units import (
    ADAPTIVE,
    LEAP,
    PER_KIND,
    PER_PRICE,
    PRICES,
    Choices,
    Measured,
    choose,
    headroom_batches,
    headroom_plan,
    players_of,
    rivals_of,
    rivals_part,
    roles,
)
from simic_training.evaluation.look_then_leap import table_from_bytes
from simic_training.evaluation.outcomes import Found, Outcomes, found_to_bytes, hosts_in
from simic_training.evaluation.parts import PartsFolder, PartsRunner, Progress
from simic_training.evaluation.schedules import NONE, Schedule, ScheduleChoice
from simic_training.evaluation.stages import EvaluationOptions
from simic_training.evaluation.units import HEURISTIC, RANDOM, SINGLE, Lot, Player, run_batches
from simic_training.runs.config import TrainConfig
from simic_training.statistics import Estimate

NORM, HEAVY = Schedule(blueprint=BlueprintAction.NORM), Schedule(blueprint=BlueprintAction.CONV_HEAVY)
ENV = replace(
    TINY,
    family=replace(TINY.family, max_epochs=(5, 6)),
    rules=LegalityRules(enabled_blueprints=(BlueprintAction.NORM,)),
)
OPTIONS = EvaluationOptions(
    members_per_lack=2, hosts_per_member=4, training_members_per_lack=1, training_hosts_per_member=2
)
CONFIG = TrainConfig(env=ENV)
NAMES = (NONE, RANDOM, SINGLE, PER_PRICE, PER_KIND, *ADAPTIVE)


def choice(gain: tuple[float, float], added: tuple[float, float]) -> ScheduleChoice:
    return ScheduleChoice((NORM, HEAVY), gain, added)


KINDS = Choices(
    choice((2.0, 10.0), (0.1, 1.0)),  # 0.9 beside 0.19 at 0.1, 0.7 beside 0.17 at 0.3, 0 beside 0.1 at 1
    {Lack.NOTHING: choice((-1.0, -1.0), (0.1, 1.0)), Lack.SQUEEZE: choice((2.0, 30.0), (0.1, 1.0))},
)


def test_what_is_best_is_chosen_per_price_and_kind() -> None:
    nothing, squeeze = (players_of(KINDS, lack, hosts=2) for lack in (Lack.NOTHING, Lack.SQUEEZE))
    assert list(nothing) == list(squeeze) == list(roles())
    heavy, norm = (Player(each.name, (each, each)) for each in (HEAVY, NORM))
    assert nothing[SINGLE] == squeeze[SINGLE] == heavy
    assert [nothing[f"{PER_PRICE} at {price:g}"] for price in PRICES] == [heavy, heavy, norm]
    assert [nothing[f"{PER_KIND} at {price:g}"] for price in PRICES] == [Player(NONE)] * 3
    assert [squeeze[f"{PER_KIND} at {price:g}"] for price in PRICES] == [heavy] * 3
    assert nothing[f"{LEAP} at 0.3"] == Player(LEAP, price=0.3)


def test_choices_tell_kinds_apart() -> None:
    hosts = [make_host(0, lack=Lack.NOTHING), make_host(1, lack=Lack.SQUEEZE, member=1)]
    outcomes = {
        NONE: make_outcomes([50.0, 50.0], [0.0, 0.0], sizes=[1.0, 1.0], hosts=hosts),
        NORM.name: make_outcomes([50.0, 70.0], [0.0, 0.0], sizes=[1.5, 1.5], hosts=hosts),
    }
    found = choose((NORM,), (Lack.NOTHING, Lack.SQUEEZE), outcomes)
    assert found.overall == ScheduleChoice((NORM,), (10.0,), (0.5,))
    assert found.by_lack[Lack.NOTHING] == ScheduleChoice((NORM,), (0.0,), (0.5,))
    assert found.by_lack[Lack.SQUEEZE] == ScheduleChoice((NORM,), (20.0,), (0.5,))


def test_every_schedule_plays_once_on_the_hosts_that_it_is_chosen_for() -> None:
    plan = headroom_plan(ENV, OPTIONS)
    played = [rivals_part(lot, KINDS).unit.arguments[2] for lot in plan.held_out_lots]
    adaptive = [(name, price) for name in ADAPTIVE for price in PRICES]
    for lot, players in zip(plan.held_out_lots, played, strict=True):
        fixed = [player.name for player in players if player.price is None]
        assert fixed == [NONE, RANDOM, HEAVY.name, NORM.name]
        assert [(player.name, player.price) for player in players[4:]] == adaptive
        assert lot.names == tuple(roles())


def test_players_that_come_in_lots_play_once_all_the_same() -> None:
    plan = headroom_plan(ENV, replace(OPTIONS, hosts_per_member=40))
    parts = [rivals_part(lot, KINDS).unit.arguments[2] for lot in plan.held_out_lots if lot.member == 0]
    assert len(parts) > 2
    keys = [player.key for players in parts for player in players]
    assert sorted(keys) == sorted({player.key for player in players_of(KINDS, Lack.NOTHING, 40).values()})


def made_up_outcomes(lot: Lot, keys: list[str], best: str) -> Found:
    """Of players on the hosts of a lot, all alike but for one, which gains."""
    hosts = tuple(hosts_in(lot.stage.draw.group(lot.member), lot.member))

    def outcomes(key: str) -> Outcomes:
        gained = 30.0 if key == best else 0.0
        size = torch.full((len(hosts),), 1.0 if key == NONE else 1.5)
        accuracy = torch.full((len(hosts),), 50.0 + gained)
        price = torch.tensor([host.price for host in hosts])
        return Outcomes(hosts, accuracy, accuracy, 400 * size, size, gained / 10 - price * (size - 1))

    return Found({key: outcomes(key) for key in keys})


def looked_at(lot: Lot) -> Found:
    """Features that say whose they are."""
    group = lot.stage.draw.group(lot.member)
    rows = [(lot.member, seed, list(Lack).index(group.lack)) for seed in group.host_seeds]
    return Found({}, features=torch.tensor(rows).float())


def measured(best_on_training: str, best_on_held_out: str) -> Measured:
    """What comes of results that nobody played, and of looks that show who was looked at."""
    plan = headroom_plan(ENV, OPTIONS)
    batches = headroom_batches(ENV, plan)
    arms = next(batches)
    assert [part.unit.name for part in arms.parts] == [lot.name for lot in plan.training_lots]
    found = [made_up_outcomes(lot, list(lot.names), best_on_training) for lot in plan.training_lots]
    looks = batches.send([found_to_bytes(each) for each in found])
    assert [part.unit.name for part in looks.parts] == [lot.name for lot in plan.looked_lots]
    batch = batches.send([found_to_bytes(looked_at(lot)) for lot in plan.looked_lots])
    contents = []
    for lot, part in zip(plan.held_out_lots, batch.parts, strict=True):
        keys = [player.key for player in part.unit.arguments[2]]
        contents.append(found_to_bytes(made_up_outcomes(lot, keys, best_on_held_out)))
    try:
        batches.send(contents)
    except StopIteration as stop:
        result: Measured = stop.value
        return result
    raise AssertionError("three batches are all")


def test_choices_are_made_on_training_hosts_whatever_is_best_elsewhere() -> None:
    ends = [measured("norm r0c1 @0", best) for best in ("norm r0c1 @0", NONE, RANDOM)]
    other = measured("norm r0c2 @0", "norm r0c1 @0")
    for each in ends:
        single = each.choices.overall.best_single(PRICES)
        assert single is not None
        assert single.name == "norm r0c1 @0"
        assert each.choices == ends[0].choices
        assert table_from_bytes(each.arms).gain.equal(table_from_bytes(ends[0].arms).gain)
    assert other.choices != ends[0].choices
    gains = [rivals_of(each.choices, each.held_out.outcomes) for each in ends]
    leads = [lead_over(SINGLE, NONE, rivals).mean for rivals in gains]
    assert leads == pytest.approx(
        [3 - 0.5 * sum(PRICES) / 3, -3 - 0.5 * sum(PRICES) / 3, -0.5 * sum(PRICES) / 3]
    )


def test_the_table_of_arms_has_those_hosts_first_on_which_arms_were_played() -> None:
    table = table_from_bytes(measured("norm r0c1 @0", NONE).arms)
    stage = headroom_plan(ENV, OPTIONS).training
    assert len(table.gain) == sum(len(group.host_seeds) for group in stage.groups) == 4
    assert len(table.features) == 16
    seeds = [seed for member in range(8) for seed in stage.draw.group(member).host_seeds]
    assert table.features[:, 1].tolist() == torch.tensor(seeds).float().tolist()
    assert table.features[:, 0].tolist() == [member for member in range(8) for _ in range(2)]
    assert table.lack.tolist() == table.features[:, 2].tolist() == [0, 0, 2, 2] * 4


def test_rivals_come_at_every_price_on_the_same_hosts() -> None:
    found = measured("norm r0c1 @0", NONE)
    rivals = rivals_of(found.choices, found.held_out.outcomes)
    assert tuple(rivals) == NAMES
    hosts = found.held_out.outcomes[NONE].hosts
    for priced in rivals.values():
        for price, each in zip(PRICES, priced, strict=True):
            assert each.hosts == tuple(host._replace(price=price) for host in hosts)
    assert rivals[NONE][0].episode_return.tolist() == [3.0] * 16
    assert rivals[PER_KIND][2].episode_return.tolist() == pytest.approx([-0.5] * 16)


def test_a_price_moves_the_return_by_what_was_added() -> None:
    outcomes = make_outcomes([90.0, 80.0], [1.0, 2.0], sizes=[1.0, 3.0])
    assert outcomes.at_price(0.8).episode_return.tolist() == pytest.approx([1.0, 1.0])
    assert [host.price for host in outcomes.at_price(0.8).hosts] == [0.8, 0.8]


def returns(*values: float) -> tuple[Outcomes, ...]:
    """Of two hosts, the same at all prices."""
    return (make_outcomes([50.0] * len(values), list(values)),) * len(PRICES)


RIVALS = {
    NONE: returns(1.0, 2.0, 3.0),
    RANDOM: returns(-2.0, -1.0, 0.0),
    SINGLE: returns(1.0, 2.0, 3.0),
    PER_PRICE: returns(1.1, 2.1, 3.1),
    HEURISTIC: returns(0.0, 0.0, 0.0),
    LEAP: returns(1.5, 2.5, 3.5),
}


def test_tables_by_hand() -> None:
    table = rivals_table(RIVALS)
    assert table.title == "Headroom (3 held-out hosts)"
    mean, over_single, over_best, *at_prices, size = table.rows[LEAP]
    assert isinstance(mean, Estimate)
    assert mean.mean == pytest.approx(2.5)
    assert over_single == pytest.approx(Estimate(0.5, 0.5, 0.5))
    assert over_best == pytest.approx(Estimate(0.4, 0.4, 0.4))
    assert at_prices == pytest.approx([2.5] * 3)
    assert size == 1.5
    assert table.rows[SINGLE][1] is None
    assert table.rows[PER_PRICE][2] is None
    kinds = kinds_table(RIVALS, {Lack.NOTHING: 0.75, Lack.SQUEEZE: 0.5})
    assert kinds.rows["nothing (3 hosts)"] == pytest.approx((75.0, 2.0, -1.0, 2.0, 2.1, 0.0, 2.5))
    assert "chance is 50 %" in kinds.note
    chosen = choices_table(KINDS.overall, headroom_plan(ENV, OPTIONS).training)
    assert chosen.rows["at 0.1"] == pytest.approx((HEAVY.name, 0.9, NORM.name, 0.19, 0.19))
    assert chosen.rows["at 1"] == pytest.approx((NORM.name, 0.1, NONE, 0.0, 0.1))
    assert chosen.title == "Choices (4 training hosts)"


def test_what_is_best_differs_by_kind_and_price() -> None:
    table = best_table({Lack.NOTHING: KINDS.by_lack[Lack.NOTHING], Lack.WIDTH: KINDS.overall})
    assert table.rows["nothing"] == (NONE, 0.0) * 3
    assert table.rows["width"] == pytest.approx((HEAVY.name, 0.9, HEAVY.name, 0.7, NORM.name, 0.1))


def test_rivals_on_other_hosts_are_not_compared() -> None:
    others = make_outcomes([50.0] * 3, [0.0] * 3, hosts=[make_host(seed) for seed in range(7, 10)])
    with pytest.raises(ValueError, match="was played on host"):
        lead_over(LEAP, SINGLE, {**RIVALS, SINGLE: (others,) * 3})


@pytest.mark.parametrize(
    ("lead", "reached"),
    [
        (Estimate(0.15, 0.01, 0.3), True),
        (Estimate(0.149, 0.01, 0.3), False),
        (Estimate(0.2, 0.0, 0.4), False),
        (Estimate(0.2, -0.1, 0.4), False),
    ],
)
def test_a_lead_must_be_large_and_sure(lead: Estimate, reached: bool) -> None:
    demand = lead_demand(PER_PRICE, lead, 0.15)
    assert demand.reached is reached
    assert str(demand) == (
        f'{"reached" if reached else "not reached"}: "{LEAP}" leads the best schedule per price by at least 0.15, with '
        f"an interval above 0: {lead.describe(2)}"
    )


def test_norm_everywhere_may_be_best_at_one_price_in_three() -> None:
    norm, other = "norm all @0", "bottleneck all @0"
    one = norm_demand({0.1: other, 0.3: norm, 1.0: NONE}, norm)
    assert one.reached
    assert one.figure == "at 1 of 3 (0.3)"
    two = norm_demand({0.1: other, 0.3: norm, 1.0: norm}, norm)
    assert not two.reached
    assert two.figure == "at 2 of 3 (0.3, 1)"
    assert norm_demand({0.1: other, 0.3: "norm r0c1 @0", 1.0: NONE}, norm).figure == "at 0 of 3"


def grown(sizes: list[float], values: list[float]) -> Outcomes:
    """Of three hosts of three members."""
    hosts = [make_host(place, member=place) for place in range(len(sizes))]
    return make_outcomes([50.0] * len(sizes), values, sizes=sizes, hosts=hosts)


def test_where_the_rule_grows_nothing_none_is_compared_with_what_grows() -> None:
    """The first host at all three prices, the second at the last: leads of 1, 2, 3 and 5 over the nearest."""
    some, more = [1.0, 1.5, 2.0], [1.0, 1.0, 2.0]
    far = (grown([1.5] * 3, [-9.0, -9.0, 99.0]),) * 3
    rivals = {
        NONE: (grown([1.0] * 3, [4.0, 9.0, 9.0]),) * 3,
        RANDOM: far,
        SINGLE: far,
        PER_PRICE: tuple(
            grown([1.5] * 3, values) for values in ([3.0, 0.0, 0.0], [2.0, 0.0, 0.0], [1.0, 4.0, 0.0])
        ),
        HEURISTIC: far,
        LEAP: tuple(grown(sizes, [0.0] * 3) for sizes in (some, some, more)),
    }
    shares, rival, lead = bare_hosts(rivals)
    assert shares == pytest.approx((1 / 3, 1 / 3, 2 / 3))
    assert rival == PER_PRICE
    assert lead is not None
    assert lead.mean == pytest.approx(11 / 4)
    one_member = {**rivals, LEAP: (grown(some, [0.0] * 3),) * 3}
    assert bare_hosts(one_member) == Bare((1 / 3,) * 3, None, None)
    assert bare_hosts({**rivals, LEAP: (grown([1.5] * 3, [0.0] * 3),) * 3}) == Bare((0.0,) * 3, None, None)


def test_growing_nothing_must_be_best_for_a_tenth() -> None:
    sure = Estimate(0.2, 0.01, 0.4)
    assert str(none_demand(Bare((0.0, 0.1, 0.2), PER_PRICE, sure))) == (
        'reached: none is the best choice for at least 10 % of the hosts: "look, then leap" grows nothing on 10.0 % '
        "(0 %, 10 %, 20 % by price); there none leads all that grow, the nearest (best schedule per price) by "
        f"{sure.describe(2)}"
    )
    assert not none_demand(Bare((0.0, 0.1, 0.19), PER_PRICE, sure)).reached
    assert not none_demand(Bare((0.5,) * 3, PER_PRICE, Estimate(0.2, 0.0, 0.4))).reached
    few = none_demand(Bare((0.5,) * 3, None, None))
    assert not few.reached
    assert few.figure.endswith("of too few members to compare it there with what grows")


def test_the_gate_asks_all_of_it() -> None:
    gate = gate_of(RIVALS, choice((9.0, 0.0), (0.1, 1.0)))
    assert [demand.reached for demand in gate] == [True, True, False, False]
    assert gate[0].figure.startswith("0.40 ")
    assert gate[1].figure.startswith("0.50 ")
    assert gate[2].figure == "at 3 of 3 (0.1, 0.3, 1)"
    values = {RANDOM: -9.0, SINGLE: 0.0, PER_PRICE: 0.1, HEURISTIC: -1.0, NONE: 0.5, LEAP: 0.5}
    rivals = {
        name: (grown([1.0 if name == LEAP else 1.5] * 3, [value, 1 + value, 2 + value]),) * 3
        for name, value in values.items()
    }
    assert [demand.reached for demand in gate_of(rivals, KINDS.overall)] == [True] * 4
    gate = gate_of({**RIVALS, LEAP: RIVALS[HEURISTIC]}, KINDS.overall)
    assert [demand.reached for demand in gate] == [False, False, True, False]


def test_episodes_must_be_long_enough_to_look_at() -> None:
    short = replace(ENV, family=replace(ENV.family, max_epochs=(4, 9)))
    with pytest.raises(ValueError, match=r"`env.family.max_epochs` must be above 4, .* not 4"):
        headroom_plan(short, OPTIONS)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> PartsFolder:
    return PartsFolder(tmp_path_factory.mktemp("headroom") / "parts")


@pytest.fixture(scope="module")
def headroom(folder: PartsFolder) -> Headroom:
    return measure_headroom(CONFIG, OPTIONS, folder=folder)


@pytest.mark.slow
def test_all_is_measured(headroom: Headroom) -> None:
    rivals, kinds, choices, best = headroom.tables
    assert list(best.rows) == ["nothing", "squeeze"]
    assert rivals.title == "Headroom (16 held-out hosts)"
    assert tuple(rivals.rows) == NAMES
    assert list(kinds.rows) == ["nothing (8 hosts)", "squeeze (8 hosts)"]
    assert list(choices.rows) == ["at 0.1", "at 0.3", "at 1", "all prices"]
    assert choices.title == "Choices (4 training hosts)"
    assert len(headroom.gate) == 4
    table = table_from_bytes(headroom.arms)
    assert table.gain.shape == table.added.shape == (4, 4)
    assert len(table.features) == len(table.lack) == 16
    assert [host["lack"] for host in headroom.settings["first_hosts"]] == ["nothing", "squeeze"]
    assert (table.added > 0).all()
    assert rivals.rows[NONE][-1] == 1
    assert headroom.settings["config"]["env"]["data_digest"].startswith("1797 samples of 1x8x8")


@pytest.mark.slow
def test_what_acts_by_the_price_plays_at_every_price(headroom: Headroom, folder: PartsFolder) -> None:
    plan = headroom_plan(ENV, OPTIONS)
    runner = PartsRunner(HereEngine(), folder, total=1, total_cost=1.0)
    found = run_batches(headroom_batches(ENV, plan), runner).held_out.outcomes
    for name in ADAPTIVE:
        for price in PRICES:
            played = found[f"{name} at {price:g}"]
            assert {host.price for host in played.hosts} == {price}
            assert len(played.hosts) == 16
    own = {host.price for host in found[NONE].hosts}
    assert len(own) == 16


@pytest.mark.slow
def test_the_same_on_two_workers_and_from_what_is_there(
    headroom: Headroom, folder: PartsFolder, tmp_path: Path
) -> None:
    heard: list[Progress] = []
    some = PartsFolder(tmp_path / "parts")
    some.path.mkdir()
    kept = sorted(folder.path.glob("*.part"))
    for path in kept[::3]:
        (some.path / path.name).write_bytes(path.read_bytes())
    with closing(LocalEngine(2)) as engine:
        found = measure_headroom(CONFIG, OPTIONS, engine=engine, folder=some, on_progress=heard.append)
    assert found == headroom
    assert heard[-1].kept == len(kept[::3])
    assert heard[-1].finished == heard[-1].total == len(kept)
    assert [path.name for path in sorted(some.path.glob("*.part"))] == [path.name for path in kept]


@pytest.mark.slow
def test_goes_into_readmes_through_json(headroom: Headroom) -> None:
    content = json.loads(json.dumps(headroom_to_json(headroom), allow_nan=False))
    shown = headroom_to_markdown(content)
    for table in headroom.tables:
        assert f"**{table.title}**" in shown
    for demand in headroom.gate:
        assert f"- {demand}" in shown.splitlines()
    with pytest.raises(ValueError, match="not a headroom of format 1: its format is 7"):
        headroom_to_markdown({**content, "format": 7})
