"""How far an update goes: the norm of its gradients is bounded, and it ends where the policy has moved far enough."""

import dataclasses

import pytest
import torch
from made_up_updates import fresh_policy, rollout, same_weights, update, weights, whole_loss

from simic_training.ppo.config import PPOConfig
from simic_training.ppo.trajectory import Trajectory
from tamiyo_policies import PolicyBundle

CONFIG = PPOConfig(epochs=4, minibatches=3, target_kl=1.0, learning_rate=3e-3)


@pytest.fixture
def policy() -> PolicyBundle:
    return fresh_policy()


@pytest.fixture
def trajectory(policy: PolicyBundle) -> Trajectory:
    return rollout(policy, CONFIG)


def test_gradients_are_clipped(policy: PolicyBundle, trajectory: Trajectory) -> None:
    config = dataclasses.replace(CONFIG, epochs=1, minibatches=1, grad_clip=0.01)
    before = weights(policy)
    optimizer = torch.optim.SGD(policy.network.parameters(), lr=1.0)
    stats = update(policy, trajectory, config, optimizer=optimizer)
    moved = torch.cat([(weights(policy)[name] - weight).flatten() for name, weight in before.items()])
    assert float(moved.norm()) == pytest.approx(0.01, rel=1e-3)
    assert stats.gradient_norm is not None
    assert stats.gradient_norm > 0.01


def test_ends_before_the_step_at_which_the_kl_bound_is_passed(
    policy: PolicyBundle, trajectory: Trajectory
) -> None:
    start = weights(policy)
    strict = dataclasses.replace(CONFIG, epochs=50, minibatches=1, target_kl=0.005)
    stats = update(policy, trajectory, strict)
    ended = weights(policy)
    assert 1 < stats.gradient_steps < 50
    assert stats.approx_kl <= 0.005
    assert float(whole_loss(policy, trajectory, strict).approx_kl) > 0.005
    policy.load_state_dict(start)
    unbound = dataclasses.replace(strict, epochs=stats.gradient_steps, target_kl=1.0)
    taken = update(policy, trajectory, unbound)
    assert taken._replace(approx_kl=stats.approx_kl) == stats
    assert taken.approx_kl < stats.approx_kl, "what ended the update counts too"
    assert same_weights(weights(policy), ended)


def test_a_policy_that_is_too_far_from_the_trajectory_takes_no_step(trajectory: Trajectory) -> None:
    other = fresh_policy()
    with torch.no_grad():
        other.state_dict()["action_head.weight"].mul_(-3)
    before = weights(other)
    stats = update(other, trajectory, dataclasses.replace(CONFIG, target_kl=0.01))
    assert stats.gradient_steps == 0
    assert stats.gradient_norm is None
    assert stats.approx_kl > 0.01
    assert same_weights(weights(other), before)
