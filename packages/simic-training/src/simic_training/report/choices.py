"""What the policy chose over the run: operations, blueprints, and where its seeds went."""

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Final

from leyline_types import BlueprintAction, LifecycleOp, SeedStage, germinable_blueprints
from simic_training.report.charts import Line, line_chart
from simic_training.report.course import Course
from simic_training.report.figures import figure, figures, layer_legend, section
from simic_training.report.germinations import germination_map
from simic_training.report.markup import Html, table, tag
from simic_training.report.records import Episode, RunRecords, Update
from simic_training.report.scales import NOTHING
from simic_training.report.stacked_chart import stacked_chart

MOST_SHARES: Final = 60
"""Places of a chart of shares: below it they are too thin to be told apart."""
STAYING: Final = (SeedStage.BLENDING, SeedStage.HOLDING, SeedStage.FOSSILIZED)
"""The stages in which a seed is part of what the network computes."""


def choices_section(records: RunRecords) -> Html:
    """Frequencies over the run, and the habits of its last quarter beside those of its first."""
    joined = Course.of(records.updates, most=MOST_SHARES)
    shown = [_ops(joined), _blueprints(joined, records), _effect(Course.of(records.updates))]
    content = [figures(*shown)]
    if records.episodes:
        quarter = max(1, len(records.episodes) // 4)
        early, late = records.episodes[:quarter], records.episodes[-quarter:]
        content.append(
            figures(
                _germinated("Where and when: first quarter", early),
                _germinated("Where and when: last quarter", late),
                tag("div", _kept(late), class_="figure-like"),
            )
        )
    return section("choices", "Choices", *content)


def shares(counts: Mapping[str, Sequence[float]]) -> dict[str, list[float]]:
    """Each layer's percentage of the sum of all at each place; 0 where that is 0."""
    totals = [sum(column) for column in zip(*counts.values(), strict=True)]
    return {
        name: [100 * value / total if total else 0.0 for value, total in zip(values, totals, strict=True)]
        for name, values in counts.items()
    }


def _count(head: str, index: int, update: Update) -> float:
    counts = update.actions[head]
    return counts[index] if index < len(counts) else 0


def _ops(course: Course) -> Html:
    layers = shares({op.name: course.total(partial(_count, "op", op)) for op in LifecycleOp})
    chart = stacked_chart(
        course.places,
        layers,
        title="Share of each operation, percent of all actions",
        unit="%",
        top=100.0,
        marks=course.curriculum(),
    )
    return figure("Operations (% of actions)", chart, key=layer_legend(layers))


def _blueprints(course: Course, records: RunRecords) -> Html:
    known = germinable_blueprints(records.config.env.host.topology)
    layers = shares({each.blueprint_id: course.total(partial(_count, "blueprint", each)) for each in known})
    chart = stacked_chart(
        course.places,
        layers,
        title="Share of each blueprint, percent of germinations",
        unit="%",
        top=100.0,
        first_color=2,
    )
    return figure(
        "Blueprints (% of germinations)",
        chart,
        note="empty where nothing was germinated",
        key=layer_legend(layers, first_color=2),
    )


def _effect(course: Course) -> Html:
    line = Line(name="took effect", values=course.mean(_took_effect), color=3)
    chart = line_chart(
        course.places, [line], title="Actions that took effect", decimals=1, bounds=(0.0, 100.0)
    )
    return figure(
        "Actions that took effect (%)",
        chart,
        note="neither refused nor stopped by the gate of a stage; waiting counts",
        value=f"{100 * course.updates[-1].took_effect:.1f} %",
    )


def _took_effect(update: Update) -> float:
    return 100 * update.took_effect


def _germinated(heading: str, episodes: Sequence[Episode]) -> Html:
    return figure(
        heading,
        germination_map(episodes, title=heading),
        note=f"germinations by slot and epoch, {len(episodes)} episodes; the stronger the colour, the more of them",
    )


def _kept(episodes: Sequence[Episode]) -> Html:
    """How often each blueprint is part of the network at the end, by slot."""
    slots = list(episodes[0].slots)
    rows = []
    for blueprint in BlueprintAction:
        found = [_share(episodes, slot, blueprint.blueprint_id) for slot in slots]
        if any(found):
            rows.append(
                [blueprint.blueprint_id, *(f"{100 * value:.0f} %" if value else NOTHING for value in found)]
            )
    empty = [1 - sum(_share(episodes, slot, each.blueprint_id) for each in BlueprintAction) for slot in slots]
    rows.append(["no seed", *(f"{100 * abs(value):.0f} %" for value in empty)])
    return table(
        f"What stays: seeds in the finished network, last {len(episodes)} episodes",
        ["blueprint", *slots],
        rows,
    )


def _share(episodes: Sequence[Episode], slot: str, blueprint: str) -> float:
    ends = [episode.slots[slot][-1] for episode in episodes]
    return sum(end.blueprint == blueprint and end.stage in STAYING for end in ends) / len(ends)
