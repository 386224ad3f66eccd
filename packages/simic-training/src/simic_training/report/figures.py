"""Drawings with their words: a heading, what to look for, a legend."""

import shlex
from collections.abc import Iterable

from simic_training.report.markup import Html, tag
from simic_training.report.stacked_chart import layer_color


def figure(heading: str, drawing: Html, *, note: str = "", value: str = "", key: Html | None = None) -> Html:
    """A drawing under its heading.

    Args:
        heading: what it shows, with the unit.
        drawing: the SVG.
        note: what a reader must know to judge it.
        value: the newest number, shown beside the heading.
        key: its legend.
    """
    words = [tag("strong", heading)]
    if value:
        words.append(tag("span", value, class_="value"))
    if note:
        words.append(tag("small", note))
    return tag("figure", tag("figcaption", *words), drawing, *([] if key is None else [key]))


def figures(*each: Html, class_: str = "figures") -> Html:
    """Figures side by side, as many as the page is wide enough for."""
    return tag("div", *each, class_=class_)


def legend(entries: Iterable[tuple[str, str]]) -> Html:
    """Swatches with names.

    Args:
        entries: class of the style sheet, and name.
    """
    items = [
        tag("li", tag("span", class_=f"swatch {class_}", aria_hidden="true"), name)
        for class_, name in entries
    ]
    return tag("ul", *items, class_="legend")


def layer_legend(names: Iterable[str], *, first_color: int = 1) -> Html:
    """Of a stacked chart, its layers from the bottom up."""
    return legend((layer_color(index, first_color), name) for index, name in enumerate(names))


def section(anchor: str, heading: str, *content: str) -> Html:
    """A part of the page that its navigation leads to."""
    return tag(
        "section",
        tag("h2", heading, id=f"{anchor}-heading"),
        *content,
        id=anchor,
        aria_labelledby=f"{anchor}-heading",
    )


def command(*words: str) -> Html:
    """A command line to copy, as a shell takes it."""
    return tag("pre", tag("code", shlex.join(words)))
