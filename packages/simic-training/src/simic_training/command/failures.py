"""What a failure says, in one line, and the exit code that it has."""

from pathlib import Path
from typing import Final

from kasmina_hosts import DivergedHostError
from simic_training.command.parsing import USAGE_ERROR, UsageError
from simic_training.engines.faults import UnitFailedError
from simic_training.engines.unit import EngineError
from simic_training.growth.draws import DataError
from simic_training.ppo.finite import NonFiniteLossError
from simic_training.runs.divergence import DivergedRunError
from simic_training.runs.folder import RunFolderError, RunStorageError
from simic_training.runs.settings import ConfigError
from tamiyo_policies import CheckpointError

FAILURE: Final = 1
SIGNALLED: Final = 128
"""Plus the number of the signal."""

_USAGE: Final = (UsageError, ConfigError, RunFolderError, EngineError, DataError)
_EXPECTED: Final = (
    *_USAGE,
    NonFiniteLossError,
    DivergedRunError,
    DivergedHostError,
    CheckpointError,
    UnitFailedError,
    OSError,
    MemoryError,
)


class LoggedError(Exception):
    """A failure of a run.

    Args:
        error: the failure.
        log: the file that holds the whole story; None where none could be written.
        hint: what can be done about it; empty where that is not known.
    """

    def __init__(self, error: Exception, log: Path | None, hint: str) -> None:
        super().__init__(describe(error))
        self.error, self.log, self.hint = error, log, hint


def cause_of(error: Exception) -> Exception:
    """The failure itself, without where it was logged."""
    return error.error if isinstance(error, LoggedError) else error


def is_expected(error: Exception) -> bool:
    """Whether the failure is one that its line explains, without a traceback."""
    return isinstance(cause_of(error), _EXPECTED)


def is_logged(error: Exception) -> bool:
    """Whether the whole story of a failure stands in a file."""
    return isinstance(error, LoggedError) and error.log is not None and error.log.exists()


def exit_code(error: Exception) -> int:
    """2 for wrong usage, 1 for everything else."""
    cause = cause_of(error)
    return USAGE_ERROR if isinstance(cause, _USAGE) and not isinstance(cause, RunStorageError) else FAILURE


def failure_line(error: Exception) -> str:
    """The line that the failure prints, with the place of the log where there is one."""
    if not isinstance(error, LoggedError):
        return f"tamiyo: {describe(error)}"
    hint = f"; {error.hint}" if error.hint else ""
    log = f" (log: {error.log})" if is_logged(error) else ""
    return f"tamiyo: {describe(error.error)}{hint}{log}"


def describe(error: Exception) -> str:
    """What happened, in one line."""
    said = reason(error)
    if is_expected(error):
        return said
    return f"unexpected {type(error).__name__}{f': {said}' if said else ''}"


def reason(error: Exception) -> str:
    """What an error says, in one line."""
    match error:
        case MemoryError():
            text = f"out of memory{f': {error}' if str(error) else ''}"
        case OSError(strerror=str(cause), filename=name):
            text = f"{cause}: {name}" if name is not None else cause
        case _:
            text = str(error)
    return " ".join(text.split())
