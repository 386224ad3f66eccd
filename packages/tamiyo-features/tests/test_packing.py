"""Packing: by hand, and every kind of mistake named with its environment and slot, all of them together."""

import dataclasses
import random
from math import inf, nan
from typing import Any

import pytest
import torch

from leyline_types import BlueprintAction, LifecycleOp, SeedStage, SlotConfig, TaskConfig
from tamiyo_features import (
    InvalidObservationError,
    InvalidStageError,
    MissingSlotError,
    NonFiniteValueError,
    ObservationShapeError,
    UnknownBlueprintError,
    UnknownSlotError,
    pack_observations,
)

SLOTS = SlotConfig.default()
EMPTY = dict.fromkeys(SLOTS.slot_ids)


def signals_of(make: Any, **metrics: Any) -> Any:
    signals = make.signals(random.Random(0))
    return dataclasses.replace(signals, metrics=dataclasses.replace(signals.metrics, **metrics))


def report_of(make: Any, slot_id: str = "r0c1", **fields: Any) -> Any:
    return dataclasses.replace(make.report(random.Random(1), slot_id), **fields)


def test_unknowns_by_hand(make: Any) -> None:
    fresh = signals_of(make, loss_delta=None, accuracy_delta=None, best_val_loss=inf, best_val_accuracy=55.0)
    fresh = dataclasses.replace(fresh, loss_history=(2.0, 1.0), last_op=None, last_op_took_effect=None)
    signals = pack_observations([fresh], [EMPTY], SLOTS, task=make.task).signals
    for name in ("loss_delta", "accuracy_delta", "best_val_loss", "best_val_accuracy"):
        assert getattr(signals, name).isnan().all(), name
    torch.testing.assert_close(
        signals.loss_history, torch.tensor([[nan, nan, nan, 2.0, 1.0]]), equal_nan=True
    )
    assert signals.last_op.tolist() == signals.last_op_took_effect.tolist() == [-1]


def test_knowns_by_hand(make: Any) -> None:
    known = signals_of(make, best_val_loss=0.5, best_val_accuracy=55.0, loss_delta=-0.25)
    known = dataclasses.replace(
        known, loss_history=tuple(map(float, range(7))), last_op=LifecycleOp.PRUNE, last_op_took_effect=False
    )
    signals = pack_observations([known], [EMPTY], SLOTS, task=make.task).signals
    assert signals.best_val_loss.item() == 0.5
    assert signals.best_val_accuracy.item() == 55.0
    assert signals.loss_history.tolist() == [[2.0, 3.0, 4.0, 5.0, 6.0]]
    assert (signals.last_op.item(), signals.last_op_took_effect.item()) == (3, 0)
    assert (signals.max_epochs.item(), signals.seed_capacity.item(), signals.topology.item()) == (25, 2, 0)
    assert signals.epoch.dtype == torch.int64
    assert signals.host_stabilized.dtype == torch.bool


def test_slots_by_hand(make: Any) -> None:
    report = report_of(make, stage=SeedStage.HOLDING, blueprint_id="norm", telemetry=None)
    observation = pack_observations([signals_of(make)], [{**EMPTY, "r0c1": report}], SLOTS, task=make.task)
    slots = observation.slots
    assert slots.occupied.tolist() == [[False, True, False]]
    assert slots.stage.tolist() == [[SeedStage.DORMANT, SeedStage.HOLDING, SeedStage.DORMANT]]
    assert slots.blueprint.tolist() == [[BlueprintAction.NOOP, BlueprintAction.NORM, BlueprintAction.NOOP]]
    assert slots.contribution[:, [0, 2]].isnan().all()
    assert slots.alpha[0, 1].item() == pytest.approx(report.metrics.current_alpha)
    assert slots.age_epochs[0, 1].item() == report.metrics.epochs_total
    assert observation.telemetry is None


def test_telemetry_is_known_where_it_is_given(make: Any) -> None:
    rng = random.Random(2)
    reports = {**EMPTY, "r0c0": make.report(rng, "r0c0", telemetry=True), "r0c1": make.report(rng, "r0c1")}
    telemetry = pack_observations([signals_of(make)], [reports], SLOTS, task=make.task).telemetry
    assert telemetry is not None
    assert telemetry.known.tolist() == [[True, False, False]]


