"""Stable-Baselines3 sees the batch as its own vector environment, and MaskablePPO trains on it by the masks."""

from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch
from gymnasium.utils.env_checker import data_equivalence
from gymnasium.vector import AutoresetMode
from small_envs import EPOCHS, SLOTS, SMALL, Array, grouped, random_choice

from leyline_types import head_sizes
from simic_training.envs.flatten import FlattenAction, FlattenVectorAction
from simic_training.envs.single import GrowthEnv
from simic_training.envs.vector import GrowthVectorEnv

pytest.importorskip("sb3_contrib", reason="the extra `sb3` is not installed")

from sb3_contrib import MaskablePPO
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.env_checker import check_env
from stable_baselines3.common.vec_env import DummyVecEnv, VecEnv, VecMonitor

from simic_training.envs.sb3 import GrowthVecEnv

HOSTS, STEPS = 64, 8


class WatchMasks(BaseCallback):
    """Counts actions and those among them that were masked or refused."""

    def __init__(self) -> None:
        super().__init__()
        self.actions = self.masked = self.refused = 0

    def _on_step(self) -> bool:
        masks, actions = self.locals["action_masks"], self.locals["actions"]
        self.actions += len(actions)
        self.masked += int((~allowed(masks, actions)).sum())
        self.refused += sum(info["invalid_action"] for info in self.locals["infos"])
        return True


def allowed(masks: Array, actions: Array) -> npt.NDArray[np.bool_]:
    """Whether each action is within its mask: one number, or one per head."""
    if actions.ndim == 1:
        actions, starts = actions[:, None], np.zeros(1, dtype=np.int64)
    else:
        sizes = np.array(head_sizes(SLOTS))
        starts = np.cumsum(sizes) - sizes
    return np.asarray(np.take_along_axis(masks, actions + starts, axis=1).all(1))


def train(env: GrowthVectorEnv | FlattenVectorAction, policy: str, steps: int) -> tuple[Any, WatchMasks]:
    model = MaskablePPO(
        policy, VecMonitor(GrowthVecEnv(env)), n_steps=STEPS, batch_size=128, n_epochs=2, seed=0, device="cpu"
    )
    before = [weight.clone() for weight in model.policy.parameters()]
    watch = WatchMasks()
    model.learn(steps, callback=watch)
    assert all(weight.isfinite().all() for weight in model.policy.parameters())
    assert not all(map(torch.equal, before, model.policy.parameters()))
    return model, watch


@pytest.mark.slow
@pytest.mark.parametrize(("mask_in_observation", "steps"), [(False, 2048), (True, 512)])
def test_maskable_ppo_trains_on_flat_actions(mask_in_observation: bool, steps: int) -> None:
    env = FlattenVectorAction(GrowthVectorEnv(HOSTS, grouped(HOSTS), mask_in_observation=mask_in_observation))
    model, watch = train(env, "MultiInputPolicy" if mask_in_observation else "MlpPolicy", steps)
    assert watch.actions == steps
    assert watch.masked == watch.refused == 0
    assert all(episode["l"] == EPOCHS for episode in model.ep_info_buffer)
    assert len(model.ep_info_buffer) == 100  # VecMonitor's last ones


def test_maskable_ppo_trains_on_factored_actions() -> None:
    _, watch = train(GrowthVectorEnv(HOSTS, grouped(HOSTS)), "MlpPolicy", steps=512)
    assert watch.actions == 512
    assert watch.masked == 0
    assert watch.refused < watch.actions


@pytest.mark.parametrize("truncate", [False, True])
@pytest.mark.parametrize("mask_in_observation", [False, True])
def test_adapter_equals_sb3s_own_of_single_environments(truncate: bool, mask_in_observation: bool) -> None:
    shared = {"truncate": truncate, "mask_in_observation": mask_in_observation}
    native = GrowthVecEnv(FlattenVectorAction(GrowthVectorEnv(1, SMALL, **shared)))  # type: ignore[arg-type]
    reference = DummyVecEnv([lambda: FlattenAction(GrowthEnv(SMALL, **shared))])  # type: ignore[arg-type]
    both: tuple[VecEnv, VecEnv] = (native, reference)
    assert native.observation_space == reference.observation_space
    assert native.action_space == reference.action_space
    for env in both:
        env.seed(11)
    first, expected = (plain(env.reset()) for env in both)
    assert data_equivalence(first, expected, exact=True)
    rng = np.random.default_rng(0)
    for _ in range(2 * EPOCHS + 1):
        masks, expected_masks = (np.stack(env.env_method("action_masks")) for env in both)
        assert np.array_equal(masks, expected_masks)
        actions = random_choice(masks, rng)
        step, expected = (env.step(actions) for env in both)
        assert data_equivalence(plain(step[0]), plain(expected[0]), exact=True)
        assert data_equivalence(step[1:], expected[1:], exact=True)
        assert data_equivalence(native.reset_infos, reference.reset_infos, exact=True)


def plain(observation: Any) -> Any:
    """Without the ordered dicts of SB3."""
    return dict(observation) if isinstance(observation, dict) else observation


def test_sb3_finds_no_fault_in_single_environments() -> None:
    check_env(FlattenAction(GrowthEnv(SMALL, mask_in_observation=True)), skip_render_check=True)
    check_env(GrowthEnv(SMALL), skip_render_check=True)


def test_adapter_answers_what_sb3_asks() -> None:
    env = GrowthVecEnv(GrowthVectorEnv(2, SMALL, render_mode="ansi"))
    env.reset()
    assert env.get_attr("render_mode") == ["ansi", "ansi"]
    assert env.has_attr("action_masks")
    assert not env.has_attr("no_such_thing")
    assert env.env_is_wrapped(FlattenAction) == [False, False]
    frames = env.env_method("render", indices=[1])
    assert len(frames) == 1
    assert frames[0].startswith("epoch 0")
    with pytest.raises(NotImplementedError, match="'width' cannot be set: the hosts share one environment"):
        env.set_attr("width", 4)
    with pytest.raises(RuntimeError, match="call step_async"):
        env.step_wait()
    env.close()


def test_other_autoreset_modes_are_refused() -> None:
    with pytest.raises(ValueError, match="must reset in the same step"):
        GrowthVecEnv(GrowthVectorEnv(2, SMALL, autoreset_mode=AutoresetMode.NEXT_STEP))
