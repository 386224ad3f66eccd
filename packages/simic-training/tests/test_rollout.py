"""Episodes on real hosts: what is recorded is what happened."""

import pytest
import torch

from kasmina_hosts import HostPopulation
from leyline_types import LifecycleOp
from simic_training import Trajectory, collect_episodes, hold_back, stack_steps
from simic_training.ppo import check_finite
from tamiyo_masks import action_masks
from tamiyo_policies import PolicyBundle

SEEDS = [0, 2]


def collect(
    population: HostPopulation, policy: PolicyBundle, held_back: tuple[LifecycleOp, ...] = ()
) -> Trajectory:
    return collect_episodes(
        population,
        policy,
        SEEDS,
        generator=torch.Generator().manual_seed(0),
        rent_rate=0.2,
        held_back=held_back,
    )


def test_shapes_and_finite(population: HostPopulation, policy: PolicyBundle) -> None:
    episodes = collect(population, policy)
    assert episodes.features.shape == (2, 3, policy.feature_dim)
    assert episodes.masks.slot_by_op.shape == (2, 3, len(LifecycleOp), 3)
    for column in (episodes.log_prob, episodes.value, episodes.rewards.total, episodes.took_effect):
        assert column.shape == (2, 3)
    check_finite(features=episodes.features, log_prob=episodes.log_prob, value=episodes.value)


def test_a_function_of_weights_seeds_and_generator(population: HostPopulation, policy: PolicyBundle) -> None:
    first, second = collect(population, policy), collect(population, policy)
    torch.testing.assert_close(first, second, rtol=0, atol=0)


def test_rewards_sum_to_what_the_host_gained(population: HostPopulation, policy: PolicyBundle) -> None:
    start = population.reset(SEEDS).signals
    episodes = collect(population, policy)
    end = population.observe().signals
    gained = (end.val_accuracy - start.val_accuracy) / 10
    rent = 0.2 * (end.total_params - start.total_params) / end.host_params
    torch.testing.assert_close(episodes.rewards.total, episodes.rewards.accuracy + episodes.rewards.rent)
    torch.testing.assert_close(episodes.episode_return, gained - rent, atol=1e-4, rtol=1e-4)


def test_only_legal_ops_were_taken(population: HostPopulation, policy: PolicyBundle) -> None:
    episodes = collect(population, policy)
    assert episodes.masks.op.gather(-1, episodes.actions.op[..., None]).all()


def test_evaluating_the_episodes_gives_the_probabilities_they_were_drawn_with(
    population: HostPopulation, policy: PolicyBundle
) -> None:
    episodes = collect(population, policy)
    with torch.no_grad():
        evaluated = policy.evaluate_actions(episodes.features, episodes.actions, episodes.masks)
    torch.testing.assert_close(evaluated.log_prob, episodes.log_prob, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(evaluated.value, episodes.value, atol=1e-5, rtol=1e-5)


def test_held_back_ops_are_never_taken(population: HostPopulation, policy: PolicyBundle) -> None:
    others = tuple(op for op in LifecycleOp if op not in (LifecycleOp.WAIT, LifecycleOp.GERMINATE))
    episodes = collect(population, policy, others)
    assert set(episodes.actions.op.flatten().tolist()) <= {0, 1}
    only_wait = tuple(op for op in LifecycleOp if op is not LifecycleOp.WAIT)
    episodes = collect(population, policy, only_wait)
    assert not episodes.actions.op.any()
    assert not episodes.free.any()


def test_hold_back_leaves_the_given_masks_alone(population: HostPopulation) -> None:
    masks = action_masks(population.reset(SEEDS), population.slot_config)
    before = masks.op.clone()
    changed = hold_back(masks, [LifecycleOp.GERMINATE])
    assert torch.equal(masks.op, before)
    assert masks.op[:, LifecycleOp.GERMINATE].all()
    assert not changed.op[:, LifecycleOp.GERMINATE].any()
    with pytest.raises(ValueError, match="WAIT cannot be held back"):
        hold_back(masks, [LifecycleOp.WAIT])


def test_select_takes_whole_episodes(population: HostPopulation, policy: PolicyBundle) -> None:
    episodes = collect(population, policy)
    part = episodes.select(torch.tensor([1]))
    assert torch.equal(part.features, episodes.features[1:])
    assert torch.equal(part.masks.slot_by_op, episodes.masks.slot_by_op[1:])
    assert torch.equal(part.actions.op, episodes.actions.op[1:])


def test_no_steps_are_refused() -> None:
    with pytest.raises(ValueError, match="at least one step"):
        stack_steps([])
