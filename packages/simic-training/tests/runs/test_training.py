"""What a run writes down is what happened."""

from dataclasses import replace
from pathlib import Path
from time import perf_counter
from typing import Any

import pytest
import torch
from run_settings import TINY

from leyline_types import HEAD_NAMES, LifecycleOp
from simic_training.engines.here import HereEngine
from simic_training.ppo.update import UpdateStats, update_policy
from simic_training.runs import training, units
from simic_training.runs.collecting import Collected, Collecting
from simic_training.runs.folder import EPISODES, METRICS, RunFolder
from simic_training.runs.interrupts import InterruptGuard
from simic_training.runs.rollout import Rollout, roll_out
from simic_training.runs.training import Progress, fresh_state, learn, train
from tamiyo_features import freeze, update
from tamiyo_policies import load_controller


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> RunFolder:
    run = RunFolder.create(tmp_path_factory.mktemp("runs") / "run", TINY)
    with InterruptGuard() as guard:
        train(TINY, run, guard, on_progress=lambda progress: None)
    return run


@pytest.fixture(scope="module")
def first() -> Collected:
    """What the run's first update learnt from, made again."""
    collecting = Collecting(TINY, HereEngine())
    collecting.begin(fresh_state(TINY))
    return collecting.next(0)


@pytest.fixture(scope="module")
def first_rollouts(first: Collected) -> list[Rollout]:
    return first.rollouts


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
    assert sum(row["actions"]["op"]) == TINY.batch * row["max_epochs"] == TINY.batch * 2
    prices = torch.cat([episodes.price for episodes in played])
    assert row["price"] == pytest.approx(float(prices.mean()))
    assert set(row["actions"]) == set(row["head_entropy"]) == set(HEAD_NAMES)
    assert row["held_back"] == ["PRUNE"]
    assert set(row["seconds"]) == {"host", "features", "masks", "policy", "update"}
    assert row["steps_per_second"] > 0
    rolled = row["rollout"]
    assert set(rolled["workers"]) == {"here"}
    assert rolled["workers"]["here"]["units"] == TINY.groups
    assert 0 < rolled["workers"]["here"]["seconds"] <= rolled["seconds"]
    assert rolled["slowest_over_median"] >= 1
    assert rolled["faults"] == 0
    for name in ("approx_kl", "clip_fraction", "explained_variance", "gradient_norm", "entropy_weight"):
        assert name in row


def test_metrics_count_up(run: RunFolder) -> None:
    rows = run.read_lines(METRICS)
    assert [row["update"] for row in rows] == list(range(1, 11))
    assert [row["episodes"] for row in rows] == [4 * number for number in range(1, 11)]
    assert [row["env_steps"] for row in rows] == [8 * number for number in range(1, 11)]
    assert [row["held_back"] for row in rows] == [["PRUNE"]] * 6 + [[]] * 4
    assert [row["entropy_weight"] for row in rows] == sorted(
        (row["entropy_weight"] for row in rows), reverse=True
    )


def test_updates_may_differ_in_the_length_of_their_episodes(tmp_path: Path) -> None:
    family = replace(TINY.env.family, max_epochs=(1, 3))
    config = replace(TINY, episodes=24, env=replace(TINY.env, family=family))
    lengths = [config.epochs_of(update) for update in range(config.updates)]
    assert len(set(lengths)) > 1
    run = RunFolder.create(tmp_path / "run", config)
    with InterruptGuard() as guard:
        train(config, run, guard, on_progress=lambda progress: None)
    rows = run.read_lines(METRICS)
    assert [row["max_epochs"] for row in rows] == lengths
    steps = [config.batch * length for length in lengths]
    assert [row["env_steps"] for row in rows] == [sum(steps[: done + 1]) for done in range(len(steps))]
    assert [sum(row["actions"]["op"]) for row in rows] == steps
    for row in run.read_lines(EPISODES):
        assert len(row["val_accuracy"]) == row["max_epochs"] + 1 == lengths[row["update"] - 1] + 1


