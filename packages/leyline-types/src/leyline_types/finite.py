"""What of an observation is not finite though it must be, found value by value and said by name.

The rule: a value is a finite number. NaN stands for unknown, and only in `OPTIONAL_COLUMNS`; infinity stands for
nothing anywhere. What features are divided by (`DIVISOR_COLUMNS`) is above 0. Features cannot show a breach of it:
their encoding clamps infinity into range, and takes NaN for unknown.

Plain Python over any arrays with `tolist`, for whoever has a single network, and for the words once a faster look at a
whole batch has found that something is wrong.
"""

from collections.abc import Iterator
from math import inf, isfinite, isnan
from typing import Any, Final, NamedTuple

from leyline_types.columns import HISTORY_LENGTH, OPTIONAL_INTEGER_COLUMNS, Observation
from leyline_types.schema import FIELDS
from leyline_types.schema_fields import Block, Encoding, FieldSpec
from leyline_types.slots import SlotConfig

OPTIONAL_COLUMNS: Final = {
    block: frozenset(spec.source for spec in FIELDS[block] if spec.encoding is Encoding.KNOWN)
    | frozenset(OPTIONAL_INTEGER_COLUMNS if block is Block.BASE else ())
    for block in Block
}
"""The columns of each block that may be unknown: those that a validity bit of the schema is made from."""

DIVISOR_COLUMNS: Final = tuple(
    sorted({spec.relative_to for block in Block for spec in FIELDS[block] if spec.relative_to is not None})
)
"""The signal columns that raw values are divided by."""


class NotFinite(NamedTuple):
    """A value of an observation that breaks the rule.

    Args:
        place: its index in the batch, one number for a batch [env].
        slot_id: the slot that it is of; None for what is of the host.
        what: the feature by its name in the schema, or the column where no feature is made of it.
        value: what stands there.
        expected: what is due, in words.
    """

    place: tuple[int, ...]
    slot_id: str | None
    what: str
    value: float
    expected: str

    def __str__(self) -> str:
        return f"{place_in_words(self.place, self.slot_id)}: {self.what} is {self.value:g}, expected {self.expected}"


def place_in_words(place: tuple[int, ...], slot_id: str | None = None) -> str:
    """A place of a batch in words: "environment 3, slot r0c1"; an index of several axes as it is."""
    env = "the environment" if not place else f"environment {place[0] if len(place) == 1 else list(place)}"
    return env if slot_id is None else f"{env}, slot {slot_id}"


def find_not_finite(observation: Observation[Any], slot_config: SlotConfig) -> Iterator[NotFinite]:
    """Every value that breaks the rule, column by column.

    Args:
        observation: signals [*batch], slots and, if there is any, telemetry [*batch, slot], in the shapes that
            `Observation` describes. Integer columns that came as floating ones are looked at as well.
        slot_config: the slots, in the order of the slot axis.
    """
    for block, columns in zip(Block, observation, strict=True):
        if columns is not None:
            for name, column in zip(columns._fields, columns, strict=True):
                for place, value in _values(column.tolist()):
                    expected = _expected(block, name, value)
                    if expected is not None:
                        yield _named(block, name, place, value, expected, slot_config)


def _values(nested: Any, place: tuple[int, ...] = ()) -> Iterator[tuple[tuple[int, ...], float]]:
    if not isinstance(nested, list):
        yield place, nested
        return
    for index, each in enumerate(nested):
        yield from _values(each, (*place, index))


def _expected(block: Block, name: str, value: float) -> str | None:
    """What is due instead of a value, in words; None where nothing is wrong with it."""
    if block is Block.BASE and name in DIVISOR_COLUMNS:
        fits, expected = 0 < value < inf, "a finite number above 0"
    elif name in OPTIONAL_COLUMNS[block]:
        fits, expected = isfinite(value) or isnan(value), "a finite number, or NaN for unknown"
    else:
        fits, expected = isfinite(value), "a finite number"
    return None if fits else expected


def _named(
    block: Block, name: str, place: tuple[int, ...], value: float, expected: str, slot_config: SlotConfig
) -> NotFinite:
    spec, slot_id, point = _SPECS.get((block, name)), None, ""
    if spec is not None and spec.encoding is Encoding.VALUE and spec.width > 1:
        place, point = place[:-1], f"[{place[-1] - HISTORY_LENGTH}]"
    if block is not Block.BASE:
        place, slot_id = place[:-1], slot_config.slot_ids[place[-1]]
    if spec is None:
        return NotFinite(place, slot_id, f"column {name!r}", value, expected)
    column = "" if spec.name == name else f" (column {name!r})"
    return NotFinite(place, slot_id, f"feature {spec.name + point!r}{column}", value, expected)


_SPECS: Final[dict[tuple[Block, str], FieldSpec]] = {
    (block, spec.source): spec
    for block in Block
    for spec in reversed(FIELDS[block])
    if spec.encoding is not Encoding.KNOWN
}
"""The field that a column is first shown as."""
