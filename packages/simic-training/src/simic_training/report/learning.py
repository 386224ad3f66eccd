"""How the policy learnt: curves over the run."""

from functools import partial
from typing import Final

from leyline_types import HEAD_NAMES
from simic_training.report.charts import Line, line_chart
from simic_training.report.course import Course
from simic_training.report.drawing import Mark
from simic_training.report.figures import figure, figures, legend, section
from simic_training.report.markup import Html, table, tag
from simic_training.report.records import RunRecords, Update
from simic_training.report.scales import MINUS, TIMES, Number, spread, written
from simic_training.report.small_lines import small_lines

ROWS: Final = 24
"""Of the table of numbers."""


def learning_section(records: RunRecords) -> Html:
    """Return, what it is made of, and what the updates did to the policy."""
    course = Course.of(records.updates)
    words = "Each point is one update of the policy, over the episodes it learnt from."
    if course.joined > 1:
        words = f"Each point is the mean of up to {course.joined} updates of the policy."
    return section(
        "learning",
        "Learning",
        tag("p", f"{words} Point at a chart for its values.", class_="lead"),
        figures(*_outcomes(course), *_policy(course, records)),
        _numbers(records.updates),
    )


def _outcomes(course: Course) -> list[Html]:
    places = course.places
    newest = course.updates[-1]
    returns = course.mean(lambda update: update.episode_return.mean)
    interval = Line(
        name="return",
        values=returns,
        style="thin",
        low=course.mean(lambda update: update.episode_return.low),
        high=course.mean(lambda update: update.episode_return.high),
    )
    accuracy = Line(
        name="accuracy gained", values=course.mean(lambda update: update.return_accuracy), color=3
    )
    rent = Line(name="rent", values=course.mean(lambda update: update.return_rent), color=2, style="dashed")
    accuracies = course.mean(lambda update: update.val_accuracy)
    val_accuracy = Line(name="accuracy", values=accuracies, color=3, style="thin")
    size = Line(name="size", values=course.mean(lambda update: update.size), color=2)
    return [
        figure(
            "Return per episode",
            line_chart(
                places,
                [interval, *_trend(course, returns)],
                title="Return per episode, with interval",
                marks=course.curriculum(),
            ),
            note="mean over the episodes of an update, 95 % bootstrap interval given its hosts",
            key=_trend_key(course, "stroke c1"),
            value=written(newest.episode_return.mean, 2),
        ),
        figure(
            "What the return is made of",
            line_chart(places, [accuracy, rent], title="Parts of the return", include=[0.0]),
            note="10 points of accuracy are worth 1; rent is paid for added parameters, at each host's own price",
            key=legend([("stroke c3", "accuracy gained"), ("stroke dashed c2", "rent")]),
        ),
        figure(
            "Validation accuracy (%)",
            line_chart(
                places,
                [val_accuracy, *_trend(course, accuracies)],
                title="Validation accuracy, percent",
                decimals=1,
                bounds=(0.0, 100.0),
            ),
            note="at the end of an episode, mean",
            key=_trend_key(course, "stroke c3"),
            value=f"{newest.val_accuracy:.1f} %",
        ),
        figure(
            f"Size ({TIMES} bare host)",
            line_chart(places, [size], title="Parameters over the bare host's", include=[1.0]),
            note="parameters at the end of an episode over those of the host alone",
            value=f"{newest.size:.2f} {TIMES}",
        ),
    ]


def _trend(course: Course, values: list[Number]) -> list[Line]:
    if not course.has_trend:
        return []
    return [Line(name="running mean", values=course.running_mean(values), color=2)]


def _trend_key(course: Course, stroke: str) -> Html | None:
    if not course.has_trend:
        return None
    return legend([(stroke, "update"), ("stroke c2", "running mean over a tenth of the run")])


def _policy(course: Course, records: RunRecords) -> list[Html]:
    places, ppo = course.places, records.config.ppo
    newest = course.updates[-1]
    entropies = {head: course.mean(partial(_entropy, head)) for head in HEAD_NAMES}
    kl = Line(name="KL", values=course.mean(lambda update: update.approx_kl))
    clipped = Line(name="clipped", values=course.mean(lambda update: 100 * update.clip_fraction), color=6)
    explained = Line(name="explained", values=course.mean(lambda update: update.explained_variance), color=4)
    gradient = Line(name="norm", values=course.mean(lambda update: update.gradient_norm), color=5)
    return [
        figure(
            "Entropy by head (0 to 1)",
            small_lines(places, entropies, title="Entropy of each action head, 0 to 1"),
            note="1: all legal choices are equally likely; only where the head had a choice",
        ),
        figure(
            "KL divergence (nats)",
            line_chart(
                places,
                [kl],
                title="Approximate KL divergence of an update, nats",
                decimals=4,
                include=[0.0, ppo.target_kl],
                references=[Mark(ppo.target_kl, "updates end early above")],
            ),
            note="how far an update moved the policy",
            value=f"{newest.approx_kl:.4f}",
        ),
        figure(
            "Clipped ratios (%)",
            line_chart(
                places,
                [clipped],
                title="Share of clipped probability ratios",
                include=[0.0],
                bounds=(0.0, 100.0),
            ),
            note=f"probability ratios beyond 1 ± {ppo.clip:g}",
            value=f"{100 * newest.clip_fraction:.1f} %",
        ),
        figure(
            "Explained variance of the return",
            line_chart(
                places, [explained], title="Explained variance", include=[0.0, 1.0], bounds=(-1.0, 1.0)
            ),
            note=f"1: the critic foresees all; 0: no more than the mean; below {MINUS}1 drawn there",
            value=written(newest.explained_variance, 2),
        ),
        figure(
            "Gradient norm",
            line_chart(
                places,
                [gradient],
                title="Norm of the gradient before clipping",
                include=[0.0],
                references=[Mark(ppo.grad_clip, "clipped above")],
            ),
            note="mean over the steps of an update",
            value=written(newest.gradient_norm, 2),
        ),
    ]


def _entropy(head: str, update: Update) -> Number:
    return update.head_entropy.get(head)


def _numbers(updates: list[Update]) -> Html:
    chosen = [updates[index] for index in spread(len(updates), ROWS)]
    head = [
        "update",
        "episodes",
        "epochs",
        "price",
        "return",
        "accuracy %",
        f"size {TIMES}",
        "KL",
        "clipped %",
        "explained",
        "steps/s",
    ]
    rows = [
        [
            str(update.update),
            str(update.episodes),
            str(update.max_epochs),
            f"{update.price:.2f}",
            update.episode_return.describe(2),
            f"{update.val_accuracy:.1f}",
            f"{update.size:.2f}",
            f"{update.approx_kl:.4f}",
            f"{100 * update.clip_fraction:.1f}",
            written(update.explained_variance, 2),
            f"{update.steps_per_second:.0f}",
        ]
        for update in chosen
    ]
    caption = "Every update" if len(chosen) == len(updates) else f"{len(chosen)} of {len(updates)} updates"
    return tag("details", tag("summary", "The numbers"), table(caption, head, rows))
