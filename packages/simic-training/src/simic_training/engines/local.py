"""Units of work on worker processes of this machine. Which worker does what when is the thread pool's business."""

import logging
import os
import threading
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import CancelledError, Future, ThreadPoolExecutor, as_completed
from typing import NamedTuple, final

from simic_training.engines.unit import MOST_FAULTS, TRIES, Done, Unit, UnitFailedError, Work
from simic_training.engines.worker import Worker, WorkError, start_importing

_log = logging.getLogger(__name__)


class _Finished(NamedTuple):
    content: bytes
    done: Done


def cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


@final
class LocalEngine:
    """As many worker processes, each with one thread. They start with their first unit, and die with this process.

    A worker that dies is replaced, and its unit begun again: a unit depends on its arguments alone. Workers import the
    main module, so a script needs `if __name__ == "__main__":`; and they know the policies of installed packages only.

    Args:
        workers: at least 1; None for as many as there are cores.

    Raises:
        ValueError: fewer than one worker.
    """

    def __init__(self, workers: int | None = None) -> None:
        count = cores() if workers is None else workers
        if count < 1:
            raise ValueError(f"`workers` must be at least 1, not {count}")
        self._count = count
        self._threads = ThreadPoolExecutor(count, thread_name_prefix="worker")
        self._mine = threading.local()  # each thread has a process of its own
        self._alive: dict[str, Worker] = {}
        self._closed = threading.Event()
        start_importing()

    @property
    def workers(self) -> int:
        """Processes."""
        return self._count

    @property
    def pids(self) -> list[int]:
        """Of the workers that have started."""
        return [worker.pid for worker in list(self._alive.values())]

    def run(
        self, work: Work, shared: bytes, units: Sequence[Unit], on_done: Callable[[Done], None]
    ) -> list[bytes]:
        """See `Engine`."""
        futures: list[Future[_Finished]] = []
        try:
            for unit in units:
                futures.append(self._threads.submit(self._finish, work, shared, unit))
            for future in as_completed(futures):
                on_done(future.result().done)
        finally:
            for future in futures:
                future.cancel()
        return [future.result().content for future in futures]

    def close(self) -> None:
        """Kill the workers."""
        self._closed.set()
        self._threads.shutdown(wait=False, cancel_futures=True)
        for worker in list(self._alive.values()):
            worker.kill()

    def _finish(self, work: Work, shared: bytes, unit: Unit) -> _Finished:
        name, faults = threading.current_thread().name, Counter[str]()
        cause: Exception
        while not self._closed.is_set():
            try:
                content, seconds = self._worker(name).do(work, shared, unit.arguments)
            except RuntimeError as error:  # BrokenProcessPool; or a closed engine has shut the pool
                self._drop(name)
                fault, cause = "the worker died", error
            except WorkError as error:
                fault, cause = str(error), error
            else:
                return _Finished(content, Done(unit.name, name, seconds, faults.total()))
            if self._closed.is_set():
                break
            faults[fault] += 1
            if faults[fault] == TRIES or faults.total() == MOST_FAULTS:
                raise UnitFailedError(unit, faults.total(), fault) from cause
            _log.warning("%s is begun again: %s (%s)", unit.name, fault, name)
        raise CancelledError

    def _worker(self, name: str) -> Worker:
        if getattr(self._mine, "worker", None) is None:
            self._mine.worker = self._alive[name] = Worker()
            if self._closed.is_set():  # while it started
                self._mine.worker.kill()
        found: Worker = self._mine.worker
        return found

    def _drop(self, name: str) -> None:
        self._mine.worker = None
        self._alive.pop(name, None)
