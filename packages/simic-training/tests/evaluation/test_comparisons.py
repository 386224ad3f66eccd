"""Tables of controllers beside each other, with numbers worked by hand."""

import pytest
from made_up import make_host, make_outcomes

from simic_training.evaluation.bar import bar_table
from simic_training.evaluation.comparisons import controllers_table, kinds_table, lead, static_table
from simic_training.evaluation.family import FamilyOutcomes, family_tables, with_best
from simic_training.evaluation.outcomes import Outcomes
from simic_training.evaluation.schedule_tables import by_return, schedules_by_kind_table, schedules_table
from simic_training.statistics import Estimate

HOSTS = [
    make_host(1, classes=2, kind="2 classes", cluster=0),
    make_host(3, classes=2, kind="2 classes", cluster=1),
]
HOSTS += [make_host(5, classes=10, cluster=2), make_host(7, classes=10, cluster=3)]


def four(accuracies: list[float], returns: list[float], sizes: list[float] | None = None) -> Outcomes:
    """On two hosts of two classes and two of ten."""
    return make_outcomes(accuracies, returns, sizes=sizes, hosts=HOSTS)


POLICY = four([90.0, 92.0, 70.0, 74.0], [4.0, 4.0, 6.0, 6.0], [1.0, 1.0, 1.5, 2.5])
OTHERS = {
    "policy-greedy": four([90.0, 92.0, 71.0, 75.0], [4.0, 4.0, 7.0, 7.0]),
    "none": four([88.0, 90.0, 64.0, 64.0], [4.0, 4.0, 5.0, 5.0], [1.0] * 4),
    "random": four([89.0, 91.0, 68.0, 70.0], [3.0, 3.0, 6.5, 6.5]),
    "heuristic": four([89.0, 91.0, 68.0, 70.0], [3.0, 3.0, 6.5, 6.5]),
}
CONTROLLERS = {"policy": POLICY, **OTHERS}
SCHEDULES = {
    "dear": four([99.0] * 4, [1.0, 1.0, 8.0, 8.0], [9.0] * 4),
    "cheap": four([91.0, 91.0, 75.0, 75.0], [5.0] * 4),
}


def test_leads_are_paired_host_by_host() -> None:
    one = make_outcomes([90.0, 50.0, 10.0], [3.0, 2.0, 1.0])
    other = make_outcomes([88.0, 48.0, 8.0], [2.5, 1.5, 0.5])
    assert lead(one, "other", other) == (Estimate(2.0, 2.0, 2.0), Estimate(0.5, 0.5, 0.5))
    turned, _ = lead(one, "turned", make_outcomes([8.0, 48.0, 88.0], [0.0, 0.0, 0.0]))
    assert turned.mean == pytest.approx(2.0)
    assert turned.low < -50


def test_hard_are_the_tasks_with_the_most_classes() -> None:
    assert POLICY.most_classes == 10
    assert POLICY.hard().test_accuracy.tolist() == [70.0, 74.0]
    assert POLICY.hard().hosts == tuple(HOSTS[2:])


def test_rows_by_hand() -> None:
    table = controllers_table("Title", "Note.", CONTROLLERS)
    assert table.title == "Title (4 hosts)"
    assert list(table.rows) == ["policy", "policy-greedy", "none", "random", "heuristic"]
    accuracy, size, episode_return, points, gained = table.rows["policy"]
    assert isinstance(accuracy, Estimate)
    assert isinstance(episode_return, Estimate)
    assert accuracy.mean == pytest.approx(81.5)
    assert (size, episode_return.mean, points, gained) == (1.5, 5.0, None, None)
    *_, points, gained = table.rows["none"]
    assert isinstance(points, Estimate)
    assert isinstance(gained, Estimate)
    assert points.mean == pytest.approx((2 + 2 + 6 + 10) / 4)
    assert gained.mean == pytest.approx(0.5)
    assert table.rows["policy-greedy"][3] == pytest.approx(Estimate(-0.5, -1.0, 0.0))


