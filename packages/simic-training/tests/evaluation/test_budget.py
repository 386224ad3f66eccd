"""Equal total budget, worked by hand: 2 hosts, 25 epochs, a policy that learnt from 100 episodes."""

import pytest
from made_up import make_outcomes

from simic_training.evaluation.budget import (
    MEASURES,
    Budget,
    budget_table,
    doublings,
    payback_table,
    worth,
)
from simic_training.evaluation.outcomes import Outcomes
from simic_training.evaluation.search import Cost
from simic_training.statistics import Estimate

ATTEMPTS = [
    make_outcomes([70.0, 70.0], [1.0, 1.0]),
    make_outcomes([72.0, 72.0], [2.0, 2.0]),
    make_outcomes([71.0, 71.0], [3.0, 3.0]),
    make_outcomes([74.0, 74.0], [4.0, 4.0]),
]
"""Best of 1, 2, 3 and 4 by return: 2.5, 3.33, 3.75 and 4."""


def make_budget(policy: Outcomes, *, episodes: int = 100, schedules: bool = True) -> Budget:
    pools = {"random": ATTEMPTS, "schedules": ATTEMPTS[:3]} if schedules else {"random": ATTEMPTS}
    return Budget(
        policy=policy,
        greedy=policy,
        none=make_outcomes([60.0, 60.0], [0.5, 0.5]),
        pools=pools,
        schedules=ATTEMPTS[:3] if schedules else [],
        trained_episodes=episodes,
        epochs=25,
    )


MIDDLING = make_outcomes([72.0, 72.0], [3.5, 3.5])


def test_costs() -> None:
    budget = make_budget(MIDDLING)
    assert budget.policy_cost == Cost(2500, 25)
    assert budget.equal_attempts == 1 + 100 // 2
    assert make_budget(MIDDLING, episodes=5).equal_attempts == 1 + 5 // 2


def test_rows_of_the_curve() -> None:
    table = budget_table(make_budget(MIDDLING))
    assert list(table.rows) == [
        "policy",
        "policy-greedy",
        "none",
        "schedule of a sweep",
        "random, best of 1",
        "random, best of 2",
        "random, best of 4",
        "schedules, best of 1",
        "schedules, best of 2",
        "schedules, best of 3",
    ]
    once, per_network, _, episode_return, _, gained, cheaper = table.rows["random, best of 2"]
    assert (once, per_network) == (0, 50)
    assert isinstance(episode_return, Estimate)
    assert isinstance(gained, Estimate)
    assert episode_return.mean == pytest.approx((3 * 4 + 2 * 3 + 1 * 2) / 6)
    assert gained.mean == pytest.approx(3.5 - (3 * 4 + 2 * 3 + 1 * 2) / 6)
    assert cheaper == "100 networks"
    assert table.rows["random, best of 4"][-1] == "34 networks"
    assert table.rows["random, best of 1"][-1] == table.rows["none"][-1] == "never"
    assert table.rows["policy"][:2] == (2500, 25)
    assert table.rows["policy"][4:] == (None, None, None)


def test_a_sweep_is_charged_once() -> None:
    row = budget_table(make_budget(MIDDLING)).rows["schedule of a sweep"]
    assert row[:2] == (3 * 2 * 25, 25)
    assert row[-1] == "never"
    assert budget_table(make_budget(MIDDLING, episodes=6)).rows["schedule of a sweep"][-1] == "1 networks"


def test_where_the_cap_cuts_is_said() -> None:
    note = budget_table(make_budget(MIDDLING)).note
    assert "For 2 networks the policy's whole budget buys k = 51; the curve was cut off before that" in note
    assert "(random at 4, schedules at 3)" in note
    near = budget_table(make_budget(MIDDLING, episodes=5))
    assert "k = 3. " in near.note
    assert "random, best of 3" in near.rows


def test_without_schedules() -> None:
    table = budget_table(make_budget(MIDDLING, schedules=False))
    assert not any("schedule" in name for name in table.rows)


def test_payback() -> None:
    rows = payback_table(make_budget(MIDDLING)).rows
    goals = {name: row[0] for name, row in rows.items()}
    assert goals == {
        "random, by return": 3.5,
        "random, by test accuracy": 72.0,
        "schedules, by return": 3.5,
        "schedules, by test accuracy": 72.0,
    }
    assert rows["random, by return"][1:] == (3.75, "3", "50 networks")
    # By accuracy: best of 1 is 71.75, of 2 (3 * 74 + 2 * 71 + 72) / 6 = 72.67.
    assert rows["random, by test accuracy"][1] == pytest.approx(436 / 6)
    assert rows["random, by test accuracy"][2:] == ("2", "100 networks")
    assert rows["schedules, by return"][1:] == (3.0, "more than 3", "at most 34 networks")


def test_a_policy_that_is_no_better_than_one_attempt_never_pays() -> None:
    rows = payback_table(make_budget(make_outcomes([60.0, 60.0], [2.5, 2.5]))).rows
    assert rows["random, by return"][2:] == ("1", "never")
    assert rows["random, by test accuracy"][2:] == ("1", "never")


def test_worth_is_the_first_k_that_does_as_well() -> None:
    returns = MEASURES["return"]
    assert [worth(ATTEMPTS, returns, goal) for goal in (2.5, 2.6, 4.0, 4.1)] == [1, 2, 4, None]


@pytest.mark.parametrize(
    ("most", "counts"), [(1, [1]), (2, [1, 2]), (5, [1, 2, 4, 5]), (16, [1, 2, 4, 8, 16])]
)
def test_doublings(most: int, counts: list[int]) -> None:
    assert doublings(most) == counts
