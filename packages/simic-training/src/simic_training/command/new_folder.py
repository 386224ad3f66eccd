"""New folders: never one that is there already, and two of one second never the same."""

from collections.abc import Callable
from datetime import UTC, datetime
from itertools import count
from pathlib import Path

from simic_training.runs.folder import RunFolder, RunFolderExistsError


def new_folder(create: Callable[[Path], RunFolder], path: Path | None, *, parent: Path) -> RunFolder:
    """A new folder.

    Args:
        create: makes it at a path, or raises `RunFolderExistsError`.
        path: where; None for a name made of the time, which is given to one folder only.
        parent: where a folder with such a name is put.

    Raises:
        RunFolderError: `path` exists already, or the folder cannot be written.
    """
    if path is not None:
        return create(path)
    now = datetime.now(UTC).strftime("%Y%m%d-%H%M%S")
    for number in count(1):
        try:
            return create(parent / (now if number == 1 else f"{now}-{number}"))
        except RunFolderExistsError:
            continue
    raise AssertionError("numbers do not end")