@pytest.mark.parametrize(
    ("reports", "kind", "message"),
    [
        (
            {"r0c0": None, "r0c2": None},
            MissingSlotError,
            "environment 1: no entry for slot r0c1; an empty slot is None",
        ),
        (
            {**EMPTY, "r9c9": None},
            UnknownSlotError,
            "environment 1: slot 'r9c9' is unknown; slots are r0c0, r0c1, r0c2",
        ),
        ({"slot_id": "r0c0"}, UnknownSlotError, "environment 1, slot r0c1: the report is of slot 'r0c0'"),
        (
            {"blueprint_id": "convx"},
            UnknownBlueprintError,
            "environment 1, slot r0c1: blueprint 'convx' is unknown",
        ),
        ({"stage": 5}, InvalidStageError, "environment 1, slot r0c1: stage 5 is retired"),
        ({"stage": 77}, InvalidStageError, "environment 1, slot r0c1: stage 77 does not exist"),
        (
            {"alpha_velocity": nan},
            NonFiniteValueError,
            "slot r0c1: report.alpha_velocity is nan, it must be finite",
        ),
        ({"alpha_target": -inf}, NonFiniteValueError, "slot r0c1: report.alpha_target is -inf"),
    ],
)
def test_mistakes_in_slots(make: Any, reports: dict[str, Any], kind: type, message: str) -> None:
    if not set(reports) & set(SLOTS.slot_ids):
        reports = {**EMPTY, "r0c1": report_of(make, **reports)}
    with pytest.raises(InvalidObservationError) as caught:
        pack_observations([signals_of(make)] * 2, [EMPTY, reports], SLOTS, task=make.task)
    [problem] = caught.value.problems
    assert type(problem) is kind
    assert message in str(problem)


@pytest.mark.parametrize("value", [nan, inf, -inf])
@pytest.mark.parametrize("name", ["train_loss", "val_accuracy", "loss_delta", "grad_norm_seed"])
def test_mistakes_in_metrics(make: Any, name: str, value: float) -> None:
    with pytest.raises(
        InvalidObservationError, match=f"environment 0: metrics.{name} is {value}, it must be finite"
    ):
        pack_observations([signals_of(make, **{name: value})], [EMPTY], SLOTS, task=make.task)


def test_required_numbers_cannot_be_none(make: Any) -> None:
    with pytest.raises(InvalidObservationError, match=r"metrics\.val_loss is None, it must be finite"):
        pack_observations([signals_of(make, val_loss=None)], [EMPTY], SLOTS, task=make.task)
    with pytest.raises(InvalidObservationError, match=r"metrics\.epoch is nan"):
        pack_observations([signals_of(make, epoch=nan)], [EMPTY], SLOTS, task=make.task)
    with pytest.raises(InvalidObservationError, match=r"metrics\.best_val_loss is nan"):
        pack_observations([signals_of(make, best_val_loss=nan)], [EMPTY], SLOTS, task=make.task)


def test_other_floats_and_counts(make: Any) -> None:
    with pytest.raises(InvalidObservationError, match=r"metrics\.val_loss is nan"):
        pack_observations([signals_of(make, val_loss=torch.tensor(nan))], [EMPTY], SLOTS, task=make.task)
    empty_host = dataclasses.replace(signals_of(make), host_params=0)
    with pytest.raises(
        InvalidObservationError, match="environment 0: host_params is 0, it must be at least 1"
    ):
        pack_observations([empty_host], [EMPTY], SLOTS, task=make.task)


def test_mistakes_in_histories_and_seed_metrics(make: Any) -> None:
    broken = dataclasses.replace(signals_of(make), loss_history=(1.0, nan, 2.0))
    report = report_of(make)
    report = dataclasses.replace(
        report, metrics=dataclasses.replace(report.metrics, counterfactual_contribution=nan)
    )
    with pytest.raises(InvalidObservationError) as caught:
        pack_observations([broken], [{**EMPTY, "r0c1": report}], SLOTS, task=make.task)
    assert "loss_history[-2] is nan" in str(caught.value)
    assert "slot r0c1: metrics.counterfactual_contribution is nan" in str(caught.value)


def test_everything_wrong_is_reported_together(make: Any) -> None:
    wrong = {"r0c0": None, "r0c1": report_of(make, blueprint_id="convx", stage=5), "rXcY": None}
    with pytest.raises(InvalidObservationError) as caught:
        pack_observations(
            [signals_of(make, val_loss=nan), signals_of(make)], [wrong, wrong], SLOTS, task=make.task
        )
    kinds = [type(problem) for problem in caught.value.problems]
    each = [MissingSlotError, UnknownSlotError, UnknownBlueprintError, InvalidStageError]
    assert kinds == [NonFiniteValueError, *each, *each]


def test_lists_of_another_length(make: Any) -> None:
    signals = [signals_of(make)]
    with pytest.raises(ObservationShapeError, match="`slot_reports` describes 2 environments, `signals` 1"):
        pack_observations(signals, [EMPTY, EMPTY], SLOTS, task=make.task)
    with pytest.raises(ObservationShapeError, match="`task` describes 0 environments"):
        pack_observations(signals, [EMPTY], SLOTS, task=[])
    with pytest.raises(ObservationShapeError, match="at least one environment"):
        pack_observations([], [], SLOTS, task=make.task)


def test_no_limit_of_seeds_means_every_slot(make: Any) -> None:
    task = TaskConfig("free", make.task.topology, 25, 450, 0, 10, 2.3, 0.3, 400)
    assert pack_observations([signals_of(make)], [EMPTY], SLOTS, task=task).signals.seed_capacity.item() == 3
