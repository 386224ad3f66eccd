"""Units of work one after the other in this process."""

from collections.abc import Callable, Sequence
from time import perf_counter
from typing import Final, final

from simic_training.engines.unit import Done, Unit, Work

HERE: Final = "here"


@final
class HereEngine:
    """No other process. An error in a unit is raised as it is, at once."""

    @property
    def workers(self) -> int:
        """One."""
        return 1

    def run(
        self, work: Work, shared: bytes, units: Sequence[Unit], on_done: Callable[[Done], None]
    ) -> list[bytes]:
        """See `Engine`."""
        results = []
        for unit in units:
            started = perf_counter()
            results.append(work(shared, *unit.arguments))
            on_done(Done(unit.name, HERE, perf_counter() - started, 0))
        return results

    def close(self) -> None:
        """Nothing to do."""
