"""What an evaluation leaves: tables, and every host behind them, as plain data and back."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

from simic_training.evaluation.outcomes import Outcomes
from simic_training.evaluation.tables import Table, table_from_json, table_to_json

FORMAT: Final = 2
_DECIMALS: Final = 4


class HostRow(NamedTuple):
    """One host that one controller grew. Accuracies in percent, size over the bare host's parameters.

    `setting` is "family" for hosts as in training, else the title of a table of transfer. `price` and `epochs` are the
    host's own, and `lack` is what it lacks when bare.
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
