"""All that the page shows, read from the folder of a run."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple, TypeVar

from pydantic import PositiveFloat, TypeAdapter, ValidationError

from leyline_types import LifecycleOp, SeedStage, read_file
from simic_training.evaluation.tables import Table, table_from_json
from simic_training.runs.config import TrainConfig
from simic_training.runs.folder import (
    EPISODES,
    EVALUATION,
    METRICS,
    RunFolder,
    RunStorageError,
)
from simic_training.runs.records import Rollbacks
from simic_training.statistics import Estimate
from tamiyo_policies import parse_object

RecordT = TypeVar("RecordT")


class Update(NamedTuple):
    """A line of metrics.jsonl; `runs.records.metrics_record` says what its fields mean."""

    update: int
    episodes: int
    env_steps: int
    max_epochs: int
    price: float
    episode_return: Estimate
    return_accuracy: float
    return_rent: float
    val_accuracy: float
    size: float
    took_effect: float
    rollbacks: Rollbacks
    actions: Mapping[str, list[int]]
    head_entropy: Mapping[str, float | None]
    critic_loss: float
    approx_kl: float
    clip_fraction: float
    gradient_norm: float | None
    explained_variance: float | None
    held_back: list[str]
    seconds: Mapping[str, float]
    steps_per_second: PositiveFloat


class Action(NamedTuple):
    """An action that was not WAIT; it came before the epoch, which is counted from 1."""

    epoch: int
    text: str
    op: LifecycleOp
    slot: str
    took_effect: bool


class Stay(NamedTuple):
    """A slot's time in one stage: the first and the last epoch at whose end it was in it, and alpha at the last."""

    first: int
    last: int
    stage: SeedStage
    blueprint: str | None
    alpha: float


class Episode(NamedTuple):
    """A line of episodes.jsonl. `val_accuracy` starts with the untrained host, before epoch 1."""

    episode: int
    update: int
    task: str
    lack: str
    width: int
    price: float
    episode_return: float
    return_accuracy: float
    return_rent: float
    size: float
    rolled_back: list[int]
    val_accuracy: list[float]
    actions: list[Action]
    slots: Mapping[str, list[Stay]]


@dataclass(frozen=True, slots=True, kw_only=True)
class RunRecords:
    """A run as the page shows it.

    Args:
        run: its folder.
        config: its settings.
        updates, episodes: those done so far, in order.
        tables: of the newest evaluation; None before the first one.
        judged: episodes that the policy of that evaluation had learnt from; None before the first one.
    """

    run: RunFolder
    config: TrainConfig
    updates: list[Update]
    episodes: list[Episode]
    tables: list[Table] | None
    judged: int | None

    @property
    def finished(self) -> bool:
        """Whether every update was done."""
        return len(self.updates) >= self.config.updates


def read_run(run: RunFolder) -> RunRecords:
    """Everything about a run.

    Raises:
        RunStorageError: a file that is damaged or of another version, naming it and where.
    """
    tables, judged = _read_evaluation(run)
    return RunRecords(
        run=run,
        config=run.read_config(),
        updates=_read_all(run, METRICS, TypeAdapter(Update), _update),
        episodes=_read_all(run, EPISODES, TypeAdapter(Episode), _episode),
        tables=tables,
        judged=judged,
    )


def _read_all(
    run: RunFolder,
    name: str,
    kind: TypeAdapter[RecordT],
    fields_of: Callable[[dict[str, Any]], dict[str, Any]],
) -> list[RecordT]:
    found = []
    for number, line in enumerate(run.read_lines(name), start=1):
        try:
            found.append(kind.validate_python(fields_of(line), strict=True))
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise RunStorageError(
                f"{run.path / name} is damaged or of another version: line {number}: {_words(error)}"
            ) from None
    return found


def _read_evaluation(run: RunFolder) -> tuple[list[Table], int] | tuple[None, None]:
    if not run.evaluation.exists():
        return None, None
    try:
        content = parse_object(read_file(run.evaluation).decode("utf-8"), "it")
        judged = TypeAdapter(int).validate_python(content["settings"]["trained_episodes"], strict=True)
        tables = [table_from_json(each) for each in content["tables"]]
        return TypeAdapter(list[Table]).validate_python(tables, strict=True), judged
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise RunStorageError(
            f"{run.path / EVALUATION} is damaged or of another version: {_words(error)}"
        ) from None


def _words(error: Exception) -> str:
    match error:
        case ValidationError():
            first = error.errors(include_url=False)[0]
            place = ".".join(map(str, first["loc"])) or "it"
            return f"{place}: {first['msg'].lower()}, not {first['input']!r}"[:200]
        case KeyError():
            return f"it has no {error}"
        case _:
            return str(error)


def _update(line: dict[str, Any]) -> dict[str, Any]:
    fields = {name: line[name] for name in Update._fields if name != "episode_return"}
    return {**fields, "episode_return": line["return"]}


def _episode(line: dict[str, Any]) -> dict[str, Any]:
    parsed = ("episode_return", "actions", "slots")
    return {
        **{name: line[name] for name in Episode._fields if name not in parsed},
        "episode_return": line["return"],
        "actions": [{**action, "op": LifecycleOp[action["op"]]} for action in line["actions"]],
        "slots": {slot: [_stay(stay) for stay in stays] for slot, stays in line["slots"].items()},
    }


def _stay(stay: dict[str, Any]) -> Stay:
    return Stay(stay["from"], stay["to"], SeedStage[stay["stage"]], stay["blueprint"], stay["alpha"])
