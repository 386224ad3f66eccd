"""A run that was ended anywhere goes on as if nothing had happened."""

import errno
import json
import logging
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from run_settings import LONG, TINY
from run_traces import lasting

from simic_training.ppo.finite import NonFiniteLossError
from simic_training.runs import rollout, training
from simic_training.runs.folder import METRICS, RunFolder, RunFolderError
from simic_training.runs.interrupts import Interrupted, InterruptGuard
from simic_training.runs.state import state_files
from simic_training.runs.tensor_bytes import tensors_from_bytes, unseal
from simic_training.runs.training import Progress, train
from tamiyo_policies import load_checkpoint


def go(run: RunFolder, on_progress: Callable[[Progress], None] = lambda progress: None) -> None:
    with InterruptGuard() as guard:
        train(run.read_config(), run, guard, on_progress=on_progress, resume=True)


def traces(run: RunFolder) -> dict[str, object]:
    """All that a run leaves, without clock times."""
    return {**lasting(run), "states": {path.name: content_of(path) for path in state_files(run)}}


def content_of(path: Path) -> dict[str, object]:
    """All tensors of a state; the lengths that stand beside them depend on clock times."""
    tensors, note = tensors_from_bytes(unseal(path.read_bytes()))
    return {"update": note["update"], **{name: tensors[name].numpy().tobytes() for name in sorted(tensors)}}


@pytest.fixture(scope="module")
def unbroken(tmp_path_factory: pytest.TempPathFactory) -> dict[str, object]:
    run = RunFolder.create(tmp_path_factory.mktemp("runs") / "unbroken", TINY)
    go(run)
    return traces(run)


class StopError(Exception):
    """Ends a run from inside."""


def stop_after(updates: int) -> Callable[[Progress], None]:
    def stop(progress: Progress) -> None:
        if progress.updates_done == updates:
            raise StopError

    return stop


def stopped(path: Path, updates: int) -> RunFolder:
    run = RunFolder.create(path, TINY)
    with pytest.raises(StopError):
        go(run, stop_after(updates))
    return run


def test_a_run_leaves_what_the_design_says(unbroken: dict[str, object]) -> None:
    metrics = unbroken["metrics"]
    assert isinstance(metrics, list)
    assert [row["update"] for row in metrics] == list(range(1, TINY.updates + 1))
    states = unbroken["states"]
    assert isinstance(states, dict)
    assert list(states) == ["000010.state", "000009.state"]
    newest, before = states.values()
    assert newest.keys() == before.keys()
    assert newest != before


@pytest.mark.slow
def test_killed_twenty_times_it_is_the_same_run(tmp_path: Path) -> None:
    script = Path(__file__).with_name("killed_run.py")
    result = subprocess.run(
        [sys.executable, str(script), str(tmp_path / "run"), "20"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 0, result.stderr
    struck = json.loads(result.stdout)["struck"]
    assert len(struck) == 20
    assert len(set(struck)) > 8, "the kills must strike at different places of the run"
    assert max(struck) < LONG.updates
    assert traces(RunFolder.open_run(tmp_path / "run")) == traces(RunFolder.open_run(tmp_path / "whole"))


def test_a_finished_run_has_nothing_left_to_do(unbroken: dict[str, object], tmp_path: Path) -> None:
    run = RunFolder.create(tmp_path / "run", TINY)
    go(run)
    seen: list[Progress] = []
    go(run, seen.append)
    assert not seen
    assert traces(run) == unbroken


def test_a_signal_ends_it_between_updates(unbroken: dict[str, object], tmp_path: Path) -> None:
    run = RunFolder.create(tmp_path / "run", TINY)

    def interrupt(progress: Progress) -> None:
        if progress.updates_done == 3:
            os.kill(os.getpid(), 15)

    with pytest.raises(Interrupted):
        go(run, interrupt)
    assert len(run.read_lines(METRICS)) == 3
    go(run)
    assert traces(run) == unbroken


@pytest.mark.parametrize(
    "damage",
    [
        lambda content: content[: len(content) // 2],
        lambda content: content[:7],
        lambda content: b"",
        lambda content: b"\0" * len(content),
        lambda content: content[:-100] + b"\x55" * 100,
    ],
    ids=["half", "seven bytes", "empty", "zeros", "other bytes"],
)
def test_a_damaged_newest_state_falls_back_loudly(
    unbroken: dict[str, object],
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    damage: Callable[[bytes], bytes],
) -> None:
    run = stopped(tmp_path / "run", 4)
    newest = state_files(run)[0]
    newest.write_bytes(damage(newest.read_bytes()))
    with caplog.at_level(logging.WARNING):
        go(run)
    assert f"{newest} cannot be used" in caplog.text
    assert "going back to the state before it" in caplog.text
    assert traces(run) == unbroken


def test_nothing_to_go_on_from_is_said(tmp_path: Path) -> None:
    run = stopped(tmp_path / "run", 4)
    for path in state_files(run):
        path.write_bytes(b"nothing")
    with pytest.raises(
        RunFolderError,
        match="none of its 2 states can be used; of the newest: it is damaged: it starts",
    ):
        go(run)
    assert len(run.read_lines(METRICS)) == 4


def test_a_state_of_another_run_is_refused(tmp_path: Path) -> None:
    run, other = stopped(tmp_path / "run", 2), RunFolder.create(tmp_path / "other", TINY)
    for path in state_files(run):
        (other.states / path.name).write_bytes(path.read_bytes())
    with pytest.raises(RunFolderError, match=r"says \d+ bytes of metrics\.jsonl, which has 0"):
        go(other)


@pytest.mark.parametrize(
    ("code", "call"), [*((errno.ENOSPC, call) for call in range(1, 6)), (errno.EROFS, 3), (errno.EIO, 4)]
)
def test_a_disk_that_fails_loses_nothing(
    unbroken: dict[str, object], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int, call: int
) -> None:
    """Each write of an update fails in turn: those of episodes (two groups), metrics, state, policy."""
    run = stopped(tmp_path / "run", 3)
    calls: list[int] = []
    fsync = os.fsync

    def failing(descriptor: int) -> None:
        calls.append(descriptor)
        if len(calls) == call:
            raise OSError(code, os.strerror(code))
        fsync(descriptor)

    with monkeypatch.context() as patched:
        patched.setattr(os, "fsync", failing)
        with pytest.raises(OSError, match=os.strerror(code)):
            go(run)
    assert len(calls) == call
    load_checkpoint(run.checkpoint)
    go(run)
    assert traces(run) == unbroken


def test_divergence_keeps_the_last_good_update(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, unbroken: dict[str, object]
) -> None:
    run = stopped(tmp_path / "run", 2)
    before = traces(run)
    step_of = vars(rollout)["EnvStep"]

    def poisoned(*args: object, **kwargs: object) -> object:
        step = step_of(*args, **kwargs)
        return step._replace(reward=step.reward * float("inf"))

    with monkeypatch.context() as patched:
        patched.setattr(rollout, "EnvStep", poisoned)
        with pytest.raises(NonFiniteLossError, match="advantage"):
            go(run)
    assert traces(run) == before
    go(run)
    assert traces(run) == unbroken


def test_the_normaliser_is_part_of_the_state(tmp_path: Path) -> None:
    run = stopped(tmp_path / "run", 2)
    fresh = training.fresh_state(TINY)
    assert fresh.normalizer is not None
    saved = load_checkpoint(run.checkpoint).normalizer
    assert saved is not None
    assert float(saved.num_known.max()) > float(fresh.normalizer.num_known.max()) == 0
