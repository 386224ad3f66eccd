"""Kills a training process at random instants, resumes it every time, and says how often that took.

Usage: killed_run.py FOLDER KILLS. Prints a line of JSON: {"kills": how many struck a process that was at work}.
"""

import contextlib
import json
import os
import random
import shutil
import signal
import sys
import time
from pathlib import Path

import torch
from run_settings import TINY

from simic_training.runs.folder import CONFIG, RunFolder
from simic_training.runs.interrupts import InterruptGuard
from simic_training.runs.training import train


def work(folder: Path) -> None:
    """Start the run, or go on with it."""
    torch.set_num_threads(1)
    if not (folder / CONFIG).exists():  # killed before there was anything to lose
        shutil.rmtree(folder, ignore_errors=True)
        RunFolder.create(folder, TINY)
    with InterruptGuard() as guard:
        train(TINY, RunFolder.open_run(folder), guard, on_progress=lambda progress: None, resume=True)


def killed_at_work(folder: Path, delay: float) -> bool:
    """Work in a process of its own, and kill it after so many seconds."""
    child = os.fork()
    if child == 0:
        work(folder)
        os._exit(0)
    time.sleep(delay)
    with contextlib.suppress(ProcessLookupError):
        os.kill(child, signal.SIGKILL)
    _, status = os.waitpid(child, 0)
    return os.WIFSIGNALED(status)


def main(folder: Path, kills: int) -> None:
    """Kill and resume until so many kills have struck, then let the run end."""
    rng = random.Random(0)
    struck = 0
    while struck < kills:
        if not killed_at_work(folder, rng.uniform(0.0, 0.5)):
            break
        struck += 1
    work(folder)
    print(json.dumps({"kills": struck}))


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))
