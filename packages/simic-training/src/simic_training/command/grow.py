"""`tamiyo grow`: one unit of a run by itself, to look at what failed in a worker."""

import argparse
import shlex
from collections.abc import Sequence
from typing import Final

import torch
from rich.console import Console

from simic_training.command.parsing import OneLineParser, UsageError, positive_number
from simic_training.command.saying import in_words, quoted, say
from simic_training.command.shown import show_rows
from simic_training.engines.unit import Unit
from simic_training.runs.collecting import weights_for
from simic_training.runs.config import TrainConfig
from simic_training.runs.folder import RunFolder
from simic_training.runs.interrupts import InterruptGuard
from simic_training.runs.rollout_bytes import rollout_from_bytes
from simic_training.runs.state import newest_state
from simic_training.runs.training import fresh_state
from simic_training.runs.units import grow_unit, hosts_of

_PLACE: Final = ("update", "group", "part")


def add_grow_options(parser: OneLineParser) -> None:
    """Add the options of the command."""
    for name in _PLACE:
        parser.add_argument(
            f"--{name}", type=positive_number, required=name != "part", default=1, metavar="N", help="from 1"
        )


def growing(run: RunFolder, unit: Unit) -> str:
    """The command that does a unit of a run, and the seed that it is drawn from."""
    config, *place = unit.arguments
    words = [f"--{name} {number + 1}" for name, number in zip(_PLACE, place, strict=True)]
    update, group, _ = place
    seed = config.rollout_seed(update, group)
    return f"tamiyo grow {quoted(run.path)} {' '.join(words)} does it alone (seed {seed})"


def grow_command(
    options: argparse.Namespace, words: Sequence[str], console: Console, guard: InterruptGuard
) -> int:
    """Grow the networks of one unit with the weights that the run would grow them with; nothing is written.

    Raises:
        UsageError, RunFolderError: there is no such unit, or the weights for it are not there.
        Exception: whatever growing raises.
    """
    torch.set_num_threads(1)
    run = RunFolder.open_run(options.run)
    config = run.read_config()
    state, _ = newest_state(run, config, fresh_state(config))
    check_unit(options, config, state.update)
    place = (options.update - 1, options.group - 1, options.part - 1)
    content = grow_unit(weights_for(config, state, place[0]), config, *place)
    hosts = hosts_of(config, *place)
    episodes = rollout_from_bytes(content, hosts).episodes
    seeds = [seed for group in hosts for seed in group.host_seeds]
    columns = (episodes.episode_return, episodes.val_accuracy[:, -1], episodes.size)
    rows = [(seed, *(f"{float(column[host]):.2f}" for column in columns)) for host, seed in enumerate(seeds)]
    show_rows(
        console, f"Grown on {in_words(hosts[0])}", ("host seed", "return", "val accuracy %", "size"), rows
    )
    say(console, f"Nothing was written; {shlex.join(('tamiyo', *words))} does the same again")
    return 0


def check_unit(options: argparse.Namespace, config: TrainConfig, updates_done: int) -> None:
    """See that the unit is one of those that the run grows next, whose weights its newest state holds.

    Raises:
        UsageError: it is none.
    """
    if updates_done >= config.updates:
        raise UsageError(f"the run is finished after {config.updates} updates: it grows no more networks")
    limits = {"update": config.updates, "group": config.groups, "part": config.units}
    for name, most in limits.items():
        if getattr(options, name) > most:
            raise UsageError(f"--{name} must be at most {most} in this run, not {getattr(options, name)}")
    first, last = updates_done + 1, updates_done + 1 + config.stale_updates
    if not first <= options.update <= last:
        known = f"--update {first}" + (f" to {last} are" if last > first else " is")
        raise UsageError(
            f"the run holds the weights after update {updates_done}, with which {known} grown, not {options.update}"
        )
