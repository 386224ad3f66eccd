"""A picture of one episode: validation accuracy above, each slot's stage below, over the same epochs."""

from pathlib import Path

from jaxtyping import Float
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from torch import Tensor

from leyline_types import BlueprintAction, SeedStage, SlotConfig
from simic_training.episodes import Episodes

STAGE_COLORS = {
    SeedStage.UNKNOWN: "#ffffff",
    SeedStage.DORMANT: "#ececec",
    SeedStage.GERMINATED: "#d9c77e",
    SeedStage.TRAINING: "#e69f00",
    SeedStage.BLENDING: "#56b4e9",
    SeedStage.HOLDING: "#0072b2",
    SeedStage.FOSSILIZED: "#009e73",
    SeedStage.PRUNED: "#d55e00",
    SeedStage.EMBARGOED: "#cc9a86",
    SeedStage.RESETTING: "#d8c4bb",
}
"""Okabe and Ito's palette where a stage matters, told apart by colour-blind readers; greys and tints elsewhere."""


def draw_growth(
    path: Path,
    episodes: Episodes,
    slot_config: SlotConfig,
    *,
    host: int,
    ungrown: Float[Tensor, " time"],
    title: str,
) -> None:
    """Write the picture of one host's episode as a PNG.

    Args:
        path: the file.
        episodes: what happened. host: which of its hosts.
        slot_config: names of the slots, from top to bottom.
        ungrown: validation accuracy of the same host without growth, percent per epoch, drawn for comparison.
        title: above the picture.
    """
    figure = Figure(figsize=(9.0, 3.2 + 0.5 * len(slot_config)), layout="constrained")
    FigureCanvasAgg(figure)
    curve, slots = figure.subplots(
        2, 1, sharex=True, height_ratios=[3.0, 0.6 * len(slot_config)], squeeze=True
    )
    epochs = range(episodes.val_accuracy.shape[1])
    curve.plot(epochs, episodes.val_accuracy[host].tolist(), color="#0072b2", label="grown by the policy")
    curve.plot(epochs, ungrown.tolist(), color="#999999", linestyle="--", label="same host, no growth")
    curve.set_ylabel("validation accuracy (%)")
    curve.set_title(title)
    curve.grid(alpha=0.3)
    curve.legend(loc="lower right")
    _draw_stages(slots, episodes, slot_config, host)
    figure.savefig(path, dpi=120, format="png")


def _draw_stages(axes: Axes, episodes: Episodes, slot_config: SlotConfig, host: int) -> None:
    seen: set[SeedStage] = set()
    for row in range(len(slot_config)):
        former = SeedStage.DORMANT
        for epoch, value in enumerate(episodes.stage[host, :, row].tolist()):
            stage = SeedStage(value)
            seen.add(stage)
            axes.barh(row, 1.0, left=epoch - 0.5, height=0.8, color=STAGE_COLORS[stage])
            if stage is not SeedStage.DORMANT and former is SeedStage.DORMANT:
                name = BlueprintAction(int(episodes.blueprint[host, epoch, row])).blueprint_id
                axes.text(epoch - 0.4, row, name, va="center", fontsize=8)
            former = stage
    axes.set_yticks(range(len(slot_config)), list(slot_config))
    axes.invert_yaxis()
    axes.set_xlim(-0.5, episodes.stage.shape[1] - 0.5)
    axes.set_xlabel("epoch")
    axes.legend(
        handles=[Patch(color=STAGE_COLORS[stage], label=stage.name.lower()) for stage in sorted(seen)],
        loc="upper center",
        bbox_to_anchor=(0.5, -0.35),
        ncols=5,
        frameon=False,
    )
