"""Updates of a real policy: they improve what they are to improve, end at the KL bound and are repeatable."""

import dataclasses

import pytest
import torch
from made_up_updates import (
    CHUNKS,
    fresh_policy,
    rollout,
    same_weights,
    update,
    weights,
    whole_loss,
)
from torch import Tensor
from toy_training import make_policy

from leyline_types import LifecycleOp
from simic_training.ppo.config import PPOConfig, Ratio
from simic_training.ppo.losses import PPOLoss
from simic_training.ppo.trajectory import Trajectory, in_chunks
from simic_training.ppo.update import evaluate, make_optimizer
from tamiyo_masks import ActionMasks
from tamiyo_policies import PolicyBundle

CONFIG = PPOConfig(epochs=4, minibatches=3, target_kl=1.0, learning_rate=3e-3)


@pytest.fixture
def policy() -> PolicyBundle:
    return fresh_policy()


@pytest.fixture
def trajectory(policy: PolicyBundle) -> Trajectory:
    return rollout(policy, CONFIG)


def paid_for(trajectory: Trajectory, op: LifecycleOp) -> Trajectory:
    """What would have been seen, had each use of `op` and nothing else been paid for."""
    steps = trajectory.steps
    return trajectory._replace(steps=steps._replace(reward=(steps.actions.op == op).float()))


def chance_of(policy: PolicyBundle, trajectory: Trajectory, op: LifecycleOp) -> float:
    """Mean probability of the free actions in which `op` was taken."""
    chunks = in_chunks(trajectory)
    with torch.no_grad():
        evaluated = evaluate(policy, chunks, CONFIG)
    return float(evaluated.log_prob[(chunks.steps.actions.op == op) & chunks.steps.free].exp().mean())


def mean_of(values: list[Tensor]) -> float:
    return float(torch.stack(values).detach().mean())


@pytest.mark.parametrize("ratio", Ratio)
def test_surrogate_and_values_improve(policy: PolicyBundle, trajectory: Trajectory, ratio: Ratio) -> None:
    config = dataclasses.replace(CONFIG, ratio=ratio)
    before = whole_loss(policy, trajectory, config)
    stats = update(policy, trajectory, config)
    after = whole_loss(policy, trajectory, config)
    assert float(after.actor.detach()) < float(before.actor.detach()) - 0.01
    assert float(after.critic.detach()) < 0.9 * float(before.critic.detach())
    assert stats.gradient_steps == 4 * 3
    assert stats.approx_kl > 0


@pytest.mark.parametrize("op", [LifecycleOp.GERMINATE, LifecycleOp.WAIT])
def test_what_is_paid_for_becomes_more_likely(
    policy: PolicyBundle, trajectory: Trajectory, op: LifecycleOp
) -> None:
    before = chance_of(policy, trajectory, op)
    update(policy, paid_for(trajectory, op), CONFIG)
    assert chance_of(policy, trajectory, op) > before


def test_steps_follow_the_gradient_of_the_whole_loss(policy: PolicyBundle, trajectory: Trajectory) -> None:
    """With one minibatch, no bound in reach and plain descent, each step is the learning rate times it."""
    config = dataclasses.replace(CONFIG, epochs=3, minibatches=1, grad_clip=1e6)
    start = weights(policy)
    stats = update(policy, trajectory, config, optimizer=torch.optim.SGD(policy.network.parameters(), lr=0.1))
    found = weights(policy)
    policy.load_state_dict(start)
    parameters, losses, norms = list(policy.network.parameters()), [], []
    for _ in range(config.epochs):
        losses.append(whole_loss(policy, trajectory, config))
        gradients = torch.autograd.grad(losses[-1].total, parameters)
        norms.append(torch.cat([gradient.flatten() for gradient in gradients]).norm())
        with torch.no_grad():
            for weight, gradient in zip(parameters, gradients, strict=True):
                weight.sub_(0.1 * gradient)
    torch.testing.assert_close(found, weights(policy), atol=1e-6, rtol=1e-5)
    means = {name: mean_of([getattr(loss, name) for loss in losses]) for name in PPOLoss._fields}
    assert stats.actor_loss == pytest.approx(means["actor"], rel=1e-4)
    assert stats.critic_loss == pytest.approx(means["critic"], rel=1e-4)
    assert stats.entropy == pytest.approx(means["entropy"], rel=1e-4)
    assert stats.approx_kl == pytest.approx(means["approx_kl"], rel=1e-3)
    assert stats.clip_fraction == pytest.approx(means["clip_fraction"])
    assert stats.gradient_norm == pytest.approx(mean_of(norms), rel=1e-4)


