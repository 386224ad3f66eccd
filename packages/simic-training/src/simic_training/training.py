"""A training run: collect episodes, update the policy, write it down, again."""

import time
from collections.abc import Callable
from typing import NamedTuple

import torch

from kasmina_hosts import DigitsTask, HostPopulation
from leyline_types import LifecycleOp
from simic_training.config import TrainConfig
from simic_training.interrupts import InterruptGuard
from simic_training.ppo import UpdateStats, update_policy
from simic_training.rollout import collect_episodes
from simic_training.run_folder import RunFolder
from simic_training.seeding import training_seeds
from simic_training.trajectory import Trajectory
from tamiyo_policies import (
    PolicyBundle,
    PolicyConfig,
    create_policy,
    register_builtin_policies,
    save_policy,
)


class Progress(NamedTuple):
    """Where a run stands after an update: updates done, of how many; means over the newest batch of episodes."""

    update: int
    updates: int
    episode_return: float
    val_accuracy: float


def train(
    config: TrainConfig,
    run: RunFolder,
    guard: InterruptGuard,
    *,
    on_progress: Callable[[Progress], None],
) -> tuple[PolicyBundle, HostPopulation]:
    """Train a policy and leave metrics and checkpoint in the run's folder after every update.

    Equal settings give equal runs on one machine with one thread (`torch.set_num_threads(1)`, as the command sets it).

    Args:
        config: see `TrainConfig`.
        run: a new run folder.
        guard: Ctrl-C and SIGTERM end the run between two updates, the checkpoint of the last one being written.
        on_progress: called after every update.

    Returns:
        The trained policy, and the population that it was trained on.

    Raises:
        Interrupted: a signal came.
        NonFiniteLossError: the policy diverged; the checkpoint is that of the last good update.
    """
    with guard.shield():
        register_builtin_policies()
        population = HostPopulation(DigitsTask(), config.host)
        policy = create_policy(
            PolicyConfig(
                policy=config.policy,
                slot_config=population.slot_config,
                hidden_dim=config.hidden_dim,
                seed=config.seed,
            )
        )
        optimizer = torch.optim.Adam(policy.network.parameters(), lr=config.ppo.learning_rate)
        generator = torch.Generator().manual_seed(config.seed)
        save_policy(policy, run.checkpoint)
    for update in range(config.updates):
        started = time.perf_counter()
        done = update / config.updates
        episodes = collect_episodes(
            population,
            policy,
            batch_seeds(config, update),
            generator=generator,
            rent_rate=config.rent_rate,
            held_back=(LifecycleOp.PRUNE,) if done < config.prune_from else (),
        )
        collected = time.perf_counter()
        val_accuracy = population.observe().signals.val_accuracy.mean()
        with guard.shield():
            stats = update_policy(
                policy,
                optimizer,
                episodes,
                config.ppo,
                replicas=config.replicas,
                entropy_weight=config.ppo.entropy_start
                + done * (config.ppo.entropy_end - config.ppo.entropy_start),
                generator=generator,
            )
            row = metrics_row(update, episodes, float(val_accuracy), stats)
            row["collect_seconds"] = collected - started
            row["update_seconds"] = time.perf_counter() - collected
            run.append_metrics(row)
            save_policy(policy, run.checkpoint)
        on_progress(
            Progress(update + 1, config.updates, float(episodes.episode_return.mean()), float(val_accuracy))
        )
    return policy, population


def batch_seeds(config: TrainConfig, update: int) -> list[int]:
    """Host seeds of an update's episodes, the replicas of a host next to each other."""
    seeds = training_seeds(config.seed, update * config.hosts, config.hosts)
    return [seed for seed in seeds for _ in range(config.replicas)]


def metrics_row(
    update: int, episodes: Trajectory, val_accuracy: float, stats: UpdateStats
) -> dict[str, object]:
    """The line that an update leaves in the metrics."""
    ops = torch.bincount(episodes.actions.op.flatten(), minlength=len(LifecycleOp)).tolist()
    return {
        "update": update + 1,
        "episodes": (update + 1) * episodes.features.shape[0],
        "return": float(episodes.episode_return.mean()),
        "return_accuracy": float(episodes.rewards.accuracy.sum(-1).mean()),
        "return_rent": float(episodes.rewards.rent.sum(-1).mean()),
        "val_accuracy": val_accuracy,
        "took_effect": float(episodes.took_effect.float().mean()),
        "ops": {op.name: count for op, count in zip(LifecycleOp, ops, strict=True)},
        **stats._asdict(),
    }
