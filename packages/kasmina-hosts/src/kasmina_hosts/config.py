"""How hosts are built and trained."""

from dataclasses import dataclass
from typing import Final

from leyline_types import Topology

MAX_LEARNING_RATE: Final = 1e30
"""float32, in which hosts are trained, ends at 3.4e38."""


@dataclass(frozen=True, slots=True, kw_only=True)
class HostConfig:
    """Settings of every host of a population.

    Args:
        topology: "cnn": three convolutional stages; "transformer": a small ViT of three blocks.
        max_epochs: epochs of an episode.
        width: channels of every stage, or width of every token; so of every slot.
        patch_size: side of a transformer's patches, pixels.
        batch_size: samples per optimiser step; the last batch of an epoch may be smaller.
        learning_rate: of stochastic gradient descent.
        max_seeds: live seeds that a host may hold; 0 sets no limit.
        validation_samples: of the validation part, to measure on after every epoch; all where there are fewer.
        co_adapt: whether a host learns through its seeds once they blend in; if not, they only learn beside it.
        interactions: whether pairs of seeds are measured too, at one more pass per pair.

    Raises:
        ValueError: a field outside its range.
    """

    topology: Topology = Topology.CNN
    max_epochs: int = 25
    width: int = 4
    patch_size: int = 4
    batch_size: int = 64
    learning_rate: float = 0.2
    max_seeds: int = 0
    validation_samples: int = 322
    co_adapt: bool = True
    interactions: bool = True

    def __post_init__(self) -> None:
        known = [topology.value for topology in Topology]
        if self.topology not in known:
            raise ValueError(f"`topology` must be one of {', '.join(known)}, not {self.topology!r}")
        object.__setattr__(self, "topology", Topology(self.topology))
        for name in ("max_epochs", "width", "patch_size", "batch_size", "validation_samples"):
            if getattr(self, name) < 1:
                raise ValueError(f"`{name}` must be at least 1, not {getattr(self, name)}")
            if getattr(self, name) >= 2**31:  # what is counted with it is to fit into 64 bits
                raise ValueError(f"`{name}` must be below 2^31, not {getattr(self, name)}")
        if not 0 < self.learning_rate <= MAX_LEARNING_RATE:
            raise ValueError(
                f"`learning_rate` must be above 0 and at most {MAX_LEARNING_RATE:g}, not {self.learning_rate}"
            )
        if self.max_seeds < 0:
            raise ValueError(f"`max_seeds` must be at least 0, not {self.max_seeds}")
