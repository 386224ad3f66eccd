"""Units of work on a Ray cluster of several nodes, whatever becomes of its workers and nodes."""

import os
import random
import signal
import socket
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from odd_jobs import answer, at_work, at_work_or_stumble, do, hold, meet, where
from processes import PATIENCE, command_line, descendants, is_alive, wait_until
from ray_cluster import add_node
from run_settings import TINY
from run_traces import lasting

from simic_training.engines import ray_batch, ray_nodes
from simic_training.engines.faults import UnitFailedError
from simic_training.engines.ray_engine import RayEngine
from simic_training.engines.ray_library import import_ray
from simic_training.engines.ray_task import do_unit
from simic_training.engines.unit import Done, Engine, EngineError, Unit
from simic_training.engines.versions import versions
from simic_training.runs.folder import METRICS, RunFolder
from simic_training.runs.interrupts import InterruptGuard
from simic_training.runs.training import train

ray = pytest.importorskip("ray", reason="the extra `ray` is not installed")
pytestmark = pytest.mark.cluster


@pytest.fixture(scope="module")
def engine(cluster: Any) -> Iterator[RayEngine]:
    with closing(RayEngine(cluster.address)) as engine:
        yield engine


def both_at_once(notes: Path) -> list[Unit]:
    """Two units of `meet` or `where`, each of which waits for the other."""
    notes.mkdir()
    return [Unit("", (notes, number, 2)) for number in range(2)]


def test_workers_are_on_several_nodes(engine: RayEngine, tmp_path: Path) -> None:
    assert len(set(do(engine, where, b"", both_at_once(tmp_path / "notes")))) == 2


