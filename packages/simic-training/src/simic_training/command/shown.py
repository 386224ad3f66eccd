"""Tables as text on a console, however narrow it is."""

from collections.abc import Iterator, Sequence
from typing import Any, Final

from rich import box
from rich.console import Console
from rich.table import Table as RichTable
from rich.text import Text

from simic_training.evaluation.tables import Table

_GAP: Final = 2


def show_rows(console: Console, title: str, headings: Sequence[str], rows: Sequence[Sequence[Any]]) -> None:
    """Print rows of text under headings; long cells are wrapped."""
    table = _empty()
    for heading in headings:
        table.add_column(heading, overflow="fold")
    for row in rows:
        table.add_row(*(Text(str(cell)) for cell in row))
    console.print(Text(title), table)


def show_table(console: Console, table: Table) -> None:
    """Print a table of an evaluation and what a reader must know under it.

    Where it is too wide for the console its columns come in several parts, each with the names of the rows: numbers
    are never cut.
    """
    texts = table.texts()
    names = min(max(map(len, texts), default=0), console.width // 3)
    widths = [
        max(len(word) for word in (*column.name.split(), *(cells[index] for cells in texts.values())))
        for index, column in enumerate(table.columns)
    ]
    console.print(Text(table.title))
    for part in parts(widths, console.width - names - _GAP):
        drawn = _empty()
        drawn.add_column("", max_width=max(names, 1))
        for index in part:
            drawn.add_column(table.columns[index].name, justify="right", width=widths[index])
        for name, cells in texts.items():
            drawn.add_row(Text(name), *(Text(cells[index]) for index in part))
        console.print(drawn)
    console.print(Text(table.note))
    console.print()


def parts(widths: Sequence[int], room: int) -> Iterator[list[int]]:
    """Columns in groups that fit side by side, in order; one that fits nowhere stands alone.

    Args:
        widths: of the columns.
        room: for all columns of a group and the gap before each.
    """
    part: list[int] = []
    for index in range(len(widths)):
        if part and sum(widths[each] + _GAP for each in (*part, index)) > room:
            yield part
            part = []
        part.append(index)
    if part:
        yield part


def _empty() -> RichTable:
    return RichTable(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False, show_edge=False)
