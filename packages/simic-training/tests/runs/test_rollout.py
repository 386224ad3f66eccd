"""Rollouts on real hosts: what is recorded is what happened, and nothing else plays a part."""

import dataclasses

import pytest
import torch

from leyline_types import LifecycleOp
from simic_training.growth.config import GrowthConfig
from simic_training.growth.draws import draw_groups
from simic_training.growth.world import GrowthWorld
from simic_training.ppo.config import PPOConfig
from simic_training.runs.config import TrainConfig
from simic_training.runs.rollout import Rollout, hold_back, roll_out
from simic_training.runs.training import fresh_state
from tamiyo_features import freeze, init_normalizer, normalize, update
from tamiyo_masks import action_masks
from tamiyo_policies import PolicyBundle


@pytest.fixture(scope="module")
def policy(tiny_config: TrainConfig) -> PolicyBundle:
    return fresh_state(tiny_config).policy


def grow(
    policy: PolicyBundle, env: GrowthConfig, held_back: tuple[LifecycleOp, ...] = (), seed: int = 0
) -> Rollout:
    return roll_out(policy, env, 4, seed, ppo=PPOConfig(), normalizer=None, held_back=held_back)


def test_a_function_of_weights_settings_and_seed(policy: PolicyBundle, tiny_env: GrowthConfig) -> None:
    first = grow(policy, tiny_env)
    torch.rand(7)  # the global generator plays no part
    second = grow(policy, tiny_env)
    for one, other in zip(first.trajectory.steps, second.trajectory.steps, strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=0)
    third = grow(policy, tiny_env, seed=1)
    assert not torch.equal(first.trajectory.steps.features, third.trajectory.steps.features)


def test_steps_and_episodes_tell_the_same_story(policy: PolicyBundle, tiny_env: GrowthConfig) -> None:
    (steps, hidden, _), episodes, seconds = grow(policy, tiny_env)
    assert steps.reward.shape == (4, 3)
    assert hidden.h.shape[:2] == (4, 1)
    assert torch.equal(steps.reward, episodes.reward.total)
    assert all(torch.equal(one, other) for one, other in zip(steps.actions, episodes.actions, strict=True))
    assert steps.terminated.tolist() == [[False, False, True]] * 4
    assert steps.starts.tolist() == [[True, False, False]] * 4
    assert not steps.truncated.any()
    assert steps.masks.op.gather(-1, steps.actions.op[..., None]).all()
    assert set(seconds) == {"host", "features", "masks", "policy"}
    assert all(value > 0 for value in seconds.values())


def test_the_frozen_normaliser_is_what_the_policy_sees_through(
    policy: PolicyBundle, tiny_env: GrowthConfig
) -> None:
    raw = grow(policy, tiny_env).trajectory.steps.features
    state = update(init_normalizer(policy.slot_config), raw.flatten(0, 1))
    frozen = freeze(state)
    seen = roll_out(policy, tiny_env, 4, 0, ppo=PPOConfig(), normalizer=frozen).trajectory.steps
    assert torch.equal(seen.features, normalize(frozen, seen.observed))
    assert not torch.equal(seen.features, seen.observed)
    assert torch.equal(seen.observed[:, 0], raw[:, 0])


def test_held_back_ops_are_never_taken(policy: PolicyBundle, tiny_env: GrowthConfig) -> None:
    others = tuple(op for op in LifecycleOp if op not in (LifecycleOp.WAIT, LifecycleOp.GERMINATE))
    steps = grow(policy, tiny_env, others).trajectory.steps
    assert set(steps.actions.op.flatten().tolist()) == {0, 1}
    only_wait = tuple(op for op in LifecycleOp if op is not LifecycleOp.WAIT)
    steps = grow(policy, tiny_env, only_wait).trajectory.steps
    assert not steps.actions.op.any()
    assert not steps.free.any()


def test_hold_back_leaves_the_given_masks_alone(tiny_env: GrowthConfig) -> None:
    world = GrowthWorld()
    masks = action_masks(world.reset(draw_groups(tiny_env, 2, 0)), world.slot_config)
    before = masks.op.clone()
    changed = hold_back(masks, [LifecycleOp.GERMINATE])
    assert torch.equal(masks.op, before)
    assert masks.op[:, LifecycleOp.GERMINATE].all()
    assert not changed.op[:, LifecycleOp.GERMINATE].any()
    with pytest.raises(ValueError, match="WAIT cannot be held back"):
        hold_back(masks, [LifecycleOp.WAIT])


def test_floors_reach_the_actions(policy: PolicyBundle, tiny_env: GrowthConfig) -> None:
    settings = PPOConfig()
    plain = roll_out(policy, tiny_env, 4, 0, ppo=dataclasses.replace(settings, op_floor=0.0), normalizer=None)
    floored = roll_out(
        policy, tiny_env, 4, 0, ppo=dataclasses.replace(settings, op_floor=0.9), normalizer=None
    )
    steps = floored.trajectory.steps
    legal = steps.masks.op[:, 0].sum(-1)
    assert (steps.head_log_probs[:, 0, -1].exp() >= 0.9 / legal - 1e-6).all()
    assert not torch.equal(plain.trajectory.steps.log_prob, steps.log_prob)
