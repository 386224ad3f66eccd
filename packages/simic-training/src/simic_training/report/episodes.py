"""Single episodes: the most and the least successful, and some along the run."""

from collections.abc import Sequence
from typing import Final, NamedTuple

from simic_training.report.figures import figures, section
from simic_training.report.markup import Html, table, tag
from simic_training.report.records import Episode, RunRecords
from simic_training.report.scales import TIMES, spread, written
from simic_training.report.timeline import stage_legend, timeline

EXTREMES: Final = 3
ALONG: Final = 6


class Selection(NamedTuple):
    """Episodes worth a look; none is in two of the parts."""

    best: list[Episode]
    worst: list[Episode]
    along: list[Episode]


def select(episodes: Sequence[Episode]) -> Selection:
    """Three of the highest return, three of the lowest, and up to six evenly spaced over the run.

    Of equal returns the earlier episode comes first. With few episodes the parts are smaller.
    """
    ranked = sorted(episodes, key=lambda episode: (-episode.episode_return, episode.episode))
    best = ranked[:EXTREMES]
    worst = list(reversed(ranked[max(EXTREMES, len(ranked) - EXTREMES) :]))
    taken = {episode.episode for episode in (*best, *worst)}
    along = [episodes[index] for index in spread(len(episodes), ALONG)]
    return Selection(best, worst, [episode for episode in along if episode.episode not in taken])


def episodes_section(records: RunRecords) -> Html:
    """Timelines of the selected episodes, each with its actions."""
    parts = select(records.episodes)
    named = zip(("Most successful", "Least successful", "Along the run"), parts, strict=True)
    return section(
        "episodes",
        "Episodes",
        tag(
            "p",
            "Validation accuracy (%) above, the slots below, over the same epochs. Success is the return, and "
            "hosts are not equally rewarding: with two classes one starts at 50 % and has less to gain, and each has "
            "its own price, the return that doubling its parameters costs.",
            class_="lead",
        ),
        stage_legend(),
        *(
            tag("div", tag("h3", name), figures(*map(_figure, episodes)))
            for name, episodes in named
            if episodes
        ),
    )


def _figure(episode: Episode) -> Html:
    outcome = (
        f"{episode.val_accuracy[-1]:.1f} % at {episode.size:.2f} {TIMES} the size; update {episode.update}"
    )
    if episode.rolled_back:
        outcome += f"; diverged and was rolled back in epoch {', '.join(map(str, episode.rolled_back))}"
    host = f"{episode.task}; lacks {episode.lack}, width {episode.width}, price {episode.price:.2g}"
    return tag(
        "figure",
        tag(
            "figcaption",
            tag("strong", f"Episode {episode.episode}"),
            tag("span", f"return {written(episode.episode_return, 2)}", class_="value"),
            tag("small", outcome),
            tag("small", host),
        ),
        timeline(episode),
        _actions(episode),
    )


def _actions(episode: Episode) -> Html:
    if not episode.actions:
        return tag("p", "It only waited.", class_="muted")
    rows = [
        [str(action.epoch), action.text, "yes" if action.took_effect else "no"] for action in episode.actions
    ]
    caption = (
        f"Episode {episode.episode}: {written(episode.return_accuracy, 2)} for accuracy, "
        f"{written(episode.return_rent, 2)} of rent"
    )
    count = f"{len(rows)} action" + ("s" if len(rows) > 1 else "")
    return tag(
        "details",
        tag("summary", count),
        table(caption, ["before epoch", "action", "took effect"], rows, class_="actions"),
    )
