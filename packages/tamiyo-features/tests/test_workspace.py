"""A workspace gives the same features, and after its making a step allocates nothing."""

from typing import Any

import pytest
import torch
from observation_maker import Maker
from torch.profiler import ProfilerActivity, profile

from leyline_types import Observation, SignalColumns, SlotColumns, SlotConfig
from tamiyo_features import (
    FeatureWorkspace,
    ObservationShapeError,
    batch_obs_to_features,
    extract_features,
    pack_observations,
)

SLOTS = SlotConfig.for_grid(5, 5)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16, torch.float16])
@pytest.mark.parametrize("telemetry", [False, True])
def test_same_features_step_after_step(make: Maker, dtype: torch.dtype, telemetry: bool) -> None:
    workspace = FeatureWorkspace(SLOTS, (4,), telemetry=telemetry, dtype=dtype)
    for seed in range(3):
        signals, reports = make.batch(seed, 4, SLOTS, telemetry=True)
        observation = pack_observations(signals, reports, SLOTS, task=make.task, dtype=torch.float64)
        found = extract_features(observation, SLOTS, telemetry=telemetry, dtype=dtype, out=workspace)
        assert found is workspace.features
        assert torch.equal(found, extract_features(observation, SLOTS, telemetry=telemetry, dtype=dtype))


def test_from_objects_and_without_a_batch_axis(make: Maker) -> None:
    signals, reports = make.batch(0, 4, SLOTS)
    workspace = FeatureWorkspace(SLOTS, (4,))
    found = batch_obs_to_features(signals, reports, SLOTS, task=make.task, out=workspace)
    observation = pack_observations(signals, reports, SLOTS, task=make.task)
    single = Observation(
        SignalColumns(*(column[2] for column in observation.signals)),
        SlotColumns(*(column[2] for column in observation.slots)),
    )
    assert torch.equal(extract_features(single, SLOTS, out=FeatureWorkspace(SLOTS, ())), found[2])


def allocated(make: Maker, workspace: FeatureWorkspace | None) -> list[int]:
    """Bytes of each tensor memory that 20 steps ask for."""
    observation = pack_observations(*make.batch(0, 64, SLOTS, telemetry=True), SLOTS, task=make.task)

    def step() -> None:
        extract_features(observation, SLOTS, telemetry=True, out=workspace)

    step()
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as measured:
        for _ in range(20):
            step()
    events = measured.events()
    assert events is not None
    return [event.cpu_memory_usage for event in events if event.cpu_memory_usage > 0]


def test_steps_allocate_nothing(make: Maker) -> None:
    assert allocated(make, FeatureWorkspace(SLOTS, (64,), telemetry=True)) == []
    assert (
        sum(allocated(make, None)) > 20 * 64 * 1728 * 4
    )  # the measurement sees allocations where there are some


def test_a_workspace_of_another_shape_is_refused(make: Maker) -> None:
    observation = pack_observations(*make.batch(0, 4, SLOTS), SLOTS, task=make.task)
    for workspace in (
        FeatureWorkspace(SLOTS, (5,)),
        FeatureWorkspace(SLOTS, (4,), telemetry=True),
        FeatureWorkspace(SLOTS, (4,), dtype=torch.float64),
        FeatureWorkspace(SlotConfig.default(), (4,)),
    ):
        with pytest.raises(
            ObservationShapeError, match=r"`out` is .* features are \(4, 1528\) of torch.float32"
        ):
            extract_features(observation, SLOTS, out=workspace)


def test_a_number_is_no_batch_shape() -> None:
    number: Any = 4
    with pytest.raises(
        ObservationShapeError, match=r"`batch_shape` is 4, it must be a sequence such as \(4,\)"
    ):
        FeatureWorkspace(SLOTS, number)


def test_gradients_are_refused_and_inference_mode_leaves_no_trace(make: Maker) -> None:
    observation = pack_observations(*make.batch(0, 4, SLOTS), SLOTS, task=make.task)
    with torch.inference_mode():
        workspace = FeatureWorkspace(SLOTS, (4,), dtype=torch.bfloat16)
    extract_features(observation, SLOTS, dtype=torch.bfloat16, out=workspace)
    loss = observation.signals.val_loss.clone().requires_grad_()
    observation = observation._replace(signals=observation.signals._replace(val_loss=loss))
    with pytest.raises(ObservationShapeError, match=r"signals.val_loss` wants a gradient"):
        extract_features(observation, SLOTS, dtype=torch.bfloat16, out=workspace)
