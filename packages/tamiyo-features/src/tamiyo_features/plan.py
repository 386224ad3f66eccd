"""How each block of the schema is computed: columns gathered by encoding, then put into the table's order."""

from typing import Final, NamedTuple

from leyline_types import FIELDS, Block, Encoding, FieldSpec


class BlockPlan(NamedTuple):
    """A block's part of the table as plain tuples, which the compiler can look into.

    Computed features stand in the order values, known bits, one-hots; `order` maps them to the table's.

    Args:
        values, known: columns and their widths.
        one_hots: columns and the codes of their categories.
        scale, low, high: one number per feature of `values`.
        divisors: the signal columns that some values are divided by.
        divisor: per feature of `values`, 0 for none, else 1 + index in `divisors`.
        order: per feature of the table, its place among the computed ones.
    """

    values: tuple[tuple[str, int], ...]
    known: tuple[tuple[str, int], ...]
    one_hots: tuple[tuple[str, tuple[int, ...]], ...]
    scale: tuple[float, ...]
    low: tuple[float, ...]
    high: tuple[float, ...]
    divisors: tuple[str, ...]
    divisor: tuple[int, ...]
    order: tuple[int, ...]


def make_plan(specs: tuple[FieldSpec, ...]) -> BlockPlan:
    """The plan of a block from its rows of the table."""
    values, known, one_hots = (
        tuple(spec for spec in specs if spec.encoding is encoding)
        for encoding in (Encoding.VALUE, Encoding.KNOWN, Encoding.ONE_HOT)
    )
    divisors = tuple(sorted({spec.relative_to for spec in values if spec.relative_to is not None}))
    rank = {None: 0} | {name: index for index, name in enumerate(divisors, 1)}
    wide = tuple(spec for spec in values for _ in range(spec.width))
    start, place = 0, {}
    for spec in (*values, *known, *one_hots):
        place[spec.name] = start
        start += spec.width
    return BlockPlan(
        values=tuple((spec.source, spec.width) for spec in values),
        known=tuple((spec.source, spec.width) for spec in known),
        one_hots=tuple((spec.source, tuple(int(member) for member in spec.categories)) for spec in one_hots),
        scale=tuple(spec.scale for spec in wide),
        low=tuple(spec.low for spec in wide),
        high=tuple(spec.high for spec in wide),
        divisors=divisors,
        divisor=tuple(rank[spec.relative_to] for spec in wide),
        order=tuple(place[spec.name] + index for spec in specs for index in range(spec.width)),
    )


PLANS: Final = {block: make_plan(FIELDS[block]) for block in Block}
