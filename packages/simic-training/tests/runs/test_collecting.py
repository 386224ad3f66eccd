"""Rollouts that are begun before the newest weights are there: how old theirs are, and that nothing else changes."""

import os
import signal
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any, final

import pytest
import torch
from run_settings import TINY
from run_traces import lasting

from simic_training.engines.here import HereEngine
from simic_training.engines.local import LocalEngine
from simic_training.engines.unit import Batch, Engine, Unit, Work
from simic_training.ppo.update import update_policy
from simic_training.runs import training
from simic_training.runs.collecting import weights_for
from simic_training.runs.folder import METRICS, RunFolder
from simic_training.runs.interrupts import Interrupted, InterruptGuard
from simic_training.runs.rollout_bytes import rollout_from_bytes
from simic_training.runs.state import newest_state
from simic_training.runs.training import Progress, fresh_state, train
from simic_training.runs.units import grow_unit, hosts_of, units_of, weights_of

STALE = replace(TINY, episodes=24, stale_updates=2)
"""Six updates."""


@final
class Watched:
    """This process, and a note of every batch: its update and its weights, in the order in which they were begun."""

    def __init__(self) -> None:
        self.begun: list[tuple[int, bytes]] = []
        self._engine = HereEngine()

    def start(self, work: Work, shared: bytes, units: Sequence[Unit]) -> Batch:
        self.begun.append((units[0].arguments[1], shared))
        return self._engine.start(work, shared, units)

    def close(self) -> None:
        self._engine.close()


@pytest.fixture(scope="module")
def workers() -> Iterator[LocalEngine]:
    with closing(LocalEngine(2)) as engine:
        yield engine


def run_on(engine: Engine, path: Path, config: Any = STALE, *, stop_at: int = 0) -> RunFolder:
    """Train; with `stop_at` a signal comes after that update, and the run is gone on with."""
    run = RunFolder.create(path, config)

    def tell(progress: Progress) -> None:
        if progress.updates_done == stop_at:
            os.kill(os.getpid(), signal.SIGTERM)

    if stop_at:
        with InterruptGuard() as guard, pytest.raises(Interrupted):
            train(config, run, guard, on_progress=tell, engine=engine)
    with InterruptGuard() as guard:
        train(config, run, guard, on_progress=lambda progress: None, engine=engine, resume=bool(stop_at))
    return run


def test_weights_are_of_two_updates_before(tmp_path: Path) -> None:
    watched, after = Watched(), {0: weights_of(fresh_state(STALE))}
    run = RunFolder.create(tmp_path / "run", STALE)

    def tell(progress: Progress) -> None:
        state, _ = newest_state(run, STALE, fresh_state(STALE))
        after[progress.updates_done] = weights_of(state)

    with InterruptGuard() as guard:
        train(STALE, run, guard, on_progress=tell, engine=watched)
    assert [update for update, _ in watched.begun] == list(range(6))
    for update, weights in watched.begun:
        assert weights == after[max(0, update - 2)]
    assert len(set(after.values())) == 7
    assert [row["staleness"] for row in run.read_lines(METRICS)] == [0, 1, 2, 2, 2, 2]


def test_nothing_is_stale_unless_asked_for(tmp_path: Path) -> None:
    watched, config = Watched(), replace(STALE, stale_updates=0)
    run = run_on(watched, tmp_path / "run", config)
    assert [row["staleness"] for row in run.read_lines(METRICS)] == [0] * 6
    state, _ = newest_state(run, config, fresh_state(config))
    assert state.earlier == ()
    assert len({weights for _, weights in watched.begun}) == 6
    with pytest.raises(ValueError, match="`stale_updates` must be from 0 to 100, not -1"):
        replace(STALE, stale_updates=-1)


def test_the_next_batches_are_begun_before_this_one_is_learnt_from(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    watched = Watched()
    begun: list[int] = []

    def noting(*arguments: Any, **options: Any) -> Any:
        begun.append(len(watched.begun))
        return update_policy(*arguments, **options)

    monkeypatch.setattr(training, "update_policy", noting)
    run_on(watched, tmp_path / "run")
    assert begun == [3, 4, 5, 6, 6, 6]


@pytest.mark.slow
def test_the_same_run_on_every_engine_and_after_any_stop(workers: LocalEngine, tmp_path: Path) -> None:
    expected = lasting(run_on(HereEngine(), tmp_path / "here"))
    assert lasting(run_on(workers, tmp_path / "workers")) == expected
    for stop_at in (1, 4):
        assert lasting(run_on(workers, tmp_path / f"stopped at {stop_at}", stop_at=stop_at)) == expected
    assert lasting(run_on(HereEngine(), tmp_path / "other", replace(STALE, stale_updates=1))) != expected


def test_ratios_are_to_what_the_older_weights_thought(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The probabilities that an update divides by are those under which the actions were drawn."""
    seen: list[Any] = []

    def noting(policy: Any, optimizer: Any, trajectory: Any, *more: Any, **options: Any) -> Any:
        seen.append((trajectory.steps.head_log_probs, more[0].target_kl))
        return update_policy(policy, optimizer, trajectory, *more, **options)

    monkeypatch.setattr(training, "update_policy", noting)
    watched = Watched()
    run_on(watched, tmp_path / "run")
    weights = dict(watched.begun)
    for update, (found, target_kl) in enumerate(seen):
        drawn = [
            rollout_from_bytes(grow_unit(weights[update], *unit.arguments), hosts_of(*unit.arguments))
            for unit in units_of(STALE, update)
        ]
        heads = torch.cat([rollout.trajectory.steps.head_log_probs for rollout in drawn])
        assert torch.equal(found, heads)
        assert target_kl == STALE.ppo.target_kl * (1 + min(update, 2))


def test_weights_for_what_comes_next() -> None:
    state = fresh_state(STALE)
    newest = weights_of(state)
    assert [weights_for(STALE, state, update) for update in range(3)] == [newest] * 3
    later = state._replace(update=5, earlier=(b"after 3", b"after 4"))
    assert [weights_for(STALE, later, update) for update in (5, 6, 7)] == [b"after 3", b"after 4", newest]
    soon = state._replace(update=1, earlier=(b"after 0",))
    assert [weights_for(STALE, soon, update) for update in (1, 2, 3)] == [b"after 0", b"after 0", newest]
