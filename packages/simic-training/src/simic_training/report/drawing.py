"""What all drawings share: their size, axes, paths of lines, and strips that tell values when pointed at."""

from collections.abc import Iterable, Iterator, Sequence
from itertools import groupby
from math import isfinite
from typing import Final, NamedTuple

from simic_training.report.markup import Html, decimal, join, tag
from simic_training.report.scales import Axis, Number, Scale

WIDTH: Final = 340.0
"""Units that a drawing is wide: about the pixels of a phone, so that text is as large as it says."""

CHARACTER: Final = 6.9
"""Units that a character of a drawing's text takes in a wide font."""

RIGHT: Final = 12.0
"""Units left free at the right end."""
_TOP, _BOTTOM = 10.0, 32.0


class Frame(NamedTuple):
    """Where values go, and the axes' markup, to be drawn first."""

    x: Scale
    y: Scale
    axes: Html


class Mark(NamedTuple):
    """A moment of a run, or a value, that is worth a line across the drawing."""

    at: float
    text: str


def svg(label: str, height: float, *parts: str, class_: str | None = None) -> Html:
    """A drawing that grows and shrinks with the page.

    Args:
        label: what it shows, for those who do not see it.
        height: in units; it is `WIDTH` wide.
        parts: of the drawing.
        class_: for the style sheet.
    """
    box = f"0 0 {decimal(WIDTH)} {decimal(height)}"
    return tag("svg", *parts, viewBox=box, role="img", aria_label=label, class_=class_)


def text(x: float, y: float, content: str, *, anchor: str | None = None, class_: str = "tick") -> Html:
    """A line of text; `anchor` "middle" or "end" says which part of it stands at `x`."""
    return tag("text", content, x=x, y=y, text_anchor=anchor, class_=class_)


def text_width(content: str) -> float:
    """About how many units a text takes."""
    return CHARACTER * len(content)


def draw_frame(x_axis: Axis, y_axis: Axis, *, height: float, x_label: str) -> Frame:
    """Axes with ticks and grid lines.

    Args:
        x_axis, y_axis: see `make_axis`.
        height: of the whole drawing.
        x_label: name of what runs to the right.
    """
    left = margin(y_axis.labels())
    bottom = height - _BOTTOM
    x = Scale(x_axis.low, x_axis.high, left, WIDTH - RIGHT)
    y = Scale(y_axis.low, y_axis.high, bottom, _TOP)
    return Frame(x, y, join([draw_levels(x, y, y_axis), draw_places(x, x_axis, bottom, x_label)]))


def margin(labels: Iterable[str]) -> float:
    """Room that labels need to the left of a drawing."""
    return 8 + max(map(text_width, labels), default=0.0)


def draw_levels(x: Scale, y: Scale, axis: Axis) -> Html:
    """Ticks of an axis that runs upwards, with lines across the drawing."""
    parts = []
    for value, label in zip(axis.ticks, axis.labels(), strict=True):
        parts.append(tag("line", x1=x.start, x2=x.end, y1=y(value), y2=y(value), class_="grid"))
        parts.append(text(x.start - 5, y(value) + 3.5, label, anchor="end"))
    return join(parts)


def draw_places(x: Scale, axis: Axis, top: float, name: str) -> Html:
    """An axis that runs to the right, at `top`, with ticks, labels and its name in the 32 units below."""
    parts = [tag("line", x1=x.start, x2=x.end, y1=top, y2=top, class_="axis")]
    for value, label in zip(axis.ticks, axis.labels(), strict=True):
        place, half = x(value), text_width(label) / 2
        parts.append(tag("line", x1=place, x2=place, y1=top, y2=top + 3, class_="axis"))
        parts.append(text(min(max(place, half), WIDTH - half), top + 14, label, anchor="middle"))
    parts.append(text(x.end, top + 27, name, anchor="end", class_="name"))
    return join(parts)


def runs(xs: Sequence[float], *columns: Sequence[Number]) -> Iterator[list[tuple[float, ...]]]:
    """Points in a row at which no column misses its value: (x, value, ...)."""
    points = list(zip(xs, *columns, strict=True))
    whole = groupby(points, lambda point: all(value is not None and isfinite(value) for value in point))
    for complete, group in whole:
        if complete:
            yield [tuple(float(value) for value in point if value is not None) for point in group]


def line_path(frame: Frame, xs: Sequence[float], ys: Sequence[Number], *, class_: str) -> Html:
    """A line with gaps where values are missing, and dots where a value has no neighbour."""
    moves, dots = [], []
    low, high = sorted((frame.y.low, frame.y.high))
    for run in runs(xs, ys):
        places = [(frame.x(x), frame.y(min(max(y, low), high))) for x, y in run]
        if len(places) == 1:
            dots.append(tag("circle", cx=places[0][0], cy=places[0][1], r=2.5, class_=f"dot {class_}"))
        else:
            moves.append("M" + "L".join(pair(*place) for place in places))
    path = [tag("path", d="".join(moves), class_=f"line {class_}")] if moves else []
    return join([*path, *dots])


def pair(x: float, y: float) -> str:
    """A place, as paths write it."""
    return f"{decimal(x)} {decimal(y)}"


def strips(frame: Frame, edges: Sequence[float], tellings: Iterable[str]) -> Html:
    """Invisible strips from top to bottom, between one edge and the next, that tell what is in them."""
    top, bottom = sorted((frame.y.start, frame.y.end))
    parts = []
    for left, right, telling in zip(edges, edges[1:], tellings, strict=False):
        start = frame.x(left)
        parts.append(
            tag(
                "rect",
                tag("title", telling),
                x=start,
                y=top,
                width=max(frame.x(right) - start, 0.5),
                height=bottom - top,
                class_="strip",
            )
        )
    return join(parts)


def moments(frame: Frame, marks: Iterable[Mark]) -> Html:
    """Vertical lines with what happened there."""
    top, bottom = sorted((frame.y.start, frame.y.end))
    middle = (frame.x.start + frame.x.end) / 2
    parts = []
    for mark in marks:
        x = frame.x(mark.at)
        after = x < middle
        parts.append(tag("line", x1=x, x2=x, y1=top, y2=bottom, class_="mark"))
        parts.append(
            text(x + (4 if after else -4), top + 9, mark.text, anchor=None if after else "end", class_="note")
        )
    return join(parts)


def levels(frame: Frame, marks: Iterable[Mark]) -> Html:
    """Horizontal lines at values worth knowing."""
    parts = []
    for mark in marks:
        y = frame.y(mark.at)
        above = y - 3 if y > _TOP + 10 else y + 11
        parts.append(tag("line", x1=frame.x.start, x2=frame.x.end, y1=y, y2=y, class_="mark"))
        parts.append(text(frame.x.end, above, mark.text, anchor="end", class_="note"))
    return join(parts)
