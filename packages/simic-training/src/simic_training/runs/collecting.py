"""The rollouts of one update after the other, begun as soon as the weights that they are grown with are there."""

from collections import deque
from time import perf_counter
from typing import NamedTuple, final

from simic_training.engines.load import Load, load_of
from simic_training.engines.unit import Batch, Done, Engine
from simic_training.runs.config import TrainConfig
from simic_training.runs.rollout import Rollout
from simic_training.runs.rollout_bytes import rollout_from_bytes
from simic_training.runs.state import TrainingState
from simic_training.runs.units import grow_unit, hosts_of, units_of, weights_of


class Collected(NamedTuple):
    """What an update learns from.

    Args:
        rollouts: in the order of the units.
        staleness: updates that the policy had learnt since the weights that they were grown with.
        load: who grew them.
    """

    rollouts: list[Rollout]
    staleness: int
    load: Load


class _Started(NamedTuple):
    batch: Batch
    at: float


@final
class Collecting:
    """Keeps an engine busy with the rollouts of the next update and of `stale_updates` more.

    Those of update u are always grown with the weights after update u - `stale_updates` (the first ones where there
    are none yet), whenever they are grown: so a run is the same on any engine, and however often it was interrupted.

    Args:
        config: of the run.
        engine: grows the networks.
    """

    def __init__(self, config: TrainConfig, engine: Engine) -> None:
        self._config, self._engine = config, engine
        self._started: deque[_Started] = deque()

    def begin(self, state: TrainingState) -> None:
        """Begin all that the weights of a state are there for.

        Args:
            state: where the run stands.
        """
        for update in range(state.update, state.update + self._config.stale_updates + 1):
            self._start(update, weights_for(self._config, state, update))

    def next(self, update: int) -> Collected:
        """Wait for the rollouts of an update, each counted from 0 and asked for in turn.

        Raises:
            UnitFailedError: see `Batch`.
        """
        started, done = self._started.popleft(), list[Done]()
        contents = started.batch.results(lambda each, _: done.append(each))
        seconds = perf_counter() - started.at
        rollouts = [
            rollout_from_bytes(content, hosts_of(*unit.arguments))
            for content, unit in zip(contents, units_of(self._config, update), strict=True)
        ]
        return Collected(rollouts, min(update, self._config.stale_updates), load_of(done, seconds))

    def learnt(self, state: TrainingState) -> None:
        """Begin what the newest weights are for."""
        self._start(state.update + self._config.stale_updates, weights_of(state))

    def drop(self) -> None:
        """Let go of what was begun and nobody asked for."""
        for started in self._started:
            started.batch.drop()

    def _start(self, update: int, weights: bytes) -> None:
        if update < self._config.updates:
            batch = self._engine.start(grow_unit, weights, units_of(self._config, update))
            self._started.append(_Started(batch, perf_counter()))


def weights_for(config: TrainConfig, state: TrainingState, update: int) -> bytes:
    """Those that the networks of an update are grown with.

    Args:
        config: of the run.
        state: where it stands.
        update: counted from 0; one of the next `stale_updates` + 1.
    """
    known = (*state.earlier, weights_of(state))  # the last of them after `state.update` updates
    return known[max(0, update - config.stale_updates) - state.update - 1]
