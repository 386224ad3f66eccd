"""A process that does one unit of work after another, with one thread, and dies with the one that started it."""

import multiprocessing
import os
import signal
import tempfile
import threading
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from multiprocessing import forkserver, resource_tracker
from time import perf_counter
from typing import Any, Final, NamedTuple, final

import torch

from simic_training.engines.faults import in_words
from simic_training.engines.unit import EngineError, Work

_CONTEXT: Final = multiprocessing.get_context("forkserver")
"""Workers are forks of a process that imports everything and does nothing: they start at once, with no lock locked."""

PRELOAD: Final = "simic_training.runs.preload"
_SAFE_PATH: Final = "PYTHONSAFEPATH"
_STARTING: Final = threading.Lock()


class Timed(NamedTuple):
    """What a unit gave, and the seconds that it took in the worker."""

    content: bytes
    seconds: float


class WorkError(Exception):
    """What a unit raised in the worker, in words: the error itself need not survive the way between processes."""


def start_importing() -> None:
    """Start the process that workers are forked from, if there is none; it takes some seconds to import everything.

    A terminal sends Ctrl-C to all processes: it and the workers inherit that they do not hear it. And they do not
    import what lies in the working folder.

    Raises:
        EngineError: it cannot be started, for example where the path of the folder for temporary files is too long.
    """
    with _STARTING:
        resource_tracker.ensure_running()  # at its start it unblocks the signals of this thread
        blocked = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
        safe = os.environ.get(_SAFE_PATH)
        os.environ[_SAFE_PATH] = "1"
        try:
            _CONTEXT.set_forkserver_preload([PRELOAD])
            forkserver.ensure_running()
        except OSError as error:
            folder = tempfile.gettempdir()
            raise EngineError(
                f"worker processes cannot be started: {error} (sockets are put into {folder})"
            ) from error
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, blocked)
            if safe is None:
                del os.environ[_SAFE_PATH]
            else:
                os.environ[_SAFE_PATH] = safe


@final
class Worker:
    """The process, started at once.

    Raises:
        BrokenProcessPool: it died before it could start, or could not be forked.
    """

    def __init__(self) -> None:
        start_importing()
        self._pool = ProcessPoolExecutor(1, mp_context=_CONTEXT, initializer=_prepare)
        try:
            self.pid: Final = self._pool.submit(os.getpid).result()
        except (OSError, EOFError) as error:
            raise BrokenProcessPool(f"it could not be forked: {error}") from error
        # Held open here, the end that the worker writes to would hide that it died while it sent its result.
        self._pool._result_queue._writer.close()  # type: ignore[attr-defined]

    def do(self, work: Work, shared: bytes, arguments: Sequence[Any]) -> Timed:
        """Do a unit.

        Raises:
            BrokenProcessPool: the process died; it is of no use any more.
            WorkError: the work raised something.
        """
        return self._pool.submit(_timed, work, shared, *arguments).result()

    def kill(self) -> None:
        """End the process, whatever it is doing."""
        for process in multiprocessing.active_children():
            if process.pid == self.pid:
                process.kill()
        self._pool.shutdown(wait=False)


def _timed(work: Work, shared: bytes, *arguments: Any) -> Timed:
    started = perf_counter()
    try:
        content = work(shared, *arguments)
    except Exception as error:
        raise WorkError(in_words(error)) from error
    return Timed(content, perf_counter() - started)


def _prepare() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # in case somebody else started what this is a fork of
    torch.set_num_threads(1)
    threading.Thread(target=_follow_parent, daemon=True).start()


def _follow_parent() -> None:
    """Nothing else ends a worker whose parent was killed: it waits for work on a pipe that it holds open itself."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)
