"""The options that say who does the units of work, and the engine that they ask for."""

import argparse
from contextlib import closing
from typing import Final

from simic_training.command.parsing import UsageError, positive_number
from simic_training.engines.here import HereEngine
from simic_training.engines.local import LocalEngine, cores
from simic_training.engines.ray_engine import RayEngine
from simic_training.engines.ray_start import START_TIMEOUT
from simic_training.engines.unit import Engine

LOCAL: Final = "local"
RAY: Final = "ray"
ENGINE_USAGE: Final = "[--engine local|ray] [--workers N] [--address HOST:PORT] [--start-timeout SECONDS]"


def add_engine_options(parser: argparse.ArgumentParser) -> None:
    """Add the options."""
    parser.add_argument(
        "--engine",
        choices=(LOCAL, RAY),
        default=LOCAL,
        help="who does the work: processes of this machine, or a Ray cluster (extra ray); the result is the same "
        "(default: %(default)s)",
    )
    parser.add_argument(
        "--workers",
        type=positive_number,
        default=argparse.SUPPRESS,
        metavar="N",
        help="with --engine local: processes, each with one thread (default: as many as there are cores, and no more "
        "than units of work at a time)",
    )
    parser.add_argument(
        "--address",
        default=argparse.SUPPRESS,
        metavar="HOST:PORT",
        help='with --engine ray: of the cluster, or "auto" for one on this machine (default: start one for this '
        "command alone, which other machines and users cannot reach)",
    )
    parser.add_argument(
        "--start-timeout",
        type=positive_number,
        default=argparse.SUPPRESS,
        metavar="SECONDS",
        help=f"with --engine ray: that a cluster for this command alone may take to start (default: "
        f"{START_TIMEOUT:.0f})",
    )


def check_engine(options: argparse.Namespace) -> None:
    """See that the options go together.

    Raises:
        UsageError: they do not.
    """
    if options.engine == RAY and hasattr(options, "workers"):
        raise UsageError("--workers is for --engine local: a Ray cluster has as many as it has cores")
    if options.engine == LOCAL and hasattr(options, "address"):
        raise UsageError("--address is for --engine ray")
    if hasattr(options, "start_timeout") and (options.engine == LOCAL or hasattr(options, "address")):
        raise UsageError(
            "--start-timeout is for --engine ray without --address: for a cluster that is started"
        )


def engine_of(options: argparse.Namespace) -> closing[Engine]:
    """Who does the work, until the end of a `with`; a single local worker is this process.

    Args:
        options: those of `add_engine_options`.

    Raises:
        EngineError: there is no such cluster, or none, or no workers, can be started here.
    """
    if options.engine == RAY:
        timeout = getattr(options, "start_timeout", START_TIMEOUT)
        return closing(RayEngine(getattr(options, "address", None), start_timeout=timeout))
    workers = getattr(options, "workers", cores())
    return closing(HereEngine() if workers == 1 else LocalEngine(workers))
