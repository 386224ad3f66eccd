"""Engines do units of work, whatever becomes of the processes that do them."""

import logging
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import CancelledError, ProcessPoolExecutor
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from odd_jobs import answer, at_work, do, imported, send_much, stumble, threads, who
from processes import is_alive, wait_for

from simic_training.engines.faults import UnitFailedError
from simic_training.engines.here import HereEngine
from simic_training.engines.local import LocalEngine, cores
from simic_training.engines.unit import Done, Engine, Unit


@pytest.fixture(scope="module")
def two() -> Iterator[LocalEngine]:
    with closing(LocalEngine(2)) as engine:
        while len(engine.pids) < 2:
            do(engine, answer, b"", [Unit("", (0, 0.1))] * 2)
        yield engine


@pytest.fixture(params=["here", "local"])
def engine(request: pytest.FixtureRequest, two: LocalEngine) -> Engine:
    return HereEngine() if request.param == "here" else two


def test_results_come_in_the_order_of_the_units(engine: Engine) -> None:
    done: list[Done] = []
    units = [Unit(f"unit {number}", (number, 0.3 if number == 0 else 0.0)) for number in range(6)]
    results = do(engine, answer, b"n", units, done.append)
    assert results == [f"n{number}".encode() for number in range(6)]
    assert sorted(each.unit for each in done) == [unit.name for unit in units]
    assert all(each.faults == 0 for each in done)
    slow = next(each for each in done if each.unit == "unit 0")
    assert slow.seconds >= 0.3
    if isinstance(engine, LocalEngine):
        assert done[0].unit != "unit 0"


def test_workers_are_other_processes_and_stay(two: LocalEngine) -> None:
    first = do(two, who, b"", [Unit("", ())] * 8)
    second = do(two, who, b"", [Unit("", ())] * 8)
    assert os.getpid() not in {int(pid) for pid in first + second}
    assert {int(pid) for pid in first + second} <= set(two.pids)
    assert len(two.pids) == 2
    assert do(HereEngine(), who, b"", [Unit("", ())]) == [str(os.getpid()).encode()]


def test_workers_have_one_thread(two: LocalEngine) -> None:
    assert do(two, threads, b"", [Unit("", ())] * 4) == [b"1"] * 4


def test_what_takes_long_to_import_is_there_when_a_worker_starts() -> None:
    with closing(LocalEngine(1)) as one:
        units = [Unit("", (name,)) for name in ("sklearn.datasets", "torch._dynamo", "ensurepip")]
        assert do(one, imported, b"", units) == [b"True", b"True", b"False"]


@pytest.mark.parametrize(
    "errors", [["once"], ["die"], ["die", "once", "die", "once"]], ids=["an error", "a death", "both, twice"]
)
def test_what_passes_is_done_again(
    two: LocalEngine, tmp_path: Path, caplog: pytest.LogCaptureFixture, errors: list[str]
) -> None:
    done: list[Done] = []
    units = [Unit("the unlucky one", (tmp_path / "notes", errors)), Unit("another", (tmp_path / "more", []))]
    with caplog.at_level(logging.WARNING):
        assert do(two, stumble, b"", units, done.append) == [b"done", b"done"]
    assert {each.unit: each.faults for each in done} == {"the unlucky one": len(errors), "another": 0}
    assert caplog.text.count("the unlucky one is begun again") == len(errors)
    assert ("the worker died" in caplog.text) == ("die" in errors)


@pytest.mark.parametrize(
    ("error", "said", "times"),
    [("no luck", "AwkwardError: no luck", 3), ("die", "the worker died", 9)],
    ids=["error", "death"],
)
def test_what_comes_back_is_told_in_the_end(
    two: LocalEngine, tmp_path: Path, error: str, said: str, times: int
) -> None:
    unit = Unit("update 3, group 1", (tmp_path / "notes", [error] * 99))
    with pytest.raises(UnitFailedError, match=f"update 3, group 1 failed {times} times: {said}") as failed:
        do(two, stumble, b"", [unit])
    assert failed.value.unit is unit
    assert len((tmp_path / "notes").read_text()) == times
    assert do(two, answer, b"", [Unit("", (1,))]) == [b"1"]