def test_other_hosts_are_refused() -> None:
    elsewhere = make_outcomes([1.0, 1.0], [1.0, 1.0], hosts=[make_host(1), make_host(9)])
    here = make_outcomes([1.0, 1.0], [1.0, 1.0], hosts=[make_host(1), make_host(3)])
    with pytest.raises(
        ValueError, match=r"none was played on host \('task 0', 0.2, 9\), the policy on .* 3\)"
    ):
        controllers_table("Title", "", {"policy": here, "none": elsewhere})
    with pytest.raises(ValueError, match="none was played on 2 hosts, the policy on 4"):
        controllers_table("Title", "", {"policy": POLICY, "none": here})


def test_hosts_of_a_member_are_resampled_together() -> None:
    values, rivals = [10.0, 10.0, 0.0, 0.0] * 4, [0.0] * 16
    together = [
        make_host(seed, cluster=seed // 4) for seed in range(16)
    ]  # every member has both kinds of hosts
    same = [
        make_host(seed, cluster=seed // 2) for seed in range(16)
    ]  # members are all of one kind or the other
    steady, _ = lead(
        make_outcomes(values, rivals, hosts=together), "", make_outcomes(rivals, rivals, hosts=together)
    )
    assert steady == (5.0, 5.0, 5.0)
    loose, _ = lead(make_outcomes(values, rivals, hosts=same), "", make_outcomes(rivals, rivals, hosts=same))
    assert loose.high - loose.low > 6


def test_kinds() -> None:
    table = kinds_table("Kinds", CONTROLLERS, against=("none", "random"))
    assert [column.name for column in table.columns][2:] == ["over none", "over random"]
    assert list(table.rows) == ["2 classes", "10 classes"]
    assert table.rows["2 classes"][:3] == (91.0, 1.0, Estimate(2.0, 2.0, 2.0))
    assert table.rows["10 classes"][:2] == (72.0, 2.0)
    assert table.rows["10 classes"][2] == Estimate(8.0, 6.0, 10.0)


def test_static_networks_and_their_size() -> None:
    static = {"policy": POLICY, "static-wide": four([80.0] * 4, [1.0] * 4, [1.1, 1.1, 1.5, 2.5])}
    rows = static_table("Static", static).rows
    assert rows["policy"][1:] == (600.0, 1.0, None)
    assert rows["static-wide"][1] == pytest.approx(400 * 6.2 / 4)
    assert rows["static-wide"][2] == pytest.approx((1.1 + 1.1 + 1 + 1) / 4)


def test_schedules_come_best_first() -> None:
    assert by_return(SCHEDULES) == ["cheap", "dear"] == list(schedules_table(SCHEDULES).rows)
    rows = schedules_table(SCHEDULES, POLICY).rows
    assert rows["dear"][2:5] == (9.0, 8.0, 99.0)
    assert rows["dear"][5] == pytest.approx(Estimate(0.5, -2.0, 3.0))
    assert len(schedules_table(SCHEDULES).columns) == 5


def test_what_telling_kinds_apart_could_be_worth() -> None:
    table = schedules_by_kind_table(SCHEDULES, POLICY)
    assert [column.name for column in table.columns] == [
        "best schedule",
        "leads cheap by",
        "policy leads cheap by",
    ]
    assert table.rows == {
        "2 classes": ("cheap", None, Estimate(-1.0, -1.0, -1.0)),
        "10 classes": ("dear", Estimate(3.0, 3.0, 3.0), Estimate(1.0, 1.0, 1.0)),
        "all kinds": ("the best of each", Estimate(1.5, 0.0, 3.0), Estimate(0.0, -1.0, 1.0)),
    }


def test_hosts_of_kinds_may_stand_in_any_order() -> None:
    """Pairs are of one host, although those of a kind are put together."""
    mixed = [HOSTS[2], HOSTS[0], HOSTS[3], HOSTS[1]]
    schedules = {
        "dear": make_outcomes([0.0] * 4, [8.0, 1.0, 6.0, 3.0], hosts=mixed),
        "cheap": make_outcomes([0.0] * 4, [5.0, 5.0, 3.0, 7.0], hosts=mixed),
    }
    policy = make_outcomes([0.0] * 4, [6.0, 6.0, 4.0, 8.0], hosts=mixed)
    rows = schedules_by_kind_table(schedules, policy).rows
    assert list(rows) == ["10 classes", "2 classes", "all kinds"]
    assert rows["all kinds"][1:] == (Estimate(1.5, 0.0, 3.0), Estimate(1.0, 1.0, 1.0))


def test_the_best_schedules_for_these_hosts_join_the_table() -> None:
    assert list(with_best(OTHERS, SCHEDULES))[-2:] == [
        "schedule of best return, cheap",
        "schedule of best accuracy, dear",
    ]
    assert with_best(OTHERS, {}) == OTHERS


def test_the_bar() -> None:
    rows = dict(bar_table(CONTROLLERS, SCHEDULES).rows)
    for name in ("policy", "policy-greedy"):
        points, least, _ = rows.pop(f"{name}: points over none, the whole family")
        family = CONTROLLERS[name].test_accuracy - CONTROLLERS["none"].test_accuracy
        assert isinstance(points, Estimate)
        assert points.mean == pytest.approx(float(family.mean()))
        assert least == 5.0
    assert rows == {
        "policy: points over random, hard tasks": (Estimate(3.0, 2.0, 4.0), 4.0, "no"),
        "policy: points over none, hard tasks": (Estimate(8.0, 6.0, 10.0), 5.0, "surely"),
        "policy: return over cheap, the best of 2 schedules": (Estimate(0.0, -1.0, 1.0), 0.0, "yes"),
        "policy-greedy: points over random, hard tasks": (Estimate(4.0, 3.0, 5.0), 4.0, "yes"),
        "policy-greedy: points over none, hard tasks": (Estimate(9.0, 7.0, 11.0), 5.0, "surely"),
        "policy-greedy: return over cheap, the best of 2 schedules": (Estimate(0.5, -1.0, 2.0), 0.0, "yes"),
    }
    assert len(bar_table(CONTROLLERS, {}).rows) == 6


def test_tables_of_the_family() -> None:
    static = dict.fromkeys(("static-seeds", "static-wide"), POLICY)
    titles = [table.title for table in family_tables(FamilyOutcomes(CONTROLLERS, SCHEDULES, static))]
    assert titles == [
        "What was asked for",
        "Equal training epochs, the whole family (4 hosts)",
        "Equal training epochs, hard tasks: 10 classes (2 hosts)",
        "Equal training epochs, by kind of task",
        "Equal final parameters (4 hosts)",
        "Equal final parameters, hard tasks: 10 classes (2 hosts)",
        "Fixed schedules (4 hosts)",
        "Fixed schedules, by kind of task",
    ]


def test_hard_hosts_choose_their_own_best_schedule() -> None:
    tables = list(family_tables(FamilyOutcomes(CONTROLLERS, SCHEDULES, {})))
    assert "schedule of best return, dear" in tables[2].rows
    none = tables[2].rows["none"][3]
    assert none == Estimate(8.0, 6.0, 10.0)


def test_a_family_of_one_kind_has_fewer_tables() -> None:
    alike = {name: make_outcomes([1.0, 2.0], [1.0, 2.0]) for name in CONTROLLERS}
    titles = [table.title for table in family_tables(FamilyOutcomes(alike, {}, {}))]
    assert titles == [
        "What was asked for",
        "Equal training epochs, the whole family (2 hosts)",
        "Equal final parameters (2 hosts)",
    ]
