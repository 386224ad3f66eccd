"""Worker processes of this machine: when they start, what kills them, and that none is left behind."""

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import CancelledError, ProcessPoolExecutor
from contextlib import closing
from multiprocessing import forkserver
from pathlib import Path
from typing import Any

import pytest
from odd_jobs import answer, at_work, do, imported, meet, send_much, stumble, tell_nobody, who
from processes import is_alive, wait_until

from simic_training.engines.faults import UnitFailedError
from simic_training.engines.local import LocalEngine, cores
from simic_training.engines.unit import Done, EngineError, Unit


@pytest.fixture(scope="module")
def two(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalEngine]:
    with closing(LocalEngine(2)) as engine:
        all_at_once(engine, 2, tmp_path_factory.mktemp("notes"))
        yield engine


def all_at_once(engine: LocalEngine, units: int, notes: Path) -> set[int]:
    """The workers that so many units need, each of which waits for the others."""
    jobs = [Unit("", (notes, number, units)) for number in range(units)]
    return {int(pid) for pid in do(engine, meet, b"", jobs)}


def test_workers_stay(two: LocalEngine) -> None:
    first = do(two, who, b"", [Unit("", ())] * 8)
    second = do(two, who, b"", [Unit("", ())] * 8)
    assert {int(pid) for pid in first + second} <= set(two.pids)
    assert len(two.pids) == 2


def test_what_takes_long_to_import_is_there_when_a_worker_starts() -> None:
    with closing(LocalEngine(1)) as one:
        units = [Unit("", (name,)) for name in ("sklearn.datasets", "torch._dynamo", "ensurepip")]
        assert do(one, imported, b"", units) == [b"True", b"True", b"False"]


def test_a_unit_of_which_workers_die_ends_too(two: LocalEngine, tmp_path: Path) -> None:
    with pytest.raises(UnitFailedError, match="the unit failed 9 times: the worker died"):
        do(two, stumble, b"", [Unit("the unit", (tmp_path / "notes", ["die"] * 99))])
    assert len((tmp_path / "notes").read_text()) == 9


def test_workers_do_not_hear_ctrl_c(two: LocalEngine, tmp_path: Path) -> None:
    done: list[Done] = []
    do(two, stumble, b"", [Unit("", (tmp_path / "notes", ["interrupt"]))], lambda each, _: done.append(each))
    assert [each.faults for each in done] == [0]


def test_a_worker_killed_from_outside_is_replaced(tmp_path: Path) -> None:
    with closing(LocalEngine(1)) as one:
        threading.Thread(target=kill_when_busy, args=(tmp_path,)).start()
        done: list[Done] = []
        assert do(one, at_work, b"", [Unit("", (tmp_path, 1))], lambda each, _: done.append(each)) == [
            b"late"
        ]
        assert [each.faults for each in done] == [1]
        (victim,) = (int(path.name) for path in tmp_path.iterdir() if path.name.isdecimal())
        assert victim not in one.pids


def kill_when_busy(notes: Path) -> None:
    wait_until("the worker is at work", lambda: any(notes.iterdir()))
    os.kill(int(next(notes.iterdir()).name), signal.SIGKILL)


