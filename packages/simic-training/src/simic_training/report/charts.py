"""Lines with intervals over the course of something."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from math import inf
from typing import Final

from simic_training.report.drawing import (
    Frame,
    Mark,
    draw_frame,
    levels,
    line_path,
    moments,
    pair,
    runs,
    strips,
    svg,
)
from simic_training.report.markup import Html, join, tag
from simic_training.report.scales import Axis, Number, end_to_end, make_axis, written

HEIGHT: Final = 210.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """A line of a chart.

    Args:
        name: for the legend.
        values: one per place; None where there is none.
        low, high: of an interval around each, or None.
        color: 1 to 6, of the style sheet.
        style: "dashed", to tell lines apart by more than colour, or "thin".
    """

    name: str
    values: Sequence[Number]
    low: Sequence[Number] | None = None
    high: Sequence[Number] | None = None
    color: int = 1
    style: str = ""

    @property
    def class_(self) -> str:
        """For the style sheet."""
        return f"c{self.color} {self.style}".rstrip()


@dataclass(frozen=True, slots=True, kw_only=True)
class Places:
    """What lies under a chart from left to right.

    Args:
        label: name of the axis.
        edges: where each place starts, and where the last one ends.
        names: of the places.
    """

    label: str
    edges: Sequence[float]
    names: Sequence[str]

    @property
    def centers(self) -> list[float]:
        """Middles of the places."""
        return [(left + right) / 2 for left, right in pairwise(self.edges)]

    def axis(self) -> Axis:
        """From the first edge to the last."""
        return end_to_end(self.edges[0], self.edges[-1]) if self.names else make_axis([])


def line_chart(
    places: Places,
    lines: Sequence[Line],
    *,
    title: str,
    decimals: int = 2,
    include: Sequence[float] = (),
    bounds: tuple[float, float] = (-inf, inf),
    marks: Sequence[Mark] = (),
    references: Sequence[Mark] = (),
) -> Html:
    """Lines, each with the band of its interval.

    Args:
        places: what they run over.
        lines: at least one.
        title: what is shown, with the unit.
        decimals: of the values that are told when pointed at.
        include, bounds: see `make_axis`. A value outside the bounds is drawn on them.
        marks: moments. references: values worth knowing, drawn where the axis holds them.
    """
    values = [value for line in lines for column in _columns(line) for value in column]
    y_axis = make_axis(values, include=include, bounds=bounds)
    frame = draw_frame(places.axis(), y_axis, height=HEIGHT, x_label=places.label)
    centers = places.centers
    tellings = [
        "\n".join([name, *(_telling(line, index, decimals) for line in lines)])
        for index, name in enumerate(places.names)
    ]
    return svg(
        title,
        HEIGHT,
        frame.axes,
        *(_band(frame, centers, line) for line in lines),
        levels(frame, [each for each in references if y_axis.low <= each.at <= y_axis.high]),
        *(line_path(frame, centers, line.values, class_=line.class_) for line in lines),
        moments(frame, marks),
        strips(frame, places.edges, tellings),
    )


def _columns(line: Line) -> Iterator[Sequence[Number]]:
    yield line.values
    for column in (line.low, line.high):
        if column is not None:
            yield column


def _telling(line: Line, index: int, decimals: int) -> str:
    value = line.values[index]
    words = f"{line.name}: {written(value, decimals)}"
    if line.low is not None and line.high is not None:
        low, high = line.low[index], line.high[index]
        if low is not None and high is not None:
            words += f" [{written(low, decimals)}, {written(high, decimals)}]"
    return words


def _band(frame: Frame, xs: Sequence[float], line: Line) -> Html:
    if line.low is None or line.high is None:
        return Html()
    parts = []
    for run in runs(xs, line.low, line.high):
        if len(run) == 1:
            x, low, high = run[0]
            place = frame.x(x)
            parts.append(
                tag(
                    "line",
                    x1=place,
                    x2=place,
                    y1=frame.y(low),
                    y2=frame.y(high),
                    class_=f"whisker c{line.color}",
                )
            )
        else:
            there = [pair(frame.x(x), frame.y(high)) for x, _, high in run]
            back = [pair(frame.x(x), frame.y(low)) for x, low, _ in reversed(run)]
            parts.append(tag("path", d=f"M{'L'.join([*there, *back])}Z", class_=f"band c{line.color}"))
    return join(parts)
