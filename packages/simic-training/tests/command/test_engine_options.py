"""`--engine`: the same results from a Ray cluster, clean ends, and a command for what failed."""

import json
import os
import re
import shlex
import shutil
import signal
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from commands import APART, FAMILY, HOSTS, end, end_as_a_terminal_does, start, tiny, traces, train
from processes import command_line, descendants, is_alive, wait_until

from simic_training.command.main import main
from simic_training.command.units_shown import UnitsShown
from simic_training.evaluation.parts import Progress
from simic_training.runs.folder import METRICS, RunFolder

CLUSTER = pytest.mark.cluster


def table_of(path: Path) -> Any:
    return json.loads(path.read_text())


@CLUSTER
def test_training_on_ray_is_the_same_training(
    cluster: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert train(tmp_path / "one", 12, *APART, "--workers", "1") == 0
    assert train(tmp_path / "ray", 12, *APART, "--engine", "ray", "--address", cluster.address) == 0
    assert "Who did the work\n" in capsys.readouterr().out
    rows = RunFolder.open_run(tmp_path / "ray").read_lines(METRICS)
    assert {name.partition(":")[0] for row in rows for name in row["rollout"]["workers"]} == {
        os.uname().nodename
    }
    assert traces(tmp_path / "ray") == traces(tmp_path / "one")


@CLUSTER
def test_evaluating_and_measuring_headroom_on_ray_give_the_same_tables(cluster: Any, tmp_path: Path) -> None:
    assert train(tmp_path / "run", 4, "--workers", "1") == 0
    words = ["evaluate", str(tmp_path / "run"), *HOSTS]
    found = []
    for engine in (["--workers", "1"], ["--workers", "2"], ["--engine", "ray", "--address", cluster.address]):
        shutil.rmtree(tmp_path / "run" / "evaluation", ignore_errors=True)
        assert main([*words, *engine]) == 0
        found.append(table_of(tmp_path / "run" / "evaluation.json"))
    assert found[0] == found[1] == found[2]
    for name, engine in (
        ("one", ["--workers", "1"]),
        ("ray", ["--engine", "ray", "--address", cluster.address]),
    ):
        assert main(["headroom", str(tmp_path / name), *FAMILY, *engine]) == 0
    one, ray = (table_of(tmp_path / name / "headroom.json") for name in ("one", "ray"))
    assert one == ray


@CLUSTER
def test_doctor_knows_the_cluster(cluster: Any, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["doctor", "--engine", "ray", "--address", cluster.address]) == 0
    assert f"ray: {cluster.address}, nodes 3, cores 2" in capsys.readouterr().out


@pytest.mark.parametrize("command", ["train", "evaluate", "headroom", "doctor"])
@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--engine", "ray", "--workers", "2"], "--workers is for --engine local"),
        (["--address", "localhost:6379"], "--address is for --engine ray"),
        (["--start-timeout", "9"], "--start-timeout is for --engine ray without --address"),
        (
            ["--engine", "ray", "--address", "auto", "--start-timeout", "9"],
            "--start-timeout is for --engine ray without --address",
        ),
    ],
)
def test_options_that_do_not_go_together(
    command: str,
    words: list[str],
    said: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main([command, *(["run"] if command == "evaluate" else []), *words]) == 2
    assert said in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_where_no_cluster_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("ray", reason="the extra `ray` is not installed")
    monkeypatch.chdir(tmp_path)
    for command in ("train", "headroom"):
        assert main([command, "--engine", "ray", "--address", "127.0.0.1:1"]) == 2
        assert re.search("^tamiyo: no Ray cluster at 127.0.0.1:1: .*refused.*\n$", capsys.readouterr().err)
    assert main(["doctor", "--engine", "ray", "--address", "127.0.0.1:1"]) == 1
    assert "tamiyo train cannot work here: see engine" in capsys.readouterr().out
    assert list(tmp_path.iterdir()) == []


def test_nothing_is_written_where_the_cluster_cannot_be_joined(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    ray = pytest.importorskip("ray", reason="the extra `ray` is not installed")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(ray, "init", refuse)
    for command in ("train", "headroom"):
        for more in ((), ("--address", "auto")):
            assert main([command, "--engine", "ray", *more]) == 2
            said = "tamiyo: no Ray cluster on this machine: none is running"
            assert capsys.readouterr().err.startswith(said)
    assert list(tmp_path.iterdir()) == []


def refuse(**options: Any) -> None:
    raise ConnectionError("none is running")


@CLUSTER
@pytest.mark.parametrize(
    ("signum", "updates"),
    [(signal.SIGINT, 2), (signal.SIGTERM, 2), (signal.SIGTERM, 0), (signal.SIGKILL, 0)],
    ids=["Ctrl-C", "SIGTERM", "SIGTERM while it starts", "kill -9 while it starts"],
)
def test_a_signal_ends_the_command_and_its_cluster(
    tmp_path: Path, signum: signal.Signals, updates: int
) -> None:
    run, temporary = (
        RunFolder(tmp_path / "run"),
        Path(tempfile.mkdtemp()),
    )  # with a short path: sockets are put there
    words = ["train", "--run", str(run.path), *tiny(4000), *APART, "--engine", "ray"]
    process = start(*words, start_new_session=True, env={**os.environ, "TMPDIR": str(temporary)})
    wait_until(
        f"the cluster runs, and {updates} updates are done",
        lambda: run.whole_lines() >= updates and any(map(is_server, descendants(process.pid))),
        process,
    )
    others = descendants(process.pid)
    err = end_as_a_terminal_does(process, signum)
    killed = signum is signal.SIGKILL
    said = (-signum, "") if killed else (128 + signum, f"tamiyo: ended by {signum.name}\n")
    assert (process.returncode, err) == said
    wait_until("the cluster is down", lambda: not any(map(is_alive, others)))
    left = list(temporary.iterdir())
    assert killed or left == []
    assert len([path for path in left if path.name.startswith("tamiyo-ray-")]) == killed
    shutil.rmtree(temporary)


def is_server(pid: int) -> bool:
    """Whether it is the first of the processes that Ray starts."""
    return "/gcs_server " in command_line(pid)


@CLUSTER
def test_a_command_that_was_killed_goes_on_where_it_was(cluster: Any, tmp_path: Path) -> None:
    assert train(tmp_path / "whole", 80, *APART, "--workers", "1") == 0
    run = RunFolder(tmp_path / "run")
    ray = ("--engine", "ray", "--address", cluster.address)
    process = start("train", "--run", str(run.path), *tiny(80), *APART, *ray)
    wait_until("an update is done", lambda: run.whole_lines() >= 1, process)
    end(process, signal.SIGKILL)
    assert run.whole_lines() < 20
    assert main(["train", "--resume", str(run.path), *ray]) == 0
    assert traces(run.path) == traces(tmp_path / "whole")


@pytest.mark.slow
def test_what_fails_is_told_with_a_command_that_plays_it_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The data are gone when the workers look for them: this process has read them before."""
    data, away, run = tmp_path / "mine.npz", tmp_path / "away.npz", tmp_path / "run"
    np.savez(data, x=np.random.default_rng(0).normal(size=(60, 6, 6)), y=np.arange(60) % 3)
    assert train(run, 4, "--workers", "1") == 0
    words = [
        "evaluate",
        str(run),
        *HOSTS,
        "--data",
        str(data),
        "--seed",
        "3",
    ]
    first = "Unseen data: mine, member 1, controllers"
    assert main([*words, "--only", first]) == 0
    assert f"{first}: task mine" in capsys.readouterr().out
    tell = UnitsShown.tell

    def take_away(shown: UnitsShown, progress: Progress) -> None:
        tell(shown, progress)
        if data.exists():
            data.rename(away)

    monkeypatch.setattr(UnitsShown, "tell", take_away)
    assert main([*words, "--workers", "2"]) == 1
    monkeypatch.undo()
    line = capsys.readouterr().err.splitlines()[-1]
    told = re.search(r" failed 3 times: FileNotFoundError: .*mine\.npz.*; tamiyo (.* --only '.*') plays it alone "
                     r"\(seed 3\) \(log: ", line)  # fmt: skip
    assert told is not None, line
    away.rename(data)
    assert main(shlex.split(told[1])) == 0
    printed = capsys.readouterr().out
    assert "policy-greedy" in printed
    assert f"Its result was not kept; tamiyo {told[1]} does the same again" in printed
    assert not (run / "evaluation.json").exists()
    assert main([*words, "--only", "family, member 9"]) == 2
    assert "--only: there is no unit 'family, member 9' in what is to be played" in capsys.readouterr().err
