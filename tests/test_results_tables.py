"""The results that the README and `results/*.md` show are what the tool makes from the committed evaluations."""

import json
from pathlib import Path

import pytest

from results_tables import (
    PACKAGE,
    README_PART,
    RESULTS,
    SHOWN,
    bar_of_all,
    read_results,
    render_page,
    render_readme,
    take_over,
)
from simic_training.evaluation.results import Evaluation, evaluation_to_json
from simic_training.evaluation.tables import Column, Table
from simic_training.statistics import Estimate


def made_up(seed: int, lead: float, *, budget: int = 4, episodes: int = 2400) -> Evaluation:
    """An evaluation with one claim, of a run with this seed."""
    verdict = "surely" if lead > 5 else "no"
    bar = Table(
        title="What was asked for",
        note="A note.",
        columns=(
            Column(name="lead", decimals=2),
            Column(name="at least", decimals=1),
            Column(name="reached"),
        ),
        rows={"policy: points over none": (Estimate(lead, lead - 0.5, lead + 0.5), 5.0, verdict)},
    )
    others = [
        Table(title=f"{title} (48 hosts)", note="", columns=(Column(name="a"),), rows={"policy": (lead,)})
        for title in (*SHOWN, "Equal total budget")
    ]
    return Evaluation(
        settings={
            "config": {"seed": seed, "episodes": episodes},
            "options": {"budget": budget},
            "trained_episodes": 320,
        },
        tables=(bar, *others),
        hosts=(),
        episodes=(),
    )


def write_run(folder: Path, evaluation: Evaluation) -> Path:
    folder.mkdir()
    (folder / "evaluation.json").write_text(json.dumps(evaluation_to_json(evaluation)), encoding="utf-8")
    return folder


def test_the_bar_of_all_seeds_by_hand() -> None:
    table = bar_of_all({0: made_up(0, 6.0), 7: made_up(7, 4.25)})
    assert [column.name for column in table.columns] == ["at least", "seed 0", "seed 7"]
    assert table.texts() == {
        "policy: points over none": ("5.0", "6.00 [5.50, 6.50] surely", "4.25 [3.75, 4.75] no")
    }


def test_the_readme_shows_the_first_seed_beside_its_rivals_and_links_every_page() -> None:
    text = render_readme({0: made_up(0, 6.0), 7: made_up(7, 4.25)})
    assert "The policy of seed 0:" in text
    assert all(title in text for title in SHOWN)
    assert "| policy | 6.0 |" in text
    assert "4.2 |" not in text  # seed 7 stands beside seed 0 in the bar alone
    assert "budget" not in text
    assert text.endswith("All tables: [seed 0](results/seed-0.md), [seed 7](results/seed-7.md).")


def test_a_page_shows_every_table() -> None:
    evaluation = made_up(7, 4.25)
    text = render_page(7, evaluation)
    assert text.startswith("# The policy of seed 7, trained on 320 networks\n")
    assert all(f"**{table.title}**" in text for table in evaluation.tables)


def test_evaluations_are_taken_over_by_seed_in_the_place_of_older_ones(tmp_path: Path) -> None:
    results = tmp_path / "results"
    take_over(
        [write_run(tmp_path / "a", made_up(11, 1.0)), write_run(tmp_path / "b", made_up(2, 2.0))], results
    )
    assert read_results(results) == {2: made_up(2, 2.0), 11: made_up(11, 1.0)}
    assert list(read_results(results)) == [2, 11]
    (results / "seed-2.md").write_text("old", encoding="utf-8")
    take_over([write_run(tmp_path / "c", made_up(11, 3.0))], results)
    assert read_results(results) == {11: made_up(11, 3.0)}
    assert [path.name for path in results.iterdir()] == ["seed-11.json"]


@pytest.mark.parametrize(
    ("other", "message"),
    [
        (made_up(2, 1.0, budget=9), "seeds . and . differ in their settings"),
        (made_up(2, 1.0, episodes=320), "seeds . and . differ in their settings"),
        (made_up(1, 2.0), r"a seed of its own, not \[1, 1\]"),
    ],
)
def test_evaluations_that_cannot_be_compared_are_refused(
    tmp_path: Path, other: Evaluation, message: str
) -> None:
    results = tmp_path / "results"
    take_over([write_run(tmp_path / "a", made_up(5, 1.0))], results)
    runs = [write_run(tmp_path / "b", made_up(1, 1.0)), write_run(tmp_path / "c", other)]
    with pytest.raises(ValueError, match=message):
        take_over(runs, results)
    assert read_results(results) == {5: made_up(5, 1.0)}
    for number, run in enumerate(runs):
        (results / f"seed-{number}.json").write_bytes((run / "evaluation.json").read_bytes())
    (results / "seed-5.json").unlink()
    with pytest.raises(ValueError, match=message):
        read_results(results)


def test_the_readme_and_the_pages_show_the_committed_results() -> None:
    evaluations = read_results(PACKAGE / RESULTS)
    assert len(evaluations) >= 3
    readme = (PACKAGE / "README.md").read_text(encoding="utf-8")
    assert README_PART.insert(readme, render_readme(evaluations)) == readme
    for seed, evaluation in evaluations.items():
        page = (PACKAGE / RESULTS / f"seed-{seed}.md").read_text(encoding="utf-8")
        assert page == render_page(seed, evaluation)
