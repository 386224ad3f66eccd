"""Playing many units, as the commands that compare controllers do: progress, and who did how much."""

import time
from typing import final

from rich.console import Console

from simic_training.command.progress import ProgressShown
from simic_training.command.saying import say
from simic_training.command.workers_shown import show_workers
from simic_training.engines.load import load_of
from simic_training.engines.unit import Done
from simic_training.evaluation.parts import Progress
from simic_training.runs.interrupts import InterruptGuard


@final
class UnitsShown:
    """Tells of every unit.

    Args:
        shown: where.
        console: for what is no progress.
        guard: is looked at with every unit.
    """

    def __init__(self, shown: ProgressShown, console: Console, guard: InterruptGuard) -> None:
        self._shown, self._console, self._guard = shown, console, guard
        self._started = time.perf_counter()
        self._kept = 0
        self._done: list[Done] = []

    def tell(self, progress: Progress) -> None:
        """Show how far everything has come; what was there before says nothing about the speed.

        Raises:
            Interrupted: a signal has come.
        """
        self._guard.check()
        self._shown.begin(progress.kept_share)
        if progress.done is not None:
            self._done.append(progress.done)
            self._shown.update(progress.share, news=progress.done.unit)
        elif progress.kept > self._kept:
            self._kept = progress.kept
            say(self._console, f"Going on: {progress.kept} of {progress.total} parts are there")

    def tell_workers(self, console: Console) -> None:
        """Say who did all these units; nothing where all were there."""
        if self._done:
            show_workers(console, load_of(self._done, time.perf_counter() - self._started))
