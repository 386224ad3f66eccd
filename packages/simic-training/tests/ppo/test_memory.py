"""A cue at an episode's first step says what to do at its last: nothing that is seen then gives it away."""

from typing import final

import pytest
import torch
from torch import Tensor
from toy_masks import allow
from toy_training import make_policy, train

from leyline_types import FactoredActions, LifecycleOp, SlotConfig, observation_schema
from simic_training.ppo.config import PPOConfig
from simic_training.ppo.environments import EnvStep, Seen

pytestmark = pytest.mark.slow

ENVS = 32
SHORTEST, LONGEST = 3, 6


@final
class CueWorld:
    """Feature 0 is the cue, +1 or -1, in the first step; feature 1 tells the last step.

    Then WAIT is right after +1 and ADVANCE after -1, for a reward of 1. Lengths are drawn episode by episode.
    """

    def __init__(self, seed: int) -> None:
        self._generator = torch.Generator().manual_seed(seed)
        self._width = observation_schema(SlotConfig.for_grid(1, 1)).dim
        self._masks = allow(ENVS, 1, {LifecycleOp.WAIT: [0], LifecycleOp.ADVANCE: [0]})
        self._cue = self._length = self._time = torch.zeros(ENVS)
        self.answers: list[bool] = []

    @property
    def num_envs(self) -> int:
        return ENVS

    def reset(self) -> Seen:
        self._start(torch.ones(ENVS, dtype=torch.bool))
        return self._look()

    def step(self, actions: FactoredActions[Tensor]) -> EnvStep:
        ends = self._time == self._length - 1
        right = (actions.op == LifecycleOp.WAIT) == (self._cue > 0)
        self.answers += right[ends].tolist()
        self._time = self._time + 1
        self._start(ends)
        return EnvStep(self._look(), (ends & right).float(), ends, torch.zeros_like(ends))

    def _start(self, rows: Tensor) -> None:
        cues = torch.randint(2, (ENVS,), generator=self._generator) * 2.0 - 1.0
        lengths = torch.randint(SHORTEST, LONGEST + 1, (ENVS,), generator=self._generator).float()
        self._cue = torch.where(rows, cues, self._cue)
        self._length = torch.where(rows, lengths, self._length)
        self._time = torch.where(rows, 0.0, self._time)

    def _look(self) -> Seen:
        features = torch.zeros(ENVS, self._width)
        features[:, 0] = torch.where(self._time == 0, self._cue, 0.0)
        features[:, 1] = (self._time == self._length - 1).float()
        return Seen(features, self._masks)


def success(kind: str, *, updates: int, seed: int = 0) -> float:
    """Share of right answers over the last tenth of the episodes."""
    world = CueWorld(seed)
    config = PPOConfig(
        gamma=0.9,
        lam=0.9,
        entropy_start=0.01,
        entropy_end=0.0,
        learning_rate=1e-2,
        epochs=4,
        minibatches=1,
    )
    for _ in train(
        make_policy(kind, hidden_dim=32, seed=seed), world, config, updates=updates, steps=16, chunk_length=8
    ):
        pass
    newest = world.answers[-len(world.answers) // 10 :]
    return sum(newest) / len(newest)


def test_is_learnt_with_memory() -> None:
    assert success("lstm", updates=50) > 0.9


def test_stays_a_guess_without() -> None:
    assert success("mlp", updates=50) < 0.6


@pytest.mark.parametrize("kind", ["lstm", "mlp"])
def test_answers_are_counted(kind: str) -> None:
    assert 0.3 < success(kind, updates=1) < 0.7