def test_equal_generators_give_equal_updates(policy: PolicyBundle, trajectory: Trajectory) -> None:
    start = weights(policy)
    first = update(policy, trajectory, CONFIG)
    ended = weights(policy)
    policy.load_state_dict(start)
    assert update(policy, trajectory, CONFIG) == first
    assert same_weights(weights(policy), ended)
    policy.load_state_dict(start)
    update(policy, trajectory, CONFIG, seed=1)
    assert not same_weights(weights(policy), ended)


@pytest.mark.parametrize(("minibatches", "steps"), [(1, 1), (5, 5), (1000, CHUNKS)])
def test_a_pass_is_cut_into_minibatches_of_whole_chunks(
    policy: PolicyBundle, trajectory: Trajectory, minibatches: int, steps: int
) -> None:
    config = dataclasses.replace(CONFIG, epochs=1, minibatches=minibatches)
    assert update(policy, trajectory, config).gradient_steps == steps


def test_forced_steps_teach_the_critic_only(policy: PolicyBundle, trajectory: Trajectory) -> None:
    masks = trajectory.steps.masks
    only_wait = torch.zeros_like(masks.op)
    only_wait[..., LifecycleOp.WAIT] = True
    actions = trajectory.steps.actions
    forced = trajectory.steps._replace(
        masks=ActionMasks(*masks[:7], only_wait, masks.slot_by_op),
        actions=type(actions)(*map(torch.zeros_like, actions)),
        head_log_probs=torch.zeros_like(trajectory.steps.head_log_probs),
    )
    before = weights(policy)
    stats = update(policy, trajectory._replace(steps=forced), CONFIG, entropy_weight=1.0)
    after = weights(policy)
    assert torch.equal(after["action_head.weight"], before["action_head.weight"])
    assert not torch.equal(after["value_head.weight"], before["value_head.weight"])
    assert stats.actor_loss == stats.entropy == stats.approx_kl == 0


def test_replicas_are_compared_with_each_other(policy: PolicyBundle, trajectory: Trajectory) -> None:
    """What all replicas of a host are paid alike, at each step, teaches the actor nothing."""
    config = dataclasses.replace(CONFIG, lam=0.0, value_weight=0.0)
    steps = trajectory.steps
    bonus = torch.arange(4.0).repeat_interleave(2)[:, None].expand_as(steps.reward)
    paid = trajectory._replace(steps=steps._replace(reward=steps.reward + 10 * bonus))
    start, ended = weights(policy), []
    for each, replicas in ((trajectory, 2), (paid, 2), (trajectory, 1), (paid, 1)):
        policy.load_state_dict(start)
        update(policy, each, config, replicas=replicas)
        ended.append(policy.state_dict()["action_head.weight"].clone())
    torch.testing.assert_close(ended[0], ended[1], atol=1e-4, rtol=1e-3)
    assert not torch.allclose(ended[0], ended[2], atol=1e-3)
    assert not torch.allclose(ended[2], ended[3], atol=1e-3)
    with pytest.raises(ValueError, match="`replicas` must"):
        update(policy, trajectory, config, replicas=3)


def test_entropy_is_paid_for(policy: PolicyBundle, trajectory: Trajectory) -> None:
    before = float(whole_loss(policy, trajectory, CONFIG).entropy.detach())
    update(policy, trajectory, CONFIG, entropy_weight=10.0)
    assert float(whole_loss(policy, trajectory, CONFIG).entropy.detach()) > before


def test_a_policy_without_memory_is_updated_too() -> None:
    policy = make_policy("mlp", slots=3)
    before = weights(policy)
    assert update(policy, rollout(policy, CONFIG), CONFIG).gradient_steps == 12
    assert not same_weights(weights(policy), before)


def test_the_optimizer_holds_every_weight(policy: PolicyBundle) -> None:
    (group,) = make_optimizer(policy, CONFIG).param_groups
    assert group["lr"] == CONFIG.learning_rate
    assert {id(weight) for weight in group["params"]} == {
        id(weight) for weight in policy.network.parameters()
    }
