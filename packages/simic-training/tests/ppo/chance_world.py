"""Environments in which everything is drawn by chance: what is seen, what is legal, what is paid and when it ends."""

from typing import final

import torch
from torch import Tensor
from toy_masks import masks_by_chance

from leyline_types import FactoredActions, LifecycleOp, SlotConfig, observation_schema
from simic_training.ppo.environments import EnvStep, Seen


@final
class ChanceWorld:
    """Equal seeds give equal worlds. The reward depends on the op, so that there is something to learn.

    Args:
        num_envs: how many there are.
        slots: of each.
        seed: of everything.
        ends: chance that a step ends its episode for good.
        cut: chance that a step is where its episode is cut off, also where it ends for good.
    """

    def __init__(
        self, num_envs: int, *, slots: int = 3, seed: int = 0, ends: float = 0.1, cut: float = 0.1
    ) -> None:
        self.num_envs = num_envs
        self._slots, self._ends, self._cut = slots, ends, cut
        self._width = observation_schema(SlotConfig.for_grid(1, slots)).dim
        self._generator = torch.Generator().manual_seed(seed)
        self.seen: list[Seen] = []
        self.steps: list[EnvStep] = []

    def reset(self) -> Seen:
        self.seen.append(self._look())
        return self.seen[-1]

    def step(self, actions: FactoredActions[Tensor]) -> EnvStep:
        """What is seen and done is kept in `seen` and `steps`."""
        terminated, truncated = torch.rand(2, self.num_envs, generator=self._generator)
        noise = torch.randn(self.num_envs, generator=self._generator)
        step = EnvStep(
            self._look(),
            (actions.op == LifecycleOp.GERMINATE).float() + 0.3 * noise,
            terminated < self._ends,
            truncated < self._cut,
            self._look(),
        )
        self.seen.append(step.seen)
        self.steps.append(step)
        return step

    def _look(self) -> Seen:
        features = torch.randn(self.num_envs, self._width, generator=self._generator)
        masks = masks_by_chance(self.num_envs, slots=self._slots, generator=self._generator)
        return Seen(features, masks)
