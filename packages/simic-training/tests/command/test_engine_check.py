"""What `tamiyo doctor` says about an engine."""

import tempfile
from pathlib import Path

import pytest

from simic_training.command import checks
from simic_training.engines.ray_nodes import Node

HEAD = Node("head", 0, "the node has torch 1.0 instead of 2.0")
WELL = Node("well", 16, "")


@pytest.mark.parametrize(
    ("nodes", "advice"),
    [
        ([HEAD, WELL], ""),  # the head does no units
        ([HEAD], "nobody is there to do anything: ray start --address=HOST:PORT on other machines"),
        ([WELL, Node("old", 8, "the node has torch 1.0")], "old: the node has torch 1.0"),
        (
            [Node(f"n{number}", 1, "no") for number in range(8)],
            "n0: no; n1: no; n2: no; n3: no; n4: no; and on 3 more",
        ),
    ],
)
def test_what_a_cluster_lacks(monkeypatch: pytest.MonkeyPatch, nodes: list[Node], advice: str) -> None:
    monkeypatch.setattr(checks, "RayEngine", Joined)
    monkeypatch.setattr(checks, "nodes", lambda: nodes)
    check = checks.engine(True, "head:6379", 9.0)
    assert (check.advice, check.needed) == (advice, True)
    cores = sum(node.cores for node in nodes)
    assert check.found == f"ray: head:6379, nodes {len(nodes)}, cores {cores}"


def test_where_a_cluster_of_its_own_keeps_what(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checks, "RayEngine", Joined)
    monkeypatch.setattr(checks, "nodes", lambda: [WELL])
    found = checks.engine(True, None, 9.0).found
    assert found.startswith(
        "ray: started for this command, nodes 1, cores 16; this machine alone can reach it; "
    )
    assert found.endswith(f"its sockets and logs are in {Path(tempfile.gettempdir(), 'tamiyo-ray-*')}")


class Joined:
    def __init__(self, address: str | None, *, start_timeout: float) -> None:
        assert address in {"head:6379", None}
        assert start_timeout == 9.0

    def close(self) -> None:
        pass
