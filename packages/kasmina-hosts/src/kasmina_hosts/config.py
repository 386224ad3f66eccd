"""How hosts are built and trained."""

from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from leyline_types import Topology

NUM_SLOTS: Final = 3
"""Stages or blocks of a host; a slot follows each."""
MAX_LEARNING_RATE: Final = 1e30
"""float32, in which hosts are trained, ends at 3.4e38."""
MAX_PRICE: Final = 1e30
"""float32, in which observations hold it, ends there too."""


def check_price(price: float, name: str) -> None:
    """That a price is one.

    Raises:
        ValueError: below 0, or not finite in float32, in which observations hold it.
    """
    if not 0 <= price <= MAX_PRICE:
        raise ValueError(f"{name} must be at least 0 and at most {MAX_PRICE:g}, not {price}")


class OptimizerKind(StrEnum):
    """How hosts learn."""

    ADAM = "adam"
    SGD = "sgd"


@dataclass(frozen=True, slots=True, kw_only=True)
class HostConfig:
    """Settings of every host of a population.

    Args:
        topology: "cnn": three convolutional stages; "transformer": a small ViT of three blocks.
        max_epochs: epochs of an episode.
        width: channels of every stage, or width of every token; so of every slot.
        patch_size: side of a transformer's patches, pixels.
        batch_size: samples per optimiser step; the last batch of an epoch may be smaller.
        kernels: cnn: side of each stage's convolution, odd; 1 sees no neighbours.
        inner_widths: cnn: channels that each stage is squeezed through, 0 for none; transformer: hidden units of each
            block's MLP, 0 for as many as `width`.
        norms: cnn: whether each stage is normalised.
        attention: transformer: whether each block attends; one that does not is its MLP alone.
        head_norm: whether the classifier's input is normalised. Without it a norm in any slot helps nearly every host.
        optimizer: "adam", or "sgd" with `momentum`. learning_rate: of either.
        momentum: of SGD, in [0, 1).
        parameter_price: what a parameter costs a host that `HostPopulation.reset` is told no price for; see
            `leyline_types.TaskConfig`.
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
    kernels: tuple[int, ...] = (3,) * NUM_SLOTS
    inner_widths: tuple[int, ...] = (0,) * NUM_SLOTS
    norms: tuple[bool, ...] = (True,) * NUM_SLOTS
    attention: tuple[bool, ...] = (True,) * NUM_SLOTS
    head_norm: bool = True
    optimizer: OptimizerKind = OptimizerKind.ADAM
    learning_rate: float = 0.01
    momentum: float = 0.9
    parameter_price: float = 0.3
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
        for name in ("kernels", "inner_widths", "norms", "attention"):
            if len(getattr(self, name)) != NUM_SLOTS:
                raise ValueError(
                    f"`{name}` must have {NUM_SLOTS} values, one a stage, not {getattr(self, name)}"
                )
        for kernel in self.kernels:
            if kernel < 1 or kernel % 2 == 0 or kernel >= 2**31:
                raise ValueError(f"`kernels` must be odd and at least 1, not {self.kernels}")
        if not all(0 <= inner < 2**31 for inner in self.inner_widths):
            raise ValueError(f"`inner_widths` must be from 0 to 2^31 - 1, not {self.inner_widths}")
        kinds = [kind.value for kind in OptimizerKind]
        if self.optimizer not in kinds:
            raise ValueError(f"`optimizer` must be one of {', '.join(kinds)}, not {self.optimizer!r}")
        object.__setattr__(self, "optimizer", OptimizerKind(self.optimizer))
        if not 0 <= self.momentum < 1:
            raise ValueError(f"`momentum` must be in [0, 1), not {self.momentum}")
        if not 0 < self.learning_rate <= MAX_LEARNING_RATE:
            raise ValueError(
                f"`learning_rate` must be above 0 and at most {MAX_LEARNING_RATE:g}, not {self.learning_rate}"
            )
        check_price(self.parameter_price, "`parameter_price`")
        if self.max_seeds < 0:
            raise ValueError(f"`max_seeds` must be at least 0, not {self.max_seeds}")
