"""Slot ids and the ordered set of slots that a network offers."""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Final

_SLOT_ID: Final = re.compile(r"r(0|[1-9]\d*)c(0|[1-9]\d*)")
_LEGACY_NAMES: Final = {"early": "r0c0", "mid": "r0c1", "late": "r0c2"}


def check_slot_id(slot_id: str) -> str:
    """The id itself if it has the form "r{row}c{col}".

    Raises:
        ValueError: any other form; for the old names early, mid and late the message names the id to use.
    """
    if slot_id in _LEGACY_NAMES:
        raise ValueError(f"slot name {slot_id!r} is no longer used; write {_LEGACY_NAMES[slot_id]!r}")
    if not _SLOT_ID.fullmatch(slot_id):
        raise ValueError(f"slot id {slot_id!r} must have the form 'r<row>c<col>', for example 'r0c2'")
    return slot_id


@dataclass(frozen=True, slots=True)
class InjectionSpec:
    """A place in a network where a seed can grow.

    Args:
        slot_id: "r{row}c{col}".
        channels: channels C (cnn) or width D (transformer) of the activation there; at least 1.
        position: depth in the network, from 0 (input) to 1 (output).
        layer_range: first layer (inclusive) and last layer (exclusive) before the slot, from the slot above.

    Raises:
        ValueError: a field outside its range.
    """

    slot_id: str
    channels: int
    position: float
    layer_range: tuple[int, int]

    def __post_init__(self) -> None:
        check_slot_id(self.slot_id)
        if self.channels < 1:
            raise ValueError(f"slot {self.slot_id}: channels must be at least 1, not {self.channels}")
        if not 0.0 <= self.position <= 1.0:
            raise ValueError(f"slot {self.slot_id}: position must lie in [0, 1], not {self.position}")
        first, last = self.layer_range
        if not 0 <= first <= last:
            raise ValueError(
                f"slot {self.slot_id}: layer_range must rise from 0 or more, not {self.layer_range}"
            )


@dataclass(frozen=True, slots=True)
class SlotConfig:
    """The ordered, unique slot ids of a network. Passed whole, never as a count.

    Args:
        slot_ids: at least one id of the form "r{row}c{col}", each once.

    Raises:
        ValueError: no ids, a malformed id or a repeated one.
    """

    slot_ids: tuple[str, ...]

    def __post_init__(self) -> None:
        if not self.slot_ids:
            raise ValueError("`slot_ids` must hold at least one slot id")
        for slot_id in self.slot_ids:
            check_slot_id(slot_id)
        repeated = sorted({slot_id for slot_id in self.slot_ids if self.slot_ids.count(slot_id) > 1})
        if repeated:
            raise ValueError(f"`slot_ids` must be unique; repeated: {', '.join(repeated)}")

    @classmethod
    def default(cls) -> "SlotConfig":
        """Three slots in one row: r0c0, r0c1, r0c2."""
        return cls.for_grid(1, 3)

    @classmethod
    def for_grid(cls, rows: int, cols: int) -> "SlotConfig":
        """All slots of a grid, row by row.

        Raises:
            ValueError: fewer than one row or column.
        """
        if rows < 1 or cols < 1:
            raise ValueError(f"a grid needs at least one row and one column, not {rows} x {cols}")
        return cls(tuple(f"r{row}c{col}" for row in range(rows) for col in range(cols)))

    @classmethod
    def from_specs(cls, specs: Iterable[InjectionSpec]) -> "SlotConfig":
        """The slots of these places, from the network's input to its output (equal positions keep their order)."""
        return cls(tuple(spec.slot_id for spec in sorted(specs, key=lambda spec: spec.position)))

    def index(self, slot_id: str) -> int:
        """Position of a slot, from 0.

        Raises:
            ValueError: the id is malformed or not one of these slots.
        """
        try:
            return self.slot_ids.index(slot_id)
        except ValueError:
            check_slot_id(slot_id)
            raise ValueError(f"slot {slot_id!r} is not one of {', '.join(self.slot_ids)}") from None

    def __len__(self) -> int:
        return len(self.slot_ids)

    def __iter__(self) -> Iterator[str]:
        return iter(self.slot_ids)
