"""What once broke a reader, and what an attack began with, is played again: taken, or refused by a documented error."""

import logging
from collections.abc import Iterator
from math import inf
from pathlib import Path

import pytest

from fuzz import CASES, Tally, Target, attempt, fuzz, targets

FILES = sorted(path.relative_to(CASES) for path in CASES.glob("*/*"))


@pytest.fixture(scope="module")
def known(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Target]]:
    logging.disable(logging.CRITICAL)  # states that are refused are warned of
    yield targets(tmp_path_factory.mktemp("fuzz"))
    logging.disable(logging.NOTSET)


@pytest.mark.parametrize("case", FILES, ids=str)
def test_a_case_is_handled(case: Path, known: dict[str, Target], tmp_path: Path) -> None:
    target = known[case.parts[0]]
    path = tmp_path / f"case{target.suffix}"
    assert attempt(target, path, (CASES / case).read_bytes(), Tally(), seconds=inf) is None


def test_every_target_has_cases_and_takes_its_good_files(known: dict[str, Target], tmp_path: Path) -> None:
    assert {case.parts[0] for case in FILES} == known.keys()
    for target in known.values():
        tally = Tally()
        assert attempt(target, tmp_path / f"good{target.suffix}", target.good[0], tally, seconds=inf) is None
        assert tally.taken == 1


def test_a_reader_with_a_fault_is_found_out(tmp_path: Path) -> None:
    def reads_badly(path: Path) -> None:
        if b"\xff" in path.read_bytes():
            raise KeyError("no such byte")

    target = Target([b"0123456789"], reads_badly, (ValueError,))
    tally = fuzz(target, tmp_path / "input", 200, 0, seconds=inf)
    assert tally.tried == 200
    assert {fault.partition(":")[0] for fault in tally.faults} == {"KeyError"}
    assert all(b"\xff" in content for content in tally.faults.values())


def test_a_reader_that_hangs_is_stopped_and_found_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def hangs(path: Path) -> None:
        while True:
            pass

    monkeypatch.setattr("fuzz.HANGS", 1)
    tally = fuzz(Target([b"0123456789"], hangs, (ValueError,)), tmp_path / "input", 1, 0, seconds=inf)
    assert list(tally.faults) == ["HungError: it hangs for 1 s"]
