"""Who did how much of some units, for people."""

from collections.abc import Mapping, Sequence
from statistics import median
from typing import NamedTuple

from simic_training.engines.unit import Done


class Load(NamedTuple):
    """What doing some units came to.

    Args:
        seconds: from when they could be begun to when the last one was there.
        workers: of each the units it did and the seconds they took.
        slowest: seconds of the slowest unit over those of the median one.
        faults: how often a unit was begun in vain.
    """

    seconds: float
    workers: Mapping[str, tuple[int, float]]
    slowest: float
    faults: int


def load_of(done: Sequence[Done], seconds: float) -> Load:
    """What units that took so long in all came to.

    Args:
        done: at least one.
        seconds: see `Load`.
    """
    workers: dict[str, tuple[int, float]] = {}
    for each in sorted(done, key=lambda each: each.worker):
        units, busy = workers.get(each.worker, (0, 0.0))
        workers[each.worker] = (units + 1, busy + each.seconds)
    times = [each.seconds for each in done]
    return Load(seconds, workers, max(times) / median(times), sum(each.faults for each in done))


def busy(load: Load) -> str:
    """How well several workers were used, and how far the slowest unit was behind the median one; empty for one."""
    if len(load.workers) < 2:
        return ""
    share = sum(seconds for _, seconds in load.workers.values()) / len(load.workers) / load.seconds
    return f"{len(load.workers)} workers {100 * share:.0f} % busy, slowest unit {load.slowest:.1f}x"
