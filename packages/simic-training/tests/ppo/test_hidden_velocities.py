"""CartPole with its velocities hidden: how fast the pole falls can only be told from what was seen before.

Barto, Sutton and Anderson, Neuronlike Adaptive Elements That Can Solve Difficult Learning Control Problems, 1983; as
Gymnasium has it. Episodes end for good when the pole falls and are cut off after 200 steps.
"""

from collections import deque
from typing import Final, final

import gymnasium
import numpy as np
import pytest
import torch
from gymnasium.vector import AutoresetMode
from numpy.typing import NDArray
from torch import Tensor
from toy_masks import allow
from toy_training import make_policy, train

from leyline_types import FactoredActions, LifecycleOp, SlotConfig, observation_schema
from simic_training.ppo.config import PPOConfig
from simic_training.ppo.environments import EnvStep, Seen

pytestmark = pytest.mark.slow

ENVS, LONGEST, STEPS = 16, 200, 64
CONFIG: Final = PPOConfig(
    gamma=0.98,
    lam=0.95,
    entropy_start=0.01,
    entropy_end=0.0,
    learning_rate=3e-3,
    epochs=4,
    minibatches=2,
    target_kl=0.03,
)
POSITION, ANGLE = 0, 2

Observations = NDArray[np.float32]


@final
class HiddenVelocities:
    """WAIT pushes the cart to the left, ADVANCE to the right; the features are its position and the pole's angle."""

    def __init__(self, seed: int) -> None:
        self._poles = gymnasium.make_vec(
            "CartPole-v1",
            ENVS,
            vectorization_mode="sync",
            vector_kwargs={"autoreset_mode": AutoresetMode.SAME_STEP},
            max_episode_steps=LONGEST,
        )
        self._seed = seed
        self._width = observation_schema(SlotConfig.for_grid(1, 1)).dim
        self._masks = allow(ENVS, 1, {LifecycleOp.WAIT: [0], LifecycleOp.ADVANCE: [0]})
        self._time = np.zeros(ENVS, dtype=np.int64)
        self.lengths: deque[int] = deque(maxlen=100)
        self.cut_off = 0

    @property
    def num_envs(self) -> int:
        return ENVS

    def reset(self) -> Seen:
        observation, _ = self._poles.reset(seed=self._seed)
        return self._look(observation)

    def step(self, actions: FactoredActions[Tensor]) -> EnvStep:
        pushes = (actions.op == LifecycleOp.ADVANCE).long().numpy()
        observation, reward, terminated, truncated, info = self._poles.step(pushes)
        ended = terminated | truncated
        self._time += 1
        self.lengths.extend(self._time[ended].tolist())
        self.cut_off += int(truncated.sum())
        self._time[ended] = 0
        final = None
        if truncated.any():
            last = observation.copy()
            last[ended] = np.stack(info["final_obs"][ended])
            final = self._look(last)
        return EnvStep(
            self._look(observation),
            torch.from_numpy(reward).float() / 10,
            torch.from_numpy(terminated),
            torch.from_numpy(truncated),
            final,
        )

    def _look(self, observation: Observations) -> Seen:
        features = torch.zeros(ENVS, self._width)
        features[:, 0] = torch.from_numpy(observation[:, POSITION])
        features[:, 1] = torch.from_numpy(observation[:, ANGLE]) * 5
        return Seen(features, self._masks)


def balance(kind: str, *, updates: int, seed: int = 0) -> HiddenVelocities:
    """The world in which a policy has learnt."""
    world = HiddenVelocities(seed)
    policy = make_policy(kind, hidden_dim=64, seed=seed)
    for _ in train(policy, world, CONFIG, updates=updates, steps=STEPS, chunk_length=32, seed=seed):
        pass
    return world


def test_is_balanced_with_memory() -> None:
    world = balance("lstm", updates=40)
    assert np.mean(world.lengths) > 150
    assert world.cut_off > 20


def test_falls_without() -> None:
    assert np.mean(balance("mlp", updates=40).lengths) < 80
