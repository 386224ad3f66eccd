"""A trained policy against everything else, on hosts that nobody trained on: the order of things, and their result."""

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from hashlib import sha256
from pathlib import Path
from typing import Any, Final, NamedTuple

from leyline_types import read_file
from simic_training.engines.unit import Engine
from simic_training.evaluation.comparisons import (
    lacks_table,
    schedules_table,
    static_table,
    verdict_table,
)
from simic_training.evaluation.outcomes import Outcomes
from simic_training.evaluation.parts import OnProgress, PartsFolder, tell_nobody
from simic_training.evaluation.schedules import NONE, ScheduleChoice, choice_rows
from simic_training.evaluation.stages import EvaluationOptions
from simic_training.evaluation.static import STATIC
from simic_training.evaluation.tables import Table, table_from_json, table_to_json
from simic_training.evaluation.units import (
    BEST,
    CONTROLLERS,
    POLICY,
    SINGLE,
    Evaluated,
    Plan,
    evaluation_batches,
    plan_of,
    play_lots,
)
from simic_training.runs.config import TrainConfig
from simic_training.runs.settings import config_to_mapping
from tamiyo_policies import load_checkpoint, register_builtin_policies

FORMAT: Final = 2
_DECIMALS: Final = 4


class HostRow(NamedTuple):
    """One host that one controller grew. Accuracies in percent, size over the bare host's parameters.

    `setting` is "family" for held-out hosts as in training, "training" for those on which schedules were chosen, else
    the title of the table. `price` and `epochs` are the host's own, and `lack` is what it lacks when bare.
    """

    setting: str
    controller: str
    task: str
    lack: str
    price: float
    epochs: int
    host_seed: int
    test_accuracy: float
    val_accuracy: float
    params: float
    size: float
    episode_return: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Evaluation:
    """The result of `evaluate_run`.

    Args:
        settings: of the run and of the evaluation, as plain data.
        tables: in the order in which they are to be read.
        hosts: every host behind them.
        episodes: what the sampled policy did on each host of the family, as `runs.records.episode_records` writes it,
            with its test accuracy.
    """

    settings: Mapping[str, Any]
    tables: tuple[Table, ...]
    hosts: tuple[HostRow, ...]
    episodes: tuple[Mapping[str, Any], ...]

    def table(self, title: str) -> Table:
        """The table whose title starts so.

        Raises:
            KeyError: there is none.
        """
        for table in self.tables:
            if table.title.startswith(title):
                return table
        raise KeyError(f"no table {title!r}; there are {', '.join(table.title for table in self.tables)}")


def host_rows(setting: str, controller: str, outcomes: Outcomes) -> Iterator[HostRow]:
    """A row for each host, numbers to four decimals."""
    columns = (
        outcomes.test_accuracy,
        outcomes.val_accuracy,
        outcomes.params,
        outcomes.size,
        outcomes.episode_return,
    )
    values = zip(*(column.tolist() for column in columns), strict=True)
    for host, measured in zip(outcomes.hosts, values, strict=True):
        yield HostRow(
            setting,
            controller,
            host.task,
            host.lack.value,
            host.price,
            host.epochs,
            host.host_seed,
            *(round(value, _DECIMALS) for value in measured),
        )


def evaluation_to_json(evaluation: Evaluation) -> dict[str, Any]:
    """Plain data; the hosts as column names and rows, which is short, and what `pandas.DataFrame` takes."""
    return {
        "format": FORMAT,
        "settings": dict(evaluation.settings),
        "tables": [table_to_json(table) for table in evaluation.tables],
        "hosts": {"columns": list(HostRow._fields), "rows": [list(row) for row in evaluation.hosts]},
        "episodes": [dict(episode) for episode in evaluation.episodes],
    }


def evaluation_from_json(content: Mapping[str, Any]) -> Evaluation:
    """The evaluation that `evaluation_to_json` wrote.

    Raises:
        ValueError: it is none, or of another version.
    """
    if content.get("format") != FORMAT:
        raise ValueError(f"not an evaluation of format {FORMAT}: its format is {content.get('format')!r}")
    try:
        hosts = content["hosts"]
        if tuple(hosts["columns"]) != HostRow._fields:
            raise ValueError(f"hosts have the columns {hosts['columns']}, expected {list(HostRow._fields)}")
        return Evaluation(
            settings=content["settings"],
            tables=tuple(table_from_json(table) for table in content["tables"]),
            hosts=tuple(HostRow(*row) for row in hosts["rows"]),
            episodes=tuple(content["episodes"]),
        )
    except (KeyError, TypeError) as error:
        raise ValueError(f"not an evaluation: {type(error).__name__}: {error}") from None


