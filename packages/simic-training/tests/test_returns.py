"""Advantages: by hand, against a plain loop, and normalised without noise."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from simic_training import against_replicas, generalized_advantages, normalize_advantages


def test_by_hand() -> None:
    rewards = torch.tensor([[1.0, 0.0, 2.0]])
    values = torch.tensor([[0.5, 1.0, 1.5]])
    terminated = torch.tensor([[False, False, True]])
    result = generalized_advantages(rewards, values, terminated, torch.tensor([9.0]), gamma=0.5, lam=0.5)
    # deltas: 1 + .5*1 - .5 = 1;  0 + .5*1.5 - 1 = -.25;  2 - 1.5 = .5 (terminal: the 9 is not seen)
    torch.testing.assert_close(result.advantage, torch.tensor([[1 + 0.25 * (-0.25 + 0.125), -0.125, 0.5]]))
    torch.testing.assert_close(result.value_target, result.advantage + values)


@given(st.integers(0, 10_000), st.integers(1, 4), st.integers(1, 12), st.floats(0, 1), st.floats(0, 1))
def test_equals_the_sum_over_future_errors(seed: int, envs: int, time: int, gamma: float, lam: float) -> None:
    generator = torch.Generator().manual_seed(seed)
    rewards, values = torch.randn(2, envs, time, generator=generator, dtype=torch.float64)
    terminated = torch.rand(envs, time, generator=generator) < 0.3
    last = torch.randn(envs, generator=generator, dtype=torch.float64)
    result = generalized_advantages(rewards, values, terminated, last, gamma=gamma, lam=lam)
    for env in range(envs):
        for start in range(time):
            expected, weight = 0.0, 1.0
            for step in range(start, time):
                following = last[env] if step == time - 1 else values[env, step + 1]
                ends = bool(terminated[env, step])
                target = rewards[env, step] + (0.0 if ends else gamma * following)
                expected += weight * float(target - values[env, step])
                if ends:
                    break
                weight *= gamma * lam
            assert float(result.advantage[env, start]) == pytest.approx(expected, abs=1e-9)


def test_normalised_over_counted_steps_only() -> None:
    advantage = torch.tensor([[1.0, 3.0, 100.0]])
    counted = torch.tensor([[True, True, False]])
    torch.testing.assert_close(normalize_advantages(advantage, counted), torch.tensor([[-1.0, 1.0, 0.0]]))


def test_equal_advantages_are_not_blown_up() -> None:
    advantage = torch.tensor([[1.0, 1.0 + 1e-6]])
    counted = torch.ones(1, 2, dtype=torch.bool)
    assert normalize_advantages(advantage, counted).abs().max() < 1e-3
    assert not normalize_advantages(advantage, ~counted).any()


def test_replicas_cancel_what_their_host_gives_them() -> None:
    own = torch.tensor([[1.0, 0.0], [3.0, 0.0], [0.0, 2.0], [0.0, 4.0]])
    of_host = torch.tensor([[50.0, 9.0], [50.0, 9.0], [-7.0, 1.0], [-7.0, 1.0]])
    expected = torch.tensor([[-2.0, 0.0], [2.0, 0.0], [0.0, -2.0], [0.0, 2.0]])
    torch.testing.assert_close(against_replicas(own + of_host, 2), expected)
    assert torch.equal(against_replicas(own, 1), own)
