"""Tables and evaluations as plain data, there and back."""

import json
from pathlib import Path

import pytest
from made_up import make_outcomes

from simic_training.evaluation.run import (
    Evaluation,
    HostRow,
    evaluation_from_json,
    evaluation_to_json,
    host_rows,
)
from simic_training.evaluation.stages import EvaluationOptions
from simic_training.evaluation.tables import Column, Table, table_from_json, table_to_json, table_to_markdown
from simic_training.statistics import Estimate

TABLE = Table(
    title="A table",
    note="Mind the numbers.",
    columns=(Column(name="accuracy %"), Column(name="size", decimals=2), Column(name="said")),
    rows={
        "policy": (Estimate(84.24, 80.96, 87.04), 1.5, None),
        "a|b": (Estimate(1.0, 1.0, 1.0), 3, "never"),
    },
)
EVALUATION = Evaluation(
    settings={"trained_episodes": 8},
    tables=(TABLE,),
    hosts=(
        HostRow("family", "policy", "digits", "norm", 0.2, 25, 2**62 + 1, 80.1234, 81.0, 600.0, 1.5, 4.25),
    ),
    episodes=({"episode": 0, "actions": [{"op": "GERMINATE"}]},),
)


def test_tables_go_through_json() -> None:
    assert table_from_json(json.loads(json.dumps(table_to_json(TABLE), allow_nan=False))) == TABLE


def test_evaluations_go_through_json() -> None:
    text = json.dumps(evaluation_to_json(EVALUATION), allow_nan=False)
    assert evaluation_from_json(json.loads(text)) == EVALUATION


def test_cells_as_text() -> None:
    assert TABLE.texts() == {
        "policy": ("84.2 [81.0, 87.0]", "1.50", "-"),
        "a|b": ("1.0 [1.0, 1.0]", "3.00", "never"),
    }


def test_markdown() -> None:
    assert table_to_markdown(TABLE).splitlines() == [
        "**A table**",
        "",
        "|  | accuracy % | size | said |",
        "| --- | ---: | ---: | ---: |",
        "| policy | 84.2 [81.0, 87.0] | 1.50 | - |",
        "| a\\|b | 1.0 [1.0, 1.0] | 3.00 | never |",
        "",
        "Mind the numbers.",
    ]


def test_a_row_of_another_length_is_refused() -> None:
    with pytest.raises(ValueError, match="row 'x' has 1 cells, the table 3 columns"):
        Table(title="", note="", columns=TABLE.columns, rows={"x": (1.0,)})


def test_tables_are_found_by_their_title() -> None:
    assert EVALUATION.table("A ta") is TABLE
    with pytest.raises(KeyError, match="no table 'B'; there are A table"):
        EVALUATION.table("B")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"format": 0}, "not an evaluation of format 2: its format is 0"),
        ({"tables": None}, "not an evaluation: TypeError"),
        ({"hosts": {"columns": ["controller"], "rows": []}}, r"hosts have the columns \['controller'\]"),
        ({"hosts": {"columns": list(HostRow._fields), "rows": [[1]]}}, "not an evaluation: TypeError"),
    ],
)
def test_what_is_no_evaluation_is_refused(change: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        evaluation_from_json({**evaluation_to_json(EVALUATION), **change})
    with pytest.raises(ValueError, match="its format is None"):
        evaluation_from_json({})


def test_a_row_for_every_host() -> None:
    rows = list(host_rows("family", "none", make_outcomes([70.123456, 80.0], [1.0, 2.0])))
    assert rows[0] == HostRow(
        "family", "none", "task 0", "nothing", 0.3, 25, 0, 70.1235, 71.1235, 600.0, 1.5, 1.0
    )
    assert [row.host_seed for row in rows] == [0, 1]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"hosts_per_member": 0}, "`hosts_per_member` must be from 1 to 10000, not 0"),
        ({"members_per_lack": 1}, "`members_per_lack` must be from 2 to 10000, not 1"),
        ({"seed": -1}, "`seed` must be at least 0, not -1"),
        (
            {"training_members_per_lack": 0},
            "`training_members_per_lack` must be from 1 to 10000, not 0",
        ),
        (
            {"data": (Path("a/x.npz"), Path("b/x.npz"))},
            "`data` must be files of different names, which tables bear, not x, x",
        ),
    ],
)
def test_bad_options_are_named(options: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        EvaluationOptions(**options)  # type: ignore[arg-type]