@pytest.mark.parametrize("error", [EOFError(), ConnectionRefusedError()])
def test_a_worker_that_cannot_be_forked_is_tried_again(
    monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    """As when the process that workers are forked from dies just then."""
    failures = [error]

    def failing(pool: ProcessPoolExecutor, *arguments: Any) -> Any:
        if failures:
            raise failures.pop()
        return submit(pool, *arguments)

    submit = ProcessPoolExecutor.submit
    monkeypatch.setattr(ProcessPoolExecutor, "submit", failing)
    with closing(LocalEngine(1)) as one:
        done: list[Done] = []
        assert do(one, answer, b"", [Unit("", (7,))], lambda each, _: done.append(each)) == [b"7"]
        assert [each.faults for each in done] == [1]


def test_where_no_worker_can_be_started_any_more(monkeypatch: pytest.MonkeyPatch) -> None:
    with closing(LocalEngine(1)) as one:
        monkeypatch.setattr(forkserver, "ensure_running", refuse)
        with pytest.raises(EngineError, match=r"^worker processes cannot be started: no room "):
            do(one, answer, b"", [Unit("", (7,))])


def refuse() -> None:
    raise OSError("no room")


def test_a_worker_that_dies_while_it_sends_is_noticed(two: LocalEngine, tmp_path: Path) -> None:
    done: list[Done] = []
    (result,) = do(two, send_much, b"", [Unit("", (tmp_path / "notes",))], lambda each, _: done.append(each))
    assert len(result) == 50_000_000
    assert [each.faults for each in done] == [1]


@pytest.mark.slow
def test_what_lies_in_the_working_folder_is_not_run(tmp_path: Path) -> None:
    (tmp_path / "statistics.py").write_text("import pathlib\npathlib.Path('executed').touch()\n")
    script = Path(__file__).with_name("orphan_maker.py")
    with subprocess.Popen([sys.executable, str(script), "notes"], cwd=tmp_path) as driver:
        (tmp_path / "notes").mkdir()
        wait_until("both workers are at work", lambda: len(list((tmp_path / "notes").iterdir())) == 2)
        driver.kill()
    assert not (tmp_path / "executed").exists()


def test_closing_ends_what_is_being_done(tmp_path: Path) -> None:
    engine = LocalEngine(2)
    threading.Thread(target=close_when_busy, args=(engine, tmp_path)).start()
    with pytest.raises(CancelledError):
        do(engine, at_work, b"", [Unit("", (tmp_path, 9))] * 3)
    pids = [int(path.name) for path in tmp_path.iterdir()]
    assert len(pids) == 2
    wait_until("the workers are dead", lambda: not any(map(is_alive, pids)))


def test_nothing_is_told_of_once_it_is_closed(caplog: pytest.LogCaptureFixture, tmp_path: Path) -> None:
    """Not even of an error that is on its way when it is closed: what is said last is why the engine is."""
    engine = LocalEngine(1)
    batch = engine.start(stumble, b"", [Unit("late", (tmp_path / "notes", ["no luck"] * 99))])
    with engine._telling:  # where a worker's thread stands when it has met an error, and others go on first
        wait_until("the unit has failed", lambda: (tmp_path / "notes").exists())
        engine._closed.set()
    with pytest.raises(CancelledError):
        batch.results(tell_nobody)
    engine.close()
    assert "late is begun again" not in caplog.text


def close_when_busy(engine: LocalEngine, notes: Path) -> None:
    wait_until("both workers are at work", lambda: len(list(notes.iterdir())) == 2)
    engine.close()


@pytest.mark.slow
def test_workers_die_with_the_one_that_started_them(tmp_path: Path) -> None:
    script = Path(__file__).with_name("orphan_maker.py")
    with subprocess.Popen([sys.executable, str(script), str(tmp_path)]) as driver:
        wait_until("both workers are at work", lambda: len(list(tmp_path.iterdir())) == 2)
        driver.kill()
    pids = [int(path.name) for path in tmp_path.iterdir()]
    wait_until("the workers are dead", lambda: not any(map(is_alive, pids)))


def test_no_more_workers_start_than_there_are_units(tmp_path: Path) -> None:
    with closing(LocalEngine(8)) as engine:
        for number in range(3):
            (tmp_path / str(number)).mkdir()
            all_at_once(engine, 2, tmp_path / str(number))
        assert len(engine.pids) == 2


def test_as_many_workers_as_cores_unless_told(tmp_path: Path) -> None:
    with closing(LocalEngine()) as engine:
        assert all_at_once(engine, cores(), tmp_path) == set(engine.pids)
        do(engine, answer, b"", [Unit("", (0,))] * 3 * cores())
        assert len(engine.pids) == cores() >= 1
    with pytest.raises(ValueError, match="`workers` must be at least 1, not 0"):
        LocalEngine(0)
