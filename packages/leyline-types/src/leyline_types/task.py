"""What a host is trained on and for how long."""

from dataclasses import dataclass
from math import isfinite

from leyline_types.blueprints import Topology


@dataclass(frozen=True, slots=True)
class TaskConfig:
    """One training task, as far as policies need to know it.

    Args:
        name: free text for reports.
        topology: "cnn" or "transformer".
        max_epochs: epochs of an episode; at least 1.
        max_steps: optimiser steps of an episode; at least 1.
        max_seeds: live seeds a network may hold; 0 sets no limit.
        num_classes: classes of the data; at least 2.
        baseline_loss: loss of a guess (nats); losses are shown to policies relative to it; above 0.
        target_loss: loss (nats) worth reaching; at least 0.
        host_params: parameters of the host without seeds; at least 1.
        parameter_price: accuracy that doubling the host's parameters must bring to be worth it, in units of ten points;
            at least 0. At 0.3 a seed that doubles the network pays from three points on.

    Raises:
        ValueError: a field outside its range.
    """

    name: str
    topology: Topology
    max_epochs: int
    max_steps: int
    max_seeds: int
    num_classes: int
    baseline_loss: float
    target_loss: float
    host_params: int
    parameter_price: float

    def __post_init__(self) -> None:
        known = [topology.value for topology in Topology]
        if self.topology not in known:
            raise ValueError(f"`topology` must be one of {', '.join(known)}, not {self.topology!r}")
        object.__setattr__(self, "topology", Topology(self.topology))
        for name, least in _LEAST.items():
            if getattr(self, name) < least:
                raise ValueError(f"`{name}` must be at least {least}, not {getattr(self, name)}")
        if not (isfinite(self.baseline_loss) and self.baseline_loss > 0):
            raise ValueError(f"`baseline_loss` must be finite and above 0, not {self.baseline_loss}")
        if not (isfinite(self.parameter_price) and self.parameter_price >= 0):
            raise ValueError(f"`parameter_price` must be finite and at least 0, not {self.parameter_price}")
        if not (isfinite(self.target_loss) and self.target_loss >= 0):
            raise ValueError(f"`target_loss` must be finite and at least 0, not {self.target_loss}")

    def seed_capacity(self, num_slots: int) -> int:
        """Live seeds that a network with this many slots may hold: the limit, or every slot where there is none."""
        return min(self.max_seeds, num_slots) if self.max_seeds else num_slots


_LEAST = {"max_epochs": 1, "max_steps": 1, "max_seeds": 0, "num_classes": 2, "host_params": 1}
