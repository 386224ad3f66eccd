"""A map of where and when seeds are germinated."""

from collections import Counter
from collections.abc import Sequence
from typing import Final

from leyline_types import LifecycleOp
from simic_training.report.drawing import RIGHT, WIDTH, draw_places, margin, svg, text
from simic_training.report.markup import Html, tag
from simic_training.report.records import Episode
from simic_training.report.scales import Scale, end_to_end

ROW: Final = 26.0
_TOP: Final = 4.0


def germination_map(episodes: Sequence[Episode], *, title: str) -> Html:
    """A row per slot, a column per epoch; the stronger the colour, the more episodes germinated a seed there and then.

    Args:
        episodes: at least one; the longest one gives the number of columns.
        title: what is shown.
    """
    slots = list(episodes[0].slots)
    counts = Counter(
        (action.slot, action.epoch)
        for episode in episodes
        for action in episode.actions
        if action.op is LifecycleOp.GERMINATE and action.took_effect
    )
    most = max(counts.values(), default=1)
    epochs = max(len(episode.val_accuracy) - 1 for episode in episodes)
    x = Scale(0.5, epochs + 0.5, margin(slots), WIDTH - RIGHT)
    bottom = _TOP + ROW * len(slots)
    parts = []
    for row, slot in enumerate(slots):
        top = _TOP + row * ROW
        parts.append(text(x.start - 5, top + ROW / 2 + 3.5, slot, anchor="end"))
        parts.append(tag("rect", x=x.start, y=top + 1, width=x.end - x.start, height=ROW - 2, class_="track"))
        for epoch in range(1, epochs + 1):
            if count := counts[slot, epoch]:
                parts.append(
                    tag(
                        "rect",
                        tag(
                            "title", f"{slot}, epoch {epoch}: {100 * count / len(episodes):.1f} % of episodes"
                        ),
                        x=x(epoch - 0.5),
                        y=top + 1,
                        width=x(epoch + 0.5) - x(epoch - 0.5),
                        height=ROW - 2,
                        class_="heat",
                        fill_opacity=f"{0.08 + 0.92 * count / most:.2f}",
                    )
                )
    parts.append(draw_places(x, end_to_end(1, epochs), bottom, "before epoch"))
    return svg(title, bottom + 32, *parts)
