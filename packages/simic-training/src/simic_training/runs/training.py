"""A training run: collect episodes, update the policy, write it down, again."""

import logging
from collections.abc import Callable
from dataclasses import replace
from time import perf_counter
from typing import NamedTuple

import torch

from kasmina_hosts import HostPopulation
from leyline_types import SlotConfig
from simic_training.engines.here import HereEngine
from simic_training.engines.load import Load
from simic_training.engines.unit import Engine
from simic_training.growth.draws import draw_member
from simic_training.ppo.diagnostics import action_counts, head_entropies
from simic_training.ppo.stopwatch import Stopwatch
from simic_training.ppo.trajectory import join_trajectories
from simic_training.ppo.update import make_optimizer, set_learning_rate, update_policy
from simic_training.runs.collecting import Collected, Collecting
from simic_training.runs.config import TrainConfig
from simic_training.runs.divergence import DivergenceWatch
from simic_training.runs.folder import EPISODES, METRICS, RunFolder
from simic_training.runs.interrupts import InterruptGuard
from simic_training.runs.records import episode_records, metrics_record
from simic_training.runs.size import check_size
from simic_training.runs.state import TrainingState, load_newest, save_state
from simic_training.runs.units import weights_of
from tamiyo_features import init_normalizer, update
from tamiyo_policies import PolicyConfig, create_policy, register_builtin_policies, save_policy

_log = logging.getLogger(__name__)


class Progress(NamedTuple):
    """Where a run stands: its settings, updates done, the line of metrics of the newest one and who grew for it."""

    config: TrainConfig
    updates_done: int
    record: dict[str, object]
    load: Load


def fresh_state(config: TrainConfig) -> TrainingState:
    """A run before its first update.

    Raises:
        TooLargeError: it would need more memory than `config.memory_limit`.
        UnknownPolicyError: no policy is registered under the name.
        FileNotFoundError, ValueError: `config.env.data` cannot be read as data.
        OtherDataError: they are other data than `config.env.data_digest` says.
    """
    register_builtin_policies()
    check_size(config)
    slot_config = host_slots(config)
    policy = create_policy(
        PolicyConfig(
            policy=config.policy, slot_config=slot_config, hidden_dim=config.hidden_dim, seed=config.seed
        )
    )
    optimizer = make_optimizer(policy, config.ppo)
    return TrainingState(policy, optimizer, init_normalizer(slot_config) if config.normalize else None, 0)


def host_slots(config: TrainConfig) -> SlotConfig:
    """The slots of the hosts that the settings describe.

    Raises:
        ValueError: no hosts can be made of the settings, or `config.env.rules` leaves nothing to grow in them.
    """
    member = draw_member(config.env, config.seed)
    return HostPopulation(member.task, member.config, rules=config.env.rules).slot_config


def train(
    config: TrainConfig,
    run: RunFolder,
    guard: InterruptGuard,
    *,
    on_progress: Callable[[Progress], None],
    resume: bool = False,
    engine: Engine | None = None,
) -> TrainingState:
    """Train a policy and leave metrics, episodes, policy and state in the run's folder after every update.

    Equal settings give equal runs on one machine with one thread (`torch.set_num_threads(1)`, as the command sets it),
    whether they were interrupted or not, on whatever engine and however many workers.

    Args:
        config: see `TrainConfig`.
        run: its folder.
        guard: Ctrl-C and SIGTERM end the run between two updates, everything of the last one being written.
        on_progress: called after every update.
        resume: whether to go on from the newest state in the folder instead of starting.
        engine: who grows the networks; it is left open. None for this process alone.

    Returns:
        The trained policy and all that belongs to it.

    Raises:
        Interrupted: a signal came.
        NonFiniteLossError: the policy diverged; what is on disk is of the last good update.
        DivergedRunError: at least half of the hosts diverged in each of `MOST_DIVERGED` updates in a row, the last of
            which is on disk like every other.
        UnitFailedError: networks could not be grown: in a worker the same fault came again and again.
        RunFolderError: there is no state to resume from.
        OSError: the disk is full or the folder may not be written to; what was written before is as it was.
    """
    engine = engine or HereEngine()
    state = fresh_state(config)
    if resume:
        with guard.shield():
            state = load_newest(run, config, state)
        _log.info("resumed after update %d of %d", state.update, config.updates)
    with guard.shield():
        if state.update == 0:
            save_state(run, state)
        # Also of a state that was there: a kill may have come between the two.
        save_policy(state.policy, run.checkpoint, normalizer=state.normalizer)
    watch = DivergenceWatch(config, run.read_lines(METRICS) if state.update < config.updates else [])
    collecting = Collecting(config, engine)
    collecting.begin(state)
    begun = perf_counter()
    try:
        while state.update < config.updates:
            collected = collecting.next(state.update)
            with guard.shield():
                state, record = learn(config, state, collected, begun)
                begun = perf_counter()
                collecting.learnt(state)
                _write_down(run, config, state, collected, record)
            on_progress(Progress(config, state.update, record, collected.load))
            watch.look(record)
    except Exception:
        collecting.drop()
        raise
    return state


def _write_down(
    run: RunFolder, config: TrainConfig, state: TrainingState, collected: Collected, record: dict[str, object]
) -> None:
    first = (state.update - 1) * config.batch
    for rollout in collected.rollouts:
        lines = episode_records(rollout.episodes, state.policy.slot_config, first=first, update=state.update)
        run.append_lines(EPISODES, lines)
        first += len(rollout.episodes.val_accuracy)
    run.append_lines(METRICS, [record])
    save_state(run, state)
    save_policy(state.policy, run.checkpoint, normalizer=state.normalizer)


def learn(
    config: TrainConfig, state: TrainingState, collected: Collected, begun: float
) -> tuple[TrainingState, dict[str, object]]:
    """Update policy and normaliser from a batch of rollouts; gives the new state and its line of metrics.

    Args:
        config: of the run.
        state: before the update; its policy and optimizer are changed.
        collected: what is learnt from.
        begun: the `perf_counter` when the update before was done.
    """
    stopwatch = Stopwatch()
    progress = config.progress(state.update)
    # How far the policy moved since then is no reason to stop moving.
    ppo = replace(config.ppo, target_kl=config.ppo.target_kl * (1 + collected.staleness))
    earlier = (*state.earlier, weights_of(state))[-config.stale_updates :] if config.stale_updates else ()
    set_learning_rate(state.optimizer, config.ppo.learning_rate_at(progress))
    with stopwatch.time("update"):
        trajectory = join_trajectories([rollout.trajectory for rollout in collected.rollouts])
        entropies = head_entropies(state.policy, trajectory)
        stats = update_policy(
            state.policy,
            state.optimizer,
            trajectory,
            ppo,
            entropy_weight=config.ppo.entropy_weight(progress),
            generator=torch.Generator().manual_seed(config.rollout_seed(state.update, 0)),
            replicas=config.env.hosts_alike,
        )
        normalizer = state.normalizer
        if normalizer is not None:
            normalizer = update(normalizer, trajectory.steps.observed.flatten(0, 1))
    record = metrics_record(
        config,
        state.update,
        collected.rollouts,
        stats,
        head_entropy=entropies,
        actions=action_counts(trajectory.steps),
        update_seconds=stopwatch.seconds["update"],
        staleness=collected.staleness,
        load=collected.load,
        seconds=perf_counter() - begun,
    )
    return state._replace(normalizer=normalizer, update=state.update + 1, earlier=earlier), record
