"""A batch of units on a Ray cluster: what was asked, what has come, and what is asked again."""

import logging
from collections.abc import Sequence
from typing import Any, Final, final

from simic_training.engines.faults import Faults
from simic_training.engines.ray_library import import_ray
from simic_training.engines.ray_task import reply_of
from simic_training.engines.signals_later import signals_later
from simic_training.engines.unit import Done, OnDone, Unit, Work
from simic_training.engines.versions import versions

LOOK: Final = 0.5
"""Seconds between two looks at whether a signal has come."""

IDLE: Final = 10.0
"""Seconds without a result after which it is asked whether anybody is there to do anything."""

_log = logging.getLogger(__name__)


@final
class RayBatch:
    """See `Batch`.

    Args:
        task: from `unit_task`; faults are counted here, as those of any engine are.
        work, shared, units: see `Engine.start`.
    """

    def __init__(self, task: Any, work: Work, shared: bytes, units: Sequence[Unit]) -> None:
        self._task, self._work, self._units = task, work, units
        self._faults = [Faults(unit) for unit in units]
        self._contents: dict[int, bytes] = {}
        self._waiting: dict[Any, int] = {}
        self._warned = False
        try:
            with signals_later():
                self._shared = import_ray().put(shared)
                for place in range(len(units)):
                    self._begin(place)
        except Exception:
            self.drop()
            raise

    def results(self, on_done: OnDone) -> list[bytes]:
        """See `Batch`."""
        idle = 0.0
        try:
            while self._waiting:
                with signals_later():
                    ready = self._ready()
                idle = 0.0 if ready else idle + LOOK
                if idle >= IDLE and not self._warned:
                    idle = 0.0
                    self._warn_if_nobody_is_there()
                for each in ready:
                    self._take(each, on_done)
        except Exception:
            self.drop()  # not after a signal: Ray's driver does not survive that every time, and is left then anyway
            raise
        return [self._contents[place] for place in range(len(self._units))]

    def drop(self) -> None:
        """See `Batch`."""
        ray = import_ray()
        with signals_later():
            for left in self._waiting:
                ray.cancel(left, force=True)
            self._waiting.clear()

    def _ready(self) -> list[Any]:
        ray, waiting = import_ray(), list(self._waiting)
        ready: list[Any]
        ready, _ = ray.wait(waiting, num_returns=1, timeout=LOOK)
        if ready:  # there may be many
            ready, _ = ray.wait(waiting, num_returns=len(waiting), timeout=0)
        return ready

    def _take(self, ready: Any, on_done: OnDone) -> None:
        with signals_later():
            reply = reply_of(ready)
        place = self._waiting.pop(ready)
        faults = self._faults[place]
        if reply.content is not None:
            self._contents[place] = reply.content
            done = Done(self._units[place].name, reply.worker, reply.seconds, faults.total)
            on_done(done, reply.content)
            return
        faults.add(reply.fault, reply.worker, raised=not reply.died)
        with signals_later():
            self._begin(place)

    def _begin(self, place: int) -> None:
        unit = self._units[place]
        task = self._task.options(name=unit.name)
        self._waiting[task.remote(versions(), self._work, self._shared, *unit.arguments)] = place

    def _warn_if_nobody_is_there(self) -> None:
        with signals_later():
            cores = import_ray().cluster_resources().get("CPU", 0)
        self._warned = not cores
        if self._warned:
            _log.warning(
                "no machine of the Ray cluster does anything: %d units wait until one with cores joins it",
                len(self._waiting),
            )
