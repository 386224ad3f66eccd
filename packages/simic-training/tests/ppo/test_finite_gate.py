"""Whatever is not finite is named, and no step is taken with it."""

import dataclasses
from collections.abc import Callable

import pytest
import torch
from made_up_updates import fresh_policy, rollout, same_weights, update, weights
from torch import Tensor

from simic_training.ppo.config import PPOConfig
from simic_training.ppo.finite import NonFiniteLossError, check_finite
from simic_training.ppo.trajectory import Trajectory
from simic_training.ppo.update import make_optimizer
from tamiyo_policies import PolicyBundle

CONFIG = PPOConfig(epochs=2, minibatches=2, target_kl=1.0, learning_rate=3e-3)


@pytest.fixture
def policy() -> PolicyBundle:
    return fresh_policy()


@pytest.fixture
def trajectory(policy: PolicyBundle) -> Trajectory:
    return rollout(policy, CONFIG)


INPUTS: dict[str, Callable[[Trajectory], Tensor]] = {
    "features": lambda trajectory: trajectory.steps.features,
    "hidden_h": lambda trajectory: trajectory.hidden.h,
    "hidden_c": lambda trajectory: trajectory.hidden.c,
    "head_log_probs": lambda trajectory: trajectory.steps.head_log_probs,
    "reward": lambda trajectory: trajectory.steps.reward,
    "value": lambda trajectory: trajectory.steps.value,
    "cut_value": lambda trajectory: trajectory.steps.cut_value,
    "last_value": lambda trajectory: trajectory.last_value,
}


@pytest.mark.parametrize("number", [torch.nan, torch.inf, -torch.inf])
@pytest.mark.parametrize("name", INPUTS)
def test_every_input_is_looked_at(
    policy: PolicyBundle, trajectory: Trajectory, name: str, number: float
) -> None:
    before, optimizer = weights(policy), make_optimizer(policy, CONFIG)
    tensor = INPUTS[name](trajectory)
    tensor.view(-1)[3] = number
    with pytest.raises(NonFiniteLossError, match=rf"\b{name} \(1 of {tensor.numel()} entries\)"):
        update(policy, trajectory, CONFIG, optimizer=optimizer)
    assert same_weights(weights(policy), before)
    assert not optimizer.state


def test_finite_rewards_whose_sum_is_not(policy: PolicyBundle, trajectory: Trajectory) -> None:
    trajectory.steps.reward.fill_(3e38)
    with pytest.raises(NonFiniteLossError, match=r"not finite: advantage .*, value_target"):
        update(policy, trajectory, CONFIG)


@pytest.mark.parametrize(
    ("weight", "named"),
    [
        ("action_head.weight", "new_head_log_probs"),
        ("value_head.weight", "new_value"),
        ("trunk.bias", "new_entropy"),
    ],
)
def test_what_the_policy_gives_now_is_looked_at(
    policy: PolicyBundle, trajectory: Trajectory, weight: str, named: str
) -> None:
    with torch.no_grad():
        policy.state_dict()[weight].view(-1)[0] = torch.nan
    before = weights(policy)
    with pytest.raises(NonFiniteLossError, match=named):
        update(policy, trajectory, CONFIG)
    torch.testing.assert_close(weights(policy), before, rtol=0, atol=0, equal_nan=True)


def test_a_loss_beyond_numbers_is_not_followed(policy: PolicyBundle, trajectory: Trajectory) -> None:
    trajectory.steps.value.fill_(1e25)  # squared, it is beyond float32
    before = weights(policy)
    with pytest.raises(NonFiniteLossError, match=r"loss \(1 of 1 entries\)"):
        update(policy, trajectory, CONFIG)
    assert same_weights(weights(policy), before)


def test_a_gradient_beyond_numbers_is_not_followed(policy: PolicyBundle, trajectory: Trajectory) -> None:
    before = weights(policy)
    next(iter(policy.network.parameters())).register_hook(lambda gradient: gradient * torch.inf)
    with pytest.raises(NonFiniteLossError, match="gradient"):
        update(policy, trajectory, CONFIG)
    assert same_weights(weights(policy), before)


def test_steps_before_the_bad_one_are_kept(policy: PolicyBundle, trajectory: Trajectory) -> None:
    start = weights(policy)
    update(policy, trajectory, dataclasses.replace(CONFIG, epochs=1))
    good = weights(policy)
    policy.load_state_dict(start)
    passes = iter([1.0] * CONFIG.minibatches)
    next(iter(policy.network.parameters())).register_hook(lambda gradient: gradient * next(passes, torch.inf))
    with pytest.raises(NonFiniteLossError, match="gradient"):
        update(policy, trajectory, CONFIG)
    assert same_weights(weights(policy), good)


def test_all_that_is_bad_is_named_and_counted() -> None:
    good, bad = torch.zeros(3), torch.tensor([[torch.nan, 1.0], [torch.inf, -torch.inf]])
    check_finite(good=good, nothing=torch.zeros(0))
    with pytest.raises(
        NonFiniteLossError, match=r"^not finite: bad \(3 of 4 entries\), worse \(1 of 1 entries\)$"
    ):
        check_finite(good=good, bad=bad, worse=torch.tensor(torch.nan))
