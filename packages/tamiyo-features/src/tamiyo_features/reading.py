"""Many objects to columns at once: values in bulk, rules in bulk. Which value breaks which rule, `checking` finds out.

All values of a table pass through one float64 matrix, [column, object], which holds counts up to 2^53 exactly.
"""

from array import array
from collections.abc import Callable, Sequence
from functools import lru_cache
from itertools import chain
from math import nan
from typing import Final, NamedTuple

import torch
from jaxtyping import Float64
from torch import Tensor

from leyline_types import HISTORY_LENGTH
from tamiyo_features.sources import SourceTable

_unbind_copy: Final[Callable[[Tensor], Sequence[Tensor]]] = torch.unbind_copy  # type: ignore[assignment]
"""Which torch annotates as returning None."""


class BrokenRuleError(Exception):
    """Some value among the objects breaks its rule."""


def read_columns(
    objects: Sequence[object | None],
    table: SourceTable,
    shape: tuple[int, ...],
    *,
    dtype: torch.dtype,
    device: torch.device,
) -> dict[str, Tensor]:
    """The table's columns by name: floating, int64 or bool. Unknown is NaN, or -1 in integers.

    Histories have one more axis, their points.

    Args:
        objects: what the table reads; None for absent ones, which give every column its empty value.
        table: the columns.
        shape: of each column; holds as many places as there are objects.
        dtype: of the floating columns.
        device: of all columns; they are made on the CPU and moved there together.

    Raises:
        BrokenRuleError: some value breaks its rule.
        AttributeError, OverflowError, TypeError, ValueError: some object or value has another type than is due.
    """
    layout = _layout_of(table)
    present = [each for each in objects if each is not None]
    matrix = _read_matrix(present, table, layout) if present else layout.empty.unsqueeze(1)[:, :0]
    if len(present) < len(objects):
        places = [place for place, each in enumerate(objects) if each is not None]
        whole = layout.empty.unsqueeze(1).repeat(1, len(objects))
        matrix = whole.index_copy_(1, torch.tensor(places, dtype=torch.int64, device="cpu"), matrix)
    integers = matrix.index_select(0, layout.counts).nan_to_num_(-1.0).to(torch.int64)
    blocks = [
        matrix.index_select(0, layout.floats).to(dtype),
        integers[: layout.num_integers],
        integers[layout.num_integers :].to(torch.bool),
        matrix.index_select(0, layout.points).to(dtype),
    ]
    shaped = [block.to(device).view(-1, *shape) for block in blocks]
    # Each column in memory of its own: torch.compile takes the offset of a view that equals any size for that size, and
    # compiles once more for the next number of environments.
    columns = [column for block in shaped[:3] for column in _unbind_copy(block)]
    if len(shaped[3]):
        columns += [history.movedim(0, -1).contiguous() for history in shaped[3].split(HISTORY_LENGTH)]
    return dict(zip(layout.names, columns, strict=True))


def _read_matrix(
    objects: Sequence[object], table: SourceTable, layout: "_Layout"
) -> Float64[Tensor, "column object"]:
    """Required columns, then optional ones, in which None becomes NaN; every value obeys its rule."""
    rows = [*chain.from_iterable(map(table.required_row, objects))]
    optional = [*chain.from_iterable(map(table.optional_row, objects))]
    rows += [nan if value is None else value for value in optional]
    values = torch.frombuffer(array("d", rows), dtype=torch.float64)
    split = len(objects) * len(table.required)
    blocks = [
        values[:split].view(len(objects), len(table.required)).T,
        values[split:].view(len(objects), len(table.optional)).T,
    ]
    matrix = torch.cat(blocks)
    # Clamped values differ from their own only out of bounds and where they are NaN, which each None became.
    outside = int(matrix.clamp(layout.low, layout.high).ne_(matrix).sum()) - optional.count(None)
    fractions = matrix.index_select(0, layout.counts).nan_to_num_(-1.0).frac_()
    if outside or bool(fractions.any()) or _in_a_hole(matrix, layout):
        raise BrokenRuleError
    return matrix


class _Layout(NamedTuple):
    """A table's rules as tensors, and which rows of its matrix become which kind of column.

    Args:
        low, high: [column, 1], of the rules.
        empty: [column].
        holes: rows and the values between low and high that they must not hold.
        floats: rows of floating columns that are no histories.
        counts: rows of integer columns, the first `num_integers`, and of boolean ones.
        points: rows of histories, one history after another.
        names: of the columns, in the order of `floats`, `counts` and `points`.
    """

    low: Tensor
    high: Tensor
    empty: Tensor
    holes: tuple[tuple[int, int], ...]
    floats: Tensor
    counts: Tensor
    num_integers: int
    points: Tensor
    names: tuple[str, ...]


@lru_cache
def _layout_of(table: SourceTable) -> _Layout:
    sources = table.required + table.optional
    rules = [source.rule for source in sources]
    names = [source.column for source in sources]
    points = [row for row, name in enumerate(names) if names.count(name) == HISTORY_LENGTH]
    floats = [row for row, rule in enumerate(rules) if not rule.whole and row not in points]
    bits = [row for row, rule in enumerate(rules) if rule.bit and row < len(table.required)]
    integers = [row for row, rule in enumerate(rules) if rule.whole and row not in bits]
    holes = [
        (row, value)
        for row, rule in enumerate(rules)
        if rule.codes
        for value in range(min(rule.codes), max(rule.codes))
        if value not in rule.codes
    ]
    empty = [source.empty for source in table.required] + [nan] * len(table.optional)

    def numbers(values: list[float] | list[list[float]]) -> Tensor:
        return torch.tensor(values, dtype=torch.float64, device="cpu")

    def rows(places: list[int]) -> Tensor:
        return torch.tensor(places, dtype=torch.int64, device="cpu")

    return _Layout(
        low=numbers([[rule.low] for rule in rules]),
        high=numbers([[rule.high] for rule in rules]),
        empty=numbers(empty),
        holes=tuple(holes),
        floats=rows(floats),
        counts=rows(integers + bits),
        num_integers=len(integers),
        points=rows(points),
        names=tuple(names[row] for row in floats + integers + bits + points[::HISTORY_LENGTH]),
    )


def _in_a_hole(matrix: Float64[Tensor, "column object"], layout: _Layout) -> bool:
    """Whether some choice has a value that lies between the first and the last of its enum and is none of them."""
    return any(bool((matrix[row] == value).any()) for row, value in layout.holes)
