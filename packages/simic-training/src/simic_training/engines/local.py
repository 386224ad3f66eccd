"""Units of work on worker processes of this machine. Which worker does what when is the thread pool's business."""

import threading
from collections.abc import Sequence
from concurrent.futures import CancelledError, Future, ThreadPoolExecutor, as_completed
from functools import cache
from typing import NamedTuple, final

from simic_training.engines.faults import Faults
from simic_training.engines.unit import Batch, Done, EngineError, OnDone, Unit, Work
from simic_training.engines.worker import Worker, WorkError, start_importing


class _Finished(NamedTuple):
    content: bytes
    done: Done


@cache
def cores() -> int:
    """Cores that this process may use, as its affinity and its container's quota say."""
    import joblib

    return int(joblib.cpu_count())


@final
class LocalEngine:
    """As many worker processes, each with one thread. They start with their first unit, and die with this process.

    A worker that dies is replaced, and its unit begun again: a unit depends on its arguments alone. Workers import the
    main module, so a script needs `if __name__ == "__main__":`; and they know the policies of installed packages only.

    Args:
        workers: at least 1; None for as many as there are cores.

    Raises:
        ValueError: fewer than one worker.
        EngineError: worker processes cannot be started here.
    """

    def __init__(self, workers: int | None = None) -> None:
        count = cores() if workers is None else workers
        if count < 1:
            raise ValueError(f"`workers` must be at least 1, not {count}")
        self._threads = ThreadPoolExecutor(count, thread_name_prefix="worker")
        self._mine = threading.local()  # each thread has a process of its own
        self._alive: dict[str, Worker] = {}
        self._closed = threading.Event()
        self._telling = threading.Lock()  # of faults, of which nobody wants to hear once it is closed
        start_importing()

    @property
    def pids(self) -> list[int]:
        """Of the workers that have started."""
        return [worker.pid for worker in list(self._alive.values())]

    def start(self, work: Work, shared: bytes, units: Sequence[Unit]) -> Batch:
        """See `Engine`."""
        return _Running([self._threads.submit(self._finish, work, shared, unit) for unit in units])

    def close(self) -> None:
        """Kill the workers."""
        with self._telling:
            self._closed.set()
        self._threads.shutdown(wait=False, cancel_futures=True)
        for worker in list(self._alive.values()):
            worker.kill()

    def _finish(self, work: Work, shared: bytes, unit: Unit) -> _Finished:
        name, faults = threading.current_thread().name, Faults(unit)
        while not self._closed.is_set():
            try:
                content, seconds = self._worker(name).do(work, shared, unit.arguments)
            except EngineError:
                raise
            except RuntimeError as error:  # BrokenProcessPool; or a closed engine has shut the pool
                self._drop(name)
                self._tell(faults, "the worker died", name, error)
            except WorkError as error:
                self._tell(faults, str(error), name, error)
            else:
                return _Finished(content, Done(unit.name, name, seconds, faults.total))
        raise CancelledError

    def _tell(self, faults: Faults, fault: str, worker: str, cause: Exception) -> None:
        with self._telling:
            if not self._closed.is_set():
                faults.add(fault, worker, raised=isinstance(cause, WorkError), cause=cause)

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


@final
class _Running:
    def __init__(self, futures: list[Future[_Finished]]) -> None:
        self._futures = futures

    def results(self, on_done: OnDone) -> list[bytes]:
        """See `Batch`."""
        try:
            for future in as_completed(self._futures):
                content, done = future.result()
                on_done(done, content)
        finally:
            self.drop()
        return [future.result().content for future in self._futures]

    def drop(self) -> None:
        """See `Batch`. Workers finish what they are at."""
        for future in self._futures:
            future.cancel()
