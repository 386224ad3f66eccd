"""What trying several times buys and costs."""

from itertools import combinations

import pytest
import torch
from made_up import make_host, make_outcomes

from simic_training.evaluation.search import Cost, best_of, chosen_elsewhere, pays_from, search


def test_best_of_by_hand() -> None:
    returns = torch.tensor([[3.0, 1.0, 2.0]])
    values = torch.tensor([[10.0, 20.0, 30.0]])
    # By return: 10, 30, 20. Of the 3 pairs 10 is kept in two, 30 in one.
    assert best_of(returns, values, 1).tolist() == pytest.approx([20.0])
    assert best_of(returns, values, 2).tolist() == pytest.approx([(2 * 10 + 30) / 3])
    assert best_of(returns, values, 3).tolist() == pytest.approx([10.0])


@pytest.mark.parametrize("k", range(1, 7))
def test_best_of_is_the_mean_over_all_choices(k: int) -> None:
    generator = torch.Generator().manual_seed(k)
    returns, values = torch.randn(3, 6, generator=generator), torch.randn(3, 6, generator=generator)
    for host in range(3):
        by_place = returns[host].tolist()
        kept = [values[host, max(chosen, key=by_place.__getitem__)] for chosen in combinations(range(6), k)]
        assert float(best_of(returns, values, k)[host]) == pytest.approx(float(torch.stack(kept).mean()))


def test_more_attempts_are_never_worse_in_return() -> None:
    returns = torch.randn(20, 8, generator=torch.Generator().manual_seed(0))
    means = [float(best_of(returns, returns, k).mean()) for k in range(1, 9)]
    assert means == sorted(means)
    assert means[-1] == pytest.approx(float(returns.max(1).values.mean()))


@pytest.mark.parametrize("k", [0, 4])
def test_more_attempts_than_there_are_is_refused(k: int) -> None:
    with pytest.raises(ValueError, match=f"`k` must lie in 1 to 3, .* not {k}"):
        best_of(torch.zeros(1, 3), torch.zeros(1, 3), k)


def test_search_keeps_whole_networks() -> None:
    attempts = [
        make_outcomes([70.0, 80.0], [1.0, 5.0], sizes=[1.0, 2.0]),
        make_outcomes([60.0, 90.0], [2.0, 4.0]),
    ]
    best = search(attempts, 2)
    assert best.hosts == attempts[0].hosts
    assert best.test_accuracy.tolist() == [
        60.0,
        80.0,
    ]  # by return, not by the accuracy that nobody may look at
    assert best.size.tolist() == [1.5, 2.0]
    assert best.params.tolist() == [600.0, 800.0]
    assert best.episode_return.tolist() == [2.0, 5.0]
    assert search(attempts, 1).test_accuracy.tolist() == [65.0, 85.0]


def test_a_schedule_is_chosen_on_the_other_members() -> None:
    hosts = [make_host(seed, cluster=seed // 2) for seed in range(6)]
    one = make_outcomes([1.0] * 6, [9.0, 9.0, 1.0, 1.0, 1.0, 1.0], hosts=hosts)
    two = make_outcomes([2.0] * 6, [0.0, 0.0, 2.0, 2.0, 3.0, 3.0], hosts=hosts)
    # Elsewhere than on member 0 the second is better, elsewhere than on 1 and on 2 the first.
    chosen = chosen_elsewhere([one, two])
    assert chosen.test_accuracy.tolist() == [2.0, 2.0, 1.0, 1.0, 1.0, 1.0]
    assert chosen.episode_return.tolist() == [0.0, 0.0, 1.0, 1.0, 1.0, 1.0]


def test_on_one_task_a_schedule_is_chosen_on_the_other_hosts() -> None:
    hosts = [make_host(seed, cluster=0) for seed in range(3)]
    one = make_outcomes([1.0] * 3, [9.0, 1.0, 1.0], hosts=hosts)
    two = make_outcomes([2.0] * 3, [0.0, 2.0, 2.0], hosts=hosts)
    assert chosen_elsewhere([one, two]).test_accuracy.tolist() == [2.0, 1.0, 1.0]


@pytest.mark.parametrize(
    ("policy", "rival", "networks"),
    [
        (Cost(2048, 1), Cost(0, 2), 2048),
        (Cost(2048, 1), Cost(0, 9), 256),
        (Cost(2049, 1), Cost(0, 9), 257),  # the next whole network
        (Cost(2048, 1), Cost(0, 1), None),
        (Cost(2048, 1), Cost(2048, 1), 1),
        (Cost(2048, 1), Cost(4096, 1), 1),
        (Cost(2048, 1), Cost(1000, 1), None),
        (Cost(2048, 1), Cost(1048, 11), 100),
    ],
)
def test_when_the_policy_has_cost_no_more(policy: Cost, rival: Cost, networks: int | None) -> None:
    assert pays_from(policy, rival) == networks
    if networks is not None:
        assert policy.of(networks) <= rival.of(networks)
        assert networks == 1 or policy.of(networks - 1) > rival.of(networks - 1)
