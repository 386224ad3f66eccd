"""What an evaluation plays."""

from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal, get_args

MAX_HOSTS_PER_MEMBER: Final = 10_000
"""Far more than any interval needs; they are grown as one population."""

Schedules = Literal["none", "first", "all"]


@dataclass(frozen=True, slots=True, kw_only=True)
class EvaluationOptions:
    """Settings of an evaluation.

    Args:
        hosts_per_member: hosts for each combination of what the family may draw, at most `MAX_HOSTS_PER_MEMBER`; there
            must be 16 in all.
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
        if not 1 <= self.hosts_per_member <= MAX_HOSTS_PER_MEMBER:
            raise ValueError(
                f"`hosts_per_member` must be from 1 to {MAX_HOSTS_PER_MEMBER}, not {self.hosts_per_member}"
            )
        for name in ("budget", "seed"):
            if getattr(self, name) < 0:
                raise ValueError(f"`{name}` must be at least 0, not {getattr(self, name)}")
        if self.schedules not in get_args(Schedules):
            choices = ", ".join(get_args(Schedules))
            raise ValueError(f"`schedules` must be one of {choices}, not {self.schedules!r}")
        if self.data and not self.transfer:
            raise ValueError("`data` is played with `transfer` only")
