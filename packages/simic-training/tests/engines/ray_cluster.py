"""Ray's own test cluster: several nodes, each with its raylet and object store, on this machine."""

import os
import shutil
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from processes import PATIENCE

from simic_training.engines.ray_library import import_ray
from simic_training.engines.ray_start import patiently

STORE = 100 * 2**20
"""Bytes of a node's object store."""

_PATHS = "PYTHONPATH"


@contextmanager
def cluster_of(nodes: int) -> Iterator[Any]:
    """A cluster whose head has no cores: all units are done elsewhere.

    Args:
        nodes: besides the head, of one core each.
    """
    import_ray()  # which sets what Ray reads from the environment
    from ray.cluster_utils import Cluster

    folder = Path(tempfile.mkdtemp(prefix="ray-test-"))
    head = {"num_cpus": 0, "object_store_memory": STORE, "include_dashboard": False, "wait": False}
    with _starting(folder):
        cluster: Any = Cluster(initialize_head=True, head_node_args=head)
    try:
        for _ in range(nodes):
            add_node(cluster)
        yield cluster
    finally:
        cluster.shutdown()
        shutil.rmtree(folder, ignore_errors=True)


def add_node(cluster: Any) -> Any:
    """One more node, of one core, which is there when this returns."""
    with _starting(Path(cluster.head_node.get_temp_dir_path())):
        return cluster.add_node(num_cpus=1, object_store_memory=STORE, wait=False)


@contextmanager
def _starting(folder: Path) -> Iterator[None]:
    """Nodes that are started in the block may take their time."""
    with importing_tests(), patiently(PATIENCE, folder, {}, threading.Event()):
        yield


@contextmanager
def importing_tests() -> Iterator[None]:
    """Nodes that are started in the block can import what the tests can."""
    former = os.environ.get(_PATHS)
    os.environ[_PATHS] = os.pathsep.join(path for path in sys.path if Path(path).is_dir())
    try:
        yield
    finally:
        del os.environ[_PATHS]
        if former is not None:
            os.environ[_PATHS] = former
