"""The headroom in simic-training's README is what the tool makes of the committed figures."""

import json
import shutil
from pathlib import Path

import pytest

from headroom_table import FIGURES, PACKAGE, README_PART, keep
from simic_training.evaluation.headroom import first_hosts, headroom_to_markdown
from simic_training.evaluation.headroom_units import headroom_plan
from simic_training.evaluation.schedules import arms
from simic_training.evaluation.stages import EvaluationOptions
from simic_training.growth.draws import slots_of, with_data_digest
from simic_training.runs.presets import preset
from simic_training.runs.settings import config_to_mapping


def test_the_readme_shows_the_committed_figures() -> None:
    readme = (PACKAGE / "README.md").read_text(encoding="utf-8")
    figures = json.loads((PACKAGE / FIGURES).read_text(encoding="utf-8"))
    assert README_PART.insert(readme, headroom_to_markdown(figures)) == readme


def test_figures_are_kept_with_what_the_readme_shows(tmp_path: Path) -> None:
    shutil.copy(PACKAGE / "README.md", tmp_path)
    figures = json.loads((PACKAGE / FIGURES).read_text(encoding="utf-8"))
    figures["gate"][0]["figure"] = "0.99 [0.98, 1.00]"
    keep(json.dumps(figures), tmp_path)
    assert "0.99 [0.98, 1.00]" in (tmp_path / "README.md").read_text(encoding="utf-8")
    assert json.loads((tmp_path / FIGURES).read_text(encoding="utf-8")) == figures
    with pytest.raises(ValueError, match="not a headroom of format"):
        keep("{}", tmp_path)


def test_the_committed_figures_are_of_the_family_as_it_is() -> None:
    """Other hosts or other schedules: `tamiyo headroom` has to be run again."""
    told = json.loads((PACKAGE / FIGURES).read_text(encoding="utf-8"))["settings"]
    now = with_data_digest(preset("quick").env)
    found, expected = told["config"]["env"], config_to_mapping(preset("quick"))["env"]
    assert found["family"] == expected["family"]
    assert found["host"] == expected["host"]
    assert found["data_digest"] == now.data_digest
    plan = headroom_plan(now, EvaluationOptions(**told["options"]))
    assert told["first_hosts"] == json.loads(json.dumps(first_hosts(plan)))
    names = [arm.name for arm in arms(now.host.topology, slots_of(now.host), now.rules)]
    assert [row["schedule"] for row in told["schedules"]] == names
