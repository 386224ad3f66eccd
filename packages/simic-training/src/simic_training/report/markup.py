"""HTML and SVG built from elements, so that text from data is escaped without anyone thinking of it."""

import re
from collections.abc import Iterable
from html import escape
from typing import Final, final

_NOT_XML: Final = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


@final
class Html(str):
    """Text that is markup already. All other text is escaped when an element takes it in."""

    __slots__ = ()


def clean(text: str) -> Html:
    """The text as markup that shows it; control characters and lone surrogates become replacement characters."""
    return Html(escape(_NOT_XML.sub("\ufffd", text)))


def join(parts: Iterable[str]) -> Html:
    """The parts one after another, escaped where they are not markup."""
    return Html("".join(part if isinstance(part, Html) else clean(part) for part in parts))


def tag(name: str, /, *children: str, **attributes: str | float | None) -> Html:
    """An element, closed, so that the page is well-formed XML too.

    Args:
        name: of the element.
        children: elements, and text, which is escaped.
        attributes: None leaves one out. In names "_" stands for "-", and one at the end is dropped ("class_").
            Numbers are rounded to a tenth, which is less than a pixel of a drawing.
    """
    words = [name]
    for key, value in attributes.items():
        if value is not None:
            text = value if isinstance(value, str) else decimal(value)
            words.append(f'{key.rstrip("_").replace("_", "-")}="{clean(text)}"')
    opened = " ".join(words)
    content = join(children)
    if content or name not in _VOID:
        return Html(f"<{opened}>{content}</{name}>")
    return Html(f"<{opened}/>")


_NUMBER: Final = re.compile("[-\N{MINUS SIGN}+]?[0-9]|[-\N{EN DASH}]$")
_VOID: Final = frozenset({"meta", "br", "rect", "line", "path", "circle"})


def decimal(value: float) -> str:
    """At most one decimal: "3", "3.5"."""
    return f"{value:.1f}".removesuffix(".0")


def table(
    caption: str,
    head: Iterable[str],
    rows: Iterable[Iterable[str]],
    *,
    class_: str = "",
    row_classes: Iterable[str] = (),
) -> Html:
    """A table in a box of its own, which scrolls where the page is too narrow for it.

    Args:
        caption: above it.
        head: names of the columns; the first may be empty.
        rows: cells; the first names the row.
        class_: of the table.
        row_classes: of the rows, in order; rows without one have none.
    """
    names = iter(row_classes)
    columns = list(head)
    cells_by_row = [list(cells) for cells in rows]
    numeric = {
        index for index in range(len(columns)) if all(_NUMBER.match(cells[index]) for cells in cells_by_row)
    }
    classes = ["number" if index in numeric else None for index in range(len(columns))]
    body = []
    for first, *rest in cells_by_row:
        body.append(
            tag(
                "tr",
                tag("th", first, scope="row"),
                *(tag("td", cell, class_=kind) for cell, kind in zip(rest, classes[1:], strict=True)),
                class_=next(names, None) or None,
            )
        )
    headings = [
        tag("th", name, scope="col", class_=kind) if name else tag("td")
        for name, kind in zip(columns, classes, strict=True)
    ]
    whole = tag(
        "table",
        tag("caption", caption),
        tag("thead", tag("tr", *headings)),
        tag("tbody", *body),
        class_=class_ or None,
    )
    return tag("div", whole, class_="scroll", tabindex="0", role="region", aria_label=f"Table: {caption}")
