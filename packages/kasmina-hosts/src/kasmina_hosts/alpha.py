"""How alpha moves from one value to another."""

import math

import torch
from jaxtyping import Float, Int
from torch import Tensor

from leyline_types import AlphaCurveAction

STEEPNESS = 12.0
"""Of the sigmoid curve, over its whole length."""


def ramp_progress(
    done: Int[Tensor, "*slot"],
    total: Int[Tensor, "*slot"],
    curve: Int[Tensor, "*slot"],
    *,
    steepness: float = STEEPNESS,
) -> Float[Tensor, "*slot"]:
    """The fraction of the way that is covered after `done` of `total` steps: exactly 0 at the start and 1 at the end.

    With t = done / total: LINEAR t; COSINE (1 - cos pi t) / 2; SIGMOID the logistic function of steepness x (t - 1/2),
    shifted and scaled onto 0 to 1. A ramp of no steps is at its end.

    Args:
        done, total: steps, 0 <= done <= total.
        curve: `AlphaCurveAction`.
    """
    t = torch.where(total > 0, done / total.clamp(min=1), 1.0)
    cosine = (1 - torch.cos(math.pi * t)) / 2
    edge = 1 / (1 + math.exp(steepness / 2))
    sigmoid = (torch.sigmoid(steepness * (t - 0.5)) - edge) / (1 - 2 * edge)
    shaped = torch.where(
        curve == AlphaCurveAction.COSINE, cosine, torch.where(curve == AlphaCurveAction.SIGMOID, sigmoid, t)
    )
    return torch.where(t >= 1, 1.0, torch.where(t <= 0, 0.0, shaped))


def ramp(
    start: Float[Tensor, "*slot"], target: Float[Tensor, "*slot"], progress: Float[Tensor, "*slot"]
) -> Float[Tensor, "*slot"]:
    """Alpha at a fraction of the way; exactly `target` at the end."""
    return torch.where(progress >= 1, target, start + (target - start) * progress)
