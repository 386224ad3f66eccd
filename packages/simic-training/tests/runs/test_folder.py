"""Run folders: never overwritten, refused by name when they are none, files whole or not there."""

import json
import os
from collections.abc import Callable
from dataclasses import replace
from errno import ENOSPC, EROFS
from pathlib import Path
from typing import Any

import pytest

from simic_training.growth.draws import with_data_digest
from simic_training.runs.config import TrainConfig
from simic_training.runs.folder import (
    RunFolder,
    RunFolderError,
    RunFolderExistsError,
    RunStorageError,
    write_whole,
)


def recorded(config: TrainConfig) -> TrainConfig:
    """The settings as a run has them: with the digest of its data."""
    return replace(config, env=with_data_digest(config.env))


def test_create_and_open(tmp_path: Path, tiny_config: TrainConfig) -> None:
    run = RunFolder.create(tmp_path / "deep" / "run", tiny_config)
    assert RunFolder.open_run(run.path).read_config() == recorded(tiny_config)
    assert run.read_lines("metrics.jsonl") == []
    run.append_lines("metrics.jsonl", [{"update": 1}, {"update": 2}])
    run.append_lines("metrics.jsonl", [{"update": 3}])
    assert [row["update"] for row in run.read_lines("metrics.jsonl")] == [1, 2, 3]


def test_existing_folder_is_not_touched(tmp_path: Path, tiny_config: TrainConfig) -> None:
    with pytest.raises(RunFolderError, match="exists; a run never overwrites another"):
        RunFolder.create(tmp_path, tiny_config)
    assert list(tmp_path.iterdir()) == []


def test_folder_that_cannot_be_made(tmp_path: Path, tiny_config: TrainConfig) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(RunFolderError, match="cannot be written: Not a directory"):
        RunFolder.create(tmp_path / "file" / "run", tiny_config)


def test_missing_and_foreign_folders(tmp_path: Path) -> None:
    with pytest.raises(RunFolderError, match="does not exist"):
        RunFolder.open_run(tmp_path / "nowhere")
    with pytest.raises(RunFolderError, match=r"it holds no config\.json"):
        RunFolder.open_run(tmp_path)


@pytest.mark.parametrize("place", ["states", "config.json.draft", "run"])
@pytest.mark.parametrize("code", [ENOSPC, EROFS])
def test_a_folder_that_the_disk_does_not_take_leaves_nothing(
    tmp_path: Path, tiny_config: TrainConfig, monkeypatch: pytest.MonkeyPatch, place: str, code: int
) -> None:
    def failing(original: Callable[..., Any]) -> Callable[..., Any]:
        def call(path: Path, *arguments: Any, **options: Any) -> Any:
            if place in {path.name, *(getattr(each, "name", None) for each in arguments)}:
                raise OSError(code, os.strerror(code), str(path))
            return original(path, *arguments, **options)

        return call

    with monkeypatch.context() as patched:
        for name in ("mkdir", "write_text", "rename"):
            patched.setattr(Path, name, failing(getattr(Path, name)))
        with pytest.raises(RunStorageError, match=f"run cannot be written: {os.strerror(code)}"):
            RunFolder.create(tmp_path / "run", tiny_config)
    assert list(tmp_path.iterdir()) == []
    assert RunFolder.create(tmp_path / "run", tiny_config).read_config() == recorded(tiny_config)


