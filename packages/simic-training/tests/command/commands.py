"""The command in this process and in one of its own, on the smallest runs that are runs."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

from processes import PATIENCE
from run_traces import lasting

from simic_training.command.main import main
from simic_training.runs.folder import RunFolder
from simic_training.runs.state import state_files

TINY = {
    "--hidden-dim": "16",
    "--groups": "1",
    "--units": "1",
    "--env.group-size": "2",
    "--env.host.interactions": "false",
    "--env.host.batch-size": "256",
    "--env.family.lacks": "nothing,kernels",
    "--env.family.class-counts": "2,2",
    "--env.family.max-label-noise": "0",
    "--env.family.max-epochs": "3,3",
    "--ppo.epochs": "2",
    "--ppo.minibatches": "1",
}
APART = ("--env.group-size", "4", "--units", "2", "--env.replicas", "0")
"""Two units of two hosts for each update."""
HOSTS = ("--members-per-lack", "2", "--hosts-per-member", "4")
"""As few hosts as an evaluation may have, in four groups."""

FAMILY = (
    "--env.family.lacks",
    "nothing,kernels",
    "--env.family.widths",
    "4,4",
    "--env.family.class-counts",
    "2,2",
    "--env.family.train-samples",
    "64,64",
    "--env.family.max-epochs",
    "5,6",
    "--env.host.interactions",
    "false",
    "--env.rules.enabled-blueprints",
    "norm",
    "--training-members-per-lack",
    "2",
    *HOSTS,
)
"""Words after `tamiyo headroom`: a family of two kinds, five arms and 16 hosts to judge on."""

PROGRAM = """
import signal, sys
signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background jobs ignore it
from simic_training.command.main import main
sys.exit(main())
"""


def tiny(episodes: int) -> list[str]:
    """Words after `tamiyo train`."""
    return ["--episodes", str(episodes), *(word for pair in TINY.items() for word in pair)]


def train(run: Path, episodes: int = 4, *more: str) -> int:
    """`tamiyo train` into a folder; in this process alone, which starts at once, unless `more` says otherwise."""
    alone = () if {"--workers", "--engine"} & {*more} else ("--workers", "1")
    return main(["train", "--run", str(run), *tiny(episodes), *alone, *more])


def start(*words: str, **options: Any) -> subprocess.Popen[str]:
    """`tamiyo` in a process of its own."""
    return subprocess.Popen(
        [sys.executable, "-c", PROGRAM, *words],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        **options,
    )


def output(process: subprocess.Popen[str]) -> tuple[str, str]:
    """What the process printed to stdout and stderr, once it has ended."""
    return process.communicate(timeout=PATIENCE)


def end(process: subprocess.Popen[str], signum: signal.Signals) -> tuple[str, str]:
    """Signal the process, and give what it printed to stdout and stderr."""
    process.send_signal(signum)
    return output(process)


def end_as_a_terminal_does(process: subprocess.Popen[str], signum: signal.Signals) -> str:
    """Signal the process, which leads a group, or for Ctrl-C all of the group; gives what it printed to stderr."""
    if signum is not signal.SIGINT:
        return end(process, signum)[1]
    os.killpg(process.pid, signum)
    return output(process)[1]


def traces(folder: Path) -> dict[str, Any]:
    """All that a run leaves, without clock times."""
    run = RunFolder.open_run(folder)
    return {
        **lasting(run),
        "states": [path.name for path in state_files(run)],
        "settings": json.loads((folder / "config.json").read_text()),
    }
