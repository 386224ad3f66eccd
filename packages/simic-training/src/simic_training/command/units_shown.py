"""Playing many units, as the commands that compare controllers do: progress, and who did how much."""

import time
from typing import final

from rich.console import Console

from simic_training.command.progress import ProgressShown
from simic_training.command.workers_shown import show_workers
from simic_training.engines.load import load_of
from simic_training.engines.unit import Done
from simic_training.runs.interrupts import InterruptGuard


@final
class UnitsShown:
    """Tells of every unit.

    Args:
        shown: where.
        guard: is looked at with every unit.
    """

    def __init__(self, shown: ProgressShown, guard: InterruptGuard) -> None:
        self._shown, self._guard = shown, guard
        self._started = time.perf_counter()
        self._done: list[Done] = []

    def tell(self, done: Done, part: float) -> None:
        """Show that a unit is done, and which part of everything, up to 1.

        Raises:
            Interrupted: a signal has come.
        """
        self._guard.check()
        self._done.append(done)
        self._shown.update(part, news=done.unit)

    def tell_workers(self, console: Console) -> None:
        """Say who did all these units, at least one."""
        show_workers(console, load_of(self._done, time.perf_counter() - self._started))