def evaluate_run(
    config: TrainConfig,
    checkpoint: Path,
    options: EvaluationOptions = EvaluationOptions(),  # noqa: B008  (frozen)
    *,
    trained_episodes: int | None = None,
    engine: Engine | None = None,
    folder: PartsFolder | None = None,
    on_progress: OnProgress = tell_nobody,
) -> Evaluation:
    """Play the policy of a checkpoint, sampled and greedy, and its rivals on the same hosts; compare.

    Args:
        config: settings of the run, for hosts and prices.
        checkpoint: of the policy.
        options: what to play.
        trained_episodes: networks that were grown to train the policy; None for all that `config` plans.
        engine, folder, on_progress: see `play_lots`. In the end the folder holds the parts of this evaluation alone.

    Raises:
        ValueError: too few hosts, see `held_out_stage`; a file of `options.data` cannot be used as data.
        OtherDataError: the data are other than `config.env.data_digest` says, where it says so.
        FileNotFoundError: there is no such file.
        CheckpointError: the checkpoint cannot be used.
        RunFolderError, UnitFailedError, OSError: see `play_lots`.
    """
    weights = weights_in(checkpoint)
    episodes = config.updates * config.batch if trained_episodes is None else trained_episodes
    plan = plan_of(config.env, options)
    config = replace(config, env=plan.held_out.draw.env)  # with the digest of the data
    found = play_lots(
        evaluation_batches(weights, plan), plan.lots, engine=engine, folder=folder, on_progress=on_progress
    )
    return Evaluation(
        settings={
            "config": config_to_mapping(config),
            "options": {**asdict(options), "data": [str(path) for path in options.data]},
            "checkpoint_sha256": sha256(weights).hexdigest(),
            "trained_episodes": episodes,
            "schedules": list(choice_rows(found.choice)),
        },
        tables=tuple(_tables(plan, found)),
        hosts=tuple(
            row
            for title, each in found.found.items()
            for name, outcomes in each.outcomes.items()
            for row in host_rows(title, name, outcomes)
        ),
        episodes=tuple(
            {**episode, "episode": number, "update": episodes // config.batch}
            for number, episode in enumerate(found.found[plan.held_out.title].episodes)
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


def _tables(plan: Plan, found: Evaluated) -> Iterator[Table]:
    """Those of an evaluation, in the order in which they are to be read."""
    training = found.found[plan.training.title].outcomes[NONE].hosts
    chosen = (
        f'Hosts that nobody trained or chose on. "{BEST}": on each host that of {len(plan.schedules)} fixed schedules, '
        f"or none, which is best at its price on {len(training)} training hosts of {plan.training.members} members."
    )
    played = found.found[plan.held_out.title].outcomes
    rivals = {name: played[name] for name in CONTROLLERS}
    if plan.static_lots:
        best = _single(found.choice, [host.price for host in training])
        rivals[SINGLE] = played[best]
        single = f' "{SINGLE}": {best}, the best of them there for all prices.'
        yield verdict_table("Verdicts", chosen + single, rivals)
        yield lacks_table("By lack", rivals)
        yield static_table("Equal size, equal time", {name: played[name] for name in (POLICY, *STATIC)})
        names = [schedule.name for schedule in plan.schedules]
        yield schedules_table({name: played[name] for name in (*names, NONE)}, played[POLICY])
    else:
        yield verdict_table("Verdicts", chosen, rivals)
    for stage in plan.unseen:
        each = found.found[stage.title].outcomes
        note = f'{stage.note} Hosts that nobody trained or chose on; "{BEST}" is chosen as above.'.lstrip()
        yield verdict_table(stage.title, note, {name: each[name] for name in CONTROLLERS})


def _single(choice: ScheduleChoice, prices: list[float]) -> str:
    best = choice.best_single(prices)
    return NONE if best is None else best.name
