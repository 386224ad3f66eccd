"""Results of trained policies: from evaluations of runs to `results/`, from that to tables and the README's.

python tools/results_tables.py                 write results/*.md and the README's tables from results/*.json
python tools/results_tables.py RUN [RUN ...]   and first replace those by the evaluations of these runs
"""

import argparse
import json
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

from readme_part import ReadmePart
from simic_training.evaluation.results import Evaluation, evaluation_from_json
from simic_training.evaluation.tables import Cell, Column, Table, table_to_markdown
from simic_training.runs.folder import EVALUATION
from simic_training.statistics import Estimate

PACKAGE: Final = Path(__file__).parents[1] / "packages" / "simic-training"
RESULTS: Final = "results"
README_PART: Final = ReadmePart(f"{RESULTS}/", "results_tables.py")
BAR: Final = "What was asked for"
SHOWN: Final = (
    "Equal training epochs, the whole family",
    "Equal training epochs, hard tasks",
    "Fixed schedules, by kind of task",
)
"""Tables of the first run that stand in the README; all others stand in `results/*.md`."""


def take_over(runs: Sequence[Path], results: Path) -> None:
    """Put the evaluations of these runs in the place of all that were there, named after the seeds of the runs.

    Raises:
        OSError, ValueError: a run has no evaluation, or one that cannot be read or compared; nothing is replaced then.
    """
    sources = [run / EVALUATION for run in runs]
    evaluations = [read_evaluation(source) for source in sources]
    check_comparable(evaluations)
    results.mkdir(exist_ok=True)
    for old in [*results.glob("seed-*.json"), *results.glob("seed-*.md")]:
        old.unlink()
    for source, evaluation in zip(sources, evaluations, strict=True):
        shutil.copyfile(source, results / f"seed-{_seed(evaluation)}.json")


def check_comparable(evaluations: Sequence[Evaluation]) -> None:
    """That they differ in the seed of the run alone.

    Raises:
        ValueError: two have the same seed, or differ in another setting.
    """
    seeds = [_seed(evaluation) for evaluation in evaluations]
    if len(set(seeds)) < len(seeds):
        raise ValueError(f"every run must have a seed of its own, not {seeds}")
    settings = [
        (evaluation.settings["options"], {**evaluation.settings["config"], "seed": None})
        for evaluation in evaluations
    ]
    for seed, each in zip(seeds, settings, strict=True):
        if each != settings[0]:
            raise ValueError(
                f"the evaluations of seeds {seeds[0]} and {seed} differ in their settings: {settings[0]}, {each}"
            )


def read_evaluation(path: Path) -> Evaluation:
    """The evaluation in a file.

    Raises:
        OSError, ValueError: it cannot be read.
    """
    return evaluation_from_json(json.loads(path.read_text(encoding="utf-8")))


def read_results(results: Path) -> Mapping[int, Evaluation]:
    """The evaluations that were taken over, by seed.

    Raises:
        ValueError: they cannot be compared.
    """
    found = [read_evaluation(path) for path in results.glob("seed-*.json")]
    check_comparable(found)
    return {_seed(evaluation): evaluation for evaluation in sorted(found, key=_seed)}


def render_readme(evaluations: Mapping[int, Evaluation]) -> str:
    """What the README shows: the bar for all seeds, and the rivals beside the first one's policy."""
    first_seed, first = next(iter(evaluations.items()))
    pages = ", ".join(f"[seed {seed}]({RESULTS}/seed-{seed}.md)" for seed in evaluations)
    shown = [table_to_markdown(first.table(title)) for title in SHOWN]
    bar = table_to_markdown(bar_of_all(evaluations))
    return "\n".join([bar, f"The policy of seed {first_seed}:\n", *shown, f"All tables: {pages}."])


def render_page(seed: int, evaluation: Evaluation) -> str:
    """All tables of an evaluation."""
    episodes = evaluation.settings["trained_episodes"]
    head = f"# The policy of seed {seed}, trained on {episodes} networks\n"
    return "\n".join([head, *map(table_to_markdown, evaluation.tables)])


def bar_of_all(evaluations: Mapping[int, Evaluation]) -> Table:
    """The tables of what was asked for in one: a row for each claim, a column for each seed."""
    bars = {seed: evaluation.table(BAR) for seed, evaluation in evaluations.items()}
    first = next(iter(bars.values()))
    rows: dict[str, tuple[Cell, ...]] = {}
    for claim, (_, least, _) in first.rows.items():
        rows[claim] = (least, *(_outcome(bar.rows[claim], first.columns[0]) for bar in bars.values()))
    return Table(
        title=first.title,
        note=first.note,
        columns=(first.columns[1], *(Column(name=f"seed {seed}") for seed in bars)),
        rows=rows,
    )


def _outcome(cells: Sequence[Cell], column: Column) -> str:
    lead, _, verdict = cells
    if not isinstance(lead, Estimate):
        raise TypeError(f"a claim's lead must be an estimate, not {lead!r}")
    return f"{lead.describe(column.decimals)} {verdict}"


def _seed(evaluation: Evaluation) -> int:
    return int(evaluation.settings["config"]["seed"])


def main() -> None:
    """Read the command line and do what the module's docstring says."""
    parser = argparse.ArgumentParser(description="Results of trained policies as tables.")
    parser.add_argument("runs", type=Path, nargs="*", metavar="RUN", help="a run folder with its evaluation")
    options = parser.parse_args()
    results = PACKAGE / RESULTS
    if options.runs:
        take_over(options.runs, results)
    evaluations = read_results(results)
    for seed, evaluation in evaluations.items():
        (results / f"seed-{seed}.md").write_text(render_page(seed, evaluation), encoding="utf-8")
    readme = PACKAGE / "README.md"
    text = README_PART.insert(readme.read_text(encoding="utf-8"), render_readme(evaluations))
    readme.write_text(text, encoding="utf-8")
    print(f"written: {readme} and {results}/*.md, from {len(evaluations)} evaluations")


if __name__ == "__main__":
    main()
