"""A whole run, small: metrics, checkpoint, determinism, interruption, divergence and evaluation."""

import json
import os
import signal
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from simic_training import (
    RIVAL_NAMES,
    Interrupted,
    InterruptGuard,
    NonFiniteLossError,
    Progress,
    RunFolder,
    TrainConfig,
    collect_episodes,
    evaluate_run,
    train,
)
from simic_training import training as training_module
from tamiyo_policies import load_policy


def run_training(
    folder: Path, config: TrainConfig, on_progress: Callable[[Progress], None] = lambda progress: None
) -> RunFolder:
    run = RunFolder.create(folder, config)
    with InterruptGuard() as guard:
        train(config, run, guard, on_progress=on_progress)
    return run


def read_metrics(run: RunFolder) -> list[dict[str, object]]:
    rows = [json.loads(line) for line in run.metrics.read_text().splitlines()]
    return [{name: value for name, value in row.items() if not name.endswith("_seconds")} for row in rows]


def test_run_leaves_metrics_and_a_policy_that_loads(tmp_path: Path, tiny_config: TrainConfig) -> None:
    seen: list[Progress] = []
    run = run_training(tmp_path / "run", tiny_config, seen.append)
    assert [(progress.update, progress.updates) for progress in seen] == [(1, 2), (2, 2)]
    rows = read_metrics(run)
    assert [row["episodes"] for row in rows] == [3, 6]
    assert rows[-1]["return"] == pytest.approx(seen[-1].episode_return)
    ops = rows[0]["ops"]
    assert isinstance(ops, dict)
    assert sum(ops.values()) == 9
    assert ops["PRUNE"] == 0
    assert load_policy(run.checkpoint).feature_dim > 0


def test_equal_settings_give_equal_runs(tmp_path: Path, tiny_config: TrainConfig) -> None:
    first = run_training(tmp_path / "a", tiny_config)
    torch.rand(7)  # the global generator plays no part
    second = run_training(tmp_path / "b", tiny_config)
    assert read_metrics(first) == read_metrics(second)
    assert first.checkpoint.read_bytes() == second.checkpoint.read_bytes()


def test_interrupt_leaves_the_checkpoint_of_the_last_whole_update(
    tmp_path: Path, tiny_config: TrainConfig
) -> None:
    whole = run_training(tmp_path / "whole", tiny_config)
    kept: list[bytes] = []

    def interrupt(progress: Progress) -> None:
        kept.append((tmp_path / "cut" / whole.checkpoint.name).read_bytes())
        os.kill(os.getpid(), signal.SIGINT)

    with pytest.raises(Interrupted):
        run_training(tmp_path / "cut", tiny_config, interrupt)
    cut = RunFolder.open_run(tmp_path / "cut")
    assert read_metrics(cut) == read_metrics(whole)[:1]
    assert cut.checkpoint.read_bytes() == kept[0]
    load_policy(cut.checkpoint)


def test_divergence_keeps_the_last_good_checkpoint(
    tmp_path: Path, tiny_config: TrainConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    collect = collect_episodes
    calls: list[int] = []

    def poisoned(*args: object, **kwargs: object) -> object:
        episodes = collect(*args, **kwargs)  # type: ignore[arg-type]
        calls.append(1)
        if len(calls) == 2:
            episodes.rewards.total[0, 0] = torch.inf
        return episodes

    monkeypatch.setattr(training_module, "collect_episodes", poisoned)
    with pytest.raises(NonFiniteLossError, match="advantage"):
        run_training(tmp_path / "run", tiny_config)
    run = RunFolder.open_run(tmp_path / "run")
    assert len(read_metrics(run)) == 1
    assert all(tensor.isfinite().all() for tensor in load_policy(run.checkpoint).state_dict().values())


def test_evaluation_plays_everyone_on_the_same_hosts(tmp_path: Path, tiny_config: TrainConfig) -> None:
    run = run_training(tmp_path / "run", tiny_config)
    rows = {
        row.controller: row for row in evaluate_run(tiny_config, run.checkpoint, RIVAL_NAMES, num_hosts=3)
    }
    assert list(rows) == ["policy", "policy-greedy", *RIVAL_NAMES]
    assert rows["policy"].policy_lead == (0.0, 0.0, 0.0)
    assert rows["none"].size.mean == 1.0
    for row in rows.values():
        lead = rows["policy"].test_accuracy.mean - row.test_accuracy.mean
        assert row.policy_lead.mean == pytest.approx(lead, abs=1e-3)
        assert row.test_accuracy.low <= row.test_accuracy.mean <= row.test_accuracy.high


def test_evaluation_refuses_what_it_cannot_do(tmp_path: Path, tiny_config: TrainConfig) -> None:
    with pytest.raises(
        ValueError, match="no controller named foo; choose from heuristic, random, none, static"
    ):
        evaluate_run(tiny_config, tmp_path, ["foo"], num_hosts=3)
    with pytest.raises(ValueError, match="at least 2 hosts, not 1"):
        evaluate_run(tiny_config, tmp_path, [], num_hosts=1)
