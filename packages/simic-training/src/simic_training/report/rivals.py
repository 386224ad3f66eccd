"""How a policy stands in the tables of its evaluation."""

from collections.abc import Sequence
from typing import Final, NamedTuple

from simic_training.evaluation.tables import Cell, Table
from simic_training.statistics import Estimate

POLICY: Final = "policy"
"""What the names of the policy's own rows start with, however its actions are chosen."""

_SCORES: Final = {"accuracy": "points", "return": "return"}
"""Words of columns in which more is better, and the unit of the column of paired leads that belongs to them."""
_LEADS: Final = "policy leads by"


class Rival(NamedTuple):
    """The best controller that is not the policy.

    Args:
        name: its row. column: what was compared, with its unit.
        score, policy: the means of both. decimals: as the table writes them.
        lead: of the policy over it, paired host by host, where the table has that.
    """

    name: str
    column: str
    score: float
    policy: float
    decimals: int
    lead: Estimate | None


def is_policy(row: str) -> bool:
    """Whether a row of a table is of the trained policy."""
    return row.startswith(POLICY)


def lead_column(table: Table) -> int | None:
    """The column of leads in return, where a table has a verdict on each of them."""
    names = [column.name for column in table.columns]
    lead = f"{_LEADS}, return"
    return names.index(lead) if "verdict" in names and lead in names else None


def score_column(table: Table) -> int | None:
    """The first column in which more is better: one of accuracies or returns. None where there is none."""
    for index, column in enumerate(table.columns):
        name = column.name.lower()
        if any(score in name for score in _SCORES) and _LEADS not in name:
            return index
    return None


def _paired_lead(table: Table, score: int, row: str) -> Estimate | None:
    unit = next(unit for word, unit in _SCORES.items() if word in table.columns[score].name.lower())
    for column, cell in zip(table.columns, table.rows[row], strict=True):
        if column.name == f"{_LEADS}, {unit}" and isinstance(cell, Estimate):
            return cell
    return None


def best_rival(tables: Sequence[Table]) -> Rival | None:
    """Of the first table that compares the policy with others; None where none does."""
    for table in tables:
        column = score_column(table)
        if column is None:
            continue
        means = {name: mean(cells[column]) for name, cells in table.rows.items()}
        found = {name: value for name, value in means.items() if value is not None}
        own = [value for name, value in found.items() if is_policy(name)]
        rivals = [name for name in found if not is_policy(name)]
        if own and rivals:
            best = max(rivals, key=found.__getitem__)
            spec = table.columns[column]
            return Rival(
                best, spec.name, found[best], own[0], spec.decimals, _paired_lead(table, column, best)
            )
    return None


def mean(cell: Cell) -> float | None:
    """The number of a cell; None where it holds none."""
    match cell:
        case Estimate():
            return cell.mean
        case float() | int():
            return float(cell)
        case _:
            return None
