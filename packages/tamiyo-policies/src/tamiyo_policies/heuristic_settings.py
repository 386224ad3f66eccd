"""The numbers in the heuristic's rules."""

from dataclasses import dataclass
from math import inf
from typing import Final, NamedTuple

from leyline_types import TOPOLOGY_BLUEPRINTS, BlueprintAction, TempoAction, Topology

BASE_EPOCHS: Final = 25
"""The length of the episode that the numbers of epochs in `HeuristicSettings` are for."""


class BlueprintCandidate(NamedTuple):
    """A blueprint that may be germinated.

    Args:
        blueprint: what to germinate.
        size: its parameters as a share of the host's, as it is taken to be in a slot that has held no seed yet.
    """

    blueprint: BlueprintAction
    size: float


@dataclass(frozen=True, slots=True, kw_only=True)
class HeuristicSettings:
    """The numbers in the rules. Points are percentage points of accuracy.

    Numbers of epochs are those of an episode of 25; other lengths have them scaled, to one epoch at the least, as
    kasmina-hosts scales the conditions of its lifecycle.

    Args:
        damage: contribution (points, below 0) under which a seed is pruned whatever it costs.
        margin: how many times its price a seed must contribute to pay; above 0.
        worth: contribution (points) that FOSSILIZE asks for besides.
        improvement: rise of the host's accuracy (points) while a seed trains that ADVANCE asks for. A host that fits
            all but less than this of its training data has no room for a seed.
        gradient_ratio: gradient ratio that ADVANCE asks for.
        training: epochs of training that ADVANCE asks for.
        patience: epochs of training after which a seed that has not what ADVANCE asks for is pruned.
        trial: epochs at its full alpha after which a seed that does not pay is pruned.
        look: epochs before anything is germinated.
        last_germination: share of the episode after which nothing is germinated; 0 to 1.
        last_decision: share of the episode from which what is not proven goes, and what is may be fossilized; above
            `last_germination`, at most 1. No seed begins to blend that is not through by then.
        ambition: share of the room (points that the host does not fit yet) that seeds may be hoped to fill; above 0, at
            most 1. Most hosts fit their data in the end without any seed, so that it is small: chosen among 0.03 to 0.5
            on training hosts of kasmina-hosts' family.
        tempo: how fast seeds blend in.
        cnn, transformer: what may be germinated in a host of this topology, in any order. The sizes are those in
            kasmina-hosts' family.

    Raises:
        ValueError: a field outside its range.
    """

    damage: float = -1.0
    margin: float = 1.0
    worth: float = 1.0
    improvement: float = 0.5
    gradient_ratio: float = 0.1
    training: int = 2
    patience: int = 5
    trial: int = 2
    look: int = 4
    last_germination: float = 0.6
    last_decision: float = 0.88
    ambition: float = 0.05
    tempo: TempoAction = TempoAction.FAST
    cnn: tuple[BlueprintCandidate, ...] = (
        BlueprintCandidate(BlueprintAction.CONV_HEAVY, 1.9),
        BlueprintCandidate(BlueprintAction.CONV_LIGHT, 0.95),
        BlueprintCandidate(BlueprintAction.DEPTHWISE, 0.25),
        BlueprintCandidate(BlueprintAction.NORM, 0.025),
    )
    transformer: tuple[BlueprintCandidate, ...] = (
        BlueprintCandidate(BlueprintAction.MLP, 0.29),
        BlueprintCandidate(BlueprintAction.ATTENTION, 0.15),
        BlueprintCandidate(BlueprintAction.MLP_SMALL, 0.15),
        BlueprintCandidate(BlueprintAction.LORA, 0.035),
        BlueprintCandidate(BlueprintAction.NORM, 0.005),
    )

    def __post_init__(self) -> None:
        if not -inf < self.damage < 0:
            raise ValueError(f"`damage` must be below 0 and finite, not {self.damage}")
        if not 0 < self.margin < inf:
            raise ValueError(f"`margin` must be above 0 and finite, not {self.margin}")
        for name in ("worth", "improvement", "gradient_ratio"):
            if not 0 <= getattr(self, name) < inf:
                raise ValueError(f"`{name}` must be at least 0 and finite, not {getattr(self, name)}")
        for name in ("training", "patience", "trial", "look"):
            if getattr(self, name) < 1:
                raise ValueError(f"`{name}` must be at least 1 epoch, not {getattr(self, name)}")
        if self.patience < self.training:
            raise ValueError(f"`patience` must be at least `training` ({self.training}), not {self.patience}")
        if not 0 <= self.last_germination < self.last_decision <= 1:
            raise ValueError(
                "`last_germination` and `last_decision` must lie in [0, 1], the first below the second, not "
                f"{self.last_germination} and {self.last_decision}"
            )
        if not 0 < self.ambition <= 1:
            raise ValueError(f"`ambition` must be above 0 and at most 1, not {self.ambition}")
        for topology in Topology:
            _check_candidates(topology, self.candidates(topology))

    def candidates(self, topology: Topology) -> tuple[BlueprintCandidate, ...]:
        """What may be germinated in a host of this topology."""
        match topology:
            case Topology.CNN:
                return self.cnn
            case Topology.TRANSFORMER:
                return self.transformer


def scaled(epochs: int, max_epochs: int) -> int:
    """A number of epochs of `HeuristicSettings` in an episode of another length, at least 1.

    >>> scaled(5, 25), scaled(5, 40), scaled(2, 5)
    (5, 8, 1)
    """
    return max(1, round(epochs * max_epochs / BASE_EPOCHS))


def _check_candidates(topology: Topology, candidates: tuple[BlueprintCandidate, ...]) -> None:
    named = [candidate.blueprint for candidate in candidates]
    fitting = TOPOLOGY_BLUEPRINTS[topology] - {BlueprintAction.NOOP}
    if len(set(named)) < len(named) or not fitting.issuperset(named):
        names = ", ".join(blueprint.name for blueprint in named)
        raise ValueError(f"`{topology}` must name blueprints that fit it, each once, not {names}")
    for blueprint, size in candidates:
        if not 0 < size < inf:
            raise ValueError(
                f"`{topology}`: the size of {blueprint.name} must be above 0 and finite, not {size}"
            )
