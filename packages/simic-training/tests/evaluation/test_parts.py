"""Parts that are kept: found again whole or not at all, and only where all that they depend on is the same."""

import logging
import os
import signal
from collections.abc import Generator, Sequence
from pathlib import Path
from typing import NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st
from processes import wait_until

from simic_training.engines.faults import UnitFailedError
from simic_training.engines.here import HereEngine
from simic_training.engines.unit import Unit
from simic_training.evaluation import parts
from simic_training.evaluation.parts import Part, PartsFolder, PartsRunner, Progress, name_of
from simic_training.evaluation.units import Batch, play_lots
from simic_training.runs.folder import RunFolderError

A, B = "a" * 64, "b" * 64


def double(shared: bytes, number: int) -> bytes:
    return shared + bytes([2 * number])


def triple(shared: bytes, number: int) -> bytes:
    return shared + bytes([3 * number])


def fail_on_two(shared: bytes, number: int) -> bytes:
    if number == 2:
        raise ValueError("two is too much")
    return double(shared, number)


@pytest.fixture
def folder(tmp_path: Path) -> PartsFolder:
    return PartsFolder(tmp_path / "parts")


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Numbers of the units that were done, rather than read."""
    done: list[int] = []
    start = HereEngine.start

    def noted(self: HereEngine, work: object, shared: bytes, units: Sequence[Unit]) -> object:
        done.extend(unit.arguments[0] for unit in units)
        return start(self, work, shared, units)  # type: ignore[arg-type]

    monkeypatch.setattr(HereEngine, "start", noted)
    return done


def some(*numbers: int) -> list[Part]:
    return [Part(Unit(f"unit {number}", (number,)), float(number)) for number in numbers]


def runner(folder: PartsFolder | None, total: int = 3, heard: list[Progress] | None = None) -> PartsRunner:
    return PartsRunner(
        HereEngine(),
        folder,
        total=total,
        total_cost=float(sum(range(1, total + 1))),
        on_progress=(heard if heard is not None else []).append,
    )


def test_what_is_kept_is_found_again(folder: PartsFolder) -> None:
    assert folder.read(A) is None
    folder.keep(A, b"one")
    folder.keep(B, b"")
    assert (folder.read(A), folder.read(B)) == (b"one", b"")
    folder.keep(A, b"two")
    assert folder.read(A) == b"two"
    assert {path.name for path in folder.path.iterdir()} == {f"{A}.part", f"{B}.part"}


@given(place=st.integers(0, 10_000), bit=st.integers(0, 7))
def test_no_bit_can_change_unseen(tmp_path_factory: pytest.TempPathFactory, place: int, bit: int) -> None:
    folder = PartsFolder(tmp_path_factory.mktemp("parts"))
    folder.keep(A, b"content")
    (path,) = folder.path.iterdir()
    content = bytearray(path.read_bytes())
    content[place % len(content)] ^= 1 << bit
    path.write_bytes(content)
    assert folder.read(A) is None


@pytest.mark.parametrize("damage", ["cut", "empty", "another", "folder", "pipe"])
def test_damaged_and_foreign_files_are_no_parts(
    folder: PartsFolder, damage: str, caplog: pytest.LogCaptureFixture
) -> None:
    folder.keep(A, b"content")
    path = folder.path / f"{A}.part"
    match damage:
        case "cut":
            path.write_bytes(path.read_bytes()[:-1])
        case "empty":
            path.write_bytes(b"")
        case "another":
            folder.keep(B, b"other")
            (folder.path / f"{B}.part").rename(path)
        case "folder":
            path.unlink()
            path.mkdir()
        case _:
            path.unlink()
            os.mkfifo(path)
    with caplog.at_level(logging.WARNING):
        assert folder.read(A) is None
    assert f"{path} cannot be used (" in caplog.text
    assert "this part is done again" in caplog.text


def test_a_part_that_cannot_be_written_leaves_the_older_one(
    folder: PartsFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder.keep(A, b"old")

    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left"):
        folder.keep(A, b"new")
    assert folder.read(A) == b"old"
    assert len(list(folder.path.iterdir())) == 1


def test_only_what_is_asked_for_is_left(folder: PartsFolder) -> None:
    PartsFolder(folder.path).keep_only({A})  # of a folder that is not there
    folder.keep(A, b"mine")
    folder.keep(B, b"other")
    (folder.path / f"{A}.123.draft").write_bytes(b"of a process that was killed")
    (folder.path / "notes.txt").write_text("somebody's own")
    folder.keep_only({A})
    assert {path.name for path in folder.path.iterdir()} == {f"{A}.part", "notes.txt"}


class Settings(NamedTuple):
    rate: float
    names: tuple[str, ...]


def test_a_name_stands_for_all_that_a_result_depends_on(monkeypatch: pytest.MonkeyPatch) -> None:
    unit = Unit("one", (Settings(0.1, ("a", "b")), 3))
    name = name_of(double, b"weights", unit)
    assert len(name) == 64
    assert name == name_of(double, b"weights", Unit("renamed", (Settings(0.1, ("a", "b")), 3)))
    others = {
        name_of(triple, b"weights", unit),
        name_of(double, b"weighty", unit),
        name_of(double, b"weights", Unit("one", (Settings(0.1, ("a", "b")), 4))),
        name_of(double, b"weights", Unit("one", (Settings(0.1000001, ("a", "b")), 3))),
        name_of(double, b"weights", Unit("one", (Settings(0.1, ("a, b",)), 3))),
    }
    assert len(others) == 5
    assert name not in others
    monkeypatch.setattr(parts, "versions", lambda: {"torch": "0.1"})
    assert name_of(double, b"weights", unit) != name
    monkeypatch.undo()
    assert name_of(double, b"weights", unit) == name
    monkeypatch.setattr(parts, "code_digest", lambda: "other")
    assert name_of(double, b"weights", unit) != name


def test_only_what_is_missing_is_done(folder: PartsFolder, calls: list[int]) -> None:
    expected = [b"s\x02", b"s\x04", b"s\x06"]
    assert runner(folder).do_units(double, b"s", some(1, 3)) == [expected[0], expected[2]]
    assert runner(folder).do_units(double, b"s", some(1, 2, 3)) == expected
    assert runner(folder).do_units(double, b"s", some(3, 2, 1)) == expected[::-1]
    assert calls == [3, 1, 2]
    assert runner(None).do_units(double, b"s", some(1, 2)) == expected[:2]
    assert runner(folder).do_units(double, b"t", some(1)) == [b"t\x02"]
    assert calls == [3, 1, 2, 2, 1, 1]


def test_what_was_done_before_a_failure_is_kept(folder: PartsFolder, calls: list[int]) -> None:
    with pytest.raises(UnitFailedError, match="unit 2 failed: ValueError: two is too much"):
        runner(folder).do_units(fail_on_two, b"", some(1, 2, 3))
    assert len(list(folder.path.iterdir())) == 1
    calls.clear()
    assert runner(folder).do_units(fail_on_two, b"", some(1, 3)) == [b"\x02", b"\x06"]
    assert calls == [1]


def test_a_damaged_part_is_done_again(folder: PartsFolder, calls: list[int]) -> None:
    whole = runner(folder).do_units(double, b"", some(1, 2, 3))
    path = folder.path / f"{name_of(double, b'', some(2)[0].unit)}.part"
    path.write_bytes(path.read_bytes()[:50])
    calls.clear()
    assert runner(folder).do_units(double, b"", some(1, 2, 3)) == whole
    assert calls == [2]
    assert runner(folder).do_units(double, b"", some(1, 2, 3)) == whole
    assert calls == [2]


def test_progress_counts_costs_and_what_was_there_apart(folder: PartsFolder) -> None:
    runner(folder).do_units(double, b"", some(2))
    heard: list[Progress] = []
    runner(folder, 3, heard).do_units(double, b"", some(1, 2, 3))
    told = [(each.done and each.done.unit, each.finished, each.kept, each.total) for each in heard]
    assert told == [(None, 1, 1, 3), ("unit 3", 2, 1, 3), ("unit 1", 3, 1, 3)]
    assert [each.share for each in heard] == pytest.approx([2 / 6, 5 / 6, 1.0])
    assert [each.kept_share for each in heard] == pytest.approx([2 / 6] * 3)


def test_progress_goes_on_through_several_lots(folder: PartsFolder) -> None:
    runner(folder).do_units(triple, b"", some(3))
    heard: list[Progress] = []
    working = runner(folder, 3, heard)
    working.do_units(double, b"", some(1, 2))
    working.do_units(triple, b"", some(3))
    assert [(each.finished, each.kept) for each in heard] == [(0, 0), (1, 0), (2, 0)]  # the third was there
    assert heard[-1].share == pytest.approx(3 / 6)


def test_nothing_is_told_where_all_is_there(folder: PartsFolder) -> None:
    runner(folder).do_units(double, b"", some(1, 2, 3))
    heard: list[Progress] = []
    runner(folder, 3, heard).do_units(double, b"", some(1, 2, 3))
    assert heard == []


def test_parts_of_other_work_go_in_the_end(folder: PartsFolder) -> None:
    runner(folder).do_units(double, b"old weights", some(1, 2))
    working = runner(folder)
    working.do_units(double, b"", some(1, 2))
    working.do_units(triple, b"", some(3))
    assert len(list(folder.path.iterdir())) == 5
    working.tidy()
    assert len(list(folder.path.iterdir())) == 3
    runner(None).tidy()


def test_units_must_have_names_of_their_own(folder: PartsFolder) -> None:
    with pytest.raises(ValueError, match="units must have names of their own"):
        runner(folder).do_units(double, b"", [*some(1), Part(Unit("unit 1", (2,)), 1.0)])


def doubled(*numbers: int) -> Generator[Batch, list[bytes], list[bytes]]:
    return (yield Batch(double, b"", some(*numbers)))


def test_who_comes_second_leaves_what_the_first_has(folder: PartsFolder, calls: list[int]) -> None:
    with folder.locked():
        folder.keep(A, b"mine")
        (folder.path / f"{B}.123.draft").write_bytes(b"being written")
        before = {path: path.read_bytes() for path in folder.path.iterdir()}
        with pytest.raises(RunFolderError, match=rf"another process \({os.getpid()}\) is at work in .*parts"):
            play_lots(doubled(1, 2), (), folder=PartsFolder(folder.path))
        assert {path: path.read_bytes() for path in folder.path.iterdir()} == before
    assert calls == []
    assert play_lots(doubled(1, 2), (), folder=folder) == [b"\x02", b"\x04"]
    assert len(list(folder.path.glob("*.part"))) == 2
    assert not list(folder.path.glob("*.draft"))


def test_nobody_else_comes_in_between_two_batches(folder: PartsFolder) -> None:
    def batches() -> Generator[Batch, list[bytes], list[bytes]]:
        first = yield Batch(double, b"", some(1))
        with pytest.raises(RunFolderError, match="is at work in"), folder.locked():
            pytest.fail("two at once")
        return first + (yield Batch(triple, b"", some(1)))

    assert play_lots(batches(), (), folder=folder) == [b"\x02", b"\x03"]
    with folder.locked():
        pass


def test_a_failure_lets_others_in(folder: PartsFolder) -> None:
    def failing() -> Generator[Batch, list[bytes], list[bytes]]:
        return (yield Batch(fail_on_two, b"", some(2, 3)))

    with pytest.raises(UnitFailedError):
        play_lots(failing(), (), folder=folder)
    assert play_lots(doubled(1), (), folder=folder) == [b"\x02"]


def test_parts_of_a_process_that_was_killed_are_there_for_the_next(
    folder: PartsFolder, calls: list[int]
) -> None:
    child = os.fork()
    if child == 0:
        with folder.locked():
            runner(folder).do_units(double, b"", some(1))
            signal.pause()
        os._exit(0)
    try:
        wait_until("the other process has a part", lambda: bool(list(folder.path.glob("*.part"))))
        with pytest.raises(RunFolderError, match=rf"\({child}\) is at work"):
            play_lots(doubled(1, 2), (), folder=folder)
    finally:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
    assert play_lots(doubled(1, 2), (), folder=folder) == [b"\x02", b"\x04"]
    assert calls == [2]
