"""Groups of hosts side by side: each as it would be alone at its price, rewards and records as they happened."""

from dataclasses import replace

import pytest
import torch
from torch import Tensor

from kasmina_hosts import GrownSeed, HostPopulation
from leyline_types import (
    AlphaAlgorithm,
    BlueprintAction,
    FactoredAction,
    FactoredActions,
    LifecycleOp,
    Observation,
)
from simic_training.growth.config import GrowthConfig
from simic_training.growth.draws import draw_groups
from simic_training.growth.episodes import EpisodeRecorder
from simic_training.growth.world import GrowthWorld
from tamiyo_policies import RandomController


def choose(observation: Observation[Tensor], step: int) -> FactoredActions[Tensor]:
    return RandomController(HOST_SLOTS, seed=3).act(observation, step)[0]


GERMINATE = FactoredAction(LifecycleOp.GERMINATE, "r0c1", blueprint=BlueprintAction.CONV_LIGHT)
HOST_SLOTS = HostPopulation(*draw_groups(GrowthConfig(), 1, 0)[0][:2]).slot_config


def play(world: GrowthWorld) -> EpisodeRecorder:
    recorder = EpisodeRecorder(world)
    for step in range(world.max_epochs):
        actions = choose(world.observe(), step)
        recorder.add(actions, world.step(actions))
    return recorder


def test_groups_are_as_populations_of_their_own(tiny_env: GrowthConfig) -> None:
    groups = draw_groups(tiny_env, 5, 1)
    assert len({group.config.width for group in groups}) > 1, "the seed must draw hosts that differ"
    world = GrowthWorld()
    world.reset(groups)
    episodes = play(world).episodes()
    first = 0
    for group in groups:
        rows = slice(first, first + len(group.host_seeds))
        population = HostPopulation(group.task, group.config)
        start = population.reset(group.host_seeds, parameter_prices=group.prices).signals
        assert start.parameter_price.tolist() == pytest.approx(list(group.prices))
        for epoch in range(3):
            population.step(FactoredActions(*(head[rows, epoch] for head in episodes.actions)))
        end = population.observe().signals
        assert torch.equal(end.val_accuracy, episodes.val_accuracy[rows, -1])
        assert torch.equal(end.total_params, episodes.total_params[rows, -1])
        assert torch.equal(population.test_accuracy(), world.test_accuracy()[rows])
        assert population.grown() == list(episodes.grown[rows])
        first += len(group.host_seeds)


def test_rewards_sum_to_what_the_hosts_gained(tiny_env: GrowthConfig) -> None:
    world = GrowthWorld()
    start = world.reset(draw_groups(tiny_env, 4, 0)).signals
    episodes = play(world).episodes()
    end = world.observe().signals
    gained = (end.val_accuracy - start.val_accuracy) / 10
    rent = end.parameter_price * (end.total_params - start.total_params) / end.host_params
    assert (rent > 0).any()
    assert len(end.parameter_price.unique()) == 4
    torch.testing.assert_close(episodes.episode_return, gained - rent, atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(
        episodes.reward.rent.sum(-1), episodes.price * (1 - episodes.size), atol=1e-4, rtol=1e-4
    )
    torch.testing.assert_close(episodes.size, end.total_params / end.host_params)


def test_a_price_changes_the_rent_and_nothing_else(tiny_env: GrowthConfig) -> None:
    (group,) = draw_groups(replace(tiny_env, group_size=4, replicas=0), 4, 0)
    prices = (0.1, 0.2, 0.4, 0.4)
    world = GrowthWorld()
    world.reset([group._replace(prices=prices)])
    recorder = EpisodeRecorder(world)
    for step in range(world.max_epochs):
        action = GERMINATE if step == 0 else FactoredAction(LifecycleOp.WAIT, "r0c0")
        alike = FactoredActions(*(torch.full((4,), index) for index in action.to_indices(HOST_SLOTS)))
        recorder.add(alike, world.step(alike))
    episodes = recorder.episodes()
    assert episodes.price.tolist() == pytest.approx(prices)
    assert (episodes.val_accuracy == episodes.val_accuracy[0]).all()
    assert (episodes.total_params == episodes.total_params[0]).all()
    rent = episodes.reward.rent.sum(-1)
    assert rent[0] != 0
    torch.testing.assert_close(rent / rent[0], torch.tensor([1.0, 2.0, 4.0, 4.0]))
    torch.testing.assert_close(episodes.reward.total, episodes.reward.accuracy + episodes.reward.rent)


def test_records_are_what_was_seen(tiny_env: GrowthConfig) -> None:
    world = GrowthWorld()
    world.reset(draw_groups(tiny_env, 3, 0))
    recorder = EpisodeRecorder(world)
    with pytest.raises(RuntimeError, match="no step has been taken yet"):
        recorder.episodes()
    seen = [world.observe()]
    for step in range(2):
        actions = choose(world.observe(), step)
        outcome = world.step(actions)
        recorder.add(actions, outcome)
        seen.append(outcome.observation)
    episodes = recorder.episodes()
    for time, observation in enumerate(seen):
        assert torch.equal(episodes.stage[:, time], observation.slots.stage)
        assert torch.equal(episodes.blueprint[:, time], observation.slots.blueprint)
        assert torch.equal(episodes.alpha[:, time], observation.slots.alpha)
        assert torch.equal(episodes.val_accuracy[:, time], observation.signals.val_accuracy)
    assert episodes.took_effect.shape == (3, 2)


def test_grown_hosts_start_with_their_seeds(tiny_env: GrowthConfig) -> None:
    groups = draw_groups(tiny_env, 4, 0)
    heavy = GrownSeed(BlueprintAction.CONV_HEAVY, AlphaAlgorithm.ADD, 1.0)
    grown: list[dict[str, GrownSeed]] = [{"r0c1": heavy}, {}, {}, {"r0c0": heavy, "r0c2": heavy}]
    world = GrowthWorld()
    bare = world.reset(groups).signals.total_params
    observation = world.reset(groups, grown)
    assert world.grown() == grown
    added = (observation.signals.total_params - bare).tolist()
    sizes = [18 * group.config.width**2 + 4 * group.config.width for group in groups for _ in range(2)]
    assert added == [sizes[0], 0, 0, 2 * sizes[3]]


def test_misuse_is_refused(tiny_env: GrowthConfig) -> None:
    world = GrowthWorld()
    with pytest.raises(RuntimeError, match="no hosts yet; call reset"):
        world.observe()
    with pytest.raises(RuntimeError, match="no hosts yet; call reset"):
        _ = world.slot_config
    with pytest.raises(ValueError, match="at least one group"):
        world.reset([])
    groups = draw_groups(tiny_env, 2, 0)
    with pytest.raises(ValueError, match="`grown` describes 1 hosts, `groups` 2"):
        world.reset(groups, [{}])
    longer = draw_groups(replace(tiny_env, family=replace(tiny_env.family, max_epochs=(4, 4))), 1, 0)
    with pytest.raises(ValueError, match="of one topology and length"):
        world.reset([*groups, *longer])
    world.reset(groups)
    three = FactoredActions(*(torch.zeros(3, dtype=torch.long) for _ in range(8)))
    with pytest.raises(ValueError, match="must hold 2 actions per head"):
        world.step(three)
    two = FactoredActions(*(head[:2] for head in three))
    for _ in range(3):
        world.step(two)
    with pytest.raises(RuntimeError, match="the episode ended after 3 epochs"):
        world.step(two)
