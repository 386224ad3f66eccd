"""Whatever is put in where settings, paths and files are due: one line and exit 2 or 1, never a traceback."""

import errno
import json
import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from commands import tiny, train

from simic_training.command import run_log
from simic_training.command.main import main
from simic_training.runs import training
from simic_training.runs.folder import RunFolder
from simic_training.runs.state import save_state

LONG = "x" * 300


def answer(words: list[str], capsys: pytest.CaptureFixture[str]) -> tuple[int, str]:
    """The exit code, and the only line on stderr."""
    capsys.readouterr()
    try:
        code = main(words)
    except SystemExit as end:
        code = int(str(end.code))
    err = capsys.readouterr().err
    assert "Traceback" not in err
    (line,) = err.splitlines()
    assert len(line) < 600
    return code, line


SETTINGS_FILES = {
    "nested": (
        "seed = " + "[" * 4_000 + "]" * 4_000,
        "nested.toml is not valid TOML: it is nested too deeply",
    ),
    "nested below a setting": (
        "seed" + ".a" * 4_000 + " = 1",
        "`seed` must be an integer, not a dict that is nested too deeply to be shown",
    ),
    "nested keys": ("a." * 4_000 + "b = 1", "unknown key `a`"),
    "long line": (
        "a." * 20_000 + "b = 1",
        "long-line.toml is not valid TOML: it has a line of 40005 characters",
    ),
    "digits": ("seed = " + "9" * 5_000, "digits.toml is not valid TOML: Exceeds the limit"),
    "large": ("seed = " + "9" * 400, "`seed` must be an integer of 64 bits"),
    "float": ("[ppo]\nlearning_rate = " + "9" * 400, "`ppo.learning_rate` must be a number below 1.8e308"),
    "NUL": ('[env]\ndata = "a\\u0000b"', "`env.data` is not a path: embedded null byte"),
    "bytes": ("seed = 1 # \udcff", "bytes.toml is not UTF-8 text"),
    "kind": ("seed = {a = [1, 2, 3]}", "`seed` must be an integer, not {'a': [1, 2, 3]}"),
    "lines": ("#\n" * 30_000 + 'seed = "x"', "lines.toml: `seed` must be an integer, not 'x'"),
    "long key": ("x" * 9_000 + " = 1", "unknown key `xxx"),
    "long": ("seed = '" + "y" * 9_000 + "'", "`seed` must be an integer, not 'yyy"),
}


