"""The machines of a Ray cluster, each asked whether it can do units at all."""

import time
from typing import Any, Final, NamedTuple

from simic_training.engines.ray_batch import LOOK
from simic_training.engines.ray_library import import_ray
from simic_training.engines.ray_task import reply_of, unit_task
from simic_training.engines.signals_later import signals_later
from simic_training.engines.versions import versions

ANSWER: Final = 300.0
"""Seconds in which a node must answer: its first worker has everything to import."""


class Node(NamedTuple):
    """A machine of the cluster.

    Args:
        name: its host name. cores: that Ray may use there.
        fault: why it cannot do units; empty where it can.
    """

    name: str
    cores: int
    fault: str


def nodes() -> list[Node]:
    """All that are alive, by name, of the cluster that this process is part of."""
    ray, last = import_ray(), time.monotonic() + ANSWER
    with signals_later():
        alive = [node for node in ray.nodes() if node["Alive"]]
        asked = [_ask(node["NodeID"]) for node in alive]
    waiting = asked
    while waiting and time.monotonic() < last:
        with signals_later():
            _, waiting = ray.wait(waiting, num_returns=len(waiting), timeout=LOOK)
    with signals_later():
        faults = [
            f"no answer within {ANSWER:.0f} seconds" if each in waiting else reply_of(each).fault
            for each in asked
        ]
    return sorted(
        Node(node["NodeManagerHostname"], int(node["Resources"].get("CPU", 0)), fault)
        for node, fault in zip(alive, faults, strict=True)
    )


def _ask(node_id: str) -> Any:
    """Have nothing done there: it takes no core, which others may be using."""
    there = import_ray().util.scheduling_strategies.NodeAffinitySchedulingStrategy(node_id, soft=False)
    return unit_task(cores=0).options(scheduling_strategy=there).remote(versions(), _nothing, b"")


def _nothing(shared: bytes) -> bytes:
    return shared
