"""Shares and parts of a whole over the course of something, as layers on each other."""

from collections.abc import Mapping, Sequence
from itertools import pairwise
from math import inf
from typing import Final

from simic_training.report.charts import HEIGHT, Places
from simic_training.report.drawing import Frame, Mark, draw_frame, moments, pair, strips, svg
from simic_training.report.markup import Html, decimal, tag
from simic_training.report.scales import make_axis

COLORS: Final = 8
"""Colours of the style sheet, "c1" to "c8"."""


def stacked_chart(
    places: Places,
    layers: Mapping[str, Sequence[float]],
    *,
    title: str,
    unit: str,
    decimals: int = 1,
    top: float | None = None,
    first_color: int = 1,
    marks: Sequence[Mark] = (),
) -> Html:
    """Layers on each other, the first at the bottom, in the colours of the legend.

    Args:
        places: what they run over.
        layers: by name, one value per place, at least 0.
        title: what is shown.
        unit: of the values.
        decimals: of the values that are told when pointed at.
        top: where the axis ends; None for the highest sum.
        first_color: 1 to 8, of the lowest layer; 1 is grey, for what matters least.
        marks: moments.
    """
    floor = [0.0] * len(places.names)
    stacks = [floor]
    for values in layers.values():
        stacks.append([below + value for below, value in zip(stacks[-1], values, strict=True)])
    y_axis = make_axis(stacks[-1], include=[0.0] if top is None else [0.0, top], bounds=(0.0, top or inf))
    frame = draw_frame(places.axis(), y_axis, height=HEIGHT, x_label=places.label)
    areas = [
        tag(
            "path",
            d=_steps(frame, places.edges, below, above),
            class_=f"area {layer_color(index, first_color)}",
        )
        for index, (below, above) in enumerate(pairwise(stacks))
        if above != below
    ]
    tellings = [
        "\n".join(
            [name, *(f"{layer}: {values[index]:.{decimals}f} {unit}" for layer, values in layers.items())]
        )
        for index, name in enumerate(places.names)
    ]
    return svg(
        title, HEIGHT, frame.axes, *areas, moments(frame, marks), strips(frame, places.edges, tellings)
    )


def layer_color(index: int, first_color: int) -> str:
    """Of the layer with this index, from the bottom up."""
    return f"c{(first_color - 1 + index) % COLORS + 1}"


def _steps(frame: Frame, edges: Sequence[float], below: Sequence[float], above: Sequence[float]) -> str:
    there = "".join(
        f"V{decimal(frame.y(value))}H{decimal(frame.x(right))}"
        for value, right in zip(above, edges[1:], strict=True)
    )
    back = "".join(
        f"V{decimal(frame.y(value))}H{decimal(frame.x(left))}"
        for value, left in zip(reversed(below), reversed(edges[:-1]), strict=True)
    )
    return f"M{pair(frame.x(edges[0]), frame.y(0.0))}{there}{back}Z"
