"""The numbers in the heuristic's rules."""

from dataclasses import dataclass

from leyline_types import BlueprintAction


@dataclass(frozen=True, slots=True, kw_only=True)
class HeuristicSettings:
    """The numbers in the rules.

    Args:
        damage: contribution (percentage points, below 0) under which a seed is pruned.
        worth: contribution (points) from which a held seed is fossilized.
        improvement: rise of the host's accuracy (points) while a seed trains from which it may blend in.
        gradient_ratio: gradient ratio from which a seed counts as learning; an unknown one does not hold it back.
        patience: epochs that a seed may train or be held without advancing before it is pruned.
        plateau: epochs without improvement of the host from which a seed is germinated.
        last_germination: share of the episode after which nothing is germinated; 0 to 1.
        rotation: the blueprints to germinate, in turn; those of another topology are passed over.
        penalty: for how many germinations a blueprint is passed over, as far as others fit, after the heuristic has
            pruned a seed of it; penalties add up.

    Raises:
        ValueError: a field outside its range.
    """

    damage: float = -1.0
    worth: float = 1.0
    improvement: float = 0.5
    gradient_ratio: float = 0.1
    patience: int = 5
    plateau: int = 3
    last_germination: float = 0.75
    rotation: tuple[BlueprintAction, ...] = (
        BlueprintAction.CONV_LIGHT,
        BlueprintAction.NORM,
        BlueprintAction.MLP_SMALL,
        BlueprintAction.LORA,
    )
    penalty: int = 2

    def __post_init__(self) -> None:
        if not self.damage < 0 <= self.worth:
            raise ValueError(f"`damage` must be below 0 and `worth` not, not {self.damage} and {self.worth}")
        for name in ("patience", "plateau"):
            if getattr(self, name) < 1:
                raise ValueError(f"`{name}` must be at least 1 epoch, not {getattr(self, name)}")
        if self.penalty < 0:
            raise ValueError(f"`penalty` must be 0 germinations or more, not {self.penalty}")
        if not 0 <= self.last_germination <= 1:
            raise ValueError(f"`last_germination` must lie in [0, 1], not {self.last_germination}")
        if not self.rotation or BlueprintAction.NOOP in self.rotation:
            raise ValueError(f"`rotation` must name blueprints that can be germinated, not {self.rotation}")
