"""What is not finite is found among plain lists as well: no array library is needed."""

from dataclasses import dataclass
from math import inf, nan
from typing import Any

import pytest

from leyline_types import (
    DIVISOR_COLUMNS,
    HISTORY_LENGTH,
    OPTIONAL_COLUMNS,
    Block,
    Observation,
    SignalColumns,
    SlotColumns,
    SlotConfig,
    TelemetryColumns,
    find_not_finite,
    place_in_words,
)

SLOTS = SlotConfig.for_grid(1, 2)
ENVS = 2


@dataclass
class Array:
    """The least that a column must be."""

    values: list[Any]

    def tolist(self) -> list[Any]:
        return self.values


def observation(**columns: list[Any]) -> Observation[Array]:
    """Ones everywhere but in the columns given."""
    histories = {"loss_history", "accuracy_history"}
    signals = {
        name: [[1.0] * HISTORY_LENGTH] * ENVS if name in histories else [1] * ENVS
        for name in SignalColumns._fields
    }
    slots: dict[str, list[Any]] = {name: [[1.0] * 2] * ENVS for name in SlotColumns._fields}
    looks: dict[str, list[Any]] = {name: [[1.0] * 2] * ENVS for name in TelemetryColumns._fields}
    for name, values in columns.items():
        (signals if name in signals else slots if name in slots else looks)[name] = values
    return Observation(
        SignalColumns(**{name: Array(values) for name, values in signals.items()}),
        SlotColumns(**{name: Array(values) for name, values in slots.items()}),
        TelemetryColumns(**{name: Array(values) for name, values in looks.items()}),
    )


def found(seen: Observation[Array]) -> list[str]:
    return [str(each) for each in find_not_finite(seen, SLOTS)]


def test_what_is_sound() -> None:
    assert not found(observation())
    unknown = observation(
        loss_history=[[nan] * HISTORY_LENGTH] * ENVS,
        contribution=[[nan, nan], [1.0, nan]],
        last_op=[-1, -1],
    )
    assert not found(unknown)


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"train_loss": [1.0, inf]}, "environment 1: feature 'train_loss' is inf, expected a finite number"),
        (
            {"loss_history": [[1.0, 1.0, 1.0, -inf, 1.0], [1.0] * 5]},
            "environment 0: feature 'loss_history[-2]' is -inf, expected a finite number, or NaN for unknown",
        ),
        (
            {"alpha": [[0.5, nan], [0.5, 0.5]]},
            "environment 0, slot r0c1: feature 'alpha' is nan, expected a finite number",
        ),
        (
            {"age_epochs": [[1, 1], [inf, 1]]},
            "environment 1, slot r0c0: feature 'age' (column 'age_epochs') is inf, expected a finite number",
        ),
        (
            {"baseline_loss": [1.0, 0.0]},
            "environment 1: column 'baseline_loss' is 0, expected a finite number above 0",
        ),
    ],
)
def test_what_is_not(columns: dict[str, list[Any]], message: str) -> None:
    assert found(observation(**columns)) == [message]


def test_telemetry_is_looked_at_where_it_is_there() -> None:
    seen = observation(accuracy=[[1.0, 1.0], [1.0, nan]])
    message = "environment 1, slot r0c1: feature 'seed_accuracy' (column 'accuracy') is nan, expected a finite number"
    assert found(seen) == [message]
    assert not found(seen._replace(telemetry=None))


def test_which_columns_the_rule_speaks_of() -> None:
    assert DIVISOR_COLUMNS == ("baseline_loss", "host_params", "max_epochs", "max_steps", "seed_capacity")
    assert {block: len(names) for block, names in OPTIONAL_COLUMNS.items()} == {
        Block.BASE: 10,
        Block.SLOT: 8,
        Block.TELEMETRY: 0,
    }
    assert OPTIONAL_COLUMNS[Block.BASE] >= {"loss_history", "last_op", "last_op_took_effect"}


def test_places_in_words() -> None:
    assert place_in_words((3,)) == "environment 3"
    assert place_in_words((3,), "r0c1") == "environment 3, slot r0c1"
    assert place_in_words((3, 4)) == "environment [3, 4]"
    assert place_in_words(()) == "the environment"
