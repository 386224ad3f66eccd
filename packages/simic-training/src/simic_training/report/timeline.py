"""One episode over its epochs: validation accuracy above, below it what each slot held."""

from collections.abc import Sequence
from itertools import groupby
from typing import Final, NamedTuple

from leyline_types import SeedStage
from simic_training.report.drawing import (
    CHARACTER,
    RIGHT,
    WIDTH,
    Frame,
    draw_levels,
    draw_places,
    line_path,
    margin,
    pair,
    strips,
    svg,
    text,
)
from simic_training.report.figures import legend
from simic_training.report.markup import Html, join, tag
from simic_training.report.records import Episode, Stay
from simic_training.report.scales import Scale, end_to_end, make_axis

CURVE: Final = 104.0
"""Height of the curve above the slots."""
ROW: Final = 32.0
_BAR: Final = 13.0
_LABEL: Final = 14.0

SHOWN_STAGES: Final = (
    SeedStage.GERMINATED,
    SeedStage.TRAINING,
    SeedStage.BLENDING,
    SeedStage.HOLDING,
    SeedStage.FOSSILIZED,
    SeedStage.PRUNED,
    SeedStage.EMBARGOED,
    SeedStage.RESETTING,
)


class Tenant(NamedTuple):
    """A blueprint's time in a slot: epochs during which it was there, from the start of one to the end of another."""

    name: str
    start: int
    end: int


def timeline(episode: Episode) -> Html:
    """The drawing of an episode. Epoch e runs from e - 1 to e; the action before it stands at e - 1.

    Args:
        episode: what happened.
    """
    epochs = max(1, len(episode.val_accuracy) - 1)
    y_axis = make_axis([0.0, 100.0], ticks=3)
    x = Scale(0, epochs, margin([*episode.slots, *y_axis.labels()]), WIDTH - RIGHT)
    y = Scale(y_axis.low, y_axis.high, CURVE - 6, 10)
    frame = Frame(x, y, draw_levels(x, y, y_axis))
    measured = list(range(len(episode.val_accuracy)))
    edges = [0.0, *(epoch + 0.5 for epoch in measured[:-1]), float(epochs)]
    tellings = [
        f"after epoch {epoch}: {value:.1f} %" if epoch else f"untrained: {value:.1f} %"
        for epoch, value in enumerate(episode.val_accuracy)
    ]
    parts = [
        frame.axes,
        line_path(frame, measured, episode.val_accuracy, class_="c1"),
        strips(frame, edges, tellings),
    ]
    for row, (slot, stays) in enumerate(episode.slots.items()):
        parts.append(_slot(frame, CURVE + row * ROW, slot, stays, episode))
    bottom = CURVE + ROW * len(episode.slots)
    parts.append(draw_places(x, end_to_end(0, epochs), bottom, "epoch"))
    label = f"Episode {episode.episode}: validation accuracy in percent, and the stage of each slot, by epoch"
    return svg(label, bottom + 32, *parts)


def tenants(stays: Sequence[Stay]) -> list[Tenant]:
    """The blueprints that a slot held one after another, however many stages each went through."""
    found = []
    for name, group in groupby(stays, lambda stay: stay.blueprint):
        held = list(group)
        if name is not None and held[-1].last > 0:
            found.append(Tenant(name, max(held[0].first, 1) - 1, held[-1].last))
    return found


def _slot(frame: Frame, top: float, slot: str, stays: Sequence[Stay], episode: Episode) -> Html:
    x, bar = frame.x, top + _LABEL
    parts = [
        text(x.start - 5, bar + _BAR - 3, slot, anchor="end"),
        tag("rect", x=x.start, y=bar, width=x.end - x.start, height=_BAR, class_="track"),
    ]
    for stay in stays:
        if stay.stage in SHOWN_STAGES and stay.last > 0:
            start = max(stay.first, 1) - 1
            parts.append(
                tag(
                    "rect",
                    tag("title", _telling(slot, stay)),
                    x=x(start),
                    y=bar,
                    width=x(stay.last) - x(start),
                    height=_BAR,
                    class_=f"stage s-{stay.stage.name.lower()}",
                )
            )
    parts.extend(_names(frame, bar - 4, tenants(stays)))
    for action in episode.actions:
        if action.slot == slot and not action.took_effect:
            parts.append(
                _cross(x(action.epoch - 1), bar + _BAR / 2, f"before epoch {action.epoch}: {action.text}")
            )
    return join(parts)


def _telling(slot: str, stay: Stay) -> str:
    first = max(stay.first, 1)
    when = f"epoch {first}" if first == stay.last else f"epochs {first} to {stay.last}"
    return f"{slot}, {when}\n{stay.blueprint or 'empty'}: {stay.stage.name.lower()}, alpha {stay.alpha:g}"


def _names(frame: Frame, y: float, held: Sequence[Tenant]) -> list[Html]:
    """Names above the bars, each from where its seed starts, cut where the next one needs the room."""
    parts = []
    free = frame.x.start
    for index, tenant in enumerate(held):
        later = frame.x(held[index + 1].start) if index + 1 < len(held) else frame.x.end
        wide = CHARACTER * len(tenant.name)
        start = max(min(frame.x(tenant.start), later - wide), free)
        room = int((later - start) / CHARACTER)
        shown = tenant.name if len(tenant.name) <= room else tenant.name[: room - 1] + "…" if room > 1 else ""
        if shown:
            parts.append(text(start, y, shown, class_="note"))
            free = start + CHARACTER * (len(shown) + 1)
    return parts


def _cross(x: float, y: float, telling: str) -> Html:
    arm = 3.0
    path = f"M{pair(x - arm, y - arm)}L{pair(x + arm, y + arm)}M{pair(x - arm, y + arm)}L{pair(x + arm, y - arm)}"
    return tag(
        "g",
        tag("title", f"{telling} (no effect)"),
        tag("rect", x=x - 5, y=y - 6, width=10, height=12, class_="strip"),
        tag("path", d=path, class_="cross halo"),
        tag("path", d=path, class_="cross"),
    )


def stage_legend() -> Html:
    """What the colours of the slots mean."""
    entries = [(f"s-{stage.name.lower()}", stage.name.lower()) for stage in SHOWN_STAGES]
    return legend([*entries, ("cross", "action without effect")])
