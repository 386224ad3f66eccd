"""How far a command has come and how long it will take: a bar on a terminal, a line now and then elsewhere."""

import time
from collections.abc import Callable
from types import TracebackType
from typing import Final, Self, final

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn

SECONDS_BETWEEN_LINES: Final = 5.0


@final
class ProgressShown:
    """Shows progress while it is entered as a context manager.

    Args:
        console: where.
        unit: what is counted, for example "update"; empty for a percentage.
        clock: seconds.
    """

    def __init__(self, console: Console, unit: str, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._console, self._unit, self._clock = console, unit, clock
        self._started = clock()
        self._before, self._told = 0.0, float("-inf")
        # Narrow enough for 80 columns with all that `update` puts beside it.
        self._bar = Progress(
            BarColumn(bar_width=12),
            TextColumn("{task.description}", markup=False),
            console=console,
            disable=not console.is_terminal,
        )
        self._task = self._bar.add_task("", total=None)

    def __enter__(self) -> Self:
        self._started = self._clock()
        self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bar.stop()

    def begin(self, before: float) -> None:
        """Say how much was done before the start, which tells nothing about the speed."""
        self._before = before

    def update(self, done: float, total: float = 1.0, news: str = "", more: str = "") -> None:
        """Show that `done` of `total` is done, what is new, and behind the time left what needs a wide terminal."""
        counted = f"{self._unit} {done:.0f}/{total:.0f}" if self._unit else f"{100 * done / total:.0f} %"
        now = self._clock()
        left = time_left(now - self._started, done - self._before, total - done)
        line = ", ".join(part for part in (counted, news, left, more) if part)
        self._bar.update(self._task, completed=done, total=total, description=line)
        due = done >= total or now - self._told >= SECONDS_BETWEEN_LINES
        if not self._console.is_terminal and due:
            self._console.print(line, soft_wrap=True, markup=False)
            self._told = now


def time_left(elapsed: float, done: float, remaining: float) -> str:
    """In words, from the seconds that the work so far took; empty where that or the end is not known."""
    return f"{duration(elapsed / done * remaining)} left" if done > 0 and remaining > 0 else ""


def duration(seconds: float) -> str:
    """Minutes and seconds, with hours where there are any: "2:05", "1:02:05"."""
    whole = round(seconds)
    hours, minutes = whole // 3600, whole // 60 % 60
    return f"{hours}:{minutes:02}:{whole % 60:02}" if hours else f"{minutes}:{whole % 60:02}"
