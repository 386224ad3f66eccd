"""Tables of controllers beside each other, with numbers worked by hand."""

import pytest
import torch
from made_up import make_host, make_outcomes

from kasmina_hosts import Lack
from simic_training.evaluation.comparisons import (
    CHOSEN,
    about,
    by_return,
    controllers_table,
    family_tables,
    lacks_table,
    lead,
    schedules_table,
    static_table,
)
from simic_training.evaluation.outcomes import Host, Outcomes, chosen_elsewhere, join_outcomes
from simic_training.statistics import Estimate

HOSTS = [
    make_host(1, lack=Lack.NORM, member=0, price=0.1),
    make_host(3, lack=Lack.NORM, member=1, price=0.2),
    make_host(5, lack=Lack.WIDTH, member=2, price=0.4),
    make_host(7, lack=Lack.WIDTH, member=3, price=0.8)._replace(epochs=15),
]


def four(accuracies: list[float], returns: list[float], sizes: list[float] | None = None) -> Outcomes:
    """On two hosts of each lack."""
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
STATIC = {"static-seeds": POLICY, "static-wide": four([80.0] * 4, [1.0] * 4, [1.1, 1.1, 1.5, 2.5])}


def test_leads_are_paired_host_by_host() -> None:
    one = make_outcomes([90.0, 50.0, 10.0], [3.0, 2.0, 1.0])
    other = make_outcomes([88.0, 48.0, 8.0], [2.5, 1.5, 0.5])
    assert lead(one, "other", other) == (Estimate(2.0, 2.0, 2.0), Estimate(0.5, 0.5, 0.5))
    turned, _ = lead(one, "turned", make_outcomes([8.0, 48.0, 88.0], [0.0, 0.0, 0.0]))
    assert turned.mean == pytest.approx(2.0)
    assert turned.low < -50


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


@pytest.mark.parametrize(
    "other",
    [
        make_host(9, member=1),
        make_host(3, member=1, price=0.5),
        make_host(3, member=2),
        make_host(3, member=1)._replace(epochs=26),
        make_host(3, member=1)._replace(lack=Lack.WIDTH),
    ],
    ids=["first weights", "price", "task", "length", "lack"],
)
def test_other_hosts_are_refused(other: Host) -> None:
    here = make_outcomes([1.0, 1.0], [1.0, 1.0], hosts=[make_host(1), make_host(3, member=1)])
    elsewhere = here._replace(hosts=(here.hosts[0], other))
    policy = r"the policy on \('task 1', 'nothing', 0.3, 25, 3\)"
    with pytest.raises(ValueError, match=rf"none was played on host \(.*\), {policy}"):
        controllers_table("Title", "", {"policy": here, "none": elsewhere})
    with pytest.raises(ValueError, match="none was played on 2 hosts, the policy on 4"):
        controllers_table("Title", "", {"policy": POLICY, "none": here})


