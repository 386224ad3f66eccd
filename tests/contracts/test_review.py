"""`tests/REVIEW.md` answers every item of the review, with files that exist and tests that pytest collects."""

import re
import subprocess
import sys
from collections import Counter
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import NamedTuple

import pytest

ROOT = Path(__file__).parents[2]
REVIEW = ROOT / "tests" / "REVIEW.md"

# How many items of each kind the review has: findings by severity, risks, recommendations, coverage, remarks.
COUNTS = {"P1": 2, "P2": 4, "P3": 8, "P4": 3, "X": 4, "R": 5, "M": 3, "F": 2}
ITEMS = [f"{kind}-{number}" for kind, count in COUNTS.items() for number in range(1, count + 1)]


class Row(NamedTuple):
    """One line of a table."""

    item: str
    paths: tuple[str, ...]
    tests: tuple[str, ...]


def rows_of(text: str) -> list[Row]:
    """The rows of all tables. Paths are what stands in backticks and holds a slash, in the second cell."""
    rows = []
    for line in text.splitlines():
        cells = line.strip("|").split("|")
        if line.startswith("|") and len(cells) == 3 and not re.match(r"\| item |\|-", line):
            paths = (quoted for quoted in re.findall(r"`([^`]+)`", cells[1]) if "/" in quoted)
            item = cells[0].strip().partition(".")[0]
            rows.append(Row(item, tuple(paths), tuple(re.findall(r"`([^`]+)`", cells[2]))))
    return rows


def problems(rows: Sequence[Row], collected: Collection[str]) -> list[str]:
    """What is wrong with the rows, a line each.

    Args:
        rows: of all tables.
        collected: the ids of the tests that there are.
    """
    times = Counter(row.item for row in rows)
    lines = [f"{item} has no row" for item in ITEMS if item not in times]
    lines += [f"{item} is no item of the review" for item in times if item not in ITEMS]
    lines += [f"{item} has {count} rows" for item, count in times.items() if count > 1]
    for item, paths, tests in rows:
        lines += [
            f"{item}: names no {kind}" for kind, names in (("file", paths), ("test", tests)) if not names
        ]
        lines += [f"{item}: there is no file {path}" for path in paths if not (ROOT / path).is_file()]
        lines += [f"{item}: there is no test {test}" for test in tests if test not in collected]
    return lines


def collect(rows: Sequence[Row]) -> set[str]:
    """The ids, without parameters, of all tests in the modules that the rows name; one process takes them all."""
    modules = {test.partition("::")[0] for row in rows for test in row.tests}
    existing = sorted(module for module in modules if (ROOT / module).is_file())
    options = ["--collect-only", "-q", "-p", "no:cacheprovider", f"--rootdir={ROOT}"]
    result = subprocess.run(
        [sys.executable, "-m", "pytest", *options, *existing],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 0, result.stdout + result.stderr
    return {line.partition("[")[0] for line in result.stdout.splitlines() if "::" in line}


@pytest.fixture(scope="module")
def text() -> str:
    return REVIEW.read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def collected(text: str) -> set[str]:
    return collect(rows_of(text))


def test_every_item_is_answered_by_files_and_tests_that_exist(text: str, collected: set[str]) -> None:
    assert problems(rows_of(text), collected) == []


@pytest.mark.parametrize(
    ("old", "new", "problem"),
    [
        (r"^\| P3-4\..*\n", "", "P3-4 has no row"),
        (r"^(\| M-3\..*\n)", r"\1\1", "M-3 has 2 rows"),
        (r"^\| X-2\.", "| X-5.", "X-5 is no item of the review"),
        (r"^(\| P1-1\..*)settled\.py", r"\1unsettled.py", "P1-1: there is no file packages/"),
        (r"^(\| P2-1\..*::)test_slot\w+", r"\1test_gone", "P2-1: there is no test packages/"),
        (r"^(\| P2-1\. .*?)test_objects", r"\1test_nothing", "P2-1: there is no test packages/"),
        (r"^(\| F-1\..*\|).*\|$", r"\1 |", "F-1: names no test"),
        (r"^(\| F-1\.[^|]*)\|[^|]*\|", r"\1| nowhere |", "F-1: names no file"),
    ],
)
def test_what_is_wrong_is_named(text: str, collected: set[str], old: str, new: str, problem: str) -> None:
    wrong, count = re.subn(old, new, text, flags=re.MULTILINE)
    assert count == 1
    assert any(line.startswith(problem) for line in problems(rows_of(wrong), collected))
