"""Units of work: pure functions of bytes and plain arguments, which any process does with the same result."""

from collections.abc import Callable, Mapping, Sequence
from statistics import median
from typing import Any, Final, NamedTuple, Protocol

TRIES: Final = 3
"""How often a unit may meet with the same fault: what is not over by then will not pass."""

MOST_FAULTS: Final = 3 * TRIES
"""How often with any: some errors say something else each time."""

Work = Callable[..., bytes]
"""A function of a module: `work(shared, *arguments)`, equal results for equal arguments. It is sent by its name."""


class Unit(NamedTuple):
    """What one worker does at a time, on one thread.

    Args:
        name: for people: "update 3, group 1".
        arguments: plain values.
    """

    name: str
    arguments: tuple[Any, ...]


class Done(NamedTuple):
    """A unit that was done.

    Args:
        unit: its name. worker: who did it. seconds: what it took there.
        faults: how often it was begun in vain.
    """

    unit: str
    worker: str
    seconds: float
    faults: int


class UnitFailedError(RuntimeError):
    """A unit met with the same fault `TRIES` times, or with `MOST_FAULTS` in all.

    Args:
        unit: which. times: how often it failed. fault: what happened last.
    """

    def __init__(self, unit: Unit, times: int, fault: str) -> None:
        super().__init__(f"{unit.name} failed {times} times: {fault}")
        self.unit = unit


class Engine(Protocol):
    """Does units of work and gives their results in the order of the units, whoever did which and when."""

    @property
    def workers(self) -> int:
        """How many units are done at once."""
        ...

    def run(
        self, work: Work, shared: bytes, units: Sequence[Unit], on_done: Callable[[Done], None]
    ) -> list[bytes]:
        """Do all units.

        Args:
            work: does a unit.
            shared: its first argument, the same for all of them.
            units: the rest of the arguments of each.
            on_done: told of every unit, in the order in which they end.

        Raises:
            UnitFailedError: a unit met with the same fault again and again in other processes.
            Exception: what a unit raised in this process.
        """
        ...

    def close(self) -> None:
        """Let the workers go, also in the middle of their work."""
        ...


class Load(NamedTuple):
    """Who did how much of some units, for people.

    Args:
        seconds: from the first unit's start to the last one's end.
        workers: of each the units it did and the seconds they took.
        slowest: seconds of the slowest unit over those of the median one.
        faults: how often a unit was begun in vain.
    """

    seconds: float
    workers: Mapping[str, tuple[int, float]]
    slowest: float
    faults: int


def load_of(done: Sequence[Done], seconds: float) -> Load:
    """What units that took so many seconds in all came to.

    Args:
        done: at least one.
        seconds: from the first unit's start to the last one's end.
    """
    workers: dict[str, tuple[int, float]] = {}
    for each in sorted(done, key=lambda each: each.worker):
        units, busy = workers.get(each.worker, (0, 0.0))
        workers[each.worker] = (units + 1, busy + each.seconds)
    times = [each.seconds for each in done]
    return Load(seconds, workers, max(times) / median(times), sum(each.faults for each in done))
