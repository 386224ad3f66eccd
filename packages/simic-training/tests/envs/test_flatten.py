"""Actions as one number: the wrappers for one host and for many."""

from typing import Any

import gymnasium
import numpy as np
import pytest
from gymnasium.error import ResetNeeded
from gymnasium.spaces import Dict, Discrete, MultiBinary
from gymnasium.utils.env_checker import check_env, data_equivalence
from gymnasium.vector import AutoresetMode, SyncVectorEnv, VectorEnv
from gymnasium.wrappers import TimeAwareObservation
from gymnasium.wrappers.vector import RecordEpisodeStatistics
from small_envs import EPOCHS, SLOTS, SMALL, random_choice

from simic_training.envs.flat_actions import canonical_actions, joint_mask
from simic_training.envs.flatten import FlattenAction, FlattenVectorAction
from simic_training.envs.registration import FLAT_GROWTH, register_envs
from simic_training.envs.single import GrowthEnv
from simic_training.envs.vector import GrowthVectorEnv

ACTIONS = canonical_actions(SLOTS)
HOSTS = 3


@pytest.mark.filterwarnings("ignore:.*is different from the unwrapped version:UserWarning")
@pytest.mark.parametrize("truncate", [False, True])
@pytest.mark.parametrize("mask_in_observation", [False, True])
def test_gymnasium_finds_no_fault(truncate: bool, mask_in_observation: bool) -> None:
    register_envs()
    env = gymnasium.make(
        FLAT_GROWTH,
        config=SMALL,
        truncate=truncate,
        mask_in_observation=mask_in_observation,
        render_mode="ansi",
    )
    check_env(env)


def test_it_is_the_wrapped_environment_with_its_actions_listed() -> None:
    flat, plain = FlattenAction(GrowthEnv(SMALL)), GrowthEnv(SMALL)
    assert flat.action_space == Discrete(len(ACTIONS))
    assert flat.observation_space == plain.observation_space
    flat.reset(seed=0)
    plain.reset(seed=0)
    rng = np.random.default_rng(0)
    for _ in range(EPOCHS):
        place = rng.choice(np.flatnonzero(flat.action_masks()))
        step, expected = flat.step(place), plain.step(ACTIONS[place].numpy())
        assert data_equivalence(step[:4], expected[:4], exact=True)
        assert data_equivalence({**step[4], "action_mask": 0}, {**expected[4], "action_mask": 0}, exact=True)
        assert np.array_equal(step[4]["action_mask"], joint_mask(plain.masks, ACTIONS).numpy())


@pytest.mark.parametrize("mode", AutoresetMode)
def test_masks_three_ways_agree_and_final_ones_too(mode: AutoresetMode) -> None:
    bare = GrowthVectorEnv(HOSTS, SMALL, autoreset_mode=mode, mask_in_observation=True)
    env = FlattenVectorAction(bare)
    assert isinstance(env.single_observation_space, Dict)
    assert env.single_observation_space["action_mask"] == MultiBinary(len(ACTIONS))
    observation, info = env.reset(seed=0)
    rng = np.random.default_rng(1)
    ended = np.zeros(HOSTS, dtype=np.bool_)
    for _ in range(2 * EPOCHS + 1):
        if mode is AutoresetMode.DISABLED and ended.any():
            observation, info = env.reset()
        assert isinstance(observation, dict)
        assert observation in env.observation_space
        assert np.array_equal(env.action_masks(), joint_mask(bare.masks, ACTIONS).numpy())
        assert np.array_equal(env.action_masks(), info["action_mask"])
        assert np.array_equal(env.action_masks(), observation["action_mask"])
        observation, _, ended, _, info = env.step(random_choice(env.action_masks(), rng))
        assert not info.get("final_info", info).get("invalid_action", np.zeros(1)).any()
        assert ("final_info" in info) == (mode is AutoresetMode.SAME_STEP and ended.any())
        if "final_info" in info:
            assert all(row in env.single_observation_space for row in info["final_obs"])
            final = np.stack([row["action_mask"] for row in info["final_obs"]])
            assert np.array_equal(final, info["final_info"]["action_mask"])
            assert not np.array_equal(final, info["action_mask"])


@pytest.mark.parametrize("mode", AutoresetMode)
def test_one_host_equals_gymnasiums_vector_of_single_ones(mode: AutoresetMode) -> None:
    native = FlattenVectorAction(GrowthVectorEnv(1, SMALL, autoreset_mode=mode, mask_in_observation=True))
    reference: VectorEnv[Any, Any, Any] = SyncVectorEnv(
        [lambda: FlattenAction(GrowthEnv(SMALL, mask_in_observation=True))], autoreset_mode=mode
    )
    assert native.autoreset_mode is mode
    assert native.observation_space == reference.observation_space
    assert native.action_space == reference.action_space
    rng = np.random.default_rng(0)
    assert data_equivalence(native.reset(seed=4), reference.reset(seed=4), exact=True)
    for _ in range(EPOCHS + 2):
        actions = random_choice(native.action_masks(), rng)
        step, expected = native.step(actions), reference.step(actions)
        assert data_equivalence(step, expected, exact=True)
        if mode is AutoresetMode.DISABLED and step[2].any():
            assert data_equivalence(native.reset(), reference.reset(), exact=True)


def test_wrappers_may_lie_between() -> None:
    env = FlattenVectorAction(RecordEpisodeStatistics(GrowthVectorEnv(HOSTS, SMALL)))
    env.reset(seed=0)
    for _ in range(EPOCHS):
        *_, info = env.step(np.zeros(HOSTS, dtype=np.int64))
    assert (info["episode"]["l"] == EPOCHS).all()
    assert info["action_mask"].shape == (HOSTS, len(ACTIONS))


def test_other_environments_are_refused() -> None:
    with pytest.raises(TypeError, match="`env` must be a GrowthEnv, not"):
        FlattenAction(TimeAwareObservation(gymnasium.make("CartPole-v1")))
    with pytest.raises(TypeError, match="`env` must be a GrowthVectorEnv, not"):
        FlattenVectorAction(gymnasium.make_vec("CartPole-v1", vectorization_mode="vector_entry_point"))


@pytest.mark.parametrize("action", [-1, len(ACTIONS), 0.0, [0]])
def test_actions_outside_the_list_are_refused(action: Any) -> None:
    env = FlattenAction(GrowthEnv(SMALL))
    with pytest.raises(ResetNeeded):
        env.action_masks()
    env.reset(seed=0)
    with pytest.raises(ValueError, match=r"actions must (lie in 0 to 1878|be integers of shape \(\))"):
        env.step(action)
