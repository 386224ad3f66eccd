"""Settings of proximal policy optimisation."""

from dataclasses import dataclass
from enum import StrEnum
from typing import Final


class Ratio(StrEnum):
    """What PPO clips: the probability ratio of each head by itself, or that of the whole action."""

    HEAD = "head"
    JOINT = "joint"


LARGEST: Final = 1e30
"""Of any number here; float32, in which all is calculated, ends at 3.4e38, and Adam multiplies."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PPOConfig:
    """Settings of proximal policy optimisation.

    Args:
        gamma, lam: discount and trace decay of the advantages, in [0, 1].
        clip: how far a probability ratio may move, as a fraction.
        ratio: whether ratios are clipped head by head ("head") or for the whole action ("joint").
        value_weight: weight of the value error.
        entropy_start, entropy_end: weight of the entropy bonus, linear over the run.
        op_floor: probability that is spread evenly over the legal ops while the policy trains, in [0, 1).
        learning_rate, learning_rate_end: of Adam, linear over the run.
        grad_clip: largest L2 norm of a gradient.
        epochs: passes over each batch of trajectories; ended early when the KL divergence passes `target_kl`.
        minibatches: parts that a pass is cut into.
        target_kl: nats; a minibatch beyond it ends the update before its gradient step.
        least_std: floor of the standard deviation that advantages are divided by.

    Raises:
        ValueError: a field outside its range.
    """

    gamma: float = 0.995
    lam: float = 0.98
    clip: float = 0.2
    ratio: Ratio = Ratio.HEAD
    value_weight: float = 0.5
    entropy_start: float = 0.05
    entropy_end: float = 0.005
    op_floor: float = 0.02
    learning_rate: float = 3e-4
    learning_rate_end: float = 3e-4
    grad_clip: float = 5.0
    epochs: int = 8
    minibatches: int = 4
    target_kl: float = 0.015
    least_std: float = 0.01

    def __post_init__(self) -> None:
        for name in ("gamma", "lam"):
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f"`{name}` must lie in [0, 1], not {getattr(self, name)}")
        for name in ("clip", "learning_rate", "grad_clip", "target_kl", "least_std"):
            if not 0 < getattr(self, name) <= LARGEST:
                raise ValueError(
                    f"`{name}` must be above 0 and at most {LARGEST:g}, not {getattr(self, name)}"
                )
        for name in ("value_weight", "entropy_start", "entropy_end", "learning_rate_end"):
            if not 0 <= getattr(self, name) <= LARGEST:
                raise ValueError(f"`{name}` must lie in [0, {LARGEST:g}], not {getattr(self, name)}")
        for name in ("epochs", "minibatches"):
            if not (isinstance(getattr(self, name), int) and getattr(self, name) >= 1):
                raise ValueError(f"`{name}` must be a whole number, at least 1, not {getattr(self, name)}")
        if not 0 <= self.op_floor < 1:
            raise ValueError(f"`op_floor` must lie in [0, 1), not {self.op_floor}")
        if self.ratio not in [ratio.value for ratio in Ratio]:
            raise ValueError(f"`ratio` must be one of {', '.join(Ratio)}, not {self.ratio!r}")
        object.__setattr__(self, "ratio", Ratio(self.ratio))  # a word, as JSON holds it, is as good

    @property
    def floors(self) -> dict[str, float]:
        """By head, what `get_action` and `evaluate_actions` take."""
        return {"op": self.op_floor} if self.op_floor else {}

    def entropy_weight(self, progress: float) -> float:
        """Weight of the entropy bonus when this fraction of the run is done."""
        return self.entropy_start + progress * (self.entropy_end - self.entropy_start)

    def learning_rate_at(self, progress: float) -> float:
        """Learning rate when this fraction of the run is done."""
        return self.learning_rate + progress * (self.learning_rate_end - self.learning_rate)
