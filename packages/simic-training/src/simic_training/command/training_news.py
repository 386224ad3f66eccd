"""What a training run says about itself while it runs."""

import time
from collections.abc import Mapping
from typing import Any, cast, final

from rich.console import Console

from simic_training.command.progress import ProgressShown
from simic_training.command.workers_shown import show_workers
from simic_training.engines.load import Load, busy, joined
from simic_training.runs.training import Progress


@final
class TrainingNews:
    """Tells of every update.

    Args:
        shown: where; it counts updates.
    """

    def __init__(self, shown: ProgressShown) -> None:
        self._shown = shown
        self._started = time.perf_counter()
        self._loads: list[Load] = []

    @property
    def updates(self) -> int:
        """Updates that were told of."""
        return len(self._loads)

    def tell(self, progress: Progress) -> None:
        """Show an update."""
        if not self._loads:
            self._shown.begin(progress.updates_done - 1)
        self._loads.append(progress.load)
        record = cast(Mapping[str, Any], progress.record)
        news = (
            f"return {record['return']['mean']:.2f}, {record['val_accuracy']:.1f} %, "
            f"size {record['size']:.2f}, {record['steps_per_second']:.0f} steps/s"
        )
        self._shown.update(progress.updates_done, progress.config.updates, news, busy(self._so_far()))

    def tell_workers(self, console: Console) -> None:
        """Say who grew the networks of all these updates, at least one."""
        show_workers(console, self._so_far())

    def _so_far(self) -> Load:
        """By the clock: batches of several updates may be done at once."""
        return joined(self._loads, time.perf_counter() - self._started)
