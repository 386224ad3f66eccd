"""What a run writes down is what happened."""

from pathlib import Path

import pytest
import torch
from run_settings import TINY

from leyline_types import HEAD_NAMES, LifecycleOp
from simic_training.runs.folder import EPISODES, METRICS, RunFolder
from simic_training.runs.interrupts import InterruptGuard
from simic_training.runs.rollout import Rollout
from simic_training.runs.training import Progress, fresh_state, learn, roll_out_group, train
from tamiyo_policies import load_controller


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> RunFolder:
    run = RunFolder.create(tmp_path_factory.mktemp("runs") / "run", TINY)
    with InterruptGuard() as guard:
        train(TINY, run, guard, on_progress=lambda progress: None)
    return run


@pytest.fixture(scope="module")
def first_rollouts() -> list[Rollout]:
    """What the run's first update learnt from, made again."""
    state = fresh_state(TINY)
    return [roll_out_group(TINY, state, group, 0) for group in range(TINY.groups)]


def test_metrics_describe_the_rollouts(run: RunFolder, first_rollouts: list[Rollout]) -> None:
    row = run.read_lines(METRICS)[0]
    played = [rollout.episodes for rollout in first_rollouts]
    returns = torch.cat([episodes.episode_return for episodes in played])
    assert row["return"]["mean"] == pytest.approx(float(returns.mean()))
    assert row["return"]["low"] <= row["return"]["mean"] <= row["return"]["high"]
    assert row["return_accuracy"] + row["return_rent"] == pytest.approx(row["return"]["mean"], abs=1e-5)
    accuracy = torch.cat([episodes.val_accuracy[:, -1] for episodes in played])
    assert row["val_accuracy"] == pytest.approx(float(accuracy.mean()))
    assert row["size"] == pytest.approx(float(torch.cat([episodes.size for episodes in played]).mean()))
    ops = torch.cat([episodes.actions.op.flatten() for episodes in played])
    assert row["actions"]["op"] == torch.bincount(ops, minlength=len(LifecycleOp)).tolist()
    assert sum(row["actions"]["op"]) == TINY.batch * TINY.env.host.max_epochs
    assert set(row["actions"]) == set(row["head_entropy"]) == set(HEAD_NAMES)
    assert row["held_back"] == ["PRUNE"]
    assert set(row["seconds"]) == {"host", "features", "masks", "policy", "update"}
    assert row["steps_per_second"] > 0
    for name in ("approx_kl", "clip_fraction", "explained_variance", "gradient_norm", "entropy_weight"):
        assert name in row


def test_metrics_count_up(run: RunFolder) -> None:
    rows = run.read_lines(METRICS)
    assert [row["update"] for row in rows] == list(range(1, 21))
    assert [row["episodes"] for row in rows] == [4 * number for number in range(1, 21)]
    assert [row["env_steps"] for row in rows] == [8 * number for number in range(1, 21)]
    assert [row["held_back"] for row in rows] == [["PRUNE"]] * 12 + [[]] * 8
    assert [row["entropy_weight"] for row in rows] == sorted(
        (row["entropy_weight"] for row in rows), reverse=True
    )


def test_episodes_are_written_one_by_one(run: RunFolder, first_rollouts: list[Rollout]) -> None:
    rows = run.read_lines(EPISODES)
    assert [row["episode"] for row in rows] == list(range(TINY.updates * TINY.batch))
    assert [row["update"] for row in rows] == [1 + number // 4 for number in range(len(rows))]
    episodes = first_rollouts[1].episodes
    for host, row in enumerate(rows[2:4]):
        assert row["return"] == pytest.approx(float(episodes.episode_return[host]))
        assert row["host_seed"] == episodes.groups[0].host_seeds[host]
        assert row["val_accuracy"] == pytest.approx(episodes.val_accuracy[host].tolist(), abs=0.006)
        acted = [
            (epoch + 1, LifecycleOp(op).name)
            for epoch, op in enumerate(episodes.actions.op[host].tolist())
            if op != LifecycleOp.WAIT
        ]
        assert [(action["epoch"], action["op"]) for action in row["actions"]] == acted
        for index, spans in enumerate(row["slots"].values()):
            stages = [span["stage"] for span in spans for _ in range(span["from"], span["to"] + 1)]
            assert len(stages) == TINY.env.host.max_epochs + 1
            assert len(set(stages)) == len(set(episodes.stage[host, :, index].tolist()))


def test_an_update_moves_policy_and_normaliser(first_rollouts: list[Rollout]) -> None:
    state = fresh_state(TINY)
    before = {name: tensor.clone() for name, tensor in state.policy.state_dict().items()}
    after, record = learn(TINY, state, first_rollouts)
    assert after.update == record["update"] == 1
    assert after.normalizer is not None
    assert any(not torch.equal(tensor, before[name]) for name, tensor in after.policy.state_dict().items())


def test_the_run_folder_is_a_controller(run: RunFolder) -> None:
    controller = load_controller(run.path)
    assert controller.initial_memory(2) is not None


def test_progress_is_told_after_every_update(tmp_path: Path) -> None:
    seen: list[Progress] = []
    again = RunFolder.create(tmp_path / "run", TINY)
    with InterruptGuard() as guard:
        train(TINY, again, guard, on_progress=seen.append)
    assert [progress.updates_done for progress in seen] == list(range(1, TINY.updates + 1))
    assert [progress.record for progress in seen] == again.read_lines(METRICS)
