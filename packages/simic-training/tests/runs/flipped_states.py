"""Flips every bit of a state's note and 2,000 others, one at a time, and goes on to the end of the run each time.

`nox -s flips` runs it: some minutes. `test_states.py` looks at fewer bits, and goes on from few of those.

Usage: flipped_states.py FOLDER. Prints how many runs ended as the unbroken one; exits with 1 if one did not.
"""

import logging
import shutil
import sys
from dataclasses import replace
from pathlib import Path

import torch
from run_settings import TINY
from run_traces import lasting
from test_states import UPDATES, bits_to_flip, flipped, go

from simic_training.runs.folder import RunFolder
from simic_training.runs.interrupts import InterruptGuard
from simic_training.runs.state import state_files
from simic_training.runs.training import train

SMALL = replace(
    TINY,
    groups=1,
    hidden_dim=8,
    env=replace(TINY.env, family=replace(TINY.env.family, max_epochs=(1, 1))),
)
SHORT = replace(SMALL, episodes=UPDATES * SMALL.batch)


def finish(run: RunFolder) -> dict[str, object]:
    """Go on to the end; what the run leaves."""
    with InterruptGuard() as guard:
        train(run.read_config(), run, guard, on_progress=lambda progress: None, resume=True)
    return lasting(run)


class Warnings(logging.Handler):
    """Counts states that were passed over."""

    passed = 0

    def emit(self, record: logging.LogRecord) -> None:
        self.passed += "going back to the state before it" in record.getMessage()


def main(folder: Path) -> int:
    torch.set_num_threads(1)
    heard = Warnings()
    logger = logging.getLogger("simic_training")
    logger.addHandler(heard)
    logger.propagate = False
    ended = RunFolder.create(folder / "ended", SHORT)
    go(ended, UPDATES)
    unbroken = RunFolder(Path(shutil.copytree(ended.path, folder / "unbroken")))
    expected = finish(unbroken)
    newest = state_files(ended)[0].name
    content = (ended.states / newest).read_bytes()
    same = tried = 0
    for place, bit in bits_to_flip(content, 2000):
        run = RunFolder(Path(shutil.copytree(ended.path, folder / "run")))
        (run.states / newest).write_bytes(flipped(content, place, bit))
        if finish(run) == expected:
            same += 1
        else:
            print(f"byte {place}, bit {bit}: the run ended as another one", flush=True)
        shutil.rmtree(run.path)
        tried += 1
        if tried % 500 == 0:
            print(f"{tried} bits flipped", flush=True)
    print(f"{tried} bits flipped: {heard.passed} warnings, {same} runs ended bit-equal to the unbroken one")
    return int(not tried == heard.passed == same)


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
