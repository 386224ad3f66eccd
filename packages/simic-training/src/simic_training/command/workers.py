"""The option `--workers`, and the engine that it asks for."""

import argparse

from simic_training.command.parsing import positive_number
from simic_training.engines.here import HereEngine
from simic_training.engines.local import LocalEngine, cores
from simic_training.engines.unit import Engine


def add_workers(parser: argparse.ArgumentParser) -> None:
    """Add the option."""
    parser.add_argument(
        "--workers",
        type=positive_number,
        default=argparse.SUPPRESS,
        metavar="N",
        help="processes that grow networks, each with one thread; whatever their number, the result is the same "
        "(default: as many as there are cores, and no more than units of work at a time)",
    )


def engine_of(options: argparse.Namespace, units: int) -> Engine:
    """Who does the work; with a single worker that is this process.

    Args:
        options: with or without `workers`.
        units: of work that there are at a time.
    """
    workers = min(getattr(options, "workers", cores()), units)
    return HereEngine() if workers == 1 else LocalEngine(workers)
