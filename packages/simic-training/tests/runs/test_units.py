"""Units of a run: whoever does them, and on however many workers, the run is the same."""

import os
import signal
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from run_settings import TINY
from run_traces import lasting

from kasmina_hosts import GrownSeed, Task
from leyline_types import AlphaAlgorithm, BlueprintAction
from simic_training.engines.faults import UnitFailedError
from simic_training.engines.here import HereEngine
from simic_training.engines.local import LocalEngine
from simic_training.engines.unit import Engine
from simic_training.runs.config import TrainConfig
from simic_training.runs.folder import METRICS, RunFolder
from simic_training.runs.interrupts import InterruptGuard
from simic_training.runs.rollout import Rollout, part_of_groups, roll_out
from simic_training.runs.rollout_bytes import rollout_from_bytes, rollout_to_bytes
from simic_training.runs.training import Progress, fresh_state, train
from simic_training.runs.units import grow_unit, hosts_of, units_of, weights_of
from tamiyo_features import freeze, update

SHORT = replace(TINY, episodes=24, env=replace(TINY.env, group_size=4, replicas=2), units=2)
"""Three updates of two groups, each in two parts of two hosts."""


@pytest.fixture(scope="module")
def workers() -> Iterator[LocalEngine]:
    with closing(LocalEngine(2)) as engine:
        yield engine


def run_on(engine: Engine, path: Path, config: TrainConfig, kill_at: int = 0) -> RunFolder:
    """Train; before update `kill_at` (from 1) all workers are killed."""
    run = RunFolder.create(path, config)

    def tell(progress: Progress) -> None:
        if progress.updates_done == kill_at and isinstance(engine, LocalEngine):
            for pid in engine.pids:
                os.kill(pid, signal.SIGKILL)

    with InterruptGuard() as guard:
        train(config, run, guard, on_progress=tell, engine=engine)
    return run


def rolled(part: int = 0, parts: int = 1) -> Rollout:
    state = fresh_state(SHORT)
    return roll_out(state.policy, SHORT.env, 4, 5, ppo=SHORT.ppo, normalizer=None, part=part, parts=parts)


def assert_same(one: Any, other: Any) -> None:
    """Everything is equal, bit for bit and in its type."""
    assert type(one) is type(other)
    if isinstance(one, torch.Tensor):
        assert one.dtype == other.dtype
        assert torch.equal(one, other)
    elif isinstance(one, tuple):
        for mine, theirs in zip(one, other, strict=True):
            assert_same(mine, theirs)
    elif isinstance(one, Task):
        for part in ("name", "num_classes", "train", "validation", "test"):
            assert_same(getattr(one, part), getattr(other, part))
    else:
        assert one == other


def test_a_rollout_survives_its_way_between_processes() -> None:
    grown = GrownSeed(BlueprintAction.CONV_LIGHT, AlphaAlgorithm.GATE, 1 / 3)
    rollout = rolled()
    episodes = rollout.episodes._replace(grown=({"r0c0": grown}, {}, {"r0c1": grown, "r0c2": grown}, {}))
    rollout = rollout._replace(episodes=episodes)
    assert_same(rollout_from_bytes(rollout_to_bytes(rollout), rollout.episodes.groups), rollout)


def test_parts_are_the_group_cut_up() -> None:
    whole, parts = rolled(), [rolled(part, 2) for part in range(2)]
    seeds = [group.host_seeds for part in parts for group in part.episodes.groups]
    assert seeds[0] + seeds[1] == whole.episodes.groups[0].host_seeds
    assert torch.equal(torch.cat([part.episodes.price for part in parts]), whole.episodes.price)
    assert len(whole.episodes.price.unique()) == 2  # two replicas of each
    for part, place in zip(parts, (slice(0, 2), slice(2, 4)), strict=True):
        assert torch.equal(part.episodes.val_accuracy[:, 0], whole.episodes.val_accuracy[place, 0])
    assert not torch.equal(parts[0].episodes.actions.op, parts[1].episodes.actions.op)


