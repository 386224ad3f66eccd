"""The `tamiyo` command. Exit codes: 0 done, 2 wrong usage, 1 failure, 128 + signal where a signal ended it."""

import argparse
import os
import sys
import traceback
from collections.abc import Callable, Sequence
from errno import EPIPE
from io import TextIOWrapper
from types import MappingProxyType
from typing import Final, final

from rich.console import Console

from simic_training.command.doctor import doctor_command
from simic_training.command.evaluate import evaluate_command
from simic_training.command.failures import (
    SIGNALLED,
    cause_of,
    exit_code,
    failure_line,
    is_expected,
    is_logged,
)
from simic_training.command.grow import grow_command
from simic_training.command.headroom import headroom_command
from simic_training.command.listing import list_command
from simic_training.command.options import build_parser
from simic_training.command.report import report_command
from simic_training.command.train import train_command
from simic_training.runs.interrupts import Interrupted, InterruptGuard

Command = Callable[[argparse.Namespace, Sequence[str], Console, InterruptGuard], int]
"""Takes the options, all words for the log, a console for what is no complaint, and a guard; gives an exit code."""

COMMANDS: Final = MappingProxyType[str, Command](
    {
        "train": train_command,
        "evaluate": evaluate_command,
        "headroom": headroom_command,
        "report": report_command,
        "grow": grow_command,
        "doctor": doctor_command,
        "list": list_command,
    }
)


@final
class _Output(Console):
    """A console that says by an ordinary error that nobody reads it any more; rich would end the program."""

    def on_broken_pipe(self) -> None:
        """Called by rich."""
        raise BrokenPipeError(EPIPE, "nobody reads the output any more")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; returns its exit code.

    Args:
        arguments: the words after `tamiyo`; None takes those of the process.

    Raises:
        SystemExit: the words are no command; one line has been printed. Or they asked for help.
    """
    words = sys.argv[1:] if arguments is None else list(arguments)
    parser = build_parser()
    options, rest = parser.parse_known_args(words)
    options.parser.refuse_rest(rest)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # names of files need not be UTF-8
    console = _Output(highlight=False)
    try:
        with InterruptGuard() as guard:
            return COMMANDS[options.command](options, words, console, guard)
    except Interrupted as interrupt:
        _complain(f"tamiyo: ended by {interrupt}")
        return SIGNALLED + interrupt.signum
    except KeyboardInterrupt:
        _complain("tamiyo: ended by a second Ctrl-C, at once")
        return SIGNALLED + 2
    except Exception as error:
        if isinstance(cause_of(error), BrokenPipeError):
            _drop_output()
        _complain(failure_line(error))
        if not is_expected(error) and not is_logged(error):
            traceback.print_exception(error)
        return exit_code(error)


def _complain(line: str) -> None:
    print(line, file=sys.stderr)


def _drop_output() -> None:
    """Send what is still to be printed nowhere, so that the interpreter does not stumble over it at its end."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
