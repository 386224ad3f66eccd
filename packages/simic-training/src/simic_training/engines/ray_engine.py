"""Units of work on a Ray cluster: which machine does what when, and who replaces it, is Ray's business."""

import os
import signal
import socket
import threading
from collections.abc import Sequence
from functools import cache
from types import MappingProxyType
from typing import Any, Final, final

from simic_training.engines.faults import Faults
from simic_training.engines.ray_task import Reply, do_unit
from simic_training.engines.unit import Batch, Done, OnDone, Unit, Work
from simic_training.engines.versions import versions

AUTO: Final = "auto"
_RAY: Final = "Ray"
PATIENCE: Final = 10.0
"""Seconds that a cluster may take to accept a connection. Ray itself would wait for many minutes."""

ENVIRONMENT: Final = MappingProxyType(
    {
        "RAY_ENABLE_UV_RUN_RUNTIME_ENV": "0",  # under `uv run` Ray would send the working folder to every node
        "RAY_USAGE_STATS_ENABLED": "0",  # nothing is told to others
        "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",  # as will be Ray's default; until then it warns
    }
)
"""What Ray reads from the environment, unless it is set there."""


class EngineError(RuntimeError):
    """Ray is not installed, or no cluster is there."""


@final
class RayEngine:
    """All cores of a Ray cluster. Ray replaces workers and nodes that die; their units are begun again.

    What the units of a batch share is put into Ray's object store, which takes it to each node once. A worker takes
    the code of units from the packages installed there, which must be of the versions that are installed here.

    Args:
        address: "host:port" of a cluster's head, or "auto" for the one on this machine. None starts one on this
            machine, which ends with the engine.

    Raises:
        EngineError: Ray is not installed, or there is no cluster at the address.
    """

    def __init__(self, address: str | None = None) -> None:
        check_reachable(address)
        ray = import_ray()
        handler = signal.getsignal(signal.SIGTERM)
        try:
            ray.init(
                address="local" if address is None else address,
                include_dashboard=False if address is None else None,
                log_to_driver=False,
                logging_level="error",
            )
        except (OSError, ValueError, RuntimeError, ray.exceptions.RayError) as error:
            raise EngineError(f"no Ray cluster {_place(address)}: {' '.join(str(error).split())}") from error
        finally:
            if threading.current_thread() is threading.main_thread():
                signal.signal(signal.SIGTERM, handler)  # Ray took it
        # Faults are counted here, as those of any engine are.
        self._task = ray.remote(num_cpus=1, max_retries=0)(do_unit)

    def start(self, work: Work, shared: bytes, units: Sequence[Unit]) -> Batch:
        """See `Engine`."""
        return _Running(self._task, work, import_ray().put(shared), units)

    def size(self) -> tuple[int, int]:
        """Nodes of the cluster that are alive, and all their cores."""
        ray = import_ray()
        return sum(node["Alive"] for node in ray.nodes()), int(ray.cluster_resources().get("CPU", 0))

    def close(self) -> None:
        """Leave the cluster, which lets go of everything that this process asked of it."""
        import_ray().shutdown()


@final
class _Running:
    def __init__(self, task: Any, work: Work, shared: Any, units: Sequence[Unit]) -> None:
        self._task, self._work, self._shared, self._units = task, work, shared, units
        self._faults = [Faults(unit) for unit in units]
        self._contents: dict[int, bytes] = {}
        self._waiting: dict[Any, int] = {}
        for place in range(len(units)):
            self._begin(place)

    def results(self, on_done: OnDone) -> list[bytes]:
        """See `Batch`."""
        ray = import_ray()
        try:
            while self._waiting:
                waiting = list(self._waiting)
                ray.wait(waiting, num_returns=1)
                # All that are ready at once: there may be many.
                ready, _ = ray.wait(waiting, num_returns=len(waiting), timeout=0)
                for each in ready:
                    self._take(each, on_done)
        except Exception:
            # Not after a signal: then the cluster is left anyway, and Ray must not be asked for more meanwhile.
            for left in self._waiting:
                ray.cancel(left, force=True)
            raise
        return [self._contents[place] for place in range(len(self._units))]

    def _take(self, ready: Any, on_done: OnDone) -> None:
        place = self._waiting.pop(ready)
        reply, faults = _reply_of(ready), self._faults[place]
        if reply.content is None:
            faults.add(reply.fault, reply.worker, raised=not reply.died)
            self._begin(place)
        else:
            self._contents[place] = reply.content
            on_done(Done(self._units[place].name, reply.worker, reply.seconds, faults.total))

    def _begin(self, place: int) -> None:
        unit = self._units[place]
        task = self._task.options(name=unit.name)
        self._waiting[task.remote(versions(), self._work, self._shared, *unit.arguments)] = place


def _reply_of(ready: Any) -> Reply:
    """What came of a task. Units raise nothing, so an error is that of a worker, a node or the store."""
    ray = import_ray()
    try:
        reply: Reply = ray.get(ready)
    except ray.exceptions.RayTaskError as error:  # its text is a traceback
        lines = str(error).split("\n")
        return Reply(None, f"it could not be begun there: {lines[-1]}", _RAY)
    except ray.exceptions.RayError as error:
        said = " ".join(str(error).split())
        return Reply(None, f"the worker died: {type(error).__name__}: {said}", _RAY, died=True)
    return reply


def check_reachable(address: str | None) -> None:
    """See that Ray is there, and something answers at the address.

    Raises:
        EngineError: it is not so.
    """
    import_ray()
    if address is None or address == AUTO:
        return
    host, _, port = address.rpartition(":")
    if not host or not port.isdecimal() or "/" in host:
        raise EngineError(f'the address of a Ray cluster is HOST:PORT or "{AUTO}", not {address!r}')
    try:
        socket.create_connection((host, int(port)), timeout=PATIENCE).close()
    except (OSError, OverflowError, UnicodeError) as error:
        raise EngineError(f"no Ray cluster {_place(address)}: {error}") from error


def _place(address: str | None) -> str:
    return f"at {address}" if address not in {None, AUTO} else "on this machine"


@cache
def import_ray() -> Any:
    """Ray, which is imported when it is first needed.

    Raises:
        EngineError: it is not installed.
    """
    for name, value in ENVIRONMENT.items():
        os.environ.setdefault(name, value)
    try:
        import ray
    except ImportError as error:
        raise EngineError("--engine ray needs Ray: pip install 'simic-training[ray]'") from error
    return ray