def test_parts_that_cannot_be() -> None:
    groups = rolled().episodes.groups
    with pytest.raises(ValueError, match="4 hosts cannot be cut into 3 equal parts"):
        part_of_groups(groups, 0, 3)
    for part in (-1, 2):
        with pytest.raises(ValueError, match=rf"`part` must lie in \[0, 2\), not {part}"):
            part_of_groups(groups, part, 2)
    with pytest.raises(ValueError, match=r"`units` \(3\) must divide `group_size` \(4\)"):
        replace(SHORT, units=3)


def test_units_are_every_part_of_every_group() -> None:
    units = units_of(SHORT, 2)
    assert [unit.name for unit in units] == [
        f"update 3, group {group}, part {part}" for group in (1, 2) for part in (1, 2)
    ]
    assert [unit.arguments[1:] for unit in units] == [(2, 0, 0), (2, 0, 1), (2, 1, 0), (2, 1, 1)]
    assert [unit.name for unit in units_of(TINY, 0)] == ["update 1, group 1", "update 1, group 2"]
    seeds = [group.host_seeds for unit in units for group in hosts_of(*unit.arguments)]
    assert [len(each) for each in seeds] == [2] * 4
    assert len({seed for each in seeds for seed in each}) == 4  # two replicas of each


def test_a_unit_is_the_rollout_with_these_weights() -> None:
    state = fresh_state(SHORT)
    assert state.normalizer is not None
    state = state._replace(
        normalizer=update(state.normalizer, rolled().trajectory.steps.observed.flatten(0, 1))
    )
    assert state.normalizer is not None
    content = grow_unit(weights_of(state), SHORT, 2, 1, 1)
    found = rollout_from_bytes(content, hosts_of(SHORT, 2, 1, 1))
    expected = roll_out(
        state.policy,
        SHORT.env,
        4,
        SHORT.rollout_seed(2, 1),
        ppo=SHORT.ppo,
        normalizer=freeze(state.normalizer),
        held_back=SHORT.held_back(2),
        part=1,
        parts=2,
    )
    assert_same(found[:2], expected[:2])


def test_the_same_run_on_every_engine(workers: LocalEngine, tmp_path: Path) -> None:
    here = lasting(run_on(HereEngine(), tmp_path / "here", SHORT))
    assert lasting(run_on(workers, tmp_path / "two", SHORT)) == here
    killed = run_on(workers, tmp_path / "killed", SHORT, kill_at=1)
    assert lasting(killed) == here
    rows = killed.read_lines(METRICS)
    assert [row["rollout"]["faults"] > 0 for row in rows] == [False, True, False]
    assert sum(work["units"] for work in rows[0]["rollout"]["workers"].values()) == 4


def test_a_unit_that_fails_ends_the_run_with_all_before_it_kept(workers: LocalEngine, tmp_path: Path) -> None:
    """New workers find the data gone; when they are back, the run goes on as if nothing had happened."""
    data, away = tmp_path / "mine.npz", tmp_path / "away.npz"
    np.savez(data, x=np.random.default_rng(0).normal(size=(60, 6, 6)), y=np.arange(60) % 3)
    config = replace(SHORT, env=replace(SHORT.env, data=str(data)))
    expected = lasting(run_on(HereEngine(), tmp_path / "here", config))
    run = RunFolder.create(tmp_path / "run", config)

    def lose_data(progress: Progress) -> None:
        data.rename(away)
        for pid in workers.pids:
            os.kill(pid, signal.SIGKILL)

    with (
        InterruptGuard() as guard,
        pytest.raises(
            UnitFailedError, match=r"update 2, group \d, part \d failed \d times: FileNotFoundError: .*mine"
        ),
    ):
        train(config, run, guard, on_progress=lose_data, engine=workers)
    assert len(run.read_lines(METRICS)) == 1
    away.rename(data)
    with InterruptGuard() as guard:
        train(config, run, guard, on_progress=lambda progress: None, engine=workers, resume=True)
    assert lasting(run) == expected
