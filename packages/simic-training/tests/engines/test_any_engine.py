"""What every engine does with units of work, whatever becomes of the processes that do them."""

import logging
import os
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from odd_jobs import answer, answer_when, do, hold, meet, stumble, tell_nobody, threads, who
from processes import wait_until

from simic_training.engines.faults import UnitFailedError
from simic_training.engines.here import HereEngine
from simic_training.engines.local import LocalEngine
from simic_training.engines.ray_engine import RayEngine
from simic_training.engines.unit import Done, Engine, Unit


@pytest.fixture(scope="module", params=["local", pytest.param("ray", marks=pytest.mark.cluster)])
def workers(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    """Two workers, which have started."""
    made = (
        LocalEngine(2) if request.param == "local" else RayEngine(request.getfixturevalue("cluster").address)
    )
    with closing(made) as engine:
        notes = tmp_path_factory.mktemp("notes")
        do(engine, meet, b"", [Unit("", (notes, number, 2)) for number in range(2)])
        yield engine


def test_results_come_in_the_order_of_the_units(workers: Engine, tmp_path: Path) -> None:
    """The first unit is done when five others have been told of."""
    done: list[Done] = []
    contents: dict[str, bytes] = {}

    def note(each: Done, content: bytes) -> None:
        done.append(each)
        contents[each.unit] = content
        (tmp_path / each.unit).touch()

    units = [Unit(f"unit {number}", (number, tmp_path, 0 if number else 5)) for number in range(6)]
    assert do(workers, answer_when, b"n", units, note) == [f"n{number}".encode() for number in range(6)]
    assert sorted(each.unit for each in done) == [unit.name for unit in units]
    assert done[-1].unit == "unit 0"
    assert contents == {f"unit {number}": f"n{number}".encode() for number in range(6)}
    assert all(each.seconds > 0.0 for each in done)
    assert all(each.faults == 0 for each in done)


def test_without_workers_units_are_done_one_after_the_other() -> None:
    done: list[tuple[Done, bytes]] = []
    units = [Unit(f"unit {number}", (number,)) for number in range(3)]
    assert do(HereEngine(), answer, b"n", units, lambda *each: done.append(each)) == [b"n0", b"n1", b"n2"]
    assert [(each.unit, each.faults) for each, _ in done] == [(unit.name, 0) for unit in units]
    assert [content for _, content in done] == [b"n0", b"n1", b"n2"]
    assert do(HereEngine(), who, b"", [Unit("", ())]) == [str(os.getpid()).encode()]


def test_batches_are_done_side_by_side(workers: Engine, tmp_path: Path) -> None:
    """The first is done when the results of the second have been taken."""
    first = workers.start(answer_when, b"a", [Unit("", (1, tmp_path, 1))])
    second = workers.start(answer, b"b", [Unit("", (2,)), Unit("", (3,))])
    assert second.results(tell_nobody) == [b"b2", b"b3"]
    (tmp_path / "go").touch()
    assert first.results(tell_nobody) == [b"a1"]


def test_workers_are_other_processes_with_one_thread(workers: Engine) -> None:
    assert do(workers, threads, b"", [Unit("", ())] * 4) == [b"1"] * 4
    assert os.getpid() not in {int(pid) for pid in do(workers, who, b"", [Unit("", ())] * 4)}


@pytest.mark.parametrize(
    "errors", [["once"], ["die"], ["die", "once", "die", "once"]], ids=["an error", "a death", "both, twice"]
)
def test_what_passes_is_done_again(
    workers: Engine, tmp_path: Path, caplog: pytest.LogCaptureFixture, errors: list[str]
) -> None:
    done: list[Done] = []
    units = [Unit("the unlucky one", (tmp_path / "notes", errors)), Unit("another", (tmp_path / "more", []))]
    with caplog.at_level(logging.WARNING):
        assert do(workers, stumble, b"", units, lambda each, _: done.append(each)) == [b"done", b"done"]
    assert {each.unit: each.faults for each in done} == {"the unlucky one": len(errors), "another": 0}
    assert caplog.text.count("the unlucky one is begun again") == len(errors)
    assert ("the worker died" in caplog.text) == ("die" in errors)


def test_what_comes_back_is_told_in_the_end(workers: Engine, tmp_path: Path) -> None:
    unit = Unit("update 3, group 1", (tmp_path / "notes", ["no luck"] * 99))
    said = r"^update 3, group 1 failed 3 times: AwkwardError: no luck$"
    with pytest.raises(UnitFailedError, match=said) as failed:
        do(workers, stumble, b"", [unit])
    assert failed.value.unit is unit
    assert len((tmp_path / "notes").read_text()) == 3
    assert do(workers, answer, b"", [Unit("", (1,))]) == [b"1"]


def test_errors_that_say_something_else_each_time_end_too(workers: Engine, tmp_path: Path) -> None:
    unit = Unit("the unit", (tmp_path / "notes", [f"error {number}" for number in range(99)]))
    with pytest.raises(UnitFailedError, match="the unit failed 9 times: AwkwardError: error 8"):
        do(workers, stumble, b"", [unit])


def test_an_error_in_this_process_ends_at_once(tmp_path: Path) -> None:
    unit = Unit("update 3, group 1", (tmp_path / "notes", ["no luck"]))
    with pytest.raises(UnitFailedError, match=r"^update 3, group 1 failed: AwkwardError: no luck$") as failed:
        do(HereEngine(), stumble, b"", [unit])
    assert failed.value.unit is unit
    assert type(failed.value.__cause__).__name__ == "AwkwardError"


def test_what_nobody_asks_for_any_more_is_let_go(workers: Engine, tmp_path: Path) -> None:
    """Two units keep both workers busy; four wait."""
    notes, waited_for, go = tmp_path / "busy", tmp_path / "done", tmp_path / "go"
    notes.mkdir()
    waited_for.mkdir()
    busy = workers.start(hold, b"", [Unit("", (notes / str(number), go)) for number in range(2)])
    wait_until("both workers are busy", lambda: len(list(notes.iterdir())) == 2)
    waiting = workers.start(stumble, b"", [Unit("", (waited_for / str(number), [])) for number in range(4)])
    waiting.drop()
    go.touch()
    busy.results(tell_nobody)
    do(workers, answer, b"", [Unit("", (0,))] * 4)
    assert list(waited_for.iterdir()) == []


def test_what_is_let_go_here_is_not_done(tmp_path: Path) -> None:
    batch = HereEngine().start(stumble, b"", [Unit("", (tmp_path / "notes", []))])
    batch.drop()
    assert batch.results(tell_nobody) == []
    assert list(tmp_path.iterdir()) == []
