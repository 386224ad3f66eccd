"""Object contracts: defaults where the design gives one, none elsewhere; slotted; validated where a rule exists."""

import dataclasses
from math import inf

import pytest

from leyline_types import (
    AlphaMode,
    Controller,
    FactoredActions,
    MaskSeedInfo,
    Observation,
    SeedMetrics,
    SeedStage,
    SeedStateReport,
    SeedTelemetry,
    SignalColumns,
    SlotColumns,
    SlotDiagnostics,
    TaskConfig,
    TelemetryColumns,
    Topology,
    TrainingMetrics,
    TrainingSignals,
)

TASK = {
    "name": "digits",
    "topology": "cnn",
    "max_epochs": 25,
    "max_steps": 450,
    "max_seeds": 2,
    "num_classes": 10,
    "baseline_loss": 2.3,
    "target_loss": 0.2,
    "host_params": 1000,
    "parameter_price": 0.3,
}


def defaults(cls: type) -> dict[str, object]:
    assert dataclasses.is_dataclass(cls)
    missing = dataclasses.MISSING
    return {field.name: field.default for field in dataclasses.fields(cls) if field.default is not missing}


@pytest.mark.parametrize(
    ("cls", "expected"),
    [
        (TrainingMetrics, {"best_val_loss": inf}),
        (
            TrainingSignals,
            {"last_op": None, "last_op_took_effect": None, "rolled_back": False, "slot_diagnostics": ()},
        ),
        (SeedMetrics, {"counterfactual_contribution": None}),
        (SeedStateReport, {"blend_tempo_epochs": 5, "telemetry": None}),
        (SeedTelemetry, {}),
        (SlotDiagnostics, {}),
        (TaskConfig, {}),
        (MaskSeedInfo, {"alpha_mode": AlphaMode.HOLD}),
    ],
)
def test_only_the_designed_defaults(cls: type, expected: dict[str, object]) -> None:
    assert defaults(cls) == expected


@pytest.mark.parametrize(
    "cls",
    [
        TrainingMetrics,
        TrainingSignals,
        SlotDiagnostics,
        SeedMetrics,
        SeedStateReport,
        SeedTelemetry,
        TaskConfig,
    ],
)
def test_slotted_and_frozen(cls: type) -> None:
    assert "__slots__" in cls.__dict__
    assert cls.__dataclass_params__.frozen  # type: ignore[attr-defined]


def test_task_config() -> None:
    task = TaskConfig(**TASK)  # type: ignore[arg-type]
    assert task.topology is Topology.CNN
    assert task.seed_capacity(3) == 2
    assert task.seed_capacity(1) == 1
    assert dataclasses.replace(task, max_seeds=0).seed_capacity(3) == 3


@pytest.mark.parametrize(
    ("field", "value", "reason"),
    [
        ("topology", "rnn", "one of cnn, transformer, not 'rnn'"),
        ("max_epochs", 0, "`max_epochs` must be at least 1, not 0"),
        ("max_steps", 0, "`max_steps` must be at least 1"),
        ("max_seeds", -1, "`max_seeds` must be at least 0, not -1"),
        ("num_classes", 1, "`num_classes` must be at least 2"),
        ("host_params", 0, "`host_params` must be at least 1"),
        ("baseline_loss", 0.0, "`baseline_loss` must be finite and above 0"),
        ("baseline_loss", inf, "`baseline_loss` must be finite and above 0"),
        ("target_loss", -0.1, "`target_loss` must be finite and at least 0"),
        ("target_loss", float("nan"), "`target_loss` must be finite"),
        ("parameter_price", -0.1, "`parameter_price` must be finite and at least 0, not -0.1"),
        ("parameter_price", inf, "`parameter_price` must be finite and at least 0, not inf"),
    ],
)
def test_bad_task_is_refused(field: str, value: object, reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        TaskConfig(**{**TASK, field: value})  # type: ignore[arg-type]


def test_columns_hold_any_array_type() -> None:
    observation = Observation(
        SignalColumns(*range(len(SignalColumns._fields))), SlotColumns(*range(len(SlotColumns._fields)))
    )
    assert observation.telemetry is None
    assert observation.slots.stage == SlotColumns._fields.index("stage")
    known: TelemetryColumns[list[bool]] = TelemetryColumns(*([True] for _ in TelemetryColumns._fields))
    assert known.known == [True]


def test_seed_info() -> None:
    assert MaskSeedInfo(SeedStage.TRAINING, 3).alpha_mode is AlphaMode.HOLD


class Waiter:
    """A controller of plain lists that counts its steps."""

    def initial_memory(self, num_envs: int) -> int:
        return 0

    def act(self, observation: Observation[list[int]], memory: int) -> tuple[FactoredActions[list[int]], int]:
        wait = [0] * len(observation.signals.epoch)
        return FactoredActions(*([wait] * 8)), memory + 1


def test_controller_is_a_structural_interface() -> None:
    controller: Controller[list[int], int] = Waiter()
    assert isinstance(controller, Controller)
    assert not isinstance(object(), Controller)
