"""What a training run says about itself while it runs."""

from collections.abc import Mapping
from typing import Any, cast, final

from simic_training.command.progress import ProgressShown
from simic_training.engines.load import busy
from simic_training.runs.training import Progress


@final
class TrainingNews:
    """Tells of every update.

    Args:
        shown: where; it counts updates.
    """

    def __init__(self, shown: ProgressShown) -> None:
        self._shown, self._updates = shown, 0

    @property
    def updates(self) -> int:
        """Updates that were told of."""
        return self._updates

    def tell(self, progress: Progress) -> None:
        """Show an update."""
        if not self._updates:
            self._shown.begin(progress.updates_done - 1)
        record = cast(Mapping[str, Any], progress.record)
        self._updates += 1
        news = (
            f"return {record['return']['mean']:.2f}, {record['val_accuracy']:.1f} %, "
            f"size {record['size']:.2f}, {record['steps_per_second']:.0f} steps/s"
        )
        self._shown.update(progress.updates_done, progress.config.updates, news, busy(progress.load))
