"""What a training run says about itself while it runs."""

from collections.abc import Mapping
from types import TracebackType
from typing import Any, Self, cast, final

from rich.console import Console

from simic_training.command.progress import ProgressShown
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
        self._shown.update(progress.updates_done, progress.config.updates, news, busy(record["rollout"]))


def busy(rollout: Mapping[str, Any]) -> str:
    """How well several workers were used, and how far the slowest unit of work was behind the median one."""
    workers = rollout["workers"]
    if len(workers) < 2:
        return ""
    share = sum(each["seconds"] for each in workers.values()) / len(workers) / rollout["seconds"]
    return (
        f"{len(workers)} workers {100 * share:.0f} % busy, slowest unit {rollout['slowest_over_median']:.1f}x"
    )
