"""A trained policy against everything else, on hosts that nobody trained on: the order of things."""

from collections.abc import Iterator
from dataclasses import asdict
from hashlib import sha256
from pathlib import Path
from typing import Any

from simic_training.evaluation.comparisons import GREEDY, POLICY
from simic_training.evaluation.family import family_tables
from simic_training.evaluation.hosts import paired_hosts
from simic_training.evaluation.options import EvaluationOptions
from simic_training.evaluation.play import Played
from simic_training.evaluation.results import Evaluation
from simic_training.evaluation.stages import Controllers, OnProgress, play_budget, play_family, play_transfer
from simic_training.evaluation.transfer import Setting, transfer_settings
from simic_training.growth.config import GrowthConfig
from simic_training.growth.draws import slots_of
from simic_training.runs.config import TrainConfig
from simic_training.runs.records import episode_records
from simic_training.runs.settings import config_to_mapping
from tamiyo_policies import PolicyController, load_checkpoint, register_builtin_policies


def tell_nobody(stage: str, done: float) -> None:
    """For those who do not ask."""


def evaluate_run(
    config: TrainConfig,
    checkpoint: Path,
    options: EvaluationOptions = EvaluationOptions(),  # noqa: B008  (frozen)
    *,
    trained_episodes: int | None = None,
    on_progress: OnProgress = tell_nobody,
) -> Evaluation:
    """Play the policy of a checkpoint, sampled and greedy, and its rivals on the same hosts; compare.

    Args:
        config: settings of the run, for hosts and reward.
        checkpoint: of the policy.
        options: what to play.
        trained_episodes: networks that were grown to train the policy; None for all that `config` plans.
        on_progress: see `OnProgress`.

    Raises:
        ValueError: too few hosts, see `paired_hosts`; a file of `options.data` cannot be used as data.
        FileNotFoundError: there is no such file.
        CheckpointError: the checkpoint cannot be used.
    """
    trained = policy_controllers(config, checkpoint, options.seed)
    digest = sha256(checkpoint.read_bytes()).hexdigest()  # at once: a run may go on while it is judged
    settings = transfer(config.env, options)  # first of all, since a file may be missing
    groups = paired_hosts(config.env, options.hosts_per_member, options.seed)
    episodes = config.updates * config.batch if trained_episodes is None else trained_episodes
    family, policy = play_family(config.env, trained, groups, options, on_progress)
    tables, rows = list(family_tables(family)), list(family.rows())
    for table, more in play_transfer(config.env, trained, settings, options, on_progress):
        tables.append(table)
        rows += more
    if options.budget:
        budget, more = play_budget(config.env, family, groups, options, episodes, on_progress)
        tables += budget
        rows += more
    return Evaluation(
        settings={
            "config": config_to_mapping(config),
            "options": {**asdict(options), "data": [str(path) for path in options.data]},
            "checkpoint_sha256": digest,
            "trained_episodes": episodes,
        },
        tables=tuple(tables),
        hosts=tuple(rows),
        episodes=tuple(_records(config, policy, episodes // config.batch)),
    )


def policy_controllers(config: TrainConfig, checkpoint: Path, seed: int) -> Controllers:
    """The policy of a checkpoint, sampled and greedy.

    Raises:
        CheckpointError: it cannot be used.
    """
    register_builtin_policies()
    policy, normalizer = load_checkpoint(checkpoint)
    return {
        name: PolicyController(
            policy, deterministic=name == GREEDY, seed=seed, rules=config.env.rules, normalizer=normalizer
        )
        for name in (POLICY, GREEDY)
    }


def transfer(env: GrowthConfig, options: EvaluationOptions) -> list[Setting]:
    """The settings to play that the policy was not trained in; none without `options.transfer`."""
    if not options.transfer:
        return []
    return list(transfer_settings(env, options.hosts_per_member, options.seed, options.data))


def _records(config: TrainConfig, policy: Played, updates: int) -> Iterator[dict[str, Any]]:
    slots = slots_of(config.env.host)
    records = episode_records(policy.episodes, slots, first=0, update=updates)
    for record, accuracy in zip(records, policy.test_accuracy.tolist(), strict=True):
        yield {**record, "test_accuracy": round(accuracy, 4)}
