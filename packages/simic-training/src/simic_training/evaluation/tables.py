"""Tables as plain data, which the terminal, the report and READMEs draw alike."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from simic_training.statistics import Estimate

Cell = Estimate | float | str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Column:
    """A column: what stands over it, and how its numbers are written.

    Args:
        name: heading, with the unit.
        decimals: of its numbers.
    """

    name: str
    decimals: int = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """A table.

    Args:
        title: one line. note: what a reader must know to judge the numbers.
        columns: without the first one, which names the rows.
        rows: by name, as many cells as columns; None where there is nothing to say.

    Raises:
        ValueError: a row of another length.
    """

    title: str
    note: str
    columns: tuple[Column, ...]
    rows: Mapping[str, tuple[Cell, ...]]

    def __post_init__(self) -> None:
        for name, cells in self.rows.items():
            if len(cells) != len(self.columns):
                raise ValueError(
                    f"row {name!r} has {len(cells)} cells, the table {len(self.columns)} columns"
                )

    def texts(self) -> dict[str, tuple[str, ...]]:
        """Every cell as text: "84.2 [81.0, 87.1]" for an estimate, "-" for nothing."""
        return {
            name: tuple(_text(cell, column) for cell, column in zip(cells, self.columns, strict=True))
            for name, cells in self.rows.items()
        }


def table_to_markdown(table: Table) -> str:
    """The table as READMEs hold it: title, GitHub's table, note."""
    head = ("", *(column.name for column in table.columns))
    lines = [head, ("---", *("---:" for _ in table.columns))]
    lines += [(name, *cells) for name, cells in table.texts().items()]
    drawn = "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines)
    return f"**{table.title}**\n\n{drawn}\n\n{table.note}\n"


def _text(cell: Cell, column: Column) -> str:
    match cell:
        case None:
            return "-"
        case str():
            return cell
        case Estimate():
            return cell.describe(column.decimals)
        case _:
            return f"{cell:.{column.decimals}f}"


def table_to_json(table: Table) -> dict[str, Any]:
    """The table as plain data; an estimate becomes {"mean", "low", "high"}."""
    return {
        "title": table.title,
        "note": table.note,
        "columns": [{"name": column.name, "decimals": column.decimals} for column in table.columns],
        "rows": {
            name: [cell._asdict() if isinstance(cell, Estimate) else cell for cell in cells]
            for name, cells in table.rows.items()
        },
    }


def table_from_json(content: Mapping[str, Any]) -> Table:
    """The table that `table_to_json` wrote.

    Raises:
        KeyError, TypeError, ValueError: it is none.
    """
    return Table(
        title=content["title"],
        note=content["note"],
        columns=tuple(Column(**column) for column in content["columns"]),
        rows={
            name: tuple(Estimate(**cell) if isinstance(cell, dict) else cell for cell in cells)
            for name, cells in content["rows"].items()
        },
    )
