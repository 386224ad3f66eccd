"""Kills a training process at random instants, resumes it every time, and says where the kills struck.

Usage: killed_run.py FOLDER KILLS. Beside FOLDER it leaves `whole`, the same run unbroken. Prints a line of JSON:
{"struck": updates on disk at each kill of a process at work}.

Instants are told by what the process has done, never by the clock alone: after some updates and a random part of the
time that one takes, or just before it syncs one of the files of an update to the disk.
"""

import json
import os
import random
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path

import torch
from run_settings import LONG

from simic_training.runs.folder import RunFolder
from simic_training.runs.interrupts import InterruptGuard
from simic_training.runs.training import Progress, train

WRITES = 5
"""Syncs of an update: episodes of two groups, metrics, state, policy."""


def work(folder: Path, on_progress: Callable[[Progress], None]) -> None:
    """Start the run, or go on with it."""
    torch.set_num_threads(1)
    if not folder.exists():
        RunFolder.create(folder, LONG)
    with InterruptGuard() as guard:
        train(LONG, RunFolder.open_run(folder), guard, on_progress=on_progress, resume=True)


def die_before_sync(number: int) -> None:
    """Have this process killed just before its so-manieth sync."""
    done: list[int] = []
    sync = os.fsync

    def counted(descriptor: int) -> None:
        done.append(descriptor)
        if len(done) == number:
            os.kill(os.getpid(), signal.SIGKILL)
        sync(descriptor)

    vars(os)["fsync"] = counted


def killed_at_work(folder: Path, rng: random.Random) -> bool:
    """Work in a process of its own, and have it killed; whether it was at work then."""
    number = rng.randint(1, 3 * WRITES) if rng.random() < 0.5 else 0
    told, tell = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(told)
        if number:
            die_before_sync(number)
        work(folder, lambda progress: print(end=".", file=os.fdopen(os.dup(tell), "w")))
        os._exit(0)
    os.close(tell)
    if not number:
        wait_and_kill(child, told, rng)
    _, status = os.waitpid(child, 0)
    os.close(told)
    return os.WIFSIGNALED(status)


def wait_and_kill(child: int, told: int, rng: random.Random) -> None:
    """Kill the child somewhere in the update after its first, second or third."""
    started = time.monotonic()
    for _ in range(rng.randint(1, 3)):
        before, started = started, time.monotonic()
        os.read(told, 1)
    time.sleep(rng.random() * min(time.monotonic() - started, started - before + 0.05))
    os.kill(child, signal.SIGKILL)


def main(folder: Path, kills: int) -> None:
    """Kill and resume until so many kills have struck, then let the run end."""
    rng = random.Random(0)
    work(
        folder.with_name("whole"), lambda progress: None
    )  # and what is loaded once is loaded before the forks
    struck: list[int] = []
    while len(struck) < kills and killed_at_work(folder, rng):
        struck.append(RunFolder(folder).whole_lines())
    work(folder, lambda progress: None)
    print(json.dumps({"struck": struck}))


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))
