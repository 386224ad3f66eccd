"""`--workers`, and what is said when one of them fails."""

import os
import re
import signal
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from commands import APART, end_as_a_terminal_does, output, start, tiny, traces, train
from processes import descendants, is_alive, wait_until

from simic_training.command import engines
from simic_training.command.main import main
from simic_training.command.options import build_parser
from simic_training.engines.here import HereEngine
from simic_training.engines.local import cores
from simic_training.engines.unit import Engine
from simic_training.runs import training
from simic_training.runs.collecting import Collecting
from simic_training.runs.config import TrainConfig
from simic_training.runs.folder import METRICS, RunFolder


def options(*words: str) -> Any:
    return build_parser().parse_args(["train", *words])


def test_as_many_as_cores_unless_told(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[int] = []

    def note(workers: int) -> HereEngine:
        asked.append(workers)
        return HereEngine()

    monkeypatch.setattr(engines, "LocalEngine", note)
    for words in (("--workers", "1"), ("--workers", "3"), ()):
        with engines.engine_of(options(*words)) as engine:
            assert isinstance(engine, HereEngine)
    assert asked == [3, *([cores()] if cores() > 1 else [])]


@pytest.mark.parametrize("workers", ["0", "-1", "many"])
def test_workers_that_cannot_be(
    workers: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as ended:
        train(tmp_path / "run", 4, "--workers", workers)
    assert ended.value.code == 2
    assert "--workers: must be an integer of at least 1" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_where_workers_cannot_be_started(tmp_path: Path) -> None:
    here, far = tmp_path / "here", tmp_path / ("x" * 100)
    here.mkdir()
    far.mkdir()
    process = start("train", *tiny(2), "--workers", "2", cwd=here, env={**os.environ, "TMPDIR": str(far)})
    _, err = output(process)
    said = f"tamiyo: worker processes cannot be started: AF_UNIX path too long (sockets are put into {far})\n"
    assert (process.returncode, err) == (2, said)
    assert list(here.iterdir()) == []


def test_the_same_run_with_any_number_of_workers(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert train(tmp_path / "one", 12, *APART, "--workers", "1") == 0
    assert "Who did the work" not in capsys.readouterr().out
    assert train(tmp_path / "two", 12, *APART, "--workers", "2") == 0
    printed = capsys.readouterr()
    assert printed.err == ""
    assert re.search(
        r"Who did the work\n.*\n.*\nworker_0 +\d .*\nworker_1 +\d .*\n\d\.\d cores busy, ", printed.out
    )
    rows = RunFolder.open_run(tmp_path / "two").read_lines(METRICS)
    assert len(rows) == 3
    assert sum(each["units"] for row in rows for each in row["rollout"]["workers"].values()) == 6
    assert traces(tmp_path / "two") == traces(tmp_path / "one")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("signum", "updates", "least"),
    [(signal.SIGINT, 0, 2), (signal.SIGINT, 2, 4), (signal.SIGKILL, 2, 4)],
    ids=["Ctrl-C while it starts", "Ctrl-C", "kill -9"],
)
def test_no_worker_outlives_the_command(
    tmp_path: Path, signum: signal.Signals, updates: int, least: int
) -> None:
    """The resource tracker and the process that workers are forked from are two; the workers two more."""
    run = RunFolder(tmp_path / "run")
    process = start(
        "train", "--run", str(run.path), *tiny(4000), *APART, "--workers", "2", start_new_session=True
    )
    wait_until(
        f"it has done {updates} updates and has {least} processes",
        lambda: run.whole_lines() >= updates and len(descendants(process.pid)) >= least,
        process,
    )
    workers = descendants(process.pid)
    err = end_as_a_terminal_does(process, signum)
    if signum is signal.SIGKILL:
        assert process.returncode == -signum
    else:
        assert (process.returncode, err) == (128 + signum, f"tamiyo: ended by {signum.name}\n")
    wait_until("the workers are dead", lambda: not any(map(is_alive, workers)))


def test_what_fails_is_told_with_a_command_that_does_it_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The data are gone when the workers look for them: the run's own process has read them before."""
    data, away, run = tmp_path / "mine.npz", tmp_path / "away.npz", tmp_path / "run"
    np.savez(data, x=np.random.default_rng(0).normal(size=(60, 6, 6)), y=np.arange(60) % 3)

    def lose_data(config: TrainConfig, engine: Engine) -> Collecting:
        data.rename(away)
        return Collecting(config, engine)

    with monkeypatch.context() as patch:
        patch.setattr(training, "Collecting", lose_data)
        assert train(run, 8, *APART, "--env.data", str(data), "--workers", "2") == 1
    *warnings, line = capsys.readouterr().err.splitlines()
    assert len(warnings) >= 2, line
    assert all(warning.startswith("tamiyo: warning: update 1, group 1, part ") for warning in warnings)
    told = re.fullmatch(
        rf"tamiyo: update 1, group 1, part (\d) failed 3 times: FileNotFoundError: .*mine\.npz.*; "
        rf"(tamiyo grow {run} --update 1 --group 1 --part (\d)) does it alone \(seed 0\), and once that works "
        rf"tamiyo train --resume {run} goes on \(log: {run}/log\.txt\)",
        line,
    )
    assert told is not None, line
    assert told[1] == told[3]
    away.rename(data)
    assert main(told[2].split()[1:]) == 0
    printed = capsys.readouterr().out
    assert printed.startswith("Grown on task mine")
    assert f"{told[2]} does the same again" in printed
    assert main(["train", "--resume", str(run), "--workers", "1"]) == 0
    assert len(RunFolder.open_run(run).read_lines(METRICS)) == 2


def test_grown_alone_it_is_what_the_run_grows_next(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    short = tmp_path / "short"
    assert train(short, 4, *APART, "--workers", "1") == 0
    run = RunFolder.open_run(short)
    settings = (short / "config.json").read_text()
    (short / "config.json").write_text(settings.replace('"episodes": 4', '"episodes": 8'))
    before = sorted((path.name, path.stat().st_mtime_ns) for path in short.iterdir())
    capsys.readouterr()
    assert main(["grow", str(short), "--update", "2", "--group", "1", "--part", "2"]) == 0
    printed = capsys.readouterr().out
    assert sorted((path.name, path.stat().st_mtime_ns) for path in short.iterdir()) == before
    assert main(["train", "--resume", str(short), "--workers", "1"]) == 0
    grown = run.read_lines("episodes.jsonl")[6:8]
    for row in grown:
        assert f"{row['host_seed']}" in printed
        assert f"{row['return']:.2f}" in printed


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--update", "4", "--group", "1"), "--update must be at most 3 in this run, not 4"),
        (("--update", "1", "--group", "1"), "with which --update 3 is grown, not 1"),
        (("--update", "3", "--group", "2"), "--group must be at most 1 in this run, not 2"),
        (("--update", "3", "--group", "1", "--part", "3"), "--part must be at most 2 in this run, not 3"),
    ],
)
def test_units_that_there_are_not(
    words: tuple[str, ...], said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = tmp_path / "run"
    assert train(run, 8, *APART, "--workers", "1") == 0
    capsys.readouterr()
    assert main(["grow", str(run), *words]) == 2
    assert "the run is finished after 2 updates" in capsys.readouterr().err
    settings = (run / "config.json").read_text()
    (run / "config.json").write_text(settings.replace('"episodes": 8', '"episodes": 12'))
    assert main(["grow", str(run), *words]) == 2
    assert said in capsys.readouterr().err
