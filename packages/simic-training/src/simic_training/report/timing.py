"""Where the seconds went."""

from functools import partial

from simic_training.report.charts import Line, line_chart
from simic_training.report.course import Course
from simic_training.report.figures import figure, figures, layer_legend, section
from simic_training.report.markup import Html, table, tag
from simic_training.report.overview import duration
from simic_training.report.records import RunRecords, Update
from simic_training.report.scales import NOTHING, Number
from simic_training.report.stacked_chart import stacked_chart


def timing_section(records: RunRecords) -> Html:
    """Seconds by part of the work, over the run and in all."""
    course = Course.of(records.updates)
    parts = list(dict.fromkeys(part for update in records.updates for part in update.seconds))
    layers = {part: [value or 0.0 for value in course.mean(partial(_seconds, part))] for part in parts}
    speed = Line(name="host epochs a second", values=course.mean(_speed), color=3)
    newest = records.updates[-1]
    return section(
        "time",
        "Time",
        figures(
            figure(
                "Seconds of an update",
                stacked_chart(
                    course.places, layers, title="Seconds of an update by part", unit="s", decimals=2
                ),
                note="collecting its episodes included; of several workers the sum",
                value=f"{sum(newest.seconds.values()):.1f} s",
                key=layer_legend(parts),
            ),
            figure(
                "Host epochs a second",
                line_chart(course.places, [speed], title="Host epochs a second", decimals=0, include=[0.0]),
                note="one epoch of one host is one step",
                value=f"{newest.steps_per_second:.0f}",
            ),
            tag("div", _totals(records, parts), class_="figure-like"),
        ),
    )


def _seconds(part: str, update: Update) -> Number:
    return update.seconds.get(part, 0.0)


def _speed(update: Update) -> Number:
    return update.steps_per_second


def _totals(records: RunRecords, parts: list[str]) -> Html:
    spent = {part: sum(update.seconds.get(part, 0.0) for update in records.updates) for part in parts}
    whole = sum(spent.values())
    rows = [
        [part, duration(value), f"{100 * value / whole:.1f} %" if whole else NOTHING]
        for part, value in spent.items()
    ]
    rows.append(["all", duration(whole), "100 %"])
    return table("Time of the whole run, of several workers the sum", ["part", "time", "share"], rows)
