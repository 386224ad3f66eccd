"""What rollouts leave behind for the update."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from leyline_types import FactoredActions
from tamiyo_masks import ActionMasks, relevant_heads
from tamiyo_policies import HiddenState


class Transitions(NamedTuple):
    """What was seen, done and earned: [env, ...] for a single step, [env, time, ...] for many.

    Args:
        observed: features as the environment gave them, which a normaliser learns from.
        features: features as the policy saw them.
        masks: those that the actions were drawn under.
        actions: index of every head.
        log_prob: joint, nats; head_log_probs: its summands.
        value: expected return.
        reward: for the step.
        starts: whether the step was the first of its episode.
        terminated: whether the episode ended for good; truncated: whether it was cut off, which says nothing more
            where it ended for good.
        cut_value: value of the state in which it was cut off, 0 elsewhere.
    """

    observed: Float[Tensor, "env *time feature"]
    features: Float[Tensor, "env *time feature"]
    masks: ActionMasks
    actions: FactoredActions[Tensor]
    log_prob: Float[Tensor, "env *time"]
    head_log_probs: Float[Tensor, "env *time head"]
    value: Float[Tensor, "env *time"]
    reward: Float[Tensor, "env *time"]
    starts: Bool[Tensor, "env *time"]
    terminated: Bool[Tensor, "env *time"]
    truncated: Bool[Tensor, "env *time"]
    cut_value: Float[Tensor, "env *time"]

    @property
    def free_heads(self) -> Bool[Tensor, "env *time head"]:
        """Heads that mattered for the op and had a choice; the op head where more than one op was legal."""
        slots = self.masks.slots_given(self.actions.op)
        used = (slots, *self.masks[1 : len(self.actions)])
        choices = torch.stack([mask.sum(-1) for mask in used], dim=-1)
        return relevant_heads(self.actions.op) & (choices > 1)

    @property
    def free(self) -> Bool[Tensor, "env *time"]:
        """Steps at which more than one action was legal; the others teach the actor nothing."""
        return self.free_heads.any(-1)


class Trajectory(NamedTuple):
    """Stretches of experience, [env, time].

    Args:
        steps: what happened.
        hidden: the policy's state at the start of each chunk, [env, chunk, hidden]; chunks are of equal length.
        last_value: value of the state after the last step; of no account where that step ended its episode.
    """

    steps: Transitions
    hidden: HiddenState
    last_value: Float[Tensor, " env"]

    @property
    def chunk_length(self) -> int:
        """Steps of a chunk."""
        return self.steps.reward.shape[1] // self.hidden.h.shape[1]


class Chunks(NamedTuple):
    """Stretches that are recomputed, each from the hidden state that it started from: [chunk, time] and [chunk]."""

    steps: Transitions
    hidden: HiddenState

    def select(self, rows: Int[Tensor, " row"]) -> "Chunks":
        """The chunks of these numbers, in this order."""
        steps = map_tensors(lambda tensors: tensors[0][rows], [self.steps])
        return Chunks(steps, HiddenState(self.hidden.h[rows], self.hidden.c[rows]))


def in_chunks(trajectory: Trajectory) -> Chunks:
    """All chunks of a trajectory, those of the first environment first."""
    length = trajectory.chunk_length
    steps = map_tensors(lambda tensors: cut(tensors[0], length), [trajectory.steps])
    return Chunks(steps, HiddenState(trajectory.hidden.h.flatten(0, 1), trajectory.hidden.c.flatten(0, 1)))


def cut(tensor: Tensor, length: int) -> Tensor:
    """[env, time, ...] as [env * chunk, length, ...]."""
    return tensor.reshape(-1, length, *tensor.shape[2:])


def stack_steps(steps: Sequence[Transitions]) -> Transitions:
    """Transitions [env, time, ...] from single steps [env, ...], in order of time.

    Raises:
        ValueError: there are no steps.
    """
    if not steps:
        raise ValueError("`steps` must hold at least one step")
    return map_tensors(lambda tensors: torch.stack(list(tensors), dim=1), steps)


def join_trajectories(parts: Sequence[Trajectory]) -> Trajectory:
    """Trajectories of different environments as one, in this order.

    Raises:
        ValueError: there are none, or they differ in their steps or in the length of their chunks.
    """
    if not parts:
        raise ValueError("`parts` must hold at least one trajectory")
    shapes = {(part.steps.reward.shape[1], part.chunk_length) for part in parts}
    if len(shapes) > 1:
        raise ValueError(f"`parts` must have the same steps and length of chunks, not {sorted(shapes)}")
    return Trajectory(
        map_tensors(lambda tensors: torch.cat(list(tensors)), [part.steps for part in parts]),
        HiddenState(*(torch.cat(each) for each in zip(*(part.hidden for part in parts), strict=True))),
        torch.cat([part.last_value for part in parts]),
    )


def map_tensors(
    function: Callable[[Sequence[Tensor]], Tensor], transitions: Sequence[Transitions]
) -> Transitions:
    """Transitions whose tensors are `function` of the tensors at the same place in `transitions`."""
    columns = dict(zip(Transitions._fields, zip(*transitions, strict=True), strict=True))
    masks, actions = columns.pop("masks"), columns.pop("actions")
    return Transitions(
        masks=ActionMasks(*map(function, zip(*masks, strict=True))),
        actions=FactoredActions(*map(function, zip(*actions, strict=True))),
        **{name: function(tensors) for name, tensors in columns.items()},
    )
