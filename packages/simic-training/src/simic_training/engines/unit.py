"""Units of work: pure functions of bytes and plain arguments, which any process does with the same result."""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, Protocol

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


OnDone = Callable[[Done, bytes], None]
"""Told of every unit and what it gave, in the order in which they end."""


class EngineError(RuntimeError):
    """There is no such engine here: a library, a cluster or something else that it needs is missing."""


class Batch(Protocol):
    """Units that were given to an engine."""

    def results(self, on_done: OnDone) -> list[bytes]:
        """Wait until all are done; what is left of them is let go when that fails.

        Returns:
            What each gave, in the order of the units, whoever did which and when.

        Raises:
            UnitFailedError: a unit met with the same fault again and again.
        """
        ...

    def drop(self) -> None:
        """Let go of what is not done yet: nobody will ask for the results."""
        ...


class Engine(Protocol):
    """Does units of work."""

    def start(self, work: Work, shared: bytes, units: Sequence[Unit]) -> Batch:
        """Take units on. Those of several batches are done at once, as far as there are workers.

        Args:
            work: does a unit.
            shared: its first argument, the same for all of them.
            units: the rest of the arguments of each.
        """
        ...

    def close(self) -> None:
        """Let the workers go, also in the middle of their work."""
        ...
