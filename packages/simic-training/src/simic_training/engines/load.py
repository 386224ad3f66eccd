"""Who did how much of some units, for people."""

from collections.abc import Iterable, Mapping, Sequence
from statistics import median
from typing import NamedTuple

from simic_training.engines.unit import Done


class Share(NamedTuple):
    """What a worker did.

    Args:
        units: how many. seconds: what they took.
    """

    units: int
    seconds: float


class Load(NamedTuple):
    """What doing some units came to.

    Args:
        seconds: from when they were given to an engine to when their results were taken.
        workers: what each did.
        slowest: seconds of the slowest unit over those of the median one.
        straggler: which unit that was, and whose.
        faults: how often a unit was begun in vain.
    """

    seconds: float
    workers: Mapping[str, Share]
    slowest: float
    straggler: str
    faults: int


def load_of(done: Sequence[Done], seconds: float) -> Load:
    """What units that took so long in all came to.

    Args:
        done: at least one.
        seconds: see `Load`.
    """
    workers = _added((each.worker, Share(1, each.seconds)) for each in done)
    last = max(done, key=lambda each: each.seconds)
    slowest = last.seconds / median(each.seconds for each in done)
    faults = sum(each.faults for each in done)
    return Load(seconds, workers, slowest, f"{last.unit} on {last.worker}", faults)


def joined(loads: Sequence[Load], seconds: float) -> Load:
    """Several loads, at least one, as one that took so long in all."""
    workers = _added(item for load in loads for item in load.workers.items())
    worst = max(loads, key=lambda load: load.slowest)
    return Load(seconds, workers, worst.slowest, worst.straggler, sum(load.faults for load in loads))


def by_machine(workers: Mapping[str, Share]) -> Mapping[str, Share]:
    """What the workers of each machine did together; names of those elsewhere tell theirs: "node-3:17200"."""
    return _added((name.rpartition(":")[0] or "this machine", share) for name, share in workers.items())


def busy(load: Load) -> str:
    """How many cores were busy on an average, and how far the slowest unit was behind the median one.

    Empty for a single worker.
    """
    if len(load.workers) < 2:
        return ""
    cores = sum(each.seconds for each in load.workers.values()) / load.seconds
    return f"{cores:.1f} cores busy, slowest unit {load.slowest:.1f}x ({load.straggler})"


def _added(items: Iterable[tuple[str, Share]]) -> Mapping[str, Share]:
    sums: dict[str, Share] = {}
    for name, share in items:
        before = sums.get(name, Share(0, 0.0))
        sums[name] = Share(before.units + share.units, before.seconds + share.seconds)
    return dict(sorted(sums.items()))
