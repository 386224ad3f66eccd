"""The benchmark tables of the READMEs are what the tool makes from the committed figures."""

import json
from pathlib import Path

import pytest

from bench_table import FIGURES, README_PART, reduce_run, render_tables

ROOT = Path(__file__).parents[1]
BENCHMARKED = sorted(path.parents[1] for path in ROOT.glob("packages/*/tests/benchmarks"))


def raw_run() -> dict[str, object]:
    """A pytest-benchmark file with two rows and two columns."""
    medians = {
        ("1 x 3", "loop"): 2.5,
        ("1 x 3", "ours"): 2e-3,
        ("4 x 3", "loop"): 0.9996e-3,
        ("4 x 3", "ours"): 4e-5,
    }
    return {
        "machine_info": {
            "node": "secret",
            "machine": "x86_64",
            "cpu": {"brand_raw": "CPU"},
            "python_version": "3.11",
        },
        "benchmarks": [
            {
                "extra_info": {"table": "Work", "row": row, "column": column, "torch": "2.15"},
                "stats": {"median": median, "iqr": 0.0, "rounds": 5, "iterations": 2},
            }
            for (row, column), median in medians.items()
        ],
    }


def test_table_by_hand() -> None:
    figures = reduce_run(raw_run())
    assert "secret" not in json.dumps(figures)
    assert render_tables(figures).splitlines() == [
        "| Work | loop | ours |",
        "|---|---:|---:|",
        "| 1 x 3 | 2.5 s | 2 ms (1250x) |",
        "| 4 x 3 | 1 ms | 40 µs (25x) |",
        "",
        "Medians; in brackets how many times faster than the first column. CPU, one thread, Python 3.11, torch 2.15.",
    ]


def test_bytes_shares_and_medians_of_its_own() -> None:
    raw = raw_run()
    for each in raw["benchmarks"]:  # type: ignore[attr-defined]
        each["extra_info"] |= {"paired_s": 4.0} if each["extra_info"]["column"] == "ours" else {}
    assert render_tables(reduce_run(raw)).splitlines()[2] == "| 1 x 3 | 2.5 s | 4 s (0.62x) |"
    for each in raw["benchmarks"]:  # type: ignore[attr-defined]
        each["extra_info"]["per"] = 2
        each["stats"]["iqr"] = 0.5
    assert render_tables(reduce_run(raw)).splitlines()[2] == "| 1 x 3 | 1.25 s | 2 s (0.62x) |"
    assert {each["iqr_s"] for each in reduce_run(raw)["results"]} == {0.25}
    for each in raw["benchmarks"]:  # type: ignore[attr-defined]
        each["extra_info"]["bytes"] = 2048.0
    assert render_tables(reduce_run(raw)).splitlines()[2] == "| 1 x 3 | 2 KiB | 2 KiB |"
    for each in raw["benchmarks"]:  # type: ignore[attr-defined]
        del each["extra_info"]["bytes"]
        each["extra_info"]["share"] = 0.917
    assert render_tables(reduce_run(raw)).splitlines()[2] == "| 1 x 3 | 0.92 | 0.92 |"


def test_a_readme_gets_its_table_between_the_marks() -> None:
    text = f"before\n{README_PART.begin}\nold\n{README_PART.end}\nafter\n"
    once = README_PART.insert(text, "new")
    assert (
        once
        == README_PART.insert(once, "new")
        == f"before\n{README_PART.begin}\n\nnew\n\n{README_PART.end}\nafter\n"
    )
    with pytest.raises(ValueError, match="has no lines"):
        README_PART.insert("no marks", "new")


@pytest.mark.parametrize("package", BENCHMARKED, ids=lambda path: path.name)
def test_the_readme_shows_the_committed_figures(package: Path) -> None:
    figures = json.loads((package / FIGURES).read_text(encoding="utf-8"))
    readme = (package / "README.md").read_text(encoding="utf-8")
    assert README_PART.insert(readme, render_tables(figures)) == readme
