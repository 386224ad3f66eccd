"""From values to ticks and to places in a drawing."""

from collections.abc import Iterable, Sequence
from itertools import pairwise
from math import ceil, floor, inf, isfinite, log10
from typing import Final, NamedTuple

MINUS: Final = "\N{MINUS SIGN}"
TIMES: Final = "\N{MULTIPLICATION SIGN}"
NOTHING: Final = "\N{EN DASH}"
"""What stands where a table has nothing to say."""

Number = float | None
"""A value that may be missing. NaN and infinities are treated as missing."""

_SMALLEST_SPAN: Final = 1e-9
"""Of values, relative to their size: a difference below this is rounding, not a range worth an axis."""


class Axis(NamedTuple):
    """A range of values, its ticks in order, and how many decimals tell the ticks apart."""

    low: float
    high: float
    ticks: tuple[float, ...]
    decimals: int

    def labels(self) -> tuple[str, ...]:
        """The ticks as text."""
        return tuple(short(tick, self.decimals) for tick in self.ticks)


class Scale(NamedTuple):
    """Maps values from `low` to `high` to places from `start` to `end`, linearly."""

    low: float
    high: float
    start: float
    end: float

    def __call__(self, value: float) -> float:
        """The place of a value."""
        return self.start + (value - self.low) / (self.high - self.low) * (self.end - self.start)


def present(values: Iterable[Number]) -> list[float]:
    """The values that are there."""
    return [value for value in values if value is not None and isfinite(value)]


def make_axis(
    values: Iterable[Number],
    *,
    include: Sequence[float] = (),
    bounds: tuple[float, float] = (-inf, inf),
    ticks: int = 5,
    whole: bool = False,
) -> Axis:
    """An axis that holds all values and ends on ticks, at multiples of 1, 2 or 5 times a power of ten.

    Args:
        values: missing ones do not count; without any the axis runs from 0 to 1.
        include: values that the axis holds in any case.
        bounds: what the values can be at all; the axis does not go beyond them.
        ticks: about how many.
        whole: whether only whole numbers make sense as ticks.
    """
    found = [min(max(value, bounds[0]), bounds[1]) for value in (*present(values), *include)] or [0.0, 1.0]
    low, high = min(found), max(found)
    if high - low <= _SMALLEST_SPAN * max(abs(low), abs(high), 1.0):
        margin = abs(low) / 10 or 1.0
        low, high = max(low - margin, bounds[0]), min(high + margin, bounds[1])
    step = tick_step((high - low) / max(1, ticks - 1), whole=whole)
    # The hundredth of a step keeps rounding from adding an empty interval.
    first, last = floor(low / step + 0.01), ceil(high / step - 0.01)
    decimals = max(0, -floor(log10(step) + _SMALLEST_SPAN))
    places = tuple(round(index * step, decimals + 1) for index in range(first, last + 1))
    return Axis(min(low, places[0]), max(high, places[-1]), places, decimals)


def end_to_end(low: float, high: float, *, ticks: int = 6) -> Axis:
    """An axis of whole numbers that ends where the values do, for time."""
    if high <= low:
        low, high = low - 0.5, low + 0.5
    step = tick_step((high - low) / max(1, ticks - 1), whole=True)
    places = tuple(index * step for index in range(ceil(low / step), floor(high / step) + 1))
    return Axis(low, high, places, 0)


def tick_step(least: float, *, whole: bool = False) -> float:
    """The smallest of 1, 2, 5 times a power of ten that is at least `least`."""
    power = 10.0 ** floor(log10(least))
    step = next((factor * power for factor in (1, 2, 5) if factor * power >= least * (1 - 1e-9)), 10 * power)
    return max(1.0, step) if whole else step


def short(value: float, decimals: int) -> str:
    """A tick's text: "0.25", "1500", "20k", "3M"; never "-0"."""
    if decimals == 0 and abs(value) >= 10_000:
        for size, letter in ((1e6, "M"), (1e3, "k")):
            if abs(value) >= size:
                return f"{value / size:.10g}{letter}"
    return written(value, decimals)


def written(value: Number, decimals: int, *, sign: bool = False) -> str:
    """A number as text with a true minus sign, never "-0"; "none" where it is missing.

    Args:
        value: the number.
        decimals: that it is rounded to.
        sign: whether a plus sign is written too.
    """
    if value is None or not isfinite(value):
        return "none"
    text = f"{value:.{decimals}f}"
    if float(text) == 0:
        text = text.removeprefix("-")
    elif sign and value > 0:
        text = f"+{text}"
    return text.replace("-", MINUS)


def buckets(count: int, most: int) -> list[range]:
    """`count` points in order as at most `most` ranges of nearly equal length."""
    number = min(count, most)
    edges = [index * count // number for index in range(number + 1)] if number else []
    return [range(first, last) for first, last in pairwise(edges)]


def mean_of(values: Sequence[Number], where: range) -> Number:
    """Mean of the values that are there; None without any."""
    found = present(values[index] for index in where)
    return sum(found) / len(found) if found else None


def spread(count: int, chosen: int) -> list[int]:
    """At most `chosen` of the indices below `count`, evenly spaced, both ends among them."""
    if chosen < 2 or count < 2:
        return list(range(min(count, max(chosen, 0))))
    return sorted({round(index * (count - 1) / (chosen - 1)) for index in range(chosen)})