@pytest.mark.parametrize("name", SETTINGS_FILES)
def test_settings_files(name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    content, said = SETTINGS_FILES[name]
    path = tmp_path / f"{name.replace(' ', '-')}.toml"
    path.write_bytes(content.encode(errors="surrogateescape"))
    code, line = answer(["train", "--config", str(path), "--run", str(tmp_path / "run")], capsys)
    assert (code, said in line) == (2, True), line
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("--hidden-dim 100000000", r"`hidden_dim`"),
        (
            "--env.family.widths 4,100000000",
            r"more than `memory_limit` 8; .*`env.family.widths` up to 100000000",
        ),
        (
            "--env.group-size 100000000",
            r"need at least .* GiB, more than `memory_limit` 8; .* 100000000 hosts",
        ),
        ("--groups 100000000", r"need at least .* GiB, more than `memory_limit` 8"),
        (
            "--env.family.max-epochs 3,100000000",
            r"more than `memory_limit` 8; .*`env.family.max_epochs` up to 100000000",
        ),
        ("--memory-limit 1e-6", r"need at least .* GiB, more than `memory_limit` 1e-06"),
        ("--memory-limit nan", r"`memory_limit` must be above 0 and at most 1e\+06, not nan"),
        ("--memory-limit 1e300", r"`memory_limit` must be above 0 and at most 1e\+06, not 1e\+300"),
        ("--env.data-limit 1e300", r"`env.data_limit` must be above 0 and at most 1e\+06, not 1e\+300"),
        ("--stale-updates 1000000", r"`stale_updates` must be from 0 to 100, not 1000000"),
        (
            f"--env.rules.enabled-blueprints {','.join(['norm'] * 6_000)}",
            r"config.json would take \d+ bytes, more than the 65536 that are read again",
        ),
        ("--ppo.learning-rate 3e38", r"`ppo.learning_rate` must be above 0 and at most 1e\+30, not 3e\+38"),
        ("--ppo.learning-rate 1e400", r"at most 1e\+30, not inf"),
        ("--ppo.clip 1e300", r"`ppo.clip` must be above 0 and at most 1e\+30"),
        (
            "--env.host.learning-rate 1e39",
            r"`env.host.learning_rate` must be above 0 and at most 1e\+30",
        ),
        (
            "--env.host.batch-size 100000000000000000000",
            r"`env.host.batch_size` must be an integer of 64 bits",
        ),
        (f"--seed {'9' * 5_000}", r"`seed` must be an integer, not '999.*\(5002 characters\)"),
        (f"--env.data {LONG}", r"File name too long"),
        ("--env.data pipe", r"pipe is a named pipe, expected a regular file"),
        ("--env.data .", r" is a folder, expected a regular file"),
        ("--env.data /dev/zero", r"/dev/zero is a character device, expected a regular file"),
        ("--config pipe", r"pipe is a named pipe, expected a regular file"),
        (f"--config {LONG}", r"File name too long"),
        (f"--run {LONG}", r"run folder x+ cannot be written: File name too long"),
    ],
)
def test_options_of_train(
    words: str, said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    os.mkfifo("pipe")
    code, line = answer(["train", *tiny(4), "--workers", "1", *words.split()], capsys)
    assert code == 2, line
    assert re.search(said, line), line
    assert [path.name for path in Path().iterdir()] == ["pipe"]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("--env.family.widths 4,100000000", "more than `memory_limit` 8; most of it for 16 hosts at once"),
        ("--hosts-per-member 100000000", "`hosts_per_member` must be from 1 to 10000, not 100000000"),
        (
            "--hosts-per-member 10000 --memory-limit 1e-3",
            "more than `memory_limit` 0.001; most of it for 10000",
        ),
    ],
)
def test_hosts_that_no_machine_holds(
    words: str, said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    code, line = answer(["headroom", "--hosts-per-member", "16", "--workers", "1", *words.split()], capsys)
    assert (code, said in line) == (2, True), line
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("command", ["evaluate", "report", "grow"])
def test_names_that_no_folder_has(command: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    more = ["--update", "1", "--group", "1"] if command == "grow" else []
    for name, said in (
        (LONG, "File name too long"),
        ("a\udcffb", "does not exist"),
        ("\n", "does not exist"),
    ):
        code, line = answer([command, str(tmp_path / name), *more], capsys)
        assert (code, said in line) == (2, True), line


def test_counts_that_no_machine_holds(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for option in ("--members-per-lack", "--hosts-per-member", "--seed", "--workers"):
        code, line = answer(["evaluate", str(tmp_path), option, "9" * 5_000], capsys)
        assert (code, f"argument {option}: must be an integer" in line) == (2, True), line


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> RunFolder:
    folder = tmp_path_factory.mktemp("runs") / "trained"
    assert train(folder, 4, "--workers", "1") == 0
    return RunFolder(folder)


@pytest.fixture
def run(trained: RunFolder, tmp_path: Path) -> RunFolder:
    run = RunFolder(tmp_path / "run")
    for path in trained.path.rglob("*"):
        if path.is_file():
            target = run.path / path.relative_to(trained.path)
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(path.read_bytes())
    return run


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"[" * 60_000, "it is nested too deeply"),
        (b'{"a":' * 12_000, "it is nested too deeply"),
        (b"[" * 100_000, "has 100000 bytes, more than the limit of 65536"),
        (b'{"seed": ' + b"9" * 5_000 + b"}", "it is not JSON: Exceeds the limit"),
        (b"[1, 2]", "it is a JSON list, not an object"),
        (b"null", "it is a JSON NoneType, not an object"),
        (b"\xff", "codec can't decode"),
        (b"", "it is not JSON: Expecting value"),
        (b'{"seed": NaN}', "it is not JSON: NaN is no number of JSON"),
    ],
    ids=["brackets", "braces", "long", "digits", "list", "null", "bytes", "empty", "NaN"],
)
@pytest.mark.parametrize("command", ["train", "evaluate", "report", "grow"])
def test_settings_of_a_run_that_are_none(
    command: str, content: bytes, said: str, run: RunFolder, capsys: pytest.CaptureFixture[str]
) -> None:
    (run.path / "config.json").write_bytes(content)
    words = {
        "train": ["train", "--resume", str(run.path), "--workers", "1"],
        "grow": ["grow", str(run.path), "--update", "1", "--group", "1"],
    }.get(command, [command, str(run.path)])
    code, line = answer(words, capsys)
    assert (code, "config.json cannot be read as the settings of a run: " in line, said in line) == (
        1,
        True,
        True,
    ), line


