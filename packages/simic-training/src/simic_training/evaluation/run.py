"""A trained policy against everything else, on hosts that nobody trained on: the order of things."""

from dataclasses import asdict
from hashlib import sha256
from pathlib import Path

from leyline_types import read_file
from simic_training.engines.here import HereEngine
from simic_training.engines.unit import Engine
from simic_training.evaluation.comparisons import GREEDY, POLICY, controllers_table, family_tables
from simic_training.evaluation.controllers import RIVALS
from simic_training.evaluation.options import EvaluationOptions
from simic_training.evaluation.results import Evaluation, host_rows
from simic_training.evaluation.static import STATIC
from simic_training.evaluation.units import OnProgress, play_stages, tell_nobody
from simic_training.runs.config import TrainConfig
from simic_training.runs.settings import config_to_mapping
from tamiyo_policies import load_checkpoint, register_builtin_policies


def evaluate_run(
    config: TrainConfig,
    checkpoint: Path,
    options: EvaluationOptions = EvaluationOptions(),  # noqa: B008  (frozen)
    *,
    trained_episodes: int | None = None,
    engine: Engine | None = None,
    on_progress: OnProgress = tell_nobody,
) -> Evaluation:
    """Play the policy of a checkpoint, sampled and greedy, and its rivals on the same hosts; compare.

    Args:
        config: settings of the run, for hosts and prices.
        checkpoint: of the policy.
        options: what to play.
        trained_episodes: networks that were grown to train the policy; None for all that `config` plans.
        engine: who plays; it is left open. None for this process alone. What comes out is the same.
        on_progress: see `OnProgress`.

    Raises:
        ValueError: too few hosts, see `paired_hosts`; a file of `options.data` cannot be used as data.
        FileNotFoundError: there is no such file.
        CheckpointError: the checkpoint cannot be used.
        UnitFailedError: something could not be played.
    """
    weights = weights_in(checkpoint)
    episodes = config.updates * config.batch if trained_episodes is None else trained_episodes
    stages = play_stages(weights, config.env, options, engine or HereEngine(), on_progress)
    (_, everybody), *others = stages
    usual = (POLICY, GREEDY, *RIVALS)
    tables = [
        *family_tables(
            {name: everybody.outcomes[name] for name in usual},
            {name: each for name, each in everybody.outcomes.items() if name not in (*usual, *STATIC)},
            {name: everybody.outcomes[name] for name in STATIC},
        ),
        *(controllers_table(stage.title, stage.note, found.outcomes) for stage, found in others),
    ]
    return Evaluation(
        settings={
            "config": config_to_mapping(config),
            "options": {**asdict(options), "data": [str(path) for path in options.data]},
            "checkpoint_sha256": sha256(weights).hexdigest(),
            "trained_episodes": episodes,
        },
        tables=tuple(tables),
        hosts=tuple(
            row
            for stage, found in stages
            for name, outcomes in found.outcomes.items()
            for row in host_rows(stage.title, name, outcomes)
        ),
        episodes=tuple(
            {**episode, "episode": number, "update": episodes // config.batch}
            for number, episode in enumerate(everybody.episodes)
        ),
    )


def weights_in(checkpoint: Path) -> bytes:
    """The content of a checkpoint, once and for all: a run may go on while it is judged.

    Raises:
        CheckpointError: it cannot be used.
    """
    register_builtin_policies()
    load_checkpoint(checkpoint)  # says what is wrong with it, and where
    return read_file(checkpoint)
