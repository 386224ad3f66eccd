"""The log of a run: how it started, warnings, and the whole story of whatever ended it."""

import logging
import platform
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Final, final

import torch

from simic_training.command.failures import LoggedError
from simic_training.engines.versions import PACKAGES, versions
from simic_training.runs.folder import RunFolder
from simic_training.runs.interrupts import Interrupted

_log = logging.getLogger(__name__)
_LOGGED: Final = ("simic_training", "py.warnings")


@final
class _QuietFile(logging.FileHandler):
    """A log on a full disk has nothing to say about that: what failed besides says it, in one line."""

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802  (logging's name)
        """Let the record go."""

    def close(self) -> None:
        """Close the file, whatever of it could not be written."""
        with suppress(OSError):
            super().close()


def no_advice(error: Exception) -> str:
    """Nothing can be done, as far as is known."""
    return ""


@contextmanager
def logged(
    run: RunFolder,
    words: Sequence[str],
    *,
    advice: Callable[[Exception], str] = no_advice,
    needed: bool = True,
) -> Iterator[None]:
    """Write what happens in the block into the run's log; warnings are shown on stderr too.

    Args:
        run: its folder.
        words: the command, for the log's first line.
        advice: what can be done about a failure; empty where that is not known.
        needed: whether nothing is done without a log; if not, a warning says that there is none.

    Raises:
        LoggedError: in place of any failure in the block.
        OSError: the log cannot be opened, and is needed.
    """
    shown = logging.StreamHandler(sys.stderr)
    shown.setFormatter(logging.Formatter("tamiyo: warning: %(message)s"))
    shown.addFilter(_is_warning_of_ours)
    handlers: list[logging.Handler] = [shown]
    unwritten: OSError | None = None
    try:
        file = _QuietFile(run.log, encoding="utf-8", errors="backslashreplace")
    except OSError as error:
        if needed:
            raise
        unwritten = error
    else:
        file.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
        handlers.insert(0, file)
    with _attached(handlers):
        if unwritten is not None:
            _log.warning("%s cannot be written: %s", run.log, unwritten.strerror)
        _log.info("tamiyo %s; %s", " ".join(words), surroundings())
        try:
            yield
        except Interrupted as interrupt:
            _log.info("ended by %s", interrupt)
            raise
        except Exception as error:
            _log.exception("failed")
            raise LoggedError(error, run.log if unwritten is None else None, advice(error)) from error
        _log.info("done")


def surroundings() -> str:
    """The platform, and the versions of Python, torch and the packages, in one line."""
    found = versions()
    ours = ", ".join(f"{name} {found[name]}" for name in PACKAGES)
    return f"Python {found['Python']} on {platform.platform()}, torch {torch.__version__}, {ours}"


def _is_warning_of_ours(record: logging.LogRecord) -> bool:
    return record.levelno == logging.WARNING and record.name.startswith("simic_training")


@contextmanager
def _attached(handlers: Sequence[logging.Handler]) -> Iterator[None]:
    loggers = [logging.getLogger(name) for name in _LOGGED]
    former = [(logger.level, logger.propagate) for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.INFO)
        logger.propagate = False
        for handler in handlers:
            logger.addHandler(handler)
    logging.captureWarnings(True)
    try:
        yield
    finally:
        logging.captureWarnings(False)
        for logger, (level, propagate) in zip(loggers, former, strict=True):
            logger.setLevel(level)
            logger.propagate = propagate
            for handler in handlers:
                logger.removeHandler(handler)
        for handler in handlers:
            handler.close()
