"""How hosts are built and trained."""

from dataclasses import dataclass
from math import inf


@dataclass(frozen=True, slots=True, kw_only=True)
class HostConfig:
    """Settings of every host of a population.

    Args:
        max_epochs: epochs of an episode.
        width: channels of every stage, and so of every slot.
        batch_size: samples per optimiser step; the last batch of an epoch may be smaller.
        learning_rate: of stochastic gradient descent.
        max_seeds: live seeds that a host may hold; 0 sets no limit.

    Raises:
        ValueError: a field outside its range.
    """

    max_epochs: int = 25
    width: int = 4
    batch_size: int = 64
    learning_rate: float = 0.2
    max_seeds: int = 0

    def __post_init__(self) -> None:
        for name in ("max_epochs", "width", "batch_size"):
            if getattr(self, name) < 1:
                raise ValueError(f"`{name}` must be at least 1, not {getattr(self, name)}")
        if not 0 < self.learning_rate < inf:
            raise ValueError(f"`learning_rate` must be above 0 and finite, not {self.learning_rate}")
        if self.max_seeds < 0:
            raise ValueError(f"`max_seeds` must be at least 0, not {self.max_seeds}")
