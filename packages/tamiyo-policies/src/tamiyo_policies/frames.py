"""Frame stacking: a feed-forward network sees the last steps beside the present one.

Mnih et al., Human-level control through deep reinforcement learning, 2015, https://doi.org/10.1038/nature14236. The
frames travel in the hidden state, so that acting and evaluating need nothing else than of a recurrent policy.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torch.nn.functional import pad

from tamiyo_policies.hidden import HiddenState


@dataclass(frozen=True, slots=True)
class FrameStack:
    """What a network takes in that sees `count` frames.

    A frame in memory is its features and a 1, all zeros where the episode has no such step yet: that a frame is
    missing can be told from features that are 0.

    Args:
        feature_dim: features of a step.
        count: frames seen, the present one among them.
    """

    feature_dim: int
    count: int

    @property
    def input_dim(self) -> int:
        """Width of the stacked frames, oldest first."""
        return self.state_dim + self.feature_dim

    @property
    def state_dim(self) -> int:
        """Width of `h`, the frames remembered; `c` has width 0."""
        return (self.count - 1) * (self.feature_dim + 1)

    def step(
        self, features: Float[Tensor, "batch feature"], hidden: HiddenState
    ) -> tuple[Float[Tensor, "batch input"], HiddenState]:
        """The frames of one step, and what is remembered after it."""
        inputs = torch.cat((hidden.h, features), dim=-1)
        remembered = pad(inputs, (0, 1), value=1.0)[:, self.feature_dim + 1 :]
        return inputs, HiddenState(remembered, hidden.c)

    def unroll(
        self,
        features: Float[Tensor, "batch time feature"],
        hidden: HiddenState,
        episode_starts: Bool[Tensor, "batch time"] | None = None,
    ) -> tuple[Float[Tensor, "batch time input"], HiddenState]:
        """The frames of every step of a sequence, and what is remembered after the last.

        Args:
            features: of every step.
            hidden: what is remembered before the first step.
            episode_starts: True forgets what came before that step.
        """
        batch, _, width = features.shape
        past = hidden.h.reshape(batch, self.count - 1, width + 1)
        frames = torch.cat((past, pad(features, (0, 1), value=1.0)), dim=1)
        stacked = frames.unfold(1, self.count, 1).movedim(-1, 2)  # [batch, time, frame, feature + 1]
        if episode_starts is not None:
            episode = pad(episode_starts.cumsum(1), (self.count - 1, 0))  # 0 before the first start
            of_this_one = episode.unfold(1, self.count, 1) == episode[:, self.count - 1 :, None]
            stacked = torch.where(of_this_one[..., None], stacked, 0.0)
        return stacked.flatten(2)[..., :-1], HiddenState(stacked[:, -1, 1:].flatten(1), hidden.c)
