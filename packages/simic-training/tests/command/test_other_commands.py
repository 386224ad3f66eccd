"""`tamiyo evaluate`, `report`, `doctor` and `list`."""

import errno
import json
import os
import re
import shutil
import signal
import tempfile
from collections import namedtuple
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from commands import HOSTS, end, start, train
from processes import wait_until

from leyline_types import BlueprintAction
from simic_training.command import checks
from simic_training.command import evaluate as evaluate_module
from simic_training.command.main import main
from simic_training.evaluation.parts import PartsFolder, Progress
from simic_training.evaluation.run import evaluate_run
from simic_training.evaluation.tables import table_from_json
from simic_training.runs.folder import RunFolder
from simic_training.runs.lock import locked
from simic_training.runs.presets import PRESETS
from simic_training.runs.setting_names import every_setting
from tamiyo_policies import CONTROLLER_NAMES, clear_registry

Usage = namedtuple("Usage", "total used free")


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("runs") / "trained"
    assert train(folder) == 0
    return folder


@pytest.fixture
def run(trained: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(trained, tmp_path / "run"))


def test_evaluate_then_report(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    clear_registry()  # as in a process of its own
    assert main(["evaluate", str(run), *HOSTS]) == 0
    printed = capsys.readouterr()
    assert printed.err == ""
    assert "100 %, family" in printed.out
    content = json.loads((run / "evaluation.json").read_text())
    (table,) = [table_from_json(table) for table in content["tables"]]
    assert table.title in printed.out
    assert list(table.rows) == ["policy", "policy-greedy", "none", "random", "heuristic", "best schedule"]
    assert all(name in printed.out for name in table.rows)
    said = {cells[3] for name, cells in table.rows.items() if not name.startswith("policy")}
    assert said <= {"better", "worse", "no difference shown"}
    assert all(
        len(line) <= 80 for line in printed.out.splitlines() if not line.startswith(("Written", "Next"))
    )
    assert f"Written to {run / 'evaluation.json'}" in printed.out

    assert main(["report", str(run)]) == 0
    assert capsys.readouterr().out == f"Written to {run / 'report.html'}\n"
    assert (run / "report.html").read_text().lstrip().lower().startswith("<!doctype html>")
    assert f"tamiyo report {run}" in (run / "log.txt").read_text()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--hosts-per-member", "1"], "at least 16 are needed"),
        ([*HOSTS, "--data", "nowhere.npz"], "No such file or directory"),
        ([*HOSTS, "--data", "empty.npz"], "empty.npz"),
        ([*HOSTS, "--only", "family, member 9, controllers"], "--only: there is no unit 'family, member 9,"),
    ],
)
def test_evaluations_that_cannot_be_made(
    run: Path,
    words: list[str],
    message: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    np.savez("empty.npz")
    assert main(["evaluate", str(run), *words]) == 2
    printed = capsys.readouterr().err
    assert message in printed
    assert printed.count("\n") == 1
    assert not (run / "evaluation.json").exists()


def test_a_run_that_goes_on_is_charged_for_what_it_has_done(run: Path) -> None:
    metrics = run / "metrics.jsonl"
    first, _ = metrics.read_text().splitlines(keepends=True)  # of two updates
    metrics.write_text(first)
    assert main(["evaluate", str(run), *HOSTS]) == 0
    assert json.loads((run / "evaluation.json").read_text())["settings"]["trained_episodes"] == 2


@pytest.mark.parametrize("signum", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_an_evaluation_and_leaves_the_old_one(
    run: Path, signum: signal.Signals, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (run / "evaluation.json").write_text("{}")
    former = signal.signal(signal.SIGINT, signal.default_int_handler)

    def raise_it(progress: Progress) -> None:
        if progress.finished == 2:
            signal.raise_signal(signum)

    def interrupted(*arguments: object, **options: object) -> object:
        return evaluate_run(*arguments, **{**options, "on_progress": raise_it})  # type: ignore[arg-type]

    monkeypatch.setattr(evaluate_module, "evaluate_run", interrupted)
    try:
        assert main(["evaluate", str(run), *HOSTS, "--workers", "1"]) == 128 + signum
    finally:
        signal.signal(signal.SIGINT, former)
    assert capsys.readouterr().err == f"tamiyo: ended by {signum.name}\n"
    assert (run / "evaluation.json").read_text() == "{}"
    assert len(kept_parts(run)) == 2  # what was finished stays


@pytest.mark.parametrize("only", [(), ("--only", "family, member 2, controllers")], ids=["all", "only"])
def test_a_second_evaluation_of_a_run_is_refused(
    run: Path, only: tuple[str, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    parts = run / "evaluation"
    words = ["evaluate", str(run), *HOSTS, "--workers", "1", *only]
    with PartsFolder(parts).locked():
        (parts / "x.part").write_bytes(b"of the first")
        assert main(words) == 2
        (line,) = capsys.readouterr().err.splitlines()
        assert line.startswith(f"tamiyo: another process ({os.getpid()}) is at work in {parts}")
        assert (parts / "x.part").exists()
    assert not kept_parts(run)[1:]
    assert not (run / "evaluation.json").exists()


def test_an_evaluation_that_cannot_be_written(
    run: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(RunFolder, "write_json", full)
    words = ["evaluate", str(run), *HOSTS]
    assert main(words) == 1
    told = f"nothing that was finished is lost: tamiyo {' '.join(words)} goes on"
    assert capsys.readouterr().err == f"tamiyo: No space left on device; {told} (log: {run / 'log.txt'})\n"
    monkeypatch.undo()
    assert main(words) == 0  # at once: nothing is left to be played
    assert " %, " not in capsys.readouterr().out


@pytest.mark.slow
def test_a_killed_evaluation_goes_on_to_the_same_tables(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    whole = Path(shutil.copytree(run, tmp_path / "whole"))
    few = (*HOSTS, "--full", "--workers", "1")
    assert main(["evaluate", str(whole), *few]) == 0
    parts = len(kept_parts(whole))
    kept = [0]
    for more in (1, 4, 9):
        process = start("evaluate", str(run), *few)
        wanted = kept[-1] + more
        wait_until("more parts are there", partial(enough_parts, run, wanted), process)
        end(process, signal.SIGKILL)
        kept.append(len(kept_parts(run)))
        assert not (run / "evaluation.json").exists()
    assert kept[-1] < parts
    kept_parts(run)[0].write_bytes(b"damaged")
    capsys.readouterr()
    assert main(["evaluate", str(run), *few]) == 0
    printed = capsys.readouterr()
    assert re.search(rf"Going on: \d+ of {parts} parts are there", printed.out)
    assert "cannot be used" in printed.err
    one, other = (json.loads((folder / "evaluation.json").read_text()) for folder in (whole, run))
    assert one == other
    assert [path.name for path in kept_parts(run)] == [path.name for path in kept_parts(whole)]


def enough_parts(run: Path, wanted: int) -> bool:
    return len(kept_parts(run)) >= wanted


def kept_parts(run: Path) -> list[Path]:
    return sorted((run / "evaluation").glob("*.part"))


def test_parts_of_another_policy_are_of_no_use(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["evaluate", str(run), *HOSTS, "--workers", "1"]
    assert main(words) == 0
    before = {path.name for path in kept_parts(run)}
    other = tmp_path / "other"
    assert train(other, 4, "--seed", "1") == 0
    shutil.copy(other / "checkpoint.safetensors", run)
    capsys.readouterr()
    assert main(words) == 0
    after = {path.name for path in kept_parts(run)}
    assert len(after) == len(before) == 8
    assert len(after & before) == 4  # where schedules are chosen, no policy plays
    assert "Going on: 4 of 8 parts are there" in capsys.readouterr().out


def test_doctor(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["doctor"]) == 0
    printed = capsys.readouterr().out
    for name in (
        "Python",
        "platform",
        "cores",
        "threads of torch",
        "OMP_NUM_THREADS",
        "devices",
        "C++ compiler",
        "simic-training",
        "policy lstm",
        "this folder",
        "free disk space",
        "extra tensorboard",
        "chromium",
        "tamiyo train has everything that it needs",
    ):
        assert name in printed


def test_doctor_finds_what_is_missing(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise OSError(errno.EROFS, "Read-only file system")

    def broken(name: str) -> object:
        raise ImportError(f"no module for {name}")

    monkeypatch.setattr(tempfile, "TemporaryFile", refuse)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: Usage(10**9, 10**9, 0))
    monkeypatch.setattr(checks, "get_policy", broken)
    monkeypatch.setattr(checks, "PACKAGES", ("leyline-types", "no-such-package"))
    monkeypatch.setattr(shutil, "which", lambda _: None)
    monkeypatch.setattr("importlib.util.find_spec", lambda _: None)
    assert main(["doctor"]) == 1
    printed = " ".join(capsys.readouterr().out.split())
    for text in (
        "Read-only file system go to another folder",
        "make room",
        "broken: ImportError: no module for lstm",
        "pip install no-such-package==",
        "install g++ or clang",
        "pip install 'simic-training[tensorboard]'",
        "pip install 'simic-training[sb3]'",
        "install chromium",
        "tamiyo train cannot work here: see no-such-package, this folder, free disk space",
    ):
        assert text in printed


def test_list(capsys: pytest.CaptureFixture[str]) -> None:
    clear_registry()
    names = {
        "policies": ["lstm", "mlp"],
        "controllers": list(CONTROLLER_NAMES),
        "presets": [*PRESETS, "episodes"],
        "blueprints": [each.blueprint_id for each in BlueprintAction if each is not BlueprintAction.NOOP],
        "settings": [setting.name for setting in every_setting()],
    }
    for what, expected in names.items():
        assert main(["list", what]) == 0
        printed = capsys.readouterr().out
        for name in expected:
            assert name in printed
    assert main(["list"]) == 0
    printed = capsys.readouterr().out
    assert all(name in printed for expected in names.values() for name in expected)


def test_list_runs(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = run.parent
    (folder / "something else").mkdir()
    (folder / "file").write_text("")
    stopped = Path(shutil.copytree(run, folder / "stopped"))
    lines = (run / "metrics.jsonl").read_text().splitlines(keepends=True)
    (stopped / "metrics.jsonl").write_text(lines[0] + lines[1][:9])
    shutil.copytree(run, folder / "started")
    (folder / "started" / "metrics.jsonl").unlink()
    damaged = Path(shutil.copytree(run, folder / "wrong"))
    (damaged / "config.json").write_text("{")
    with locked(RunFolder(folder / "started")):
        assert main(["list", "runs", str(folder)]) == 0
    rows = [line.split() for line in capsys.readouterr().out.splitlines()[3:]]
    assert [row[0] for row in rows if row[0] in ("run", "started", "stopped", "wrong")] == [
        "run",
        "started",
        "stopped",
        "wrong",
    ]
    by_name = {row[0]: row[1:] for row in rows}
    assert by_name["run"] == ["2/2", f"{json.loads(lines[1])['return']['mean']:.2f}", "finished"]
    assert by_name["started"] == ["0/2", "-", "running"]
    assert by_name["stopped"] == ["1/2", f"{json.loads(lines[0])['return']['mean']:.2f}", "stopped"]
    assert by_name["wrong"][0] == "damaged:"