def test_hosts_of_a_member_are_resampled_together() -> None:
    values, rivals = [10.0, 10.0, 0.0, 0.0] * 4, [0.0] * 16
    together = [
        make_host(seed, member=seed // 4) for seed in range(16)
    ]  # every member has both kinds of hosts
    same = [make_host(seed, member=seed // 2) for seed in range(16)]  # members are of one kind or the other
    steady, _ = lead(
        make_outcomes(values, rivals, hosts=together), "", make_outcomes(rivals, rivals, hosts=together)
    )
    assert steady == (5.0, 5.0, 5.0)
    loose, _ = lead(make_outcomes(values, rivals, hosts=same), "", make_outcomes(rivals, rivals, hosts=same))
    assert loose.high - loose.low > 6


def test_by_lack() -> None:
    table = lacks_table("By lack", {"policy": POLICY, "none": OTHERS["none"], "random": OTHERS["random"]})
    assert [column.name for column in table.columns][3:] == ["over none", "over random", "hosts", "prices"]
    assert list(table.rows["norm"]) == [
        Estimate(91.0, 90.0, 92.0),
        1.0,
        Estimate(4.0, 4.0, 4.0),
        Estimate(0.0, 0.0, 0.0),
        Estimate(1.0, 1.0, 1.0),
        2,
        "0.1 to 0.2",
    ]
    assert list(table.rows) == ["norm", "width"]
    assert table.rows["width"][1:4] == (2.0, Estimate(6.0, 6.0, 6.0), Estimate(1.0, 1.0, 1.0))
    assert table.rows["width"][-1] == "0.4 to 0.8"


def test_hosts_of_lacks_may_stand_in_any_order() -> None:
    """Pairs are of one host, although those of a lack are put together."""
    mixed = [HOSTS[2], HOSTS[0], HOSTS[3], HOSTS[1]]
    policy = make_outcomes([0.0] * 4, [6.0, 6.0, 4.0, 8.0], hosts=mixed)
    none = make_outcomes([0.0] * 4, [5.0, 3.0, 3.0, 5.0], hosts=mixed)
    rows = lacks_table("By lack", {"policy": policy, "none": none}).rows
    assert list(rows) == ["width", "norm"]
    assert [cells[3] for cells in rows.values()] == [Estimate(1.0, 1.0, 1.0), Estimate(3.0, 3.0, 3.0)]


def test_static_networks_and_their_size() -> None:
    rows = static_table("Static", {"policy": POLICY, **STATIC}).rows
    assert rows["policy"][1:] == (600.0, 1.0, None)
    assert rows["static-wide"][1] == pytest.approx(400 * 6.2 / 4)
    assert rows["static-wide"][2] == pytest.approx((1.1 + 1.1 + 1 + 1) / 4)


def test_schedules_come_best_first() -> None:
    assert by_return(SCHEDULES) == ["cheap", "dear"] == list(schedules_table(SCHEDULES).rows)
    rows = schedules_table(SCHEDULES, POLICY).rows
    assert rows["dear"][2] == 9.0
    assert rows["dear"][3] == pytest.approx(Estimate(0.5, -2.0, 3.0))
    assert len(schedules_table(SCHEDULES).columns) == 3


def test_a_schedule_is_chosen_on_the_other_members() -> None:
    hosts = [make_host(seed, member=seed // 2) for seed in range(6)]
    one = make_outcomes([1.0] * 6, [9.0, 9.0, 1.0, 1.0, 1.0, 1.0], hosts=hosts)
    two = make_outcomes([2.0] * 6, [0.0, 0.0, 2.0, 2.0, 3.0, 3.0], hosts=hosts)
    # Elsewhere than on member 0 the second is better, elsewhere than on 1 and on 2 the first.
    chosen = chosen_elsewhere([one, two])
    assert chosen.test_accuracy.tolist() == [2.0, 2.0, 1.0, 1.0, 1.0, 1.0]
    assert chosen.episode_return.tolist() == [0.0, 0.0, 1.0, 1.0, 1.0, 1.0]


def test_tables_of_the_family() -> None:
    tables = list(family_tables(CONTROLLERS, SCHEDULES, STATIC))
    assert [table.title for table in tables] == [
        "Held-out hosts (4 hosts)",
        "By lack",
        "Equal final parameters (4 hosts)",
        "Fixed schedules (4 hosts)",
    ]
    assert list(tables[0].rows) == [*CONTROLLERS, CHOSEN]
    assert list(tables[2].rows) == ["policy", "static-seeds", "static-wide"]
    chosen = tables[0].rows[CHOSEN][2]
    assert isinstance(chosen, Estimate)
    # Elsewhere than on a host of lack norm "dear" is better (17 of three hosts to 15), else "cheap".
    assert chosen.mean == pytest.approx((1 + 1 + 5 + 5) / 4)
    titles = [table.title for table in family_tables(CONTROLLERS, {}, STATIC)]
    assert titles == ["Held-out hosts (4 hosts)", "By lack", "Equal final parameters (4 hosts)"]
    assert CHOSEN not in next(family_tables(CONTROLLERS, {}, STATIC)).rows


def test_every_table_names_the_prices_of_its_hosts() -> None:
    told = "4 hosts of 4 members of the family; prices 0.1 to 0.8, median 0.3; episodes of 15 to 25 epochs."
    assert about(HOSTS) == told
    assert all(told in table.note for table in family_tables(CONTROLLERS, SCHEDULES, STATIC))
    assert about(HOSTS[:2]).endswith("episodes of 25 epochs.")


def test_joined_outcomes_stand_one_after_the_other() -> None:
    joined = join_outcomes([POLICY.of_lack(Lack.WIDTH), POLICY.of_lack(Lack.NORM)])
    assert joined.hosts == (*HOSTS[2:], *HOSTS[:2])
    assert torch.equal(joined.test_accuracy, torch.tensor([70.0, 74.0, 90.0, 92.0]))
    assert torch.equal(joined.size, torch.tensor([1.5, 2.5, 1.0, 1.0]))
