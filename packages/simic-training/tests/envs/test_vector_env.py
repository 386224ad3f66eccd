"""Many hosts as one environment: against a loop of the world itself, against single ones, in every autoreset mode."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch
from gymnasium.error import ResetNeeded
from gymnasium.utils.env_checker import data_equivalence
from gymnasium.utils.passive_env_checker import data_shares_objects
from gymnasium.utils.seeding import np_random
from gymnasium.vector import AutoresetMode, SyncVectorEnv, VectorEnv
from gymnasium.wrappers.vector import (
    DictInfoToList,
    NormalizeObservation,
    NormalizeReward,
    RecordEpisodeStatistics,
)
from small_envs import EPOCHS, SLOTS, SMALL, UNEVEN, WAIT, Array, random_choice

from leyline_types import FactoredActions, head_sizes
from simic_training.envs.flat_actions import canonical_actions, joint_mask
from simic_training.envs.single import GrowthEnv
from simic_training.envs.vector import GrowthVectorEnv
from simic_training.growth.draws import draw_groups
from simic_training.growth.world import GrowthWorld
from tamiyo_features import extract_features

HOSTS = 3
ACTIONS = canonical_actions(SLOTS)
EVERY_MODE = pytest.mark.parametrize("mode", AutoresetMode)


def legal_actions(env: GrowthVectorEnv, rng: np.random.Generator) -> Array:
    actions: Array = ACTIONS.numpy()[random_choice(joint_mask(env.masks, ACTIONS).numpy(), rng)]
    return actions


def start(mode: AutoresetMode, seed: int = 0, **options: Any) -> GrowthVectorEnv:
    env = GrowthVectorEnv(HOSTS, SMALL, autoreset_mode=mode, **options)
    env.reset(seed=seed)
    return env


def plain_episode(seed: int) -> Iterator[tuple[Array, Array, Array]]:
    """Features, rewards and accuracies of one episode after another in which every host waits."""
    rng = np_random(seed)[0]
    zeros = torch.zeros(HOSTS, dtype=torch.long)
    while True:
        world = GrowthWorld()
        observation = world.reset(draw_groups(SMALL, HOSTS, int(rng.integers(2**63 - 1))))
        reward = torch.zeros(HOSTS)
        for epoch in range(EPOCHS + 1):
            if epoch:
                step = world.step(FactoredActions(*[zeros] * 8))
                observation, reward = step.observation, step.reward.total
            features = extract_features(observation, SLOTS)
            yield features.numpy(), reward.numpy(), observation.signals.val_accuracy.numpy()


@EVERY_MODE
@pytest.mark.parametrize("truncate", [False, True])
def test_autoreset_modes_against_a_plain_loop(mode: AutoresetMode, truncate: bool) -> None:
    env = GrowthVectorEnv(HOSTS, SMALL, autoreset_mode=mode, truncate=truncate)
    loop = plain_episode(seed=7)
    waits = np.tile(WAIT, (HOSTS, 1))
    observation, info = env.reset(seed=7)
    for _ in range(2):
        features, _, accuracy = next(loop)
        assert np.array_equal(np.asarray(observation), features)
        assert np.array_equal(info["val_accuracy"], accuracy)
        for epoch in range(EPOCHS):
            observation, reward, terminated, truncated, info = env.step(waits)
            features, expected_reward, accuracy = next(loop)
            last = epoch == EPOCHS - 1
            assert (terminated == (last and not truncate)).all()
            assert (truncated == (last and truncate)).all()
            np.testing.assert_allclose(reward, expected_reward, rtol=1e-6)
            at_end = last and mode is AutoresetMode.SAME_STEP
            assert ("final_obs" in info) == ("final_info" in info) == at_end
            shown = np.stack(info["final_obs"]) if at_end else np.asarray(observation)
            assert np.array_equal(shown, features)
            assert np.array_equal((info["final_info"] if at_end else info)["val_accuracy"], accuracy)
        if mode is AutoresetMode.NEXT_STEP:
            observation, reward, terminated, truncated, info = env.step(np.full((HOSTS, 8), -99))
            assert not reward.any()
            assert not (terminated | truncated).any()
            assert "invalid_action" not in info
        elif mode is AutoresetMode.DISABLED:
            with pytest.raises(ResetNeeded, match="the episode has ended: call reset"):
                env.step(waits)
            observation, info = env.reset(options={"reset_mask": np.ones(HOSTS, dtype=np.bool_)})


@EVERY_MODE
@pytest.mark.parametrize("mask_in_observation", [False, True])
def test_one_host_equals_gymnasiums_vector_of_single_ones(
    mode: AutoresetMode, mask_in_observation: bool
) -> None:
    """Observations, rewards, ends and infos, with the marks of the infos and their types."""
    native = GrowthVectorEnv(1, SMALL, autoreset_mode=mode, mask_in_observation=mask_in_observation)
    reference: VectorEnv[Any, Any, Any] = SyncVectorEnv(
        [lambda: GrowthEnv(SMALL, mask_in_observation=mask_in_observation)], autoreset_mode=mode
    )
    assert native.single_observation_space == reference.single_observation_space
    assert native.observation_space == reference.observation_space
    assert native.single_action_space == reference.single_action_space
    assert native.action_space == reference.action_space
    rng = np.random.default_rng(0)
    assert data_equivalence(native.reset(seed=4), reference.reset(seed=4), exact=True)
    for _ in range(2 * EPOCHS + 2):
        actions = legal_actions(native, rng)
        step, expected = native.step(actions), reference.step(actions)
        assert data_equivalence(step, expected, exact=True)
        if mode is AutoresetMode.DISABLED and step[2].any():
            assert data_equivalence(native.reset(), reference.reset(), exact=True)


@EVERY_MODE
def test_everything_lies_in_its_space_and_is_new(mode: AutoresetMode) -> None:
    env = start(mode, mask_in_observation=True)
    rng = np.random.default_rng(1)
    before: tuple[Any, ...] = env.reset(seed=0)
    for _ in range(EPOCHS + 2):
        after = env.step(legal_actions(env, rng))
        assert after[0] in env.observation_space
        assert not data_shares_objects((before[0], before[-1]), (after[0], after[-1]))
        for row in after[-1].get("final_obs", ()):
            assert row in env.single_observation_space
        before = env.reset() if mode is AutoresetMode.DISABLED and after[2].any() else after


@EVERY_MODE
def test_masks_three_ways_agree(mode: AutoresetMode) -> None:
    env = start(mode, mask_in_observation=True)
    observation, info = env.reset(seed=0)
    rng = np.random.default_rng(2)
    for _ in range(EPOCHS + 2):
        assert isinstance(observation, dict)
        assert env.action_masks().shape == (HOSTS, sum(head_sizes(SLOTS)))
        assert np.array_equal(env.action_masks(), info["action_mask"])
        assert np.array_equal(env.action_masks(), observation["action_mask"])
        observation, _, terminated, _, info = env.step(legal_actions(env, rng))
        if "final_info" in info:
            final = np.stack([row["action_mask"] for row in info["final_obs"]])
            assert np.array_equal(final, info["final_info"]["action_mask"])
        if mode is AutoresetMode.DISABLED and terminated.any():
            observation, info = env.reset()


@EVERY_MODE
def test_rewards_are_sums_of_their_terms(mode: AutoresetMode) -> None:
    env = start(mode)
    rng = np.random.default_rng(3)
    for _ in range(EPOCHS):
        _, reward, *_, info = env.step(legal_actions(env, rng))
        told = info.get("final_info", info)
        assert np.array_equal(reward, told["reward_accuracy"] + told["reward_rent"])
        assert not told["invalid_action"].any()


def test_equal_seeds_equal_episodes_and_others_differ() -> None:
    envs = [start(AutoresetMode.SAME_STEP, seed) for seed in (1, 1, 2)]
    waits = np.tile(WAIT, (HOSTS, 1))
    for _ in range(EPOCHS + 1):
        first, again, other = (env.step(waits) for env in envs)
        assert data_equivalence(first, again, exact=True)
        assert not data_equivalence(first, other)


@EVERY_MODE
def test_episodes_may_differ_in_length_from_one_to_the_next(mode: AutoresetMode) -> None:
    env = GrowthVectorEnv(HOSTS, UNEVEN, autoreset_mode=mode)
    waits, lengths = np.tile(WAIT, (HOSTS, 1)), []
    env.reset(seed=0)
    for _ in range(6):
        length = env.max_epochs
        for epoch in range(length):
            assert env.max_epochs == length
            _, _, terminated, _, _ = env.step(waits)
            assert (terminated == (epoch + 1 == length)).all()
        if mode is AutoresetMode.NEXT_STEP:
            env.step(waits)
        elif mode is AutoresetMode.DISABLED:
            env.reset()
        lengths.append(length)
    assert len(set(lengths)) > 1


def test_each_host_pays_its_own_price() -> None:
    env = start(AutoresetMode.DISABLED)
    _, info = env.reset(seed=0)
    assert len(set(info["price"])) == HOSTS
    assert info["price"].tolist() == [price for group in env.groups for price in group.prices]
    rng = np.random.default_rng(5)
    sizes, rents = info["size"], np.zeros(HOSTS)
    for _ in range(EPOCHS):
        *_, told = env.step(legal_actions(env, rng))
        rents += told["reward_rent"]
    assert rents.any()
    np.testing.assert_allclose(rents, info["price"] * (sizes - told["size"]), atol=1e-5)


def two_episodes(wrapped: VectorEnv[Any, Any, Any], env: GrowthVectorEnv) -> Iterator[tuple[Array, Any]]:
    """The sum of rewards and the last info of each of two episodes of legal actions."""
    wrapped.reset(seed=0)
    rng = np.random.default_rng(4)
    for _ in range(2):
        total = np.zeros(HOSTS)
        for _ in range(EPOCHS):
            _, reward, terminated, _, info = wrapped.step(legal_actions(env, rng))
            total += reward
        assert terminated.all()
        yield total, info
        if env.autoreset_mode is AutoresetMode.NEXT_STEP:
            wrapped.step(legal_actions(env, rng))
        elif env.autoreset_mode is AutoresetMode.DISABLED:
            wrapped.reset(options={"reset_mask": np.ones(HOSTS, dtype=np.bool_)})


@EVERY_MODE
def test_gymnasium_records_episodes(mode: AutoresetMode) -> None:
    env = start(mode)
    for total, info in two_episodes(RecordEpisodeStatistics(env), env):
        np.testing.assert_allclose(info["episode"]["r"], total)
        assert (info["episode"]["l"] == EPOCHS).all()


@EVERY_MODE
def test_gymnasium_normalises_rewards(mode: AutoresetMode) -> None:
    bare, env = start(mode), start(mode)
    raw = [total for total, _ in two_episodes(bare, bare)]
    scaled = [total for total, _ in two_episodes(NormalizeReward(env), env)]
    assert np.isfinite(scaled).all()
    assert not np.allclose(raw, scaled)


@EVERY_MODE
def test_gymnasium_lists_infos_by_host(mode: AutoresetMode) -> None:
    env = start(mode)
    for total, rows in two_episodes(DictInfoToList(env), env):
        lasts = [row.get("final_info", row) for row in rows]
        assert len(lasts) == len(total)
        assert all({"reward_rent", "action_mask", "price"} <= last.keys() for last in lasts)


def test_gymnasiums_observation_wrapper_works_where_it_may() -> None:
    env: VectorEnv[Any, Any, Any] = start(AutoresetMode.NEXT_STEP)
    wrapped = NormalizeObservation(env)
    observation, _ = wrapped.reset(seed=0)
    assert np.isfinite(observation).all()
    observation, *_ = wrapped.step(np.tile(WAIT, (HOSTS, 1)))
    assert np.isfinite(observation).all()


def test_part_of_the_hosts_cannot_begin_alone() -> None:
    env = start(AutoresetMode.DISABLED)
    mask = np.array([True, False, True])
    with pytest.raises(ValueError, match="leaves out 1 of 3 hosts; hosts train in lockstep"):
        env.reset(options={"reset_mask": mask})
    with pytest.raises(ValueError, match=r"must have shape \(3,\), not \(2,\)"):
        env.reset(options={"reset_mask": mask[:2]})
    with pytest.raises(TypeError, match="numpy array of bools"):
        env.reset(options={"reset_mask": [True] * HOSTS})
    with pytest.raises(ValueError, match="may hold 'reset_mask', not 'width'"):
        env.reset(options={"width": 4})


def test_before_the_first_reset_there_is_nothing() -> None:
    env = GrowthVectorEnv(HOSTS, SMALL, render_mode="ansi")
    for use in (
        env.action_masks,
        env.render,
        lambda: env.groups,
        lambda: env.step(np.zeros((HOSTS, 8), int)),
    ):
        with pytest.raises(ResetNeeded, match="call reset"):
            use()


def test_malformed_arguments_are_refused() -> None:
    with pytest.raises(ValueError, match="`num_envs` must be at least 1, not 0"):
        GrowthVectorEnv(0, SMALL)
    with pytest.raises(ValueError, match="`render_mode` must be 'ansi' or None, not 'human'"):
        GrowthVectorEnv(1, SMALL, render_mode="human")
    env = start(AutoresetMode.SAME_STEP)
    with pytest.raises(ValueError, match=r"integers of shape \(3, 8\), one per host and head"):
        env.step(WAIT)


def test_hosts_are_rendered_one_by_one() -> None:
    env = start(AutoresetMode.SAME_STEP, render_mode="ansi")
    frames = env.render()
    assert frames is not None
    assert len(frames) == HOSTS
    assert all(frame.startswith(f"epoch 0 of {EPOCHS}") for frame in frames)
    assert [len(group.host_seeds) for group in env.groups] == [2, 1]
