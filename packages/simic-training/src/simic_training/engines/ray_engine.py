"""Units of work on a Ray cluster: which machine does what when, and who replaces it, is Ray's business."""

from collections.abc import Sequence
from typing import final

from simic_training.engines.ray_batch import RayBatch
from simic_training.engines.ray_library import import_ray, join_cluster, start_cluster
from simic_training.engines.ray_start import START_TIMEOUT
from simic_training.engines.ray_task import unit_task
from simic_training.engines.signals_later import signals_later
from simic_training.engines.unit import Batch, Unit, Work


@final
class RayEngine:
    """All cores of a Ray cluster, which a process can be part of once at a time.

    Ray replaces workers and nodes that die; their units are begun again. What the units of a batch share is put into
    Ray's object store, which takes it to each node once. A worker takes the code of units from the packages installed
    there, which must be of the versions that are installed here.

    Args:
        address: "host:port" of a cluster's head, or "auto" for the one on this machine. None starts one on this
            machine, which ends with the engine; others can neither reach it nor know the token that it asks for.
        start_timeout: seconds that it may take to start one, more than 0; joining one has limits of its own.

    Raises:
        ValueError: no time at all.
        EngineError: Ray is not installed, there is no cluster at the address, one does not start, or this process is
            part of one already.
    """

    def __init__(self, address: str | None = None, *, start_timeout: float = START_TIMEOUT) -> None:
        if not start_timeout > 0:
            raise ValueError(f"`start_timeout` must be more than 0 seconds, not {start_timeout}")
        self._own = None
        if address is None:
            self._own = start_cluster(start_timeout)
        else:
            join_cluster(address)
        self._task = unit_task(cores=1)

    def start(self, work: Work, shared: bytes, units: Sequence[Unit]) -> Batch:
        """See `Engine`."""
        return RayBatch(self._task, work, shared, units)

    def close(self) -> None:
        """Leave the cluster, which lets go of everything that this process asked of it."""
        with signals_later():
            if self._own is None:
                import_ray().shutdown()
            else:
                self._own.close()
