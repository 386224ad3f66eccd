"""The tables of the newest evaluation, each with a drawing of its intervals."""

from typing import Final

from simic_training.evaluation.tables import Cell, Table
from simic_training.report.figures import figure, section
from simic_training.report.intervals import Interval, interval_chart
from simic_training.report.markup import Html, table, tag
from simic_training.report.overview import evaluate_command
from simic_training.report.records import RunRecords
from simic_training.report.rivals import is_policy, lead_column, mean, score_column
from simic_training.statistics import Estimate

MOST_ROWS: Final = 16
"""Of a drawing; the table below it has them all."""


def evaluation_section(records: RunRecords) -> Html:
    """The tables, or how to get them."""
    if records.tables is None:
        content = [
            tag("p", "The policy has not been held against other controllers yet. To do it:"),
            evaluate_command(records),
            tag("p", "Then make this page again.", class_="muted"),
        ]
    else:
        content = [*_outdated(records), *map(_shown, records.tables)]
    return section("evaluation", "Evaluation", *content)


def _outdated(records: RunRecords) -> list[Html]:
    """That the run has gone on since, if it has."""
    if records.judged == len(records.episodes):
        return []
    words = f"These tables judge the policy after {records.judged} episodes; the run has {len(records.episodes)} now."
    return [tag("p", words, class_="warning"), evaluate_command(records)]


def _shown(each: Table) -> Html:
    names = list(each.rows)
    columns = ["", *(column.name for column in each.columns)]
    rows = [[name, *cells] for name, cells in each.texts().items()]
    classes = ["policy" if is_policy(name) else "" for name in names]
    whole = table(each.title, columns, rows, class_="titled", row_classes=classes)
    drawing = _intervals(each)
    return tag(
        "div",
        tag("h3", each.title),
        *([tag("p", each.note)] if each.note else []),
        tag("div", *([drawing] if drawing else []), whole, class_="side-by-side"),
        class_="evaluated",
    )


def _intervals(each: Table) -> Html:
    """Means with intervals, the best on top; nothing where the table has nothing to compare.

    Of the policy's leads where there are verdicts on them, for those decide; else of the score.
    """
    leads = lead_column(each)
    column = score_column(each) if leads is None else leads
    if column is None:
        return Html()
    spec, texts = each.columns[column], each.texts()
    found = [
        _interval(name, cells[column], f"{name}: {texts[name][column]}") for name, cells in each.rows.items()
    ]
    ranked = sorted((row for row in found if row is not None), key=lambda row: -row.mean)
    if len(ranked) < 2:
        return Html()
    own = sum(row.marked for row in ranked)
    rivals = [row for row in ranked if not row.marked][: max(0, MOST_ROWS - own)]
    shown = [row for row in ranked if row.marked or row in rivals]
    note = "means and 95 % intervals" + (
        f", {len(shown)} of {len(ranked)} rows" if len(shown) < len(ranked) else ""
    )
    if leads is not None:
        note += "; above 0 the policy is better"
    drawing = interval_chart(shown, title=f"{each.title}: {spec.name}", unit=spec.name)
    return figure(spec.name, drawing, note=note)


def _interval(name: str, cell: Cell, telling: str) -> Interval | None:
    middle = mean(cell)
    if middle is None:
        return None
    low, high = (cell.low, cell.high) if isinstance(cell, Estimate) else (middle, middle)
    return Interval(name, low, middle, high, telling, is_policy(name))
