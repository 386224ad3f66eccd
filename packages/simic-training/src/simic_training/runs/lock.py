"""One process at a time works in a folder: a lock that dies with its process."""

import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import IO

from simic_training.runs.folder import LOCK, RunFolder, RunFolderError

_TRIES, _PAUSE = 4, 0.05  # `is_locked` holds the lock for an instant


def locked(run: RunFolder) -> AbstractContextManager[None]:
    """Keep other processes from training in the folder while the block runs: see `locked_folder`."""
    return locked_folder(run.path, "training")


@contextmanager
def locked_folder(folder: Path, work: str) -> Iterator[None]:
    """Keep other processes from some work in a folder while the block runs.

    The operating system lifts the lock when the process ends, however it does; the file that it is on stays, with the
    number of the last process that had it.

    Args:
        folder: where all who do this work look for the file.
        work: "training", for the others.

    Raises:
        RunFolderError: another process has the lock.
        OSError: the file cannot be written.
    """
    with (folder / LOCK).open("a+", encoding="ascii") as file:
        if not any(_take(file, fcntl.LOCK_EX, after=_PAUSE * (attempt > 0)) for attempt in range(_TRIES)):
            file.seek(0)
            raise RunFolderError(f"another process ({file.read().strip()}) is {work} in {folder}")
        file.truncate(0)
        file.write(f"{os.getpid()}\n")
        file.flush()
        yield


def is_locked(run: RunFolder) -> bool:
    """Whether a process is training in the folder."""
    try:
        with (run.path / LOCK).open(encoding="ascii") as file:
            return not _take(file, fcntl.LOCK_SH)
    except FileNotFoundError:
        return False


def _take(file: IO[str], kind: int, *, after: float = 0.0) -> bool:
    time.sleep(after)
    try:
        fcntl.flock(file, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
