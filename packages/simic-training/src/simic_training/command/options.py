"""The options of all commands."""

import argparse
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final

from leyline_types import Topology
from simic_training.command.engines import ENGINE_USAGE, add_engine_options
from simic_training.command.grow import add_grow_options
from simic_training.command.listing import LISTS
from simic_training.command.only import add_only
from simic_training.command.parsing import OneLineParser, positive_number, whole_number
from simic_training.command.setting_flags import add_preset_and_file, add_setting_flags
from simic_training.evaluation.headroom_units import QUICK, USUAL
from simic_training.evaluation.stages import FULL, EvaluationOptions
from simic_training.runs.folder import HEADROOM, REPORT

_Commands = Any
_COUNTS: Final = {
    "members_per_lack": "members of the family that were held out, for each thing that hosts may lack",
    "hosts_per_member": "hosts of each member",
    "training_members_per_lack": "other members, to choose and to learn on, for each thing that hosts may lack",
}


def build_parser() -> OneLineParser:
    """The parser of the whole command; `parser` of its result is that of the chosen one."""
    parser = OneLineParser(
        prog="tamiyo",
        description="Policies that decide when, where and what a network grows.",
        epilog="exit codes: 0 done, 2 wrong usage, 1 failure, 130 and 143 ended by Ctrl-C and SIGTERM",
        allow_abbrev=False,
    )
    parser.add_argument("--version", action="version", version=f"tamiyo {version('simic-training')}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    _add_train(commands)
    _add_evaluate(commands)
    _add_headroom(commands)
    _add_report(commands)
    _add_grow(commands)
    _add_doctor(commands)
    _add_list(commands)
    return parser


def _add(commands: _Commands, name: str, summary: str, usage: str | None = None) -> OneLineParser:
    parser: OneLineParser = commands.add_parser(
        name, help=summary, description=f"{summary[0].upper()}{summary[1:]}.", usage=usage, allow_abbrev=False
    )
    parser.set_defaults(parser=parser)
    return parser


def _add_train(commands: _Commands) -> None:
    parser = _add(
        commands,
        "train",
        "train a policy by growing networks; leaves a run folder",
        "tamiyo train [--preset NAME] [--config FILE.toml] [--run FOLDER] [--tensorboard] "
        f"{ENGINE_USAGE} [--SETTING VALUE ...]\n"
        f"       tamiyo train --resume RUN [--tensorboard] {ENGINE_USAGE}",
    )
    add_preset_and_file(parser)
    parser.add_argument(
        "--run",
        type=Path,
        default=argparse.SUPPRESS,
        metavar="FOLDER",
        help="the run's folder, which must not exist yet (default: runs/ and the time)",
    )
    parser.add_argument(
        "--resume",
        type=Path,
        default=argparse.SUPPRESS,
        metavar="RUN",
        help="go on with a run that was ended in any way, with its own settings",
    )
    parser.add_argument(
        "--tensorboard", action="store_true", help="write events for TensorBoard into the run folder too"
    )
    add_engine_options(parser)
    add_setting_flags(parser)


def _add_evaluate(commands: _Commands) -> None:
    parser = _add(
        commands,
        "evaluate",
        "compare a trained policy with baselines, on hosts that it never saw; after any end it goes on",
    )
    parser.add_argument("run", type=Path, metavar="RUN", help="folder of a run")
    _add_counts(parser, EvaluationOptions(), FULL, "--full")
    parser.add_argument(
        "--full",
        action="store_true",
        help="not the verdicts alone: also by lack, every schedule, networks of equal size and for equal time, and "
        "episodes of lengths unlike those of training",
    )
    parser.add_argument(
        "--data",
        type=Path,
        nargs="+",
        default=[],
        metavar="FILE.npz",
        help="on your own data too",
    )
    parser.add_argument(
        "--seed", type=whole_number, default=0, help="of the unseen hosts (default: %(default)s)"
    )
    add_only(parser)
    add_engine_options(parser)


def _add_headroom(commands: _Commands) -> None:
    parser = _add(
        commands,
        "headroom",
        "measure how much better than fixed schedules a rule that looks can be on a family of hosts; after any end it "
        "goes on",
        "tamiyo headroom [FOLDER] [--quick] [--topology TOPOLOGY] [--preset NAME] [--config FILE.toml] "
        "[--members-per-lack N] [--hosts-per-member N] [--training-members-per-lack N] [--only UNIT] "
        f"{ENGINE_USAGE} [--SETTING VALUE ...]",
    )
    parser.add_argument(
        "folder",
        type=Path,
        nargs="?",
        default=None,
        metavar="FOLDER",
        help=f"where tables and finished parts are (default: {HEADROOM}, or {HEADROOM}-quick)",
    )
    parser.add_argument(
        "--quick", action="store_true", help="few hosts: a look in minutes, with wide intervals"
    )
    add_preset_and_file(parser)
    parser.add_argument(
        "--topology",
        dest="env.host.topology",
        default=argparse.SUPPRESS,
        choices=tuple(Topology),
        help="of the hosts; short for --env.host.topology",
    )
    _add_counts(parser, USUAL, QUICK, "--quick")
    add_only(parser)
    add_engine_options(parser)
    add_setting_flags(parser)


def _add_counts(
    parser: argparse.ArgumentParser, usual: EvaluationOptions, other: EvaluationOptions, when: str
) -> None:
    """How many members and hosts are played on; `other` holds with the option `when`."""
    for name, what in _COUNTS.items():
        counts = (getattr(usual, name), getattr(other, name))
        default = counts[0] if counts[0] == counts[1] else f"{counts[0]}; {counts[1]} with {when}"
        parser.add_argument(
            f"--{name.replace('_', '-')}",
            type=positive_number,
            default=argparse.SUPPRESS,
            metavar="N",
            help=f"{what} (default: {default})",
        )


def given_counts(options: argparse.Namespace) -> dict[str, Any]:
    """Of the fields of `EvaluationOptions` that count members and hosts, those that the command names."""
    return {name: getattr(options, name) for name in _COUNTS if hasattr(options, name)}


def _add_report(commands: _Commands) -> None:
    parser = _add(commands, "report", "write a page of figures about a run")
    parser.add_argument("run", type=Path, metavar="RUN", help="folder of a run")
    parser.add_argument(
        "--out",
        type=Path,
        default=argparse.SUPPRESS,
        metavar="FILE.html",
        help=f"where the page goes, for example where RUN cannot be written (default: {REPORT} in RUN)",
    )


def _add_grow(commands: _Commands) -> None:
    parser = _add(
        commands, "grow", "grow the networks of one unit of a run's next update, in this process alone"
    )
    parser.add_argument("run", type=Path, metavar="RUN", help="folder of a run")
    add_grow_options(parser)


def _add_doctor(commands: _Commands) -> None:
    parser = _add(commands, "doctor", "look whether everything that training needs is there")
    add_engine_options(parser)


def _add_list(commands: _Commands) -> None:
    parser = _add(commands, "list", f"list what there is: {', '.join(LISTS)}")
    parser.add_argument("what", nargs="?", choices=LISTS, default=None, help="one of them alone")
    parser.add_argument(
        "folder",
        nargs="?",
        type=Path,
        default=None,
        metavar="FOLDER",
        help="of runs (default: runs)",
    )
