"""The `tamiyo` command. Exit codes: 0 done, 2 wrong usage, 1 failure, 128 + signal where a signal ended it."""

import argparse
import dataclasses
import sys
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from typing import NoReturn

import torch
from rich.console import Console

from kasmina_hosts import DivergedHostError
from simic_training.cli_evaluate import evaluate_command
from simic_training.cli_train import train_command
from simic_training.config import TrainConfig
from simic_training.evaluation import RIVAL_NAMES
from simic_training.interrupts import Interrupted, InterruptGuard
from simic_training.ppo import NonFiniteLossError
from simic_training.run_folder import RunFolderError
from tamiyo_policies import CheckpointError, list_policies, register_builtin_policies

USAGE_ERROR, FAILURE, SIGNALLED = 2, 1, 128


class OneLineParser(argparse.ArgumentParser):
    """A parser that answers wrong usage with one line, without the whole synopsis."""

    def error(self, message: str) -> NoReturn:
        """Print the line and exit with code 2."""
        self.exit(USAGE_ERROR, f"{self.prog}: {message} (try {self.prog} --help)\n")


def build_parser() -> argparse.ArgumentParser:
    """The command's options."""
    parser = OneLineParser(
        prog="tamiyo",
        description="Policies that decide when, where and what a network grows.",
        allow_abbrev=False,
    )
    parser.add_argument("--version", action="version", version=f"tamiyo {version('simic-training')}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    _add_train(commands)
    _add_evaluate(commands)
    return parser


def _add_train(commands: "argparse._SubParsersAction[OneLineParser]") -> None:
    default = TrainConfig()
    train = commands.add_parser(
        "train",
        help="train a policy by growing networks on handwritten digits",
        description="Train a policy by growing networks on handwritten digits; leaves a run folder.",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
        allow_abbrev=False,
    )
    train.add_argument(
        "--run",
        type=Path,
        default=argparse.SUPPRESS,
        help="the run's folder, new (default: runs/ and the time)",
    )
    train.add_argument("--policy", default=default.policy, help="registered name of the policy")
    train.add_argument("--seed", type=int, default=default.seed, help="of policy, sampling and hosts")
    train.add_argument(
        "--episodes", type=int, default=default.episodes, help="networks to grow in all, in whole batches"
    )
    train.add_argument("--hosts", type=int, default=default.hosts, help="different hosts in a batch")
    train.add_argument(
        "--replicas", type=int, default=default.replicas, help="networks grown from each of them"
    )
    train.add_argument("--epochs", type=int, default=default.host.max_epochs, help="epochs of an episode")
    train.add_argument(
        "--rent",
        type=float,
        default=default.rent_rate,
        help="reward lost per host's worth of added parameters",
    )


def _add_evaluate(commands: "argparse._SubParsersAction[OneLineParser]") -> None:
    evaluate = commands.add_parser(
        "evaluate",
        help="hold a trained policy against other controllers",
        description="Hold a trained policy against other controllers, on hosts that it never saw.",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
        allow_abbrev=False,
    )
    evaluate.add_argument("run", type=Path, metavar="RUN", help="folder of a run")
    evaluate.add_argument(
        "--against",
        type=_names,
        default="heuristic,random,static",
        metavar="NAMES",
        help=f"with commas between, from {', '.join(RIVAL_NAMES)}",
    )
    evaluate.add_argument("--hosts", type=_host_count, default=16, help="hosts that each controller grows")


def _names(text: str) -> list[str]:
    names = [name.strip() for name in text.split(",")]
    for name in names:
        if name not in RIVAL_NAMES:
            raise argparse.ArgumentTypeError(f"no controller {name!r}; choose from {', '.join(RIVAL_NAMES)}")
    return list(dict.fromkeys(names))


def _host_count(text: str) -> int:
    count = int(text)
    if count < 2:
        raise argparse.ArgumentTypeError(f"an interval needs at least 2 hosts, not {count}")
    return count


_host_count.__name__ = "int"  # argparse names the type in its message


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; returns its exit code.

    Args:
        arguments: the words after `tamiyo`; None takes those of the process.
    """
    parser = build_parser()
    options = parser.parse_args(arguments)
    # One thread: the networks are small, and more threads only wait for each other.
    torch.set_num_threads(1)
    console = Console(highlight=False)
    try:
        with InterruptGuard() as guard:
            if options.command == "train":
                return train_command(
                    _checked_config(parser, options), getattr(options, "run", None), console, guard
                )
            return evaluate_command(options.run, options.against, options.hosts, console)
    except RunFolderError as error:
        return _complain(error, USAGE_ERROR)
    except (NonFiniteLossError, DivergedHostError, CheckpointError, OSError) as error:
        return _complain(error, FAILURE)
    except Interrupted as interrupt:
        print(f"tamiyo: ended by {interrupt}", file=sys.stderr)
        return SIGNALLED + interrupt.signum


def _checked_config(parser: argparse.ArgumentParser, options: argparse.Namespace) -> TrainConfig:
    default = TrainConfig()
    try:
        config = dataclasses.replace(
            default,
            policy=options.policy,
            seed=options.seed,
            episodes=options.episodes,
            hosts=options.hosts,
            replicas=options.replicas,
            rent_rate=options.rent,
            host=dataclasses.replace(default.host, max_epochs=options.epochs),
        )
    except ValueError as error:
        parser.error(str(error))
    register_builtin_policies()
    if config.policy not in list_policies():
        parser.error(f"no policy {config.policy!r}; choose from {', '.join(list_policies())}")
    return config


def _complain(error: Exception, code: int) -> int:
    print(f"tamiyo: {error}", file=sys.stderr)
    return code