def test_what_units_share_is_in_the_store_of_each_node_once(
    engine: RayEngine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    put, references = ray.put, []

    def noting(content: object) -> Any:
        references.append(put(content))
        return references[-1]

    monkeypatch.setattr(ray, "put", noting)
    weights = bytes(300_000)
    nodes = set(do(engine, where, weights, both_at_once(tmp_path / "notes")))
    assert len(nodes) == 2
    assert len(references) == 1
    (found,) = ray.experimental.get_object_locations(references).values()
    assert 300_000 <= found["object_size"] < 301_000
    assert {node.encode() for node in found["node_ids"]} == nodes | {
        ray.get_runtime_context().get_node_id().encode()
    }


def test_what_is_left_of_a_batch_that_failed_is_let_go(engine: RayEngine, tmp_path: Path) -> None:
    """One of the units would never end."""
    units = [Unit("", (tmp_path, 1)), Unit("bad", (tmp_path / "notes", ["no luck"] * 3))]
    with pytest.raises(UnitFailedError, match="bad failed 3 times"):
        do(engine, at_work_or_stumble, b"", units)
    assert len(set(do(engine, meet, b"", both_at_once(tmp_path / "both")))) == 2  # on both nodes again


def test_a_node_that_is_killed_is_done_without(cluster: Any, engine: RayEngine, tmp_path: Path) -> None:
    """Three nodes are at work when one is killed; the other two do its unit too."""
    victim = add_node(cluster)
    cluster.wait_for_nodes(PATIENCE)
    units = [Unit(f"unit {number}", (tmp_path / str(number), 1)) for number in range(3)]
    for _, (notes, _) in units:
        notes.mkdir()
    done: list[Done] = []

    def strike() -> None:
        wait_until("all units are begun", lambda: all(any(notes.iterdir()) for _, (notes, _) in units))
        workers = descendants(os.getpid())
        cluster.remove_node(victim, allow_graceful=False)
        for _, (notes, _) in units:  # what the others do would never end
            pid = int(next(notes.iterdir()).name)
            if pid in workers and is_alive(pid):
                os.kill(pid, signal.SIGKILL)

    thread = threading.Thread(target=strike)
    thread.start()
    assert do(engine, at_work, b"", units, lambda each, _: done.append(each)) == [b"late"] * 3
    thread.join()
    assert [each.faults for each in done] == [1, 1, 1]


def test_a_run_whose_workers_are_killed_at_random_is_the_same_run(engine: RayEngine, tmp_path: Path) -> None:
    config = replace(TINY, episodes=40, units=2, stale_updates=1)  # ten updates of four units
    killed: list[int] = []
    over, rng = threading.Event(), random.Random(0)

    def strike() -> None:
        while len(killed) < 5 and not over.is_set():
            busy = [pid for pid in descendants(os.getpid()) if is_worker(pid)]
            time.sleep(rng.uniform(0.0, 0.2))
            if busy:
                os.kill(rng.choice(busy), signal.SIGKILL)
                killed.append(1)
                over.wait(rng.uniform(1.0, 2.0))

    def train_on(engine: Engine | None, name: str) -> RunFolder:
        run = RunFolder.create(tmp_path / name, config)
        with InterruptGuard() as guard:
            train(config, run, guard, on_progress=lambda progress: None, engine=engine)
        return run

    thread = threading.Thread(target=strike)
    thread.start()
    try:
        run = train_on(engine, "killed")
    finally:
        over.set()
        thread.join()
    assert len(killed) >= 2
    assert sum(row["rollout"]["faults"] for row in run.read_lines(METRICS)) >= 1
    assert lasting(run) == lasting(train_on(None, "here"))


def is_worker(pid: int) -> bool:
    """Whether it is a process in which Ray does a task."""
    return command_line(pid).startswith("ray::update")


def test_what_a_node_does_not_have_is_told(engine: RayEngine) -> None:
    """As where the packages of this process are not installed."""
    module = ModuleType("elsewhere")
    exec("def work(shared): return shared", module.__dict__)
    sys.modules["elsewhere"] = module
    said = "failed 3 times: it could not be begun there: ModuleNotFoundError: No module named 'elsewhere'"
    try:
        with pytest.raises(UnitFailedError, match=said):
            do(engine, module.work, b"", [Unit("", ())])
    finally:
        del sys.modules["elsewhere"]


@pytest.mark.parametrize(
    ("address", "said"),
    [
        ("nowhere", "is HOST:PORT or \"auto\", not 'nowhere'"),
        ("ray://localhost:10001", 'is HOST:PORT or "auto", not \'ray://'),
        ("localhost:many", "not 'localhost:many'"),
        ("127.0.0.1:1", "no Ray cluster at 127.0.0.1:1: .*refused"),
        ("127.0.0.1:99999", "no Ray cluster at 127.0.0.1:99999: "),
    ],
)
def test_addresses_where_no_cluster_is(no_cluster: None, address: str, said: str) -> None:
    with pytest.raises(EngineError, match=said):
        RayEngine(address)


@pytest.fixture
def no_cluster(engine: RayEngine) -> Iterator[None]:
    """This process is part of none for a moment."""
    address = import_ray().get_runtime_context().gcs_address
    engine.close()
    yield
    RayEngine(address)


@pytest.mark.parametrize(("mode", "asked"), [(None, True), ("token", False)])
def test_who_is_not_let_in_may_need_a_token(
    no_cluster: None, monkeypatch: pytest.MonkeyPatch, mode: str | None, asked: bool
) -> None:
    monkeypatch.delenv("RAY_AUTH_MODE", raising=False)
    if mode is not None:
        monkeypatch.setenv("RAY_AUTH_MODE", mode)
    monkeypatch.setattr(ray, "init", refuse)
    with socket.create_server(("127.0.0.1", 0)) as server:
        address = f"127.0.0.1:{server.getsockname()[1]}"
        with pytest.raises(EngineError, match=f"no Ray cluster at {address}: not let in") as told:
            RayEngine(address)
    assert ("then set RAY_AUTH_MODE=token" in str(told.value)) == asked
    monkeypatch.undo()


def refuse(**options: Any) -> None:
    raise ConnectionError("not let in")


def test_this_process_is_part_of_one_cluster_at_a_time(engine: RayEngine) -> None:
    with pytest.raises(EngineError, match="this process is part of a Ray cluster already"):
        RayEngine()
    assert do(engine, answer, b"", [Unit("", (1,))]) == [b"1"]


def test_without_ray(monkeypatch: pytest.MonkeyPatch) -> None:
    import_ray.cache_clear()
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(EngineError, match=r"--engine ray needs Ray: pip install 'simic-training\[ray\]'"):
        RayEngine()
    monkeypatch.undo()
    assert import_ray() is ray


def test_every_node_is_asked_whether_it_can_do_units(
    engine: RayEngine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert [(node.cores, node.fault) for node in ray_nodes.nodes()] == [(0, ""), (1, ""), (1, "")]
    assert {node.name for node in ray_nodes.nodes()} == {os.uname().nodename}
    with monkeypatch.context() as patch:
        patch.setattr(ray_nodes, "versions", lambda: {**versions(), "torch": "1.0"})
        faults = {node.fault for node in ray_nodes.nodes()}
        assert faults == {f"the node has torch {versions()['torch']} instead of 1.0"}
    monkeypatch.setattr(ray_nodes, "ANSWER", 0.4)
    go = tmp_path / "go"
    monkeypatch.setattr(ray_nodes, "_nothing", partial(hold, note=tmp_path / "note", go=go))
    assert {node.fault for node in ray_nodes.nodes()} == {"no answer within 0 seconds"}
    go.touch()


@pytest.mark.parametrize(("resources", "times"), [({"memory": 1.0}, 1), ({"CPU": 2.0}, 0)])
def test_units_that_wait_for_a_machine_are_told_of(
    engine: RayEngine,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    resources: dict[str, float],
    times: int,
) -> None:
    """The units are done only after it has been asked who is there."""

    def asked() -> dict[str, float]:
        (tmp_path / "go").touch()
        return resources

    monkeypatch.setattr(ray_batch, "IDLE", ray_batch.LOOK)
    monkeypatch.setattr(ray, "cluster_resources", asked)
    units = [Unit("", (tmp_path / str(number), tmp_path / "go")) for number in range(2)]
    assert do(engine, hold, b"n", units) == [b"n"] * 2
    assert caplog.text.count("no machine of the Ray cluster does anything: 2 units wait") == times


def test_a_node_with_other_versions_is_told() -> None:
    assert do_unit(versions(), answer, b"n", 1).content == b"n1"
    reply = do_unit({**versions(), "torch": "1.0"}, answer, b"n", 1)
    assert reply.content is None
    assert reply.fault == f"the node has torch {versions()['torch']} instead of 1.0"
