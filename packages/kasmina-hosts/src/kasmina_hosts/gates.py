"""What a seed must have shown before the lifecycle lets it move on, and how fast it goes."""

from dataclasses import dataclass
from math import inf
from typing import NamedTuple

from jaxtyping import Float
from torch import Tensor

from kasmina_hosts.alpha import STEEPNESS


@dataclass(frozen=True, slots=True, kw_only=True)
class Gates:
    """Conditions of the lifecycle. A legal action that fails its gate changes nothing.

    Args:
        min_improvement: TRAINING -> BLENDING: rise of the validation accuracy since the stage began, points.
        min_training_epochs: TRAINING -> BLENDING: epochs in the stage.
        min_gradient_ratio: TRAINING -> BLENDING: the seed's gradient over the host's, each per root of its size.
        min_contribution: HOLDING -> FOSSILIZED: accuracy with the seed minus without it, points.
        embargo_epochs: epochs that a pruned seed's slot stays EMBARGOED.
        steepness: of the SIGMOID curve of alpha; see `alpha.ramp_progress`.

    Raises:
        ValueError: fewer than one epoch, or a steepness that is not above 0.
    """

    min_improvement: float = 0.5
    min_training_epochs: int = 2
    min_gradient_ratio: float = 0.1
    min_contribution: float = 1.0
    embargo_epochs: int = 5
    steepness: float = STEEPNESS

    def __post_init__(self) -> None:
        for name in ("min_training_epochs", "embargo_epochs"):
            if getattr(self, name) < 1:
                raise ValueError(f"`{name}` must be at least 1, not {getattr(self, name)}")
        if not 0 < self.steepness < inf:
            raise ValueError(f"`steepness` must be above 0 and finite, not {self.steepness}")

    @classmethod
    def for_episode(cls, max_epochs: int) -> "Gates":
        """The defaults, which are those of an episode of 25 epochs, with their epochs scaled to another length."""
        training, embargo = round(2 * max_epochs / 25), round(5 * max_epochs / 25)
        return cls(min_training_epochs=max(1, training), embargo_epochs=max(1, embargo))


class GateInputs(NamedTuple):
    """What the gates look at, [host, slot] each; NaN where unknown, which passes no gate."""

    improvement: Float[Tensor, "host slot"]
    gradient_ratio: Float[Tensor, "host slot"]
    contribution: Float[Tensor, "host slot"]
