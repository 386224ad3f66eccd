"""Units of work that are kept, for people: one alone (`--only`), and what can be done after a failure."""

import argparse
import shlex
from collections.abc import Generator, Sequence
from typing import Any

from rich.console import Console

from simic_training.command.parsing import UsageError
from simic_training.command.saying import in_words, say
from simic_training.command.shown import show_rows
from simic_training.engines.faults import UnitFailedError
from simic_training.engines.here import HereEngine
from simic_training.engines.unit import Unit
from simic_training.evaluation.parts import PartsFolder, PartsRunner
from simic_training.evaluation.units import Batch, Lot, found_of


def add_only(parser: argparse.ArgumentParser) -> None:
    """Add the option."""
    parser.add_argument(
        "--only",
        default=argparse.SUPPRESS,
        metavar="UNIT",
        help="play one unit of work alone, in this process, and write no tables; a failure names it",
    )


def advice(words: Sequence[str], seed: int, error: Exception) -> str:
    """What can be done about a failure: play the unit that failed alone, or go on; empty for other failures.

    Args:
        words: of the command that failed.
        seed: of what it plays.
        error: what ended it.
    """
    if isinstance(error, UnitFailedError):
        alone = shlex.join(("tamiyo", *words, "--only", error.unit.name))
        return f"{alone} plays it alone (seed {seed})"
    if isinstance(error, OSError | MemoryError):
        return f"nothing that was finished is lost: {shlex.join(('tamiyo', *words))} goes on"
    return ""


def play_only(
    name: str,
    batches: Generator[Batch, list[bytes], Any],
    lots: Sequence[Lot],
    folder: PartsFolder,
    words: Sequence[str],
    console: Console,
) -> None:
    """Play a unit and print what came of it. Batches before its own are done first: it is made from what they give.

    Args:
        name: of the unit.
        batches, lots: all that is played.
        folder: where parts are.
        words: of the command.
        console: where.

    Raises:
        UsageError: there is no such unit.
        RunFolderError: batches have to be done first, and another process is at work in the folder.
        Exception: whatever playing raises.
    """
    lot = next((lot for lot in lots if lot.name == name), None)
    if lot is None:
        raise UsageError(
            f"--only: there is no unit {name!r} in what is to be played, which is from {lots[0].name!r} to "
            f"{lots[-1].name!r}"
        )
    runner = PartsRunner(HereEngine(), folder, total=len(lots), total_cost=sum(each.cost for each in lots))
    batch = next(batches)
    if not (units := _named(name, batch)):
        with folder.locked():
            while not (units := _named(name, batch)):
                batch = batches.send(runner.do_units(*batch))
    (unit,) = units
    found = found_of(lot, batch.work(batch.shared, *unit.arguments))
    rows = [
        (player, *(f"{float(values.double().mean()):.2f}" for values in each[1:]))
        for player, each in found.outcomes.items()
    ]
    group = lot.stage.draw.group(lot.member)
    seeds = ", ".join(map(str, group.host_seeds))
    told = f"{name}: {in_words(group)}, host seeds {seeds}"
    if found.features is None:
        headings = ("means", "test accuracy %", "val accuracy %", "parameters", "size", "return")
        show_rows(console, told, headings, rows)
    else:
        say(console, f"{told}: looked at, {found.features.shape[1]} features")
    say(console, f"Its result was not kept; {shlex.join(('tamiyo', *words))} does the same again")


def _named(name: str, batch: Batch) -> list[Unit]:
    return [part.unit for part in batch.parts if part.unit.name == name]