def test_an_error_in_this_process_ends_at_once(tmp_path: Path) -> None:
    unit = Unit("update 3, group 1", (tmp_path / "notes", ["no luck"]))
    with pytest.raises(UnitFailedError, match=r"^update 3, group 1 failed: AwkwardError: no luck$") as failed:
        do(HereEngine(), stumble, b"", [unit])
    assert failed.value.unit is unit
    assert type(failed.value.__cause__).__name__ == "AwkwardError"


def test_workers_do_not_hear_ctrl_c(two: LocalEngine, tmp_path: Path) -> None:
    done: list[Done] = []
    do(two, stumble, b"", [Unit("", (tmp_path / "notes", ["interrupt"]))], done.append)
    assert [each.faults for each in done] == [0]


def test_a_worker_killed_from_outside_is_replaced(tmp_path: Path) -> None:
    with closing(LocalEngine(1)) as one:
        threading.Thread(target=kill_when_busy, args=(tmp_path,)).start()
        done: list[Done] = []
        assert do(one, at_work, b"", [Unit("", (tmp_path, 1))], done.append) == [b"late"]
        assert [each.faults for each in done] == [1]
        (victim,) = (int(path.name) for path in tmp_path.iterdir() if path.name.isdecimal())
        assert victim not in one.pids


def kill_when_busy(notes: Path) -> None:
    wait_for(lambda: any(notes.iterdir()))
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
        assert do(one, answer, b"", [Unit("", (7,))], done.append) == [b"7"]
        assert [each.faults for each in done] == [1]


def test_a_worker_that_dies_while_it_sends_is_noticed(two: LocalEngine, tmp_path: Path) -> None:
    done: list[Done] = []
    (result,) = do(two, send_much, b"", [Unit("", (tmp_path / "notes",))], done.append)
    assert len(result) == 50_000_000
    assert [each.faults for each in done] == [1]


def test_errors_that_say_something_else_each_time_end_too(two: LocalEngine, tmp_path: Path) -> None:
    unit = Unit("the unit", (tmp_path / "notes", [f"error {number}" for number in range(99)]))
    with pytest.raises(UnitFailedError, match="the unit failed 9 times: AwkwardError: error 8"):
        do(two, stumble, b"", [unit])


def test_what_lies_in_the_working_folder_is_not_run(tmp_path: Path) -> None:
    (tmp_path / "statistics.py").write_text("import pathlib\npathlib.Path('executed').touch()\n")
    script = Path(__file__).with_name("orphan_maker.py")
    with subprocess.Popen([sys.executable, str(script), "notes"], cwd=tmp_path) as driver:
        (tmp_path / "notes").mkdir()
        wait_for(lambda: len(list((tmp_path / "notes").iterdir())) == 2)
        driver.kill()
    assert not (tmp_path / "executed").exists()


def test_closing_ends_what_is_being_done(tmp_path: Path) -> None:
    engine = LocalEngine(2)
    threading.Thread(target=close_when_busy, args=(engine, tmp_path)).start()
    with pytest.raises(CancelledError):
        do(engine, at_work, b"", [Unit("", (tmp_path, 9))] * 3)
    pids = [int(path.name) for path in tmp_path.iterdir()]
    assert len(pids) == 2
    wait_for(lambda: not any(map(is_alive, pids)))


def close_when_busy(engine: LocalEngine, notes: Path) -> None:
    wait_for(lambda: len(list(notes.iterdir())) == 2)
    engine.close()


def test_workers_die_with_the_one_that_started_them(tmp_path: Path) -> None:
    script = Path(__file__).with_name("orphan_maker.py")
    with subprocess.Popen([sys.executable, str(script), str(tmp_path)]) as driver:
        wait_for(lambda: len(list(tmp_path.iterdir())) == 2)
        driver.kill()
    pids = [int(path.name) for path in tmp_path.iterdir()]
    wait_for(lambda: not any(map(is_alive, pids)))


def test_as_many_workers_as_cores_unless_told() -> None:
    with closing(LocalEngine()) as engine:
        while len(engine.pids) < cores():
            do(engine, answer, b"", [Unit("", (0, 0.1))] * cores())
        do(engine, answer, b"", [Unit("", (0, 0.1))] * 3 * cores())
        assert len(engine.pids) == cores() >= 1
    with pytest.raises(ValueError, match="`workers` must be at least 1, not 0"):
        LocalEngine(0)
