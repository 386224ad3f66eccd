"""Updates of a real policy: they follow the advantage, stop at the KL bound and refuse what is not finite."""

import dataclasses

import pytest
import torch

from kasmina_hosts import HostPopulation
from leyline_types import LifecycleOp
from simic_training import (
    NonFiniteLossError,
    PPOConfig,
    RewardTerms,
    Trajectory,
    UpdateStats,
    collect_episodes,
    update_policy,
)
from simic_training.ppo import explained_variance
from tamiyo_policies import PolicyBundle

CONFIG = PPOConfig(epochs=4, minibatches=2, target_kl=1.0)


@pytest.fixture
def episodes(population: HostPopulation, policy: PolicyBundle) -> Trajectory:
    return collect_episodes(
        population, policy, range(0, 32, 2), generator=torch.Generator().manual_seed(0), rent_rate=0.2
    )


def update(policy: PolicyBundle, episodes: Trajectory, config: PPOConfig = CONFIG) -> UpdateStats:
    optimizer = torch.optim.Adam(policy.network.parameters(), lr=3e-3)
    generator = torch.Generator().manual_seed(0)
    return update_policy(
        policy, optimizer, episodes, config, replicas=1, entropy_weight=0.0, generator=generator
    )


def paid_for(episodes: Trajectory, op: LifecycleOp) -> Trajectory:
    """The same episodes, had each use of `op` and nothing else been paid for."""
    paid = (episodes.actions.op == op).to(episodes.value.dtype)
    return episodes._replace(rewards=RewardTerms(paid, torch.zeros_like(paid), paid))


def chance_of(policy: PolicyBundle, episodes: Trajectory, op: LifecycleOp) -> float:
    """Mean probability that the policy takes the actions in which `op` was taken."""
    with torch.no_grad():
        evaluated = policy.evaluate_actions(episodes.features, episodes.actions, episodes.masks)
    return float(evaluated.log_prob[episodes.actions.op == op].exp().mean())


def test_what_is_paid_for_becomes_more_likely(policy: PolicyBundle, episodes: Trajectory) -> None:
    before = chance_of(policy, episodes, LifecycleOp.GERMINATE)
    stats = update(policy, paid_for(episodes, LifecycleOp.GERMINATE))
    assert chance_of(policy, episodes, LifecycleOp.GERMINATE) > before
    assert stats.gradient_steps == 8
    assert stats.approx_kl >= 0


def test_values_come_nearer_to_their_targets(policy: PolicyBundle, episodes: Trajectory) -> None:
    before = update(policy, episodes).critic_loss
    for _ in range(5):
        after = update(policy, episodes).critic_loss
    assert after < before


def test_ends_at_the_kl_bound(policy: PolicyBundle, episodes: Trajectory) -> None:
    strict = dataclasses.replace(CONFIG, epochs=50, target_kl=1e-4)
    stats = update(policy, paid_for(episodes, LifecycleOp.GERMINATE), strict)
    assert 1 <= stats.gradient_steps < 100
    assert stats.approx_kl <= 1e-4


def test_non_finite_input_leaves_the_policy_as_it_was(policy: PolicyBundle, episodes: Trajectory) -> None:
    before = {name: tensor.clone() for name, tensor in policy.state_dict().items()}
    episodes.rewards.total[3, 1] = torch.nan
    with pytest.raises(NonFiniteLossError, match=r"advantage \(2 of 48 entries\), value_target \(2 of 48"):
        update(policy, episodes)
    for name, tensor in policy.state_dict().items():
        assert torch.equal(tensor, before[name])


def test_equal_generators_give_equal_updates(policy: PolicyBundle, episodes: Trajectory) -> None:
    start = {name: tensor.clone() for name, tensor in policy.state_dict().items()}
    first = update(policy, episodes)
    policy.load_state_dict(start)
    assert update(policy, episodes) == first


def test_explained_variance() -> None:
    target = torch.tensor([1.0, 2.0, 3.0])
    assert explained_variance(target, target) == pytest.approx(1.0)
    assert explained_variance(torch.full((3,), 2.0), target) == pytest.approx(0.0)
    assert explained_variance(target, torch.ones(3)) is None
