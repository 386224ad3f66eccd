"""Tables of controllers beside each other, with numbers worked by hand."""

import pytest
import torch
from made_up import make_host, make_outcomes

from kasmina_hosts import Lack
from simic_training.evaluation.comparisons import (
    about,
    by_return,
    lacks_table,
    lead,
    schedules_table,
    static_table,
    verdict,
    verdict_table,
)
from simic_training.evaluation.outcomes import Host, Outcomes, join_outcomes
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


@pytest.mark.parametrize(
    ("low", "high", "words"),
    [
        (0.01, 0.3, "better"),
        (-0.3, -0.01, "worse"),
        (-0.1, 0.3, "no difference shown"),
        (0.0, 0.3, "no difference shown"),
        (-0.3, 0.0, "no difference shown"),
    ],
)
def test_verdicts_in_words(low: float, high: float, words: str) -> None:
    assert verdict(Estimate((low + high) / 2, low, high)) == words


def test_rows_by_hand() -> None:
    """The policy gains 1 on half of the hosts over none, and loses there 0.5 to those who gain 1 on the others."""
    worst = four([50.0] * 4, [1.0, 1.5, 2.0, 2.5])
    table = verdict_table("Title", "Note.", {**CONTROLLERS, "worst": worst})
    assert table.title == "Title (4 hosts)"
    assert table.note.startswith("Note. 4 hosts of 4 members")
    assert list(table.rows) == [*CONTROLLERS, "worst"]
    assert table.rows["policy"] == (5.0, 1.5, None, None, None, None, 81.5)
    assert table.rows["policy-greedy"] == (5.5, 1.5, None, None, None, None, 82.0)
    episode_return, size, gained, said, greedy, greedy_said, accuracy = table.rows["none"]
    assert (episode_return, size, accuracy) == (4.5, 1.0, 76.5)
    assert gained == pytest.approx(Estimate(0.5, 0.0, 1.0))
    assert greedy == pytest.approx(Estimate(1.0, 0.0, 2.0))
    assert said == greedy_said == "no difference shown"
    _, _, gained, said, _, greedy_said, _ = table.rows["worst"]
    assert isinstance(gained, Estimate)
    assert gained.mean == pytest.approx(3.25)
    assert gained.low > 0
    assert said == greedy_said == "better"


def test_policies_may_be_judged_apart() -> None:
    rival = four([50.0] * 4, [5.0, 5.0, 6.5, 6.5])
    verdicts = verdict_table("", "", {"policy": POLICY, "policy-greedy": OTHERS["random"], "none": rival})
    _, _, sampled, _, greedy, said, _ = verdicts.rows["none"]
    assert isinstance(sampled, Estimate)
    assert isinstance(greedy, Estimate)
    assert sampled.mean == pytest.approx(-0.75)
    assert greedy.mean == pytest.approx(-1.0)
    assert said == "no difference shown"  # by 2 on two hosts and not at all on the others


@pytest.mark.parametrize(
    "other",
    [
        make_host(9, member=1),
        make_host(3, member=1, price=0.5),
        make_host(3, member=2),
        make_host(3, member=1)._replace(lack=Lack.WIDTH),
    ],
    ids=["first weights", "price", "task", "lack"],
)
def test_other_hosts_are_refused(other: Host) -> None:
    here = make_outcomes([1.0, 1.0], [1.0, 1.0], hosts=[make_host(1), make_host(3, member=1)])
    elsewhere = here._replace(hosts=(here.hosts[0], other))
    with pytest.raises(
        ValueError, match=r"none was played on host \(.*\), the other on \('task 1', 'nothing', 0.3, 3\)"
    ):
        verdict_table("Title", "", {"policy": here, "policy-greedy": here, "none": elsewhere})
    with pytest.raises(ValueError, match="none was played on 2 hosts, the other on 4"):
        verdict_table("Title", "", {"policy": POLICY, "policy-greedy": POLICY, "none": here})


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
    assert rows["policy"][1:] == (600.0, 1.0, (3 * 25 + 15) / 4, None)
    assert rows["static-wide"][1] == pytest.approx(400 * 6.2 / 4)
    assert rows["static-wide"][2] == pytest.approx((1.1 + 1.1 + 1 + 1) / 4)


def test_schedules_come_best_first() -> None:
    assert by_return(SCHEDULES) == ["cheap", "dear"] == list(schedules_table(SCHEDULES, POLICY).rows)
    rows = schedules_table(SCHEDULES, POLICY).rows
    assert rows["dear"][2] == 9.0
    assert rows["dear"][3] == pytest.approx(Estimate(0.5, -2.0, 3.0))


def test_every_table_names_the_prices_of_its_hosts() -> None:
    told = "4 hosts of 4 members of the family; prices 0.1 to 0.8, median 0.3; episodes of 15 to 25 epochs."
    assert about(HOSTS) == told
    tables = [
        verdict_table("", "", CONTROLLERS),
        lacks_table("", CONTROLLERS),
        static_table("", {"policy": POLICY, **STATIC}),
        schedules_table(SCHEDULES, POLICY),
    ]
    assert all(told in table.note for table in tables)
    assert about(HOSTS[:2]).endswith("episodes of 25 epochs.")


def test_joined_outcomes_stand_one_after_the_other() -> None:
    joined = join_outcomes([POLICY.of_lack(Lack.WIDTH), POLICY.of_lack(Lack.NORM)])
    assert joined.hosts == (*HOSTS[2:], *HOSTS[:2])
    assert torch.equal(joined.test_accuracy, torch.tensor([70.0, 74.0, 90.0, 92.0]))
    assert torch.equal(joined.size, torch.tensor([1.5, 2.5, 1.0, 1.0]))
