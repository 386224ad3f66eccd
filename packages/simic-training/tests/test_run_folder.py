"""Run folders: never overwritten, refused by name when they are none."""

import json
from pathlib import Path

import pytest

from simic_training import PPOConfig, RunFolder, RunFolderError, TrainConfig
from simic_training.run_folder import config_from_json, config_to_json


def test_settings_survive_the_round_trip(tiny_config: TrainConfig) -> None:
    assert config_from_json(config_to_json(tiny_config)) == tiny_config


def test_create_and_open(tmp_path: Path, tiny_config: TrainConfig) -> None:
    run = RunFolder.create(tmp_path / "deep" / "run", tiny_config)
    run.checkpoint.write_bytes(b"x")
    assert RunFolder.open_run(run.path).read_config() == tiny_config
    run.append_metrics({"update": 1})
    run.append_metrics({"update": 2})
    assert [json.loads(line)["update"] for line in run.metrics.read_text().splitlines()] == [1, 2]
    assert json.loads(run.write_evaluation([{"controller": "policy"}]).read_text()) == [
        {"controller": "policy"}
    ]


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


@pytest.mark.parametrize(
    "damage",
    [
        lambda text: text[: len(text) // 2],
        lambda text: text.replace('"rent_rate"', '"rent"'),
        lambda text: text.replace('"episodes": 6', '"episodes": -6'),
        lambda text: text.replace('"ppo"', '"pop"'),
    ],
)
def test_damaged_settings_are_refused(tmp_path: Path, tiny_config: TrainConfig, damage: object) -> None:
    assert callable(damage)
    run = RunFolder.create(tmp_path / "run", tiny_config)
    config = run.path / "config.json"
    text = config.read_text()
    config.write_text(damage(text))
    assert config.read_text() != text
    with pytest.raises(RunFolderError, match=r"config\.json cannot be read as the settings of a run"):
        run.read_config()


@pytest.mark.parametrize(
    ("settings", "reason"),
    [
        ({"episodes": 0}, "`episodes` must be above 0 and finite, not 0"),
        ({"rent_rate": -1.0}, "`rent_rate` must be at least 0"),
        ({"seed": -1}, "`seed` must lie in"),
        ({"prune_from": 1.5}, r"`prune_from` must lie in \[0, 1\], not 1.5"),
    ],
)
def test_bad_settings_are_refused(settings: dict[str, int], reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        TrainConfig(**settings)  # type: ignore[arg-type]


def test_bad_ppo_settings_are_refused() -> None:
    with pytest.raises(ValueError, match=r"`gamma` must lie in \[0, 1\], not 1.1"):
        PPOConfig(gamma=1.1)
    with pytest.raises(ValueError, match="`clip` must be above 0 and finite, not 0"):
        PPOConfig(clip=0)


def test_episodes_fill_whole_batches() -> None:
    assert TrainConfig(episodes=17, hosts=8, replicas=2).updates == 2
    assert TrainConfig(episodes=16, hosts=8, replicas=2).updates == 1
