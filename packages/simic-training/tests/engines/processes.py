"""Looking at other processes."""

import time
from collections.abc import Callable
from pathlib import Path

PATIENCE = 60.0
"""Seconds until a test gives up waiting for a process; it waits no longer than it must."""


def wait_for(true: Callable[[], bool]) -> None:
    """Wait for something that other processes will do."""
    started = time.monotonic()
    while not true():
        assert time.monotonic() - started < PATIENCE, "waited in vain"
        time.sleep(0.02)


def is_alive(pid: int) -> bool:
    """Whether a process runs; one that has ended and was not asked after does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


def descendants(pid: int) -> set[int]:
    """All processes under this one; threads start some of them."""
    found: set[int] = set()
    try:
        for task in Path(f"/proc/{pid}/task").iterdir():
            for child in (task / "children").read_text().split():
                found |= {int(child), *descendants(int(child))}
    except (FileNotFoundError, ProcessLookupError):  # it has just ended
        pass
    return found
