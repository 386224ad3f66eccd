"""`tamiyo report`: a page of figures about a run."""

import argparse
import logging
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from rich.console import Console

from simic_training.command.parsing import UsageError
from simic_training.command.run_log import logged
from simic_training.command.saying import quoted, say
from simic_training.growth.config import GrowthConfig
from simic_training.growth.draws import check_data
from simic_training.report.page import write_report
from simic_training.runs.folder import RunFolder
from simic_training.runs.interrupts import InterruptGuard

_log = logging.getLogger(__name__)


def report_command(
    options: argparse.Namespace, words: Sequence[str], console: Console, guard: InterruptGuard
) -> int:
    """Write the page and say where it is. A run that cannot be written gets no line in its log.

    Raises:
        UsageError, RunFolderError: there is no such run, or no such file can be; nothing was written.
        LoggedError: anything else went wrong, other data than the run's included.
        Interrupted: a signal came.
    """
    run = RunFolder.open_run(options.run)
    path: Path = getattr(options, "out", run.report)
    if not path.name:
        raise UsageError(f"--out must be the path of a file, not {path}")
    with logged(run, words, advice=partial(_advice, run), needed=False):
        _check_data(run.read_config().env)
        say(console, f"Written to {write_report(run, path)}")
    return 0


def _check_data(env: GrowthConfig) -> None:
    """The page needs no data: where they are gone it is made all the same, where they are others it would mislead.

    Raises:
        OtherDataError: they are others.
        ValueError: they cannot be used as data any more.
    """
    try:
        check_data(env)
    except OSError as error:
        _log.warning(
            "the data %s cannot be read (%s): whether they are those of the run is not known",
            env.data,
            error.strerror,
        )


def _advice(run: RunFolder, error: Exception) -> str:
    if isinstance(error, OSError):
        return f"tamiyo report {quoted(run.path)} --out FILE.html writes it elsewhere"
    return ""
