"""Means with their intervals, one below the other."""

from collections.abc import Sequence
from typing import Final, NamedTuple

from simic_training.report.drawing import RIGHT, WIDTH, draw_places, margin, svg, text
from simic_training.report.markup import Html, tag
from simic_training.report.scales import Scale, make_axis

ROW: Final = 21.0
LONGEST: Final = 22
"""Characters of a name that there is room for."""


class Interval(NamedTuple):
    """A row: its name, ends and mean, what is told when pointed at, and whether it stands out."""

    name: str
    low: float
    mean: float
    high: float
    telling: str
    marked: bool


def interval_chart(rows: Sequence[Interval], *, title: str, unit: str) -> Html:
    """A dot with a line through it for each row.

    Args:
        rows: at least one, from top to bottom.
        title: what is shown.
        unit: name of the axis.
    """
    axis = make_axis([end for row in rows for end in (row.low, row.mean, row.high)], ticks=4)
    x = Scale(axis.low, axis.high, margin(row.name[:LONGEST] for row in rows), WIDTH - RIGHT - 4)
    bottom = 6 + ROW * len(rows)
    grid = [tag("line", x1=x(value), x2=x(value), y1=4, y2=bottom, class_="grid") for value in axis.ticks]
    drawn = [_row(row, x, 6 + ROW * (index + 0.5)) for index, row in enumerate(rows)]
    return svg(title, bottom + 32, *grid, *drawn, draw_places(x, axis, bottom, unit))


def _row(row: Interval, x: Scale, y: float) -> Html:
    color = "c2" if row.marked else "c1"
    name = row.name if len(row.name) <= LONGEST else row.name[: LONGEST - 1] + "…"
    return tag(
        "g",
        tag("title", row.telling),
        text(x.start - 5, y + 3.5, name, anchor="end", class_="name" if row.marked else "tick"),
        tag("line", x1=x(row.low), x2=x(row.high), y1=y, y2=y, class_=f"whisker {color}"),
        tag("circle", cx=x(row.mean), cy=y, r=4, class_=f"dot {color}"),
    )
