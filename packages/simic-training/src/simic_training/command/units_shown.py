"""Playing many units, as the commands that compare controllers do: progress, and who did how much."""

import time
from types import TracebackType
from typing import Self, final

from rich.console import Console

from simic_training.command.progress import ProgressShown
from simic_training.command.saying import say
from simic_training.engines.load import busy, load_of
from simic_training.engines.unit import Done
from simic_training.runs.interrupts import InterruptGuard


@final
class UnitsShown:
    """Tells of every unit, while it is entered as a context manager; at its end also of the workers.

    Args:
        console: where.
        guard: is looked at with every unit.
    """

    def __init__(self, console: Console, guard: InterruptGuard) -> None:
        self._console, self._guard = console, guard
        self._shown = ProgressShown(console, "")
        self._started = time.perf_counter()
        self._done: list[Done] = []

    def __enter__(self) -> Self:
        self._shown.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._shown.__exit__(kind, error, trace)
        if error is None and self._done:
            load = load_of(self._done, time.perf_counter() - self._started)
            for name, (units, seconds) in load.workers.items() if len(load.workers) > 1 else ():
                say(self._console, f"{name}: {seconds:.0f} s for units: {units}")
            if workers := busy(load):
                say(self._console, workers)

    def tell(self, done: Done, part: float) -> None:
        """Show that a unit is done, and which part of everything, up to 1.

        Raises:
            Interrupted: a signal has come.
        """
        self._guard.check()
        self._done.append(done)
        self._shown.update(part, news=done.unit)
