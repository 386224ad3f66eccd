"""What units met with in vain, and when that is enough."""

import logging
from collections import Counter
from typing import Final, final

from simic_training.engines.unit import Unit

TRIES: Final = 3
"""How often a unit may raise the same error: what is not over by then will not pass."""

MOST_FAULTS: Final = 3 * TRIES
"""How often it may fail in any way: some errors say something else each time, and workers may be killed by chance."""

_log = logging.getLogger(__name__)


class UnitFailedError(RuntimeError):
    """A unit raised the same error `TRIES` times, or failed `MOST_FAULTS` times in all; in this process it raised one.

    Args:
        unit: which. times: how often it failed. fault: what happened last.
    """

    def __init__(self, unit: Unit, times: int, fault: str) -> None:
        super().__init__(f"{unit.name} failed{f' {times} times' if times > 1 else ''}: {fault}")
        self.unit = unit


@final
class Faults:
    """Those of one unit.

    Args:
        unit: which.
    """

    def __init__(self, unit: Unit) -> None:
        self._unit = unit
        self._met = Counter[str]()

    @property
    def total(self) -> int:
        """How many."""
        return self._met.total()

    def add(self, fault: str, worker: str, *, raised: bool, cause: Exception | None = None) -> None:
        """Note one and warn that the unit is begun again.

        Args:
            fault: what happened. worker: to whom.
            raised: whether the unit raised it, rather than that its worker died.
            cause: where it came from.

        Raises:
            UnitFailedError: it is not begun again any more.
        """
        self._met[fault] += 1
        if (raised and self._met[fault] == TRIES) or self.total == MOST_FAULTS:
            raise UnitFailedError(self._unit, self.total, fault) from cause
        _log.warning("%s is begun again: %s (%s)", self._unit.name, fault, worker)


def in_words(error: Exception) -> str:
    """An error as a fault: it need not survive the way between processes itself."""
    return f"{type(error).__name__}: {error}"
