"""Many lines on equal scales, each in a small chart of its own."""

from collections.abc import Mapping, Sequence
from typing import Final

from simic_training.report.charts import Places
from simic_training.report.drawing import WIDTH, Frame, line_path, strips, svg, text
from simic_training.report.markup import Html, join, tag
from simic_training.report.scales import Number, Scale

_GAP, _TALL = 16.0, 50.0
_WIDE: Final = (WIDTH - 24 - _GAP) / 2
"""Of a small chart."""


def small_lines(places: Places, lines: Mapping[str, Sequence[Number]], *, title: str) -> Html:
    """A small chart of values from 0 to 1 for each line, two in a row, all on the same scales."""
    x_axis = places.axis()
    bottom = -(-len(lines) // 2) * _TALL
    parts = []
    for index, (name, values) in enumerate(lines.items()):
        left = 20 + (index % 2) * (_WIDE + _GAP)
        top = (index // 2) * _TALL
        x = Scale(x_axis.low, x_axis.high, left, left + _WIDE)
        frame = Frame(x, Scale(0.0, 1.0, top + _TALL - 5, top + 17), Html())
        parts.append(_small_line(frame, places, name, values))
        if index % 2 == 0:
            for y, label in ((0.0, "0"), (1.0, "1")):
                parts.append(text(left - 5, frame.y(y) + 3.5, label, anchor="end"))
        if index >= len(lines) - 2:
            end = f"{x_axis.high:.0f} {places.label}"
            parts.append(text(x.start, bottom + 10, f"{x_axis.low:.0f}"))
            parts.append(text(x.end, bottom + 10, end, anchor="end"))
    return svg(title, bottom + 16, *parts)


def _small_line(frame: Frame, places: Places, name: str, values: Sequence[Number]) -> Html:
    last = next((value for value in reversed(values) if value is not None), None)
    tellings = [
        f"{place}\n{name}: " + ("no choice" if value is None else f"{value:.2f}")
        for place, value in zip(places.names, values, strict=True)
    ]
    lines = [
        tag("line", x1=frame.x.start, x2=frame.x.end, y1=frame.y(y), y2=frame.y(y), class_="grid")
        for y in (0, 1)
    ]
    told = "no choice" if last is None else f"{last:.2f}"
    return join(
        [
            text(frame.x.start, frame.y.end - 5, name, class_="name"),
            text(frame.x.end, frame.y.end - 5, told, anchor="end"),
            *lines,
            line_path(frame, places.centers, values, class_="c1"),
            strips(frame, places.edges, tellings),
        ]
    )
