"""What a training run says about itself while it runs."""

from collections.abc import Mapping
from types import TracebackType
from typing import Any, Self, cast, final

from rich.console import Console

from simic_training.command.progress import ProgressShown
from simic_training.engines.load import busy
from simic_training.runs.training import Progress


@final
class TrainingNews:
    """Tells of every update, while it is entered as a context manager.

    Args:
        console: where.
    """

    def __init__(self, console: Console) -> None:
        self._console, self._shown = console, ProgressShown(console, "update")
        self._updates = 0

    def __enter__(self) -> Self:
        self._shown.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._shown.__exit__(kind, error, trace)

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