def test_of_two_who_make_a_folder_at_once_the_second_is_refused(
    tmp_path: Path, tiny_config: TrainConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = RunFolder.create(tmp_path / "run", tiny_config)
    monkeypatch.setattr(Path, "exists", lambda path: False)  # it looked before the first was there
    with pytest.raises(RunFolderExistsError, match="never overwrites another"):
        RunFolder.create(tmp_path / "run", replace(tiny_config, seed=1))
    monkeypatch.undo()
    assert first.read_config() == recorded(tiny_config)
    assert list(tmp_path.iterdir()) == [first.path]


@pytest.mark.parametrize(
    "damage",
    [
        lambda text: text[: len(text) // 2],
        lambda text: text.replace('"prices"', '"rents"'),
        lambda text: text.replace('"episodes": 8', '"episodes": -6'),
        lambda text: text.replace('"ppo"', '"pop"'),
        lambda text: "[]",
    ],
)
def test_damaged_settings_are_refused(
    tmp_path: Path, tiny_config: TrainConfig, damage: Callable[[str], str]
) -> None:
    run = RunFolder.create(tmp_path / "run", tiny_config)
    config = run.path / "config.json"
    text = config.read_text()
    config.write_text(damage(text))
    assert config.read_text() != text
    with pytest.raises(RunFolderError, match=r"config\.json cannot be read as the settings of a run"):
        run.read_config()


def of_version_one(content: dict[str, Any]) -> None:
    """The settings of the environment as version 1 wrote them."""
    del content["env"]["prices"]
    content["env"]["rent_rate"] = 0.3


def with_the_family_of_version_one(content: dict[str, Any]) -> None:
    content["env"]["family"] = {
        "class_counts": [2, 5, 10],
        "widths": [4, 6],
        "label_noises": [0.0, 0.5],
        "learning_rates": [0.1, 0.2],
    }


@pytest.mark.parametrize(
    ("older", "unknown"),
    [(of_version_one, "env.rent_rate"), (with_the_family_of_version_one, "env.family.label_noises")],
)
def test_a_run_of_version_one_is_refused_in_one_line(
    tmp_path: Path, tiny_config: TrainConfig, older: Callable[[dict[str, Any]], None], unknown: str
) -> None:
    run = RunFolder.create(tmp_path / "run", tiny_config)
    path = run.path / "config.json"
    content = json.loads(path.read_text())
    older(content)
    path.write_text(json.dumps(content))
    with pytest.raises(RunStorageError, match=f"settings of a run: unknown key `{unknown}`") as raised:
        run.read_config()
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize("line", ['{"update": 1', "[1]", "3", '{"update": 1}\n\n{"update": 2}'])
def test_damaged_lines_are_refused(tmp_path: Path, tiny_config: TrainConfig, line: str) -> None:
    run = RunFolder.create(tmp_path / "run", tiny_config)
    run.metrics.write_text(line + "\n")
    with pytest.raises(RunFolderError, match=r"metrics\.jsonl is damaged"):
        run.read_lines("metrics.jsonl")


def test_cut_takes_off_what_came_after(tmp_path: Path, tiny_config: TrainConfig) -> None:
    run = RunFolder.create(tmp_path / "run", tiny_config)
    run.append_lines("metrics.jsonl", [{"update": 1}])
    length = run.length("metrics.jsonl")
    run.append_lines("metrics.jsonl", [{"update": 2}])
    run.cut("metrics.jsonl", length)
    assert run.read_lines("metrics.jsonl") == [{"update": 1}]
    run.cut("metrics.jsonl", length)
    with pytest.raises(RunFolderError, match=f"has {length} bytes, the run had written 999"):
        run.cut("metrics.jsonl", 999)
    assert run.length("episodes.jsonl") == 0


def test_a_file_that_cannot_be_written_leaves_the_old_one(tmp_path: Path, tiny_config: TrainConfig) -> None:
    run = RunFolder.create(tmp_path / "run", tiny_config)
    run.write_json("evaluation.json", {"tables": []})
    before = sorted(path.name for path in run.path.iterdir())
    with pytest.raises(ValueError, match="not JSON compliant"):
        run.write_json("evaluation.json", {"tables": float("nan")})
    with pytest.raises(TypeError):
        write_whole(run.evaluation, 7)  # type: ignore[arg-type]
    assert run.evaluation.read_text() == '{\n  "tables": []\n}\n'
    assert sorted(path.name for path in run.path.iterdir()) == before


def test_a_text_need_not_be_unicode(tmp_path: Path) -> None:
    assert write_whole(tmp_path / "page", "\udcff in a name\n").read_text() == "\\udcff in a name\n"
