"""Advantages: by hand, against plain recursion, against replicas, and normalised without noise."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from plain_ppo import Stretch, plain_advantage

from simic_training.ppo.returns import against_replicas, generalized_advantages, normalize_advantages


def test_by_hand() -> None:
    rewards = torch.tensor([[1.0, 0.0, 2.0, 1.0]])
    values = torch.tensor([[0.5, 1.0, 1.5, 2.0]])
    terminated = torch.tensor([[False, False, True, False]])
    truncated = torch.zeros_like(terminated)
    result = generalized_advantages(
        rewards, values, terminated, truncated, torch.zeros(1, 4), torch.tensor([4.0]), gamma=0.5, lam=0.5
    )
    # deltas: 1 + .5*1 - .5 = 1;  0 + .5*1.5 - 1 = -.25;  2 - 1.5 = .5 (the end: the 2 after it is not seen);
    # 1 + .5*4 - 2 = 1
    expected = torch.tensor([[1 + 0.25 * (-0.25 + 0.125), -0.125, 0.5, 1.0]])
    torch.testing.assert_close(result.advantage, expected)
    torch.testing.assert_close(result.value_target, result.advantage + values)


@pytest.mark.parametrize(("terminated", "expected"), [(False, 1 + 0.5 * 6 - 2), (True, 1 - 2)])
def test_what_was_cut_off_is_worth_its_last_state_unless_it_ended_for_good(
    terminated: bool, expected: float
) -> None:
    result = generalized_advantages(
        torch.tensor([[1.0, 1.0]]),
        torch.tensor([[2.0, 3.0]]),
        torch.tensor([[terminated, False]]),
        torch.tensor([[True, False]]),
        torch.tensor([[6.0, 0.0]]),
        torch.tensor([9.0]),
        gamma=0.5,
        lam=1.0,
    )
    assert float(result.advantage[0, 0]) == pytest.approx(expected)


@settings(deadline=None)
@given(st.integers(0, 10_000), st.integers(1, 3), st.integers(1, 9), st.floats(0, 1), st.floats(0, 1))
def test_equals_plain_recursion(seed: int, envs: int, time: int, gamma: float, lam: float) -> None:
    generator = torch.Generator().manual_seed(seed)
    rewards, values, cut_value = torch.randn(3, envs, time, generator=generator, dtype=torch.float64)
    terminated, truncated = torch.rand(2, envs, time, generator=generator) < 0.3
    last_value = torch.randn(envs, generator=generator, dtype=torch.float64)
    stretch = Stretch(rewards, values, terminated, truncated, cut_value, last_value)
    result = generalized_advantages(*stretch, gamma=gamma, lam=lam)
    expected = [
        [plain_advantage(stretch, env, step, gamma=gamma, lam=lam) for step in range(time)]
        for env in range(envs)
    ]
    torch.testing.assert_close(result.advantage, torch.tensor(expected, dtype=torch.float64))
    torch.testing.assert_close(result.value_target, result.advantage + values)


def test_with_a_trace_of_1_the_target_is_the_discounted_return() -> None:
    generator = torch.Generator().manual_seed(0)
    rewards, values = torch.randn(2, 3, 7, generator=generator, dtype=torch.float64)
    terminated = torch.zeros(3, 7, dtype=torch.bool)
    terminated[:, -1] = True
    nowhere = torch.zeros_like(terminated)
    zeros = torch.zeros_like(values)
    result = generalized_advantages(
        rewards, values, terminated, nowhere, zeros, zeros[:, 0], gamma=0.9, lam=1.0
    )
    discounts = 0.9 ** torch.arange(7, dtype=torch.float64)
    torch.testing.assert_close(result.value_target[:, 0], (rewards * discounts).sum(-1))


def test_normalised_over_counted_steps_only() -> None:
    advantage = torch.tensor([[1.0, 3.0, 100.0]])
    counted = torch.tensor([[True, True, False]])
    normalized = normalize_advantages(advantage, counted, least_std=0.01)
    torch.testing.assert_close(normalized, torch.tensor([[-1.0, 1.0, 0.0]]))


def test_normalised_to_mean_0_and_deviation_1() -> None:
    advantage = 5 + 3 * torch.randn(20, 10, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    counted = torch.rand(20, 10, generator=torch.Generator().manual_seed(1)) < 0.6
    chosen = normalize_advantages(advantage, counted, least_std=0.01)[counted]
    assert float(chosen.mean()) == pytest.approx(0, abs=1e-12)
    assert float(chosen.std(correction=0)) == pytest.approx(1)


@pytest.mark.parametrize("least_std", [0.01, 2.0])
def test_small_differences_are_not_blown_up(least_std: float) -> None:
    advantage = least_std * torch.tensor([[-0.5, 0.5]], dtype=torch.float64)
    counted = torch.ones(1, 2, dtype=torch.bool)
    expected = torch.tensor([[-0.5, 0.5]], dtype=torch.float64)
    torch.testing.assert_close(normalize_advantages(advantage, counted, least_std=least_std), expected)


def test_without_counted_steps_or_differences_all_is_0() -> None:
    advantage = torch.full((2, 3), 7.0)
    counted = torch.ones(2, 3, dtype=torch.bool)
    assert not normalize_advantages(advantage, ~counted, least_std=0.01).any()
    assert not normalize_advantages(advantage, counted, least_std=0.01).any()


def test_replicas_cancel_what_their_host_gives_them() -> None:
    own = torch.tensor([[1.0, 0.0], [3.0, 0.0], [0.0, 2.0], [0.0, 4.0]])
    of_host = torch.tensor([[50.0, 9.0], [50.0, 9.0], [-7.0, 1.0], [-7.0, 1.0]])
    expected = torch.tensor([[-2.0, 0.0], [2.0, 0.0], [0.0, -2.0], [0.0, 2.0]])
    torch.testing.assert_close(against_replicas(own + of_host, 2), expected)
    assert torch.equal(against_replicas(own, 1), own)


@pytest.mark.parametrize("replicas", [2, 3, 4])
def test_replicas_are_compared_with_the_mean_of_the_others(replicas: int) -> None:
    advantage = torch.randn(12, 5, generator=torch.Generator().manual_seed(replicas), dtype=torch.float64)
    found = against_replicas(advantage, replicas)
    for env in range(12):
        first = env - env % replicas
        others = [advantage[other] for other in range(first, first + replicas) if other != env]
        torch.testing.assert_close(found[env], advantage[env] - torch.stack(others).mean(0))


@pytest.mark.parametrize("replicas", [0, -1, 3])
def test_replicas_that_do_not_fit_are_refused(replicas: int) -> None:
    with pytest.raises(ValueError, match="`replicas` must be at least 1 and divide the 4 environments"):
        against_replicas(torch.zeros(4, 2), replicas)
