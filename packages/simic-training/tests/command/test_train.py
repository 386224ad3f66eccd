"""`tamiyo train`: what it prints and writes, and that a run goes on after whatever ended it."""

import errno
import os
import re
import signal
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from commands import end, output, start, tiny, traces, train
from processes import wait_until

from simic_training.command.main import main
from simic_training.command.new_folder import new_folder
from simic_training.runs.config import TrainConfig
from simic_training.runs.folder import METRICS, RunFolder
from simic_training.runs.lock import is_locked
from simic_training.runs.state import state_files

EPISODES, UPDATES = 120, 60
FEW = 32


@pytest.fixture(scope="module")
def unbroken(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What a run of `FEW` episodes leaves that nothing disturbed."""
    folder = tmp_path_factory.mktemp("runs") / "unbroken"
    assert train(folder, FEW) == 0
    return traces(folder)


def test_a_run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = tmp_path / "run"
    assert train(run) == 0
    printed = capsys.readouterr()
    assert printed.err == ""
    lines = printed.out.splitlines()
    assert lines[0] == (
        f"Preset quick: lstm policy, seed 0, 4 episodes of 3 epochs, 2 at once; run folder {run}"
    )
    for text in (
        "update 1/2, return ",
        "update 2/2, return ",
        " steps/s",
        "What the trained policy grew on a host that it never saw (task digits, classes ",
        "; lack ",
        "; prices ",
        "  r0c2  ",
        "% without growth",
        f"Next: tamiyo report {run}",
        f"tamiyo evaluate {run}",
    ):
        assert text in printed.out
    assert {path.name for path in run.iterdir()} == {
        "checkpoint.safetensors",
        "config.json",
        "episodes.jsonl",
        "lock",
        "log.txt",
        "metrics.jsonl",
        "states",
    }
    log = (run / "log.txt").read_text()
    assert f"tamiyo train --run {run} --episodes 4" in log
    assert "simic-training 0." in log
    assert log.endswith("done\n")


def test_a_run_never_overwrites_another(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert train(tmp_path / "run") == 0
    before = traces(tmp_path / "run")
    capsys.readouterr()
    assert train(tmp_path / "run", 2) == 2
    assert capsys.readouterr().err == (
        f"tamiyo: run folder {tmp_path / 'run'} exists; a run never overwrites another\n"
    )
    assert traces(tmp_path / "run") == before


def test_settings_of_a_file_and_of_options(tmp_path: Path) -> None:
    (tmp_path / "settings.toml").write_text("seed = 3\nprune_from = 0\n[env]\nprices = [0.5, 1]\n")
    run = tmp_path / "run"
    assert train(run, 2, "--config", str(tmp_path / "settings.toml"), "--seed", "4", "--preset", "full") == 0
    config = RunFolder.open_run(run).read_config()
    assert (config.seed, config.prune_from, config.env.prices, config.episodes) == (4, 0.0, (0.5, 1.0), 2)


@pytest.mark.slow
def test_a_process_writes_in_its_run_folder_only(tmp_path: Path) -> None:
    here, home = tmp_path / "here", tmp_path / "home"
    here.mkdir()
    home.mkdir()
    temporary = Path(tempfile.mkdtemp())  # with a short path: the workers' sockets are put there meanwhile
    environment = {
        **{name: value for name, value in os.environ.items() if not name.startswith(("XDG", "MPL"))},
        "HOME": str(home),
        "TMPDIR": str(temporary),
    }
    process = start("train", *tiny(2), cwd=here, env=environment)
    out, err = output(process)
    assert (process.returncode, err) == (0, ""), out
    assert [path.name for path in here.iterdir()] == ["runs"]
    (run,) = (here / "runs").iterdir()
    assert f"run folder runs/{run.name}\n" in out
    assert (run / "checkpoint.safetensors").exists()
    assert list(home.rglob("*")) == []
    assert list(temporary.rglob("*")) == []
    temporary.rmdir()


def test_a_relative_folder_and_going_on_from_elsewhere(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert train(Path("deep/run")) == 0
    monkeypatch.chdir("/")
    capsys.readouterr()
    assert main(["train", "--resume", str(tmp_path / "deep/run")]) == 0
    assert "The run was finished before, after 2 updates" in capsys.readouterr().out


def test_folders_of_one_second_differ(tmp_path: Path) -> None:
    create = partial(RunFolder.create, config=TrainConfig())
    made = [new_folder(create, None, parent=tmp_path / "runs").path for _ in range(5)]
    assert sorted(made) == sorted((tmp_path / "runs").iterdir())
    assert len(set(made)) == 5


@pytest.mark.slow
def test_sigterm_ends_a_run_that_goes_on_as_if_nothing_had_happened(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert train(tmp_path / "unbroken", EPISODES) == 0
    folder = tmp_path / "run"
    process = start("train", "--run", str(folder), *tiny(EPISODES), "--workers", "1")
    run = RunFolder(folder)
    wait_until("three updates are done", lambda: run.whole_lines() >= 3, process)
    process.send_signal(signal.SIGSTOP)

    capsys.readouterr()  # a second process is refused
    assert is_locked(run)
    assert main(["train", "--resume", str(folder)]) == 2
    assert capsys.readouterr().err == (
        f"tamiyo: another process ({process.pid}) is training in {folder} (log: {folder / 'log.txt'})\n"
    )
    assert main(["list", "runs", str(tmp_path)]) == 0
    assert "running" in capsys.readouterr().out

    process.send_signal(signal.SIGTERM)
    out, err = end(process, signal.SIGCONT)
    done = run.whole_lines()
    assert (process.returncode, err) == (128 + signal.SIGTERM, "tamiyo: ended by SIGTERM\n")
    assert f"Stopped after update {done}/{UPDATES}; tamiyo train --resume {folder} goes on\n" in out
    assert 3 <= done < UPDATES
    assert not is_locked(run)
    assert "ended by SIGTERM" in run.log.read_text()

    assert main(["train", "--resume", str(folder)]) == 0
    printed = capsys.readouterr()
    assert printed.out.startswith(f"Going on with {folder}\n")
    assert f"update {UPDATES}/{UPDATES}" in printed.out
    assert traces(folder) == traces(tmp_path / "unbroken")
    assert f"resumed after update {done} of {UPDATES}" in run.log.read_text()


@pytest.mark.slow
def test_ctrl_c_ends_a_run(tmp_path: Path) -> None:
    run = RunFolder(tmp_path / "run")
    process = start("train", "--run", str(run.path), *tiny(4000), "--workers", "1")
    wait_until("an update is done", lambda: run.whole_lines() >= 1, process)
    out, err = end(process, signal.SIGINT)
    assert (process.returncode, err) == (130, "tamiyo: ended by SIGINT\n")
    assert "goes on" in out
    assert len(run.read_lines(METRICS)) == run.whole_lines()
    assert run.checkpoint.stat().st_size > 0


def failing_after(calls: int, error: OSError) -> Callable[[int], None]:
    """`os.fsync` on a disk that is full from some call on."""
    real, left = os.fsync, [calls]

    def fsync(descriptor: int) -> None:
        left[0] -= 1
        if left[0] < 0:
            raise error
        real(descriptor)

    return fsync


@pytest.mark.parametrize("calls", [0, 7, 8, 9, 10])
def test_a_full_disk_loses_nothing(
    calls: int,
    tmp_path: Path,
    unbroken: dict[str, Any],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    run = tmp_path / "run"
    with monkeypatch.context() as full:
        full.setattr(os, "fsync", failing_after(calls, OSError(errno.ENOSPC, "No space left on device")))
        assert train(run, FEW) == 1
    assert capsys.readouterr().err == (
        f"tamiyo: No space left on device; nothing is lost: tamiyo train --resume {run} goes on "
        f"(log: {run / 'log.txt'})\n"
    )
    assert main(["train", "--resume", str(run)]) == 0
    assert traces(run) == unbroken


def test_a_damaged_state_is_passed_over_with_a_warning(
    tmp_path: Path, unbroken: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    run = tmp_path / "run"
    assert train(run, FEW) == 0
    newest = state_files(RunFolder(run))[0]
    newest.write_bytes(newest.read_bytes()[:-9])
    capsys.readouterr()
    assert main(["train", "--resume", str(run)]) == 0
    printed = capsys.readouterr()
    assert printed.err.startswith(f"tamiyo: warning: {newest} cannot be used")
    assert printed.err.count("\n") == 1
    assert str(newest) in (run / "log.txt").read_text()
    assert traces(run) == unbroken


def test_a_run_without_any_sound_state_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = tmp_path / "run"
    assert train(run) == 0
    for path in state_files(RunFolder(run)):
        path.write_bytes(b"")
    before = (run / "metrics.jsonl").read_bytes()
    capsys.readouterr()
    assert main(["train", "--resume", str(run)]) == 1
    assert "none of its 2 states can be used" in capsys.readouterr().err.splitlines()[-1]
    assert (run / "metrics.jsonl").read_bytes() == before


def test_a_run_of_hosts_that_explode_is_told_of_and_ends(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = tmp_path / "run"
    assert train(run, 20, "--env.host.learning-rate", "1e30") == 1
    printed = capsys.readouterr()
    assert re.search(r"update 1/10, return .*, 2 of 2 hosts diverged, ", printed.out)  # others come by time
    *warnings, line = printed.err.splitlines()
    assert len(warnings) == 3
    assert all("2 of 2 hosts diverged and were rolled back" in warning for warning in warnings)
    assert line == (
        "tamiyo: in each of the updates 1, 2, 3 at least half of the hosts diverged; in the last, 2 of 2 hosts "
        "diverged and were rolled back (6 times) under learning rate 1e+30: a new run needs a lower "
        f"`env.host.learning_rate`. Nothing is lost (log: {run / 'log.txt'})"
    )
    assert len(RunFolder.open_run(run).read_lines(METRICS)) == 3
