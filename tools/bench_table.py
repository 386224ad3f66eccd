"""Benchmark figures of a package: from pytest-benchmark's JSON to `benchmarks.json`, from that to the README's table.

python tools/bench_table.py packages/NAME RAW.json          print the table of a run
python tools/bench_table.py packages/NAME RAW.json --write  and keep it: benchmarks.json and the README's table
"""

import argparse
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

from readme_part import ReadmePart

FIGURES: Final = "benchmarks.json"
UNTIMED: Final[Mapping[str, Callable[[float], str]]] = {
    "bytes": lambda value: f"{value / 1024:.4g} KiB",
    "share": lambda value: f"{value:.2f}",
}
"""What a result may measure instead of time, and how the table shows it."""
README_PART: Final = ReadmePart(FIGURES, "bench_table.py")


def reduce_run(raw: dict[str, Any]) -> dict[str, Any]:
    """What is worth keeping of a run: the machine in words, and each median in seconds.

    A benchmark may bring a median of its own, `paired_s`, for differences that are smaller than the drift of a machine,
    and say `per` how many a call does at once that the table shows one of.
    """
    machine, first = raw["machine_info"], raw["benchmarks"][0]
    processor = machine["cpu"].get("brand_raw", machine["machine"])
    versions = f"Python {machine['python_version']}, torch {first['extra_info']['torch']}"
    return {
        "machine": f"{processor}, one thread, {versions}",
        "results": [
            {
                "table": each["extra_info"]["table"],
                "row": each["extra_info"]["row"],
                "column": each["extra_info"]["column"],
                "median_s": each["extra_info"].get("paired_s", each["stats"]["median"]) / _per(each),
                "iqr_s": each["stats"]["iqr"] / _per(each),
                "calls": each["stats"]["rounds"] * each["stats"]["iterations"],
                **{kind: each["extra_info"][kind] for kind in UNTIMED if kind in each["extra_info"]},
            }
            for each in raw["benchmarks"]
        ],
    }


def _per(benchmark: dict[str, Any]) -> int:
    return int(benchmark["extra_info"].get("per", 1))


def render_tables(figures: dict[str, Any]) -> str:
    """The medians as Markdown, a table after the other; columns after the first also as ratios to that one.

    Results that measure something else (`UNTIMED`) show that instead, without ratios.
    """
    results = figures["results"]
    titles = dict.fromkeys(each["table"] for each in results)
    tables = [_render([each for each in results if each["table"] == title], title) for title in titles]
    note = f"Medians; in brackets how many times faster than the first column. {figures['machine']}."
    return "\n\n".join([*tables, note])


def _render(results: list[dict[str, Any]], title: str) -> str:
    columns = list(dict.fromkeys(each["column"] for each in results))
    shown = {
        (each["row"], each["column"]): show(each[kind])
        for each in results
        for kind, show in UNTIMED.items()
        if kind in each
    }
    medians = {(each["row"], each["column"]): each["median_s"] for each in results}
    lines = [f"| {title} | {' | '.join(columns)} |", f"|---|{'---:|' * len(columns)}"]
    for row in dict.fromkeys(each["row"] for each in results):
        reference = medians[row, columns[0]]
        cells = []
        for column in columns:
            if shown:
                cells.append(shown[row, column])
            elif column == columns[0]:
                cells.append(_time(reference))
            else:
                cells.append(f"{_time(medians[row, column])} ({_ratio(reference / medians[row, column])})")
        lines.append(f"| {row} | {' | '.join(cells)} |")
    return "\n".join(lines)


def _time(seconds: float) -> str:
    rounded = float(f"{seconds:.3g}")
    for unit, size in (("s", 1.0), ("ms", 1e-3)):
        if rounded >= size:
            return f"{rounded / size:.3g} {unit}"
    return f"{rounded / 1e-6:.3g} µs"


def _ratio(ratio: float) -> str:
    return f"{ratio:.0f}x" if ratio >= 10 else f"{ratio:.2g}x"


def main() -> None:
    """Read the command line and do what the module's docstring says."""
    parser = argparse.ArgumentParser(description="Benchmark figures of a package as a table.")
    parser.add_argument("package", type=Path, help="the package's folder")
    parser.add_argument("raw", type=Path, help="the JSON file of a pytest-benchmark run")
    parser.add_argument("--write", action="store_true", help=f"keep the figures in {FIGURES} and the README")
    options = parser.parse_args()
    figures = reduce_run(json.loads(options.raw.read_text(encoding="utf-8")))
    table = render_tables(figures)
    print(table)
    if options.write:
        (options.package / FIGURES).write_text(json.dumps(figures, indent=1) + "\n", encoding="utf-8")
        readme = options.package / "README.md"
        readme.write_text(README_PART.insert(readme.read_text(encoding="utf-8"), table), encoding="utf-8")


if __name__ == "__main__":
    main()
