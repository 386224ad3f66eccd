"""Extraction as a tensor program: shapes, types, workspaces, mapping and compiling."""

from typing import Any

import pytest
import torch
from torch import Tensor

from leyline_types import Observation, SignalColumns, SlotColumns, SlotConfig, observation_schema
from tamiyo_features import ObservationShapeError, extract_features, pack_observations

SLOTS = SlotConfig.default()


def packed(make: Any, num_envs: int, *, telemetry: bool = False, seed: int = 5) -> Observation[Tensor]:
    signals, reports = make.batch(seed, num_envs, SLOTS.slot_ids, telemetry=telemetry)
    observation = pack_observations(signals, reports, SLOTS, task=make.task)
    assert isinstance(observation, Observation)
    return observation


def test_any_leading_shape(make: Any) -> None:
    observation = packed(make, 6)
    batch = extract_features(observation, SLOTS)
    signals, slots, _ = observation
    timed = Observation(
        SignalColumns(*(column.unflatten(0, (2, 3)) for column in signals)),
        SlotColumns(*(column.unflatten(0, (2, 3)) for column in slots)),
    )
    single = Observation(SignalColumns(*(c[4] for c in signals)), SlotColumns(*(c[4] for c in slots)))
    assert torch.equal(extract_features(timed, SLOTS), batch.unflatten(0, (2, 3)))
    assert torch.equal(extract_features(single, SLOTS), batch[4])


def test_vmap_of_one_environment_equals_the_batch(make: Any) -> None:
    observation = packed(make, 5, telemetry=True)

    def one(signals: Any, slots: Any, telemetry: Any) -> Tensor:
        return extract_features(Observation(signals, slots, telemetry), SLOTS, telemetry=True)

    assert torch.equal(
        torch.func.vmap(one)(*observation), extract_features(observation, SLOTS, telemetry=True)
    )


def test_empty_slot_is_all_zero_whatever_its_columns_hold(make: Any) -> None:
    observation = packed(make, 4)
    nobody = observation._replace(
        slots=observation.slots._replace(occupied=torch.zeros_like(observation.slots.occupied))
    )
    schema = observation_schema(SLOTS)
    first = schema.names.index("r0c0.is_active")
    assert not extract_features(nobody, SLOTS)[:, first:].any()
    assert extract_features(observation, SLOTS)[:, first:].any()


@pytest.mark.parametrize("dtype", [torch.float64, torch.float16, torch.bfloat16])
def test_other_dtypes(make: Any, dtype: torch.dtype) -> None:
    observation = packed(make, 4)
    found = extract_features(observation, SLOTS, dtype=dtype)
    assert found.dtype == dtype
    torch.testing.assert_close(found.float(), extract_features(observation, SLOTS), atol=1e-2, rtol=1e-2)


def test_gradients_flow_after_a_first_call_in_inference_mode(make: Any) -> None:
    from tamiyo_features.extraction import _cache

    observation = packed(make, 4)
    _cache.clear()
    with torch.inference_mode():
        extract_features(observation, SLOTS)
    loss = observation.signals.val_loss.clone().requires_grad_()
    signals = observation.signals._replace(val_loss=loss)
    (gradient,) = torch.autograd.grad(
        extract_features(observation._replace(signals=signals), SLOTS).sum(), loss
    )
    assert gradient.any()


def test_out_is_written_and_returned(make: Any) -> None:
    observation = packed(make, 4)
    out = torch.full((4, observation_schema(SLOTS).dim), torch.nan)
    assert extract_features(observation, SLOTS, out=out) is out
    assert torch.equal(out, extract_features(observation, SLOTS))


def test_inputs_are_left_alone(make: Any) -> None:
    observation = packed(make, 4)
    before = [column.clone() for block in observation[:2] for column in block]
    extract_features(observation, SLOTS)
    after = [column for block in observation[:2] for column in block]
    for old, new in zip(before, after, strict=True):
        torch.testing.assert_close(new, old, equal_nan=True, rtol=0, atol=0)


def test_refusals_name_both_sides(make: Any) -> None:
    observation = packed(make, 4)
    with pytest.raises(ObservationShapeError, match=r"shape \(4, 3\), not 4 slots last"):
        extract_features(observation, SlotConfig.for_grid(1, 4))
    with pytest.raises(ObservationShapeError, match="carries none"):
        extract_features(observation, SLOTS, telemetry=True)
    with pytest.raises(
        ObservationShapeError, match=r"`out` is \(4, 7\) of torch.float32, features are \(4, 211\)"
    ):
        extract_features(observation, SLOTS, out=torch.zeros(4, 7))
    with pytest.raises(ObservationShapeError, match=r"of torch.float64"):
        extract_features(observation, SLOTS, out=torch.zeros(4, 211, dtype=torch.float64))


def test_compiles_whole_and_once_for_all_numbers_of_environments(make: Any) -> None:
    compiled = torch.compile(extract_features, fullgraph=True, dynamic=True)
    for num_envs in (4, 6):
        observation = packed(make, num_envs)
        torch.testing.assert_close(compiled(observation, SLOTS), extract_features(observation, SLOTS))
    observation = packed(make, 9)
    with torch.compiler.set_stance("fail_on_recompile"):
        torch.testing.assert_close(compiled(observation, SLOTS), extract_features(observation, SLOTS))
