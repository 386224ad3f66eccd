"""What an evaluation plays."""

from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal, get_args

MOST: Final = 10_000
"""Members of each lack, and hosts of each member: far more than any interval needs."""

Schedules = Literal["none", "first", "all"]


@dataclass(frozen=True, slots=True, kw_only=True)
class EvaluationOptions:
    """Settings of an evaluation.

    Args:
        members_per_lack: held-out members of the family for each lack that it draws, 2 to `MOST`: they are what
            intervals resample.
        hosts_per_member: hosts of each member, at most `MOST`; there must be 16 hosts in all.
        schedules: which of the sweep are played: "none", "first" (those that start with the first epoch) or "all".
        transfer: whether unseen lengths and data are played too.
        seed: of hosts and sampled actions.
        data: .npz files of different names that networks are grown on too, with `transfer`.

    Raises:
        ValueError: a field outside its range.
    """

    members_per_lack: int = 4
    hosts_per_member: int = 2
    schedules: Schedules = "first"
    transfer: bool = False
    seed: int = 0
    data: tuple[Path, ...] = ()

    def __post_init__(self) -> None:
        for name, least in (("members_per_lack", 2), ("hosts_per_member", 1)):
            if not least <= getattr(self, name) <= MOST:
                raise ValueError(f"`{name}` must be from {least} to {MOST}, not {getattr(self, name)}")
        if self.seed < 0:
            raise ValueError(f"`seed` must be at least 0, not {self.seed}")
        if self.schedules not in get_args(Schedules):
            choices = ", ".join(get_args(Schedules))
            raise ValueError(f"`schedules` must be one of {choices}, not {self.schedules!r}")
        if self.data and not self.transfer:
            raise ValueError("`data` is played with `transfer` only")
        names = [path.stem for path in self.data]
        if len(set(names)) < len(names):
            raise ValueError(
                f"`data` must be files of different names, which tables bear, not {', '.join(names)}"
            )
