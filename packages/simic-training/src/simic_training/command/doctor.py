"""`tamiyo doctor`: whether everything that training needs is there, and what is missing for the rest."""

import argparse
from collections.abc import Sequence

from rich.console import Console

from simic_training.command.checks import Check, every_check
from simic_training.command.engines import RAY, check_engine
from simic_training.command.saying import say
from simic_training.command.shown import show_rows
from simic_training.engines.ray_start import START_TIMEOUT
from simic_training.runs.interrupts import InterruptGuard


def doctor_command(
    options: argparse.Namespace, words: Sequence[str], console: Console, guard: InterruptGuard
) -> int:
    """Print what was found; 1 if training cannot work, else 0.

    Raises:
        UsageError: options that do not go together.
    """
    check_engine(options)
    checks = every_check(
        ray=options.engine == RAY,
        address=getattr(options, "address", None),
        start_timeout=getattr(options, "start_timeout", START_TIMEOUT),
    )
    rows = [(check.name, "\n".join(filter(None, (check.found, check.advice)))) for check in checks]
    show_rows(console, "What is here, and what to do about what is not", ("", ""), rows)
    missing = unmet(checks)
    if missing:
        say(console, f"tamiyo train cannot work here: see {', '.join(missing)}")
        return 1
    say(console, "tamiyo train has everything that it needs")
    return 0


def unmet(checks: Sequence[Check]) -> list[str]:
    """The names of what training needs and was not found."""
    return [check.name for check in checks if check.needed and check.advice]
