"""The option `--only`: one unit of an evaluation or a sweep by itself, to look at what failed in a worker."""

import argparse
import shlex
from collections.abc import Sequence

from rich.console import Console

from simic_training.command.parsing import UsageError, positive_number
from simic_training.command.saying import in_words, say
from simic_training.command.shown import show_rows
from simic_training.engines.faults import UnitFailedError
from simic_training.evaluation.options import EvaluationOptions
from simic_training.evaluation.outcomes_bytes import outcomes_from_bytes
from simic_training.evaluation.units import hosts_of, play_unit, units_of
from simic_training.growth.config import GrowthConfig

_PLACE = ("STAGE", "GROUP", "PART")


def add_only(parser: argparse.ArgumentParser) -> None:
    """Add the option."""
    parser.add_argument(
        "--only",
        type=positive_number,
        nargs=len(_PLACE),
        default=argparse.SUPPRESS,
        metavar=_PLACE,
        help="play one unit of work alone, in this process, and write nothing (numbers from 1)",
    )


def playing(words: Sequence[str], seed: int, error: Exception) -> str:
    """The command that plays the unit that failed; empty for other failures.

    Args:
        words: of the command that failed.
        seed: of what it plays.
        error: what ended it.
    """
    if not isinstance(error, UnitFailedError):
        return ""
    place = (str(number + 1) for number in error.unit.arguments[2:])
    return f"{shlex.join(('tamiyo', *words, '--only', *place))} plays it alone (seed {seed})"


def play_only(
    place: Sequence[int],
    weights: bytes,
    env: GrowthConfig,
    options: EvaluationOptions,
    words: Sequence[str],
    console: Console,
) -> None:
    """Play a unit and print what came of it.

    Args:
        place: stage, group and part, from 1.
        weights, env, options: see `play_unit`.
        words: of the command.
        console: where.

    Raises:
        UsageError: there is no such unit.
        Exception: whatever playing raises.
    """
    wanted = tuple(number - 1 for number in place)
    units = [unit for unit in units_of(weights, env, options) if unit.arguments[2:] == wanted]
    if not units:
        raise UsageError(f"--only: there is no unit {' '.join(map(str, place))} in what is to be played")
    (unit,) = units
    group = hosts_of(*unit.arguments)
    outcomes, _ = outcomes_from_bytes(play_unit(weights, *unit.arguments), group)
    rows = [
        (name, *(f"{float(values.double().mean()):.2f}" for values in each[1:]))
        for name, each in outcomes.items()
    ]
    seeds = ", ".join(map(str, group.host_seeds))
    headings = ("means", "test accuracy %", "val accuracy %", "parameters", "size", "return")
    show_rows(console, f"{unit.name}: {in_words(group)}, host seeds {seeds}", headings, rows)
    say(console, f"Nothing was written; {shlex.join(('tamiyo', *words))} does the same again")
