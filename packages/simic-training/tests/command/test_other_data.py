"""A run that was made with some data never goes on with others, and no page or table tells of others."""

import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from commands import APART, tiny

from simic_training.command.main import main
from simic_training.growth.config import GrowthConfig
from simic_training.growth.draws import OtherDataError, draw_groups, with_data_digest
from simic_training.runs.folder import RunFolder

HAVE = "60 samples of 1x6x6, 3 classes, sha256 "


def write(path: Path, seed: int = 0, classes: int = 3) -> None:
    """Some samples; other seeds give others of the same shape."""
    images = np.random.default_rng(seed).normal(size=(60, 6, 6))
    np.savez(path, x=images, y=np.arange(60) % classes)


@pytest.fixture
def data(tmp_path: Path) -> Path:
    path = tmp_path / "mine.npz"
    write(path)
    return path


@pytest.fixture
def run(data: Path, tmp_path: Path) -> Path:
    """A run of two updates on the data, of which the last is yet to be done."""
    path = tmp_path / "run"
    assert (
        main(["train", "--run", str(path), *tiny(8), *APART, "--env.data", str(data), "--workers", "1"]) == 0
    )
    folder = RunFolder(path)
    folder.cut("metrics.jsonl", folder.metrics.read_bytes().index(b"\n") + 1)  # as if killed before
    return path


CHANGES: dict[str, Callable[[Path], None]] = {
    "other samples": lambda path: write(path, seed=1),
    "other classes": lambda path: write(path, classes=2),
}


@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize(
    "words",
    [("train", "--resume"), ("evaluate",), ("report",), ("grow", "--update", "2", "--group", "1")],
    ids=lambda words: words[0],
)
def test_other_data_end_every_command_with_one_line_that_names_both(
    run: Path, data: Path, words: tuple[str, ...], change: str, capsys: pytest.CaptureFixture[str]
) -> None:
    recorded = RunFolder(run).read_config().env.data_digest
    assert recorded is not None
    assert recorded.startswith(HAVE)
    CHANGES[change](data)
    before = {path: path.read_bytes() for path in run.rglob("*") if path.name != "log.txt" and path.is_file()}
    capsys.readouterr()
    command, *more = words
    options = [command, *more, str(run)] if more == ["--resume"] else [command, str(run), *more]
    assert main(options) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"tamiyo: the data {data} are other than recorded: found 60 samples of 1x6x6, ")
    assert f"; recorded (`env.data_digest`) {recorded}" in line
    assert line.count("sha256") == 2
    assert before == {path: path.read_bytes() for path in before}


def replace_by_pipe(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


def replace_by_folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


BROKEN: dict[str, Callable[[Path], object]] = {
    "no archive": lambda path: path.write_bytes(b"nothing"),
    "a named pipe": replace_by_pipe,
    "a folder": replace_by_folder,
    "too large": lambda path: os.truncate(path, 3 * 2**30),
    "gone": Path.unlink,
}


@pytest.mark.parametrize("name", BROKEN)
@pytest.mark.parametrize("command", ["train", "evaluate", "report", "grow"])
def test_data_that_cannot_be_read_any_more(
    run: Path, data: Path, command: str, name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    BROKEN[name](data)
    capsys.readouterr()
    words = {
        "train": ["train", "--resume", str(run), "--workers", "1"],
        "grow": ["grow", str(run), "--update", "2", "--group", "1"],
    }.get(command, [command, str(run)])
    code = main(words)
    (line,) = capsys.readouterr().err.splitlines()
    assert "unexpected" not in line
    assert str(data) in line
    if name == "gone":
        assert code == {"report": 0, "evaluate": 2}.get(command, 1)
    else:
        assert code == 2


def test_the_same_data_written_anew_go_on(run: Path, data: Path) -> None:
    with np.load(data) as arrays:
        np.savez_compressed(data, **arrays)
    assert main(["train", "--resume", str(run), "--workers", "1"]) == 0


def test_a_page_is_made_where_the_data_are_gone(
    run: Path, data: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data.unlink()
    assert main(["report", str(run)]) == 0
    said = capsys.readouterr()
    assert f"tamiyo: warning: the data {data} cannot be read (No such file or directory)" in said.err
    assert (run / "report.html").exists()


def test_data_that_change_while_a_run_grows_are_not_grown_on(data: Path) -> None:
    """The settings that a unit is sent hold the digest: whoever reads the data compares it."""
    config = with_data_digest(GrowthConfig(data=str(data)))
    draw_groups(config, 2, 0)
    write(data, seed=1)
    with pytest.raises(OtherDataError, match="other than recorded"):
        draw_groups(config, 2, 0)


def test_digits_have_a_digest_too() -> None:
    config = with_data_digest(GrowthConfig())
    assert config.data_digest is not None
    assert config.data_digest.startswith("1797 samples of 1x8x8, 10 classes, sha256 ")
    with pytest.raises(OtherDataError, match="the data digits are other than recorded"):
        draw_groups(GrowthConfig(data_digest="1797 samples"), 2, 0)


def test_a_digest_can_be_asked_for(data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["train", "--run", str(tmp_path / "run"), *tiny(4), "--env.data", str(data), "--workers", "1"]
    assert main([*words, "--env.data-digest", "70 samples"]) == 2
    assert "other than recorded: found 60 samples of 1x6x6" in capsys.readouterr().err
    assert not (tmp_path / "run").exists()


def test_settings_without_a_digest_are_no_run_s(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    settings = run / "config.json"
    recorded = RunFolder(run).read_config().env.data_digest
    settings.write_text(settings.read_text().replace(f'"{recorded}"', "null"))
    capsys.readouterr()
    assert main(["train", "--resume", str(run)]) == 1
    assert "`env.data_digest` is missing" in capsys.readouterr().err
