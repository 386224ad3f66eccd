"""Ray's own test cluster: several nodes, each with its raylet and object store, on this machine."""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from simic_training.engines.ray_library import import_ray

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

    head = {"num_cpus": 0, "object_store_memory": STORE, "include_dashboard": False}
    with _test_modules():
        cluster: Any = Cluster(initialize_head=True, head_node_args=head)
    try:
        for _ in range(nodes):
            add_node(cluster)
        yield cluster
    finally:
        cluster.shutdown()


def add_node(cluster: Any) -> Any:
    """One more node, of one core."""
    with _test_modules():
        return cluster.add_node(num_cpus=1, object_store_memory=STORE)


@contextmanager
def _test_modules() -> Iterator[None]:
    """Nodes that are started in the block can import what the tests can."""
    former = os.environ.get(_PATHS)
    os.environ[_PATHS] = os.pathsep.join(path for path in sys.path if Path(path).is_dir())
    try:
        yield
    finally:
        del os.environ[_PATHS]
        if former is not None:
            os.environ[_PATHS] = former
