"""The choices behind each action head, with what they mean in epochs, steps and amplitudes."""

from enum import IntEnum, StrEnum
from typing import Final


class LifecycleOp(IntEnum):
    """What to do with the chosen slot this step."""

    WAIT = 0
    GERMINATE = 1
    SET_ALPHA_TARGET = 2
    PRUNE = 3
    FOSSILIZE = 4
    ADVANCE = 5


class AlphaMode(IntEnum):
    """Whether a seed's blend amplitude (alpha) rests, rises or falls."""

    HOLD = 0
    UP = 1
    DOWN = 2


class AlphaAlgorithm(IntEnum):
    """How a seed's output joins the host's activation."""

    ADD = 1
    MULTIPLY = 2
    GATE = 3


class BlendCurve(StrEnum):
    """The shape of the first rise of alpha, chosen together with the algorithm by `GerminationStyle`."""

    LINEAR = "linear"
    SIGMOID = "sigmoid"
    GATED = "gated"


class GerminationStyle(IntEnum):
    """Blend curve and algorithm of a new seed, as one choice."""

    LINEAR_ADD = 0
    LINEAR_MULTIPLY = 1
    SIGMOID_ADD = 2
    GATED_GATE = 3

    @property
    def blend_curve(self) -> BlendCurve:
        """The shape of the rise from 0 to the alpha target."""
        return _STYLES[self][0]

    @property
    def alpha_algorithm(self) -> AlphaAlgorithm:
        """How the seed joins the host."""
        return _STYLES[self][1]


_STYLES: Final = {
    GerminationStyle.LINEAR_ADD: (BlendCurve.LINEAR, AlphaAlgorithm.ADD),
    GerminationStyle.LINEAR_MULTIPLY: (BlendCurve.LINEAR, AlphaAlgorithm.MULTIPLY),
    GerminationStyle.SIGMOID_ADD: (BlendCurve.SIGMOID, AlphaAlgorithm.ADD),
    GerminationStyle.GATED_GATE: (BlendCurve.GATED, AlphaAlgorithm.GATE),
}


class TempoAction(IntEnum):
    """How many epochs a new seed takes to blend in."""

    FAST = 0
    STANDARD = 1
    SLOW = 2

    @property
    def epochs(self) -> int:
        """Length of the first rise of alpha, in epochs."""
        return (3, 5, 8)[self]


class AlphaTargetAction(IntEnum):
    """The amplitude to blend towards."""

    HALF = 0
    SEVENTY = 1
    FULL = 2

    @property
    def target(self) -> float:
        """Alpha, a fraction of the seed's full effect."""
        return (0.5, 0.7, 1.0)[self]


class AlphaSpeedAction(IntEnum):
    """How fast a later change of alpha runs."""

    INSTANT = 0
    FAST = 1
    MEDIUM = 2
    SLOW = 3

    @property
    def steps(self) -> int:
        """Length of the change, in epochs; 0 takes effect at once."""
        return (0, 3, 5, 8)[self]


class AlphaCurveAction(IntEnum):
    """The shape of a later change of alpha."""

    LINEAR = 0
    COSINE = 1
    SIGMOID = 2