Change = Callable[[dict[str, Any]], object]
METRICS_CHANGES: dict[str, tuple[Change, str]] = {
    "text for a number": (
        lambda line: line.update(size="1.2"),
        "size: input should be a valid number, not '1.2'",
    ),
    "text in a table": (
        lambda line: line["seconds"].update(host="3"),
        "seconds.host: input should be a valid number",
    ),
    "a list for a number": (
        lambda line: line.update(approx_kl=[1]),
        "approx_kl: input should be a valid number",
    ),
    "a part of an estimate": (
        lambda line: line["return"].update(low=None),
        "episode_return.low: input should be",
    ),
    "a number for a list": (lambda line: line.update(held_back=3), "held_back: input should be a valid list"),
    "no speed": (
        lambda line: line.update(steps_per_second=0),
        "steps_per_second: input should be greater than 0",
    ),
    "a truth value": (lambda line: line.update(episodes=True), "episodes: input should be a valid integer"),
    "rollbacks as text": (
        lambda line: line["rollbacks"].update(hosts="2"),
        "rollbacks.hosts: input should be",
    ),
}


@pytest.mark.parametrize("name", METRICS_CHANGES)
def test_metrics_of_other_types(name: str, run: RunFolder, capsys: pytest.CaptureFixture[str]) -> None:
    change, said = METRICS_CHANGES[name]
    lines = run.read_lines("metrics.jsonl")
    change(lines[-1])
    run.metrics.write_text("".join(json.dumps(line) + "\n" for line in lines))
    code, line = answer(["report", str(run.path)], capsys)
    assert code == 1
    assert f"metrics.jsonl is damaged or of another version: line {len(lines)}: {said}" in line, line
    assert not run.report.exists()


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("metrics.jsonl", "[" * 100_000 + "\n", "metrics.jsonl is damaged: line 1: it is nested too deeply"),
        (
            "metrics.jsonl",
            '{"size": NaN}\n',
            "metrics.jsonl is damaged: line 1: it is not JSON: NaN is no number of JSON",
        ),
        ("metrics.jsonl", "[]\n", "metrics.jsonl is damaged: line 1: it is a JSON list, not an object"),
        (
            "episodes.jsonl",
            '{"episode": "x"}\n',
            "episodes.jsonl is damaged or of another version: line 1: it has no",
        ),
        (
            "evaluation.json",
            "[" * 100_000,
            "evaluation.json is damaged or of another version: it is nested too deeply",
        ),
        ("evaluation.json", "7", "evaluation.json is damaged or of another version: it is a JSON int"),
    ],
)
def test_files_of_a_run_that_are_damaged(
    name: str, text: str, said: str, run: RunFolder, capsys: pytest.CaptureFixture[str]
) -> None:
    (run.path / name).write_text(text)
    code, line = answer(["report", str(run.path)], capsys)
    assert (code, said in line) == (1, True), line
    assert main(["list", "runs", str(run.path.parent)]) == 0


@pytest.mark.parametrize(
    "name", ["metrics.jsonl", "log.txt", "lock", "checkpoint.safetensors", "config.json"]
)
def test_a_named_pipe_in_a_run_is_not_waited_for(
    name: str, run: RunFolder, capsys: pytest.CaptureFixture[str]
) -> None:
    (run.path / name).unlink(missing_ok=True)
    os.mkfifo(run.path / name)
    for command in ("report", "evaluate"):
        code, line = answer([command, str(run.path)], capsys)
        assert (code, f"{name} is no regular file" in line) == (2, True), line
    assert main(["list", "runs", str(run.path.parent)]) == 0


def test_a_folder_that_was_renamed_while_it_trained(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    old, new = tmp_path / "old", tmp_path / "new"

    def rename_first(run: RunFolder, state: Any) -> None:
        if state.update == 1:
            old.rename(new)
        save_state(run, state)

    with monkeypatch.context() as patched:
        patched.setattr(training, "save_state", rename_first)
        code, line = answer(["train", "--run", str(old), *tiny(8), "--workers", "1"], capsys)
    assert code == 1
    assert f"{old} is not there any more: tamiyo train --resume with its new path goes on" in line
    assert "log:" not in line
    assert main(["train", "--resume", str(new), "--workers", "1"]) == 0


def test_a_page_of_a_run_that_cannot_be_written(
    run: RunFolder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def refuse(path: object, *arguments: object, **options: object) -> None:
        raise OSError(errno.EROFS, os.strerror(errno.EROFS), str(path))

    page = tmp_path / "page.html"
    with monkeypatch.context() as patched:
        patched.setattr(run_log, "_QuietFile", refuse)
        assert main(["report", str(run.path), "--out", str(page)]) == 0
        said = capsys.readouterr()
        assert said.out.endswith(f"Written to {page}\n")
        assert said.err == f"tamiyo: warning: {run.log} cannot be written: Read-only file system\n"
        assert page.read_text().startswith("<!DOCTYPE html>")
    monkeypatch.setattr(Path, "write_text", refuse)
    code, line = answer(["report", str(run.path)], capsys)
    assert code == 1
    assert f"tamiyo report {run.path} --out FILE.html writes it elsewhere" in line
    code, line = answer(["report", str(run.path), "--out", "."], capsys)
    assert (code, line) == (2, "tamiyo: --out must be the path of a file, not .")