def test_episodes_are_written_one_by_one(run: RunFolder, first_rollouts: list[Rollout]) -> None:
    rows = run.read_lines(EPISODES)
    assert [row["episode"] for row in rows] == list(range(TINY.updates * TINY.batch))
    assert [row["update"] for row in rows] == [1 + number // 4 for number in range(len(rows))]
    episodes = first_rollouts[1].episodes
    for host, row in enumerate(rows[2:4]):
        assert row["return"] == pytest.approx(float(episodes.episode_return[host]))
        assert row["host_seed"] == episodes.groups[0].host_seeds[host]
        assert row["price"] == episodes.groups[0].prices[host] == pytest.approx(float(episodes.price[host]))
        assert row["lack"] == episodes.groups[0].lack
        assert row["return_rent"] == pytest.approx(row["price"] * (1 - row["size"]), abs=1e-4)
        assert row["val_accuracy"] == pytest.approx(episodes.val_accuracy[host].tolist(), abs=0.006)
        acted = [
            (epoch + 1, LifecycleOp(op).name)
            for epoch, op in enumerate(episodes.actions.op[host].tolist())
            if op != LifecycleOp.WAIT
        ]
        assert [(action["epoch"], action["op"]) for action in row["actions"]] == acted
        for index, spans in enumerate(row["slots"].values()):
            stages = [span["stage"] for span in spans for _ in range(span["from"], span["to"] + 1)]
            assert len(stages) == row["max_epochs"] + 1 == 3
            assert len(set(stages)) == len(set(episodes.stage[host, :, index].tolist()))


def test_an_update_moves_policy_and_normaliser(first: Collected) -> None:
    state = fresh_state(TINY)
    before = {name: tensor.clone() for name, tensor in state.policy.state_dict().items()}
    after, record = learn(TINY, state, first, perf_counter())
    assert after.update == record["update"] == 1
    assert after.normalizer is not None
    assert any(not torch.equal(tensor, before[name]) for name, tensor in after.policy.state_dict().items())


def test_settings_reach_what_they_set(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    env = replace(TINY.env, group_size=4, replicas=0)
    ppo = replace(
        TINY.ppo, entropy_start=0.1, entropy_end=0.0, learning_rate=1e-3, learning_rate_end=0.0, op_floor=0.2
    )
    config = replace(TINY, env=env, ppo=ppo, groups=1, episodes=16, prune_from=0.5)
    rollouts: list[dict[str, Any]] = []
    updates: list[dict[str, Any]] = []

    def noting_roll_out(*arguments: Any, **options: Any) -> Rollout:
        rolled = roll_out(*arguments, **options)
        rollouts.append({**options, "seed": arguments[3], "trajectory": rolled.trajectory})
        return rolled

    def noting_update(policy: Any, optimizer: Any, *arguments: Any, **options: Any) -> UpdateStats:
        updates.append({**options, "lr": optimizer.param_groups[0]["lr"]})
        return update_policy(policy, optimizer, *arguments, **options)

    monkeypatch.setattr(units, "roll_out", noting_roll_out)
    monkeypatch.setattr(training, "update_policy", noting_update)
    with InterruptGuard() as guard:
        train(config, RunFolder.create(tmp_path / "run", config), guard, on_progress=lambda progress: None)

    assert [tuple(each["held_back"]) for each in rollouts] == [(LifecycleOp.PRUNE,)] * 2 + [()] * 2
    assert [each["ppo"].floors for each in rollouts] == [{"op": 0.2}] * 4
    assert len({each["seed"] for each in rollouts}) == 4
    assert [each["entropy_weight"] for each in updates] == pytest.approx([0.1, 0.075, 0.05, 0.025])
    assert [each["lr"] for each in updates] == pytest.approx([1e-3, 7.5e-4, 5e-4, 2.5e-4])
    assert [each["replicas"] for each in updates] == [4] * 4
    expected = fresh_state(config).normalizer
    for each in rollouts:  # what a rollout is given has learnt from all before it, and from nothing since
        assert expected is not None
        assert all(map(torch.equal, each["normalizer"], freeze(expected)))
        expected = update(expected, each["trajectory"].steps.observed.flatten(0, 1))
    assert not torch.equal(rollouts[-1]["normalizer"].mean, rollouts[0]["normalizer"].mean)


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
