"""Units of work one after the other in this process."""

from collections.abc import Sequence
from time import perf_counter
from typing import Final, final

from simic_training.engines.faults import UnitFailedError, in_words
from simic_training.engines.unit import Batch, Done, OnDone, Unit, Work

HERE: Final = "here"


@final
class HereEngine:
    """No other process. Units are done when their results are asked for; an error ends them at once."""

    def start(self, work: Work, shared: bytes, units: Sequence[Unit]) -> Batch:
        """See `Engine`."""
        return _Later(work, shared, units)

    def close(self) -> None:
        """Nothing to do."""


@final
class _Later:
    def __init__(self, work: Work, shared: bytes, units: Sequence[Unit]) -> None:
        self._work, self._shared, self._units = work, shared, units

    def results(self, on_done: OnDone) -> list[bytes]:
        """See `Batch`."""
        results = []
        for unit in self._units:
            started = perf_counter()
            try:
                content = self._work(self._shared, *unit.arguments)
            except Exception as error:
                raise UnitFailedError(unit, 1, in_words(error)) from error
            results.append(content)
            on_done(Done(unit.name, HERE, perf_counter() - started, 0), content)
        return results

    def drop(self) -> None:
        """See `Batch`."""
        self._units = ()
