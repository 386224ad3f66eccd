"""What a training run says about itself while it runs."""

import time
from collections.abc import Mapping
from typing import Any, cast, final

from simic_training.command.progress import ProgressShown
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
        self._load: Load | None = None

    @property
    def load(self) -> Load | None:
        """Who grew the networks of all updates that were told of; None where there were none."""
        return self._load

    def tell(self, progress: Progress) -> None:
        """Show an update."""
        if self._load is None:
            self._shown.begin(progress.updates_done - 1)
        # By the clock: batches of several updates may be done at once.
        before = [] if self._load is None else [self._load]
        self._load = joined([*before, progress.load], time.perf_counter() - self._started)
        record = cast(Mapping[str, Any], progress.record)
        news = (
            f"return {record['return']['mean']:.2f}, {record['val_accuracy']:.1f} %, "
            f"size {record['size']:.2f}, {record['steps_per_second']:.0f} steps/s"
        )
        rollbacks = record["rollbacks"]
        if rollbacks["hosts"]:
            news += f", {rollbacks['hosts']} of {rollbacks['of']} hosts diverged"
        self._shown.update(progress.updates_done, progress.config.updates, news, busy(self._load))
