"""A run most of whose hosts diverge teaches nothing: it warns, and then it ends."""

import logging
from collections import deque
from collections.abc import Iterable, Mapping
from typing import Any, Final, final

from simic_training.runs.config import TrainConfig
from simic_training.runs.folder import METRICS, RunStorageError
from simic_training.runs.records import Rollbacks

MOST_DIVERGED: Final = 3
"""Updates in a row with at least half of their hosts rolled back, after which a run ends."""

_log = logging.getLogger(__name__)


class DivergedRunError(RuntimeError):
    """At least half of the hosts diverged in each of `MOST_DIVERGED` updates in a row."""


@final
class DivergenceWatch:
    """Looks at the rollbacks of one update after the other.

    Args:
        config: of the run.
        records: the lines of metrics so far: a run that goes on knows what came before.

    Raises:
        DivergedRunError: the last of these records are as bad as that already.
        RunStorageError: a record that no run wrote.
    """

    def __init__(self, config: TrainConfig, records: Iterable[Mapping[str, Any]]) -> None:
        self._config = config
        self._newest = deque(map(_rollbacks_in, records), maxlen=MOST_DIVERGED)
        self._end_if_hopeless()

    def look(self, record: Mapping[str, Any]) -> None:
        """Take an update's line of metrics into account; what it says is in the log.

        Raises:
            DivergedRunError: see the class.
        """
        update, found = _rollbacks_in(record)
        self._newest.append((update, found))
        if found.times:
            level = logging.WARNING if found.widespread else logging.INFO
            _log.log(level, "update %d: %s", update, self._in_words(found))
        self._end_if_hopeless()

    def _in_words(self, found: Rollbacks) -> str:
        return (
            f"{found.hosts} of {found.of} hosts diverged and were rolled back ({found.times} times) under learning "
            f"rate {self._config.env.host.learning_rate:g}"
        )

    def _end_if_hopeless(self) -> None:
        if len(self._newest) < MOST_DIVERGED or not all(found.widespread for _, found in self._newest):
            return
        updates = ", ".join(str(update) for update, _ in self._newest)
        raise DivergedRunError(
            f"in each of the updates {updates} at least half of the hosts diverged; in the last, "
            f"{self._in_words(self._newest[-1][1])}: a new run needs a lower `env.host.learning_rate`. Nothing is lost"
        )


def _rollbacks_in(record: Mapping[str, Any]) -> tuple[int, Rollbacks]:
    match record:
        case {"update": int(update), "rollbacks": {"hosts": int(hosts), "of": int(of), "times": int(times)}}:
            return update, Rollbacks(hosts, of, times)
        case _:
            raise RunStorageError(f"{METRICS} is damaged or of another version: a line has no rollbacks")
