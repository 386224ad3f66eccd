"""The environments by name."""

import subprocess
import sys
from dataclasses import replace
from typing import Any

import gymnasium
import numpy as np
import pytest
from gymnasium.spaces import Discrete, MultiDiscrete
from gymnasium.vector import AutoresetMode, SyncVectorEnv
from small_envs import SMALL

from simic_training.envs.flatten import FlattenAction, FlattenVectorAction
from simic_training.envs.registration import (
    FLAT_GROWTH,
    GROWTH,
    flat_growth_env,
    flat_growth_vector_env,
    register_envs,
)
from simic_training.envs.single import GrowthEnv
from simic_training.envs.vector import GrowthVectorEnv

NAMES = pytest.mark.parametrize("name", [GROWTH, FLAT_GROWTH])


@NAMES
def test_make(name: str) -> None:
    register_envs()
    env: gymnasium.Env[Any, Any] = gymnasium.make(name, config=SMALL, mask_in_observation=True)
    assert isinstance(env.unwrapped, GrowthEnv)
    assert isinstance(env.action_space, Discrete if name == FLAT_GROWTH else MultiDiscrete)
    observation, info = env.reset(seed=0)
    assert np.array_equal(env.get_wrapper_attr("action_masks")(), info["action_mask"])
    assert observation in env.observation_space
    observation, *_, info = env.step(env.action_space.sample())
    assert observation in env.observation_space
    assert np.array_equal(env.get_wrapper_attr("action_masks")(), info["action_mask"])
    again = gymnasium.make(env.spec) if env.spec else None  # from its own description
    assert again is not None
    assert again.action_space == env.action_space


@NAMES
def test_make_vec(name: str) -> None:
    register_envs()
    mode = AutoresetMode.NEXT_STEP
    env: gymnasium.vector.VectorEnv[Any, Any, Any]
    env = gymnasium.make_vec(
        name, num_envs=2, vectorization_mode="vector_entry_point", config=SMALL, autoreset_mode=mode
    )
    assert isinstance(env, FlattenVectorAction if name == FLAT_GROWTH else GrowthVectorEnv)
    assert isinstance(env.unwrapped, GrowthVectorEnv)
    assert env.metadata["autoreset_mode"] is mode
    assert env.num_envs == 2
    assert isinstance(gymnasium.make_vec(name, config=SMALL), type(env))  # the default way
    apart = gymnasium.make_vec(name, num_envs=2, vectorization_mode="sync", config=SMALL)
    assert isinstance(apart, SyncVectorEnv)
    assert apart.single_action_space == env.single_action_space


def test_registering_again_does_no_harm() -> None:
    register_envs()
    register_envs()


def test_names_with_a_module_work_in_a_fresh_process() -> None:
    """And nothing is registered by importing the environments themselves."""
    code = f"""
import gymnasium, simic_training.envs.registration as registration
assert registration.GROWTH not in gymnasium.registry
env = gymnasium.make("simic_training.envs.registered:{FLAT_GROWTH}")
print(type(env.unwrapped).__name__, env.action_space.n)
"""
    result = subprocess.run(
        [sys.executable, "-W", "error", "-c", code], capture_output=True, text=True, check=True
    )
    assert result.stdout.split() == ["GrowthEnv", "1879"]


def test_flat_functions_pass_everything_on() -> None:
    config = replace(SMALL, family=replace(SMALL.family, max_epochs=(1, 1)))
    shared: dict[str, Any] = {"truncate": True, "mask_in_observation": True, "render_mode": "ansi"}
    env = flat_growth_env(config, **shared)
    assert env.observation_space == FlattenAction(GrowthEnv(mask_in_observation=True)).observation_space
    assert env.render_mode == "ansi"
    env.reset(seed=0)
    assert env.step(0)[2:4] == (False, True)
    mode = AutoresetMode.DISABLED
    many = flat_growth_vector_env(2, config, autoreset_mode=mode, **shared)
    assert many.single_observation_space == env.observation_space
    assert (many.render_mode, many.num_envs, many.autoreset_mode) == ("ansi", 2, mode)
    many.reset(seed=0)
    _, _, terminated, truncated, _ = many.step(np.zeros(2, dtype=np.int64))
    assert truncated.all()
    assert not terminated.any()


@NAMES
@pytest.mark.parametrize("held_out", [False, True])
def test_held_out_hosts_and_those_to_train_on_never_meet(name: str, held_out: bool) -> None:
    register_envs()
    one: gymnasium.Env[Any, Any] = gymnasium.make(name, config=SMALL, held_out=held_out)
    many: gymnasium.vector.VectorEnv[Any, Any, Any]
    many = gymnasium.make_vec(name, num_envs=3, config=SMALL, held_out=held_out)
    one.reset(seed=0)
    many.reset(seed=0)
    assert isinstance(one.unwrapped, GrowthEnv)
    assert isinstance(many.unwrapped, GrowthVectorEnv)
    seeds = [seed for group in (one.unwrapped.group, *many.unwrapped.groups) for seed in group.host_seeds]
    assert [seed % 2 for seed in seeds] == [int(held_out)] * 4  # even to train on, odd to judge on
