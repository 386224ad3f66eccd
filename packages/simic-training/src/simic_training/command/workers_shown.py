"""Who did how much of a command's work, once it is done."""

from typing import Final

from rich.console import Console

from simic_training.command.saying import say
from simic_training.command.shown import show_rows
from simic_training.engines.load import Load, busy, by_machine

MOST: Final = 16
"""Workers that are shown one by one; where there are more, those of a machine are shown together."""


def show_workers(console: Console, load: Load) -> None:
    """Print what each of several workers, or their machines, did and how fast; nothing about a single worker."""
    if len(load.workers) < 2:
        return
    shares = load.workers if len(load.workers) <= MOST else by_machine(load.workers)
    rows = [
        (name, units, f"{seconds:.0f}", f"{60 * units / seconds:.1f}")
        for name, (units, seconds) in shares.items()
    ]
    show_rows(console, "Who did the work", ("", "units", "busy s", "units in a busy minute"), rows)
    say(console, busy(load) + (f"; begun again: {load.faults}" if load.faults else ""))
