"""What an evaluation plays."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

Schedules = Literal["none", "first", "all"]


@dataclass(frozen=True, slots=True, kw_only=True)
class EvaluationOptions:
    """Settings of an evaluation.

    Args:
        hosts_per_member: hosts for each combination of what the family may draw; there must be 16 in all.
        schedules: which of the sweep are played: "none", "first" (those that start with the first epoch) or "all".
        transfer: whether unseen lengths, tasks, hosts and data are played too.
        budget: attempts on each host that a search may make, in the tables of equal total budget; 0 leaves them out.
        seed: of hosts and sampled actions.
        data: .npz files that networks are grown on too, with `transfer`.

    Raises:
        ValueError: a field outside its range.
    """

    hosts_per_member: int = 2
    schedules: Schedules = "first"
    transfer: bool = False
    budget: int = 0
    seed: int = 0
    data: tuple[Path, ...] = ()

    def __post_init__(self) -> None:
        if self.hosts_per_member < 1:
            raise ValueError(f"`hosts_per_member` must be at least 1, not {self.hosts_per_member}")
        for name in ("budget", "seed"):
            if getattr(self, name) < 0:
                raise ValueError(f"`{name}` must be at least 0, not {getattr(self, name)}")
        if self.schedules not in get_args(Schedules):
            choices = ", ".join(get_args(Schedules))
            raise ValueError(f"`schedules` must be one of {choices}, not {self.schedules!r}")
        if self.data and not self.transfer:
            raise ValueError("`data` is played with `transfer` only")
