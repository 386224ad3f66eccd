"""`tamiyo report`: a page of figures about a run."""

import argparse
from collections.abc import Sequence

from rich.console import Console

from simic_training.command.run_log import logged
from simic_training.command.saying import say
from simic_training.report.page import write_report
from simic_training.runs.folder import RunFolder
from simic_training.runs.interrupts import InterruptGuard


def report_command(
    options: argparse.Namespace, words: Sequence[str], console: Console, guard: InterruptGuard
) -> int:
    """Write the page and say where it is.

    Raises:
        RunFolderError: there is no such run; nothing was written.
        LoggedError: anything else went wrong.
        Interrupted: a signal came.
    """
    run = RunFolder.open_run(options.run)
    with logged(run, words):
        say(console, f"Written to {write_report(run)}")
    return 0
