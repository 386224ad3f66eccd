"""Extraction as a tensor program: shapes, types, workspaces, mapping and compiling."""

import random
from math import log1p

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from observation_maker import Maker
from torch import Tensor

from leyline_types import (
    Observation,
    SignalColumns,
    SlotColumns,
    SlotConfig,
    TelemetryColumns,
    observation_schema,
)
from tamiyo_features import (
    FeatureWorkspace,
    ObservationShapeError,
    batch_obs_to_features,
    extract_features,
    obs_to_multislot_features,
    pack_observations,
)

SLOTS = SlotConfig.default()


def packed(make: Maker, num_envs: int, *, telemetry: bool = False, seed: int = 5) -> Observation[Tensor]:
    signals, reports = make.batch(seed, num_envs, SLOTS, telemetry=telemetry)
    observation = pack_observations(signals, reports, SLOTS, task=make.task)
    assert isinstance(observation, Observation)
    return observation


def test_any_leading_shape(make: Maker) -> None:
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


@given(st.randoms(use_true_random=False), st.booleans())
def test_vmap_of_one_environment_equals_the_batch(make: Maker, rng: random.Random, telemetry: bool) -> None:
    signals, reports = make.batch(rng, 2, SLOTS, telemetry=telemetry)
    observation = pack_observations(signals, reports, SLOTS, task=make.task)
    if not telemetry:
        observation = observation._replace(telemetry=None)

    def one(single: Observation[Tensor]) -> Tensor:
        return extract_features(single, SLOTS, telemetry=telemetry)

    axes: Observation[int] = Observation._make((0, 0, None if observation.telemetry is None else 0))
    mapped = torch.func.vmap(one, in_dims=(axes,))
    assert torch.equal(mapped(observation), extract_features(observation, SLOTS, telemetry=telemetry))


def test_an_empty_slot_shows_its_diagnostics_and_nothing_else_whatever_its_columns_hold(make: Maker) -> None:
    observation = packed(make, 4)
    third = torch.full_like(observation.slots.alpha, 0.25)
    slots = observation.slots._replace(
        host_gradient_share=third, activation_rank=2 * third, within_map_variance=torch.nan * third
    )
    nobody = slots._replace(occupied=torch.zeros_like(slots.occupied))
    first = observation_schema(SLOTS).names.index("r0c0.is_active")
    for out in (None, FeatureWorkspace(SLOTS, (4,))):
        empty = extract_features(observation._replace(slots=nobody), SLOTS, out=out)[:, first:]
        empty = empty.unflatten(-1, (3, -1))
        assert not empty[..., :-6].any()
        assert (empty[..., -6:] == torch.tensor([0.25, 1.0, 0.5, 1.0, 0.0, 0.0])).all()
        seeds = extract_features(observation._replace(slots=slots), SLOTS, out=out)[:, first:]
        seeds = seeds.unflatten(-1, (3, -1))
        assert seeds[..., :-6].any()
        assert (seeds[..., -6:] == empty[..., -6:]).all()


@pytest.mark.parametrize("dtype", [torch.float64, torch.float16, torch.bfloat16])
def test_other_dtypes(make: Maker, dtype: torch.dtype) -> None:
    observation = packed(make, 4)
    found = extract_features(observation, SLOTS, dtype=dtype)
    assert found.dtype == dtype
    torch.testing.assert_close(found.float(), extract_features(observation, SLOTS), atol=1e-2, rtol=1e-2)


def test_integers_beyond_float32_are_exact_in_float64(make: Maker) -> None:
    signals = packed(make, 4).signals
    signals = signals._replace(
        total_params=torch.full((4,), 2**40 + 1), host_params=torch.full((4,), 2**40 + 3)
    )
    observation = packed(make, 4)._replace(signals=signals)
    expected = log1p((2**40 + 1) / (2**40 + 3))
    column = observation_schema(SLOTS).names.index("total_params")
    workspace = FeatureWorkspace(SLOTS, (4,), dtype=torch.float64)
    for out in (None, workspace):
        found = extract_features(observation, SLOTS, dtype=torch.float64, out=out)
        assert found[:, column].tolist() == pytest.approx([expected] * 4, rel=1e-15)


def test_gradients_flow_after_a_first_call_in_inference_mode(make: Maker) -> None:
    slots = SlotConfig(
        ("r7c7",)
    )  # of no other test: the program's constants are made here, in inference mode
    signals, reports = make.batch(5, 4, slots)
    observation = pack_observations(signals, reports, slots, task=make.task)
    with torch.inference_mode():
        extract_features(observation, slots)
    accuracy = observation.signals.val_accuracy.clone().requires_grad_()
    observation = observation._replace(signals=observation.signals._replace(val_accuracy=accuracy))
    (gradient,) = torch.autograd.grad(extract_features(observation, slots).sum(), accuracy)
    torch.testing.assert_close(gradient, torch.full((4,), 0.01))


def test_needs_no_values_and_thus_never_waits_for_a_device(make: Maker) -> None:
    """On the meta device tensors have no values: a synchronisation would have nothing to read."""
    signals, slots, telemetry = packed(make, 4, telemetry=True)
    assert telemetry is not None
    observation = Observation(
        SignalColumns(*(column.to("meta") for column in signals)),
        SlotColumns(*(column.to("meta") for column in slots)),
        TelemetryColumns(*(column.to("meta") for column in telemetry)),
    )
    workspace = FeatureWorkspace(SLOTS, (4,), telemetry=True, device="meta")
    for out in (None, workspace):
        features = extract_features(observation, SLOTS, telemetry=True, out=out)
        assert (features.device.type, features.shape) == ("meta", (4, 254))


@pytest.mark.parametrize("device", ["cpu", "meta"])
def test_packs_to_a_device(make: Maker, device: str) -> None:
    signals, reports = make.batch(5, 2, SLOTS, telemetry=True)
    observation = pack_observations(signals, reports, SLOTS, task=make.task, device=device)
    assert {column.device.type for block in observation if block for column in block} == {device}


def test_out_is_written_and_returned(make: Maker) -> None:
    observation = packed(make, 4)
    out = torch.full((4, observation_schema(SLOTS).dim), torch.nan)
    assert extract_features(observation, SLOTS, out=out) is out
    assert torch.equal(out, extract_features(observation, SLOTS))


def test_inputs_are_left_alone(make: Maker) -> None:
    observation = packed(make, 4)
    before = [column.clone() for block in observation[:2] for column in block]
    extract_features(observation, SLOTS)
    after = [column for block in observation[:2] for column in block]
    for old, new in zip(before, after, strict=True):
        torch.testing.assert_close(new, old, equal_nan=True, rtol=0, atol=0)


def test_refusals_name_both_sides(make: Maker) -> None:
    observation = packed(make, 4)
    with pytest.raises(
        ObservationShapeError,
        match=r"`observation.slots.\w+` has shape \(4, 3\); with 4 slots .* \(4,\) it must be \(4, 4\)",
    ):
        extract_features(observation, SlotConfig.for_grid(1, 4))
    with pytest.raises(ObservationShapeError, match="carries none"):
        extract_features(observation._replace(telemetry=None), SLOTS, telemetry=True)
    for out in (
        torch.zeros(4, 7),
        torch.zeros(4, 230, dtype=torch.float64),
        torch.zeros(4, 230, device="meta"),
    ):
        with pytest.raises(
            ObservationShapeError,
            match=r"`out` is \(4, \d+\) of .* on \w+, features are \(4, 230\) of torch.float32 on cpu",
        ):
            extract_features(observation, SLOTS, out=out)


@pytest.mark.parametrize("block", ["signals", "slots", "telemetry"])
def test_every_column_of_another_shape_is_named(make: Maker, block: str) -> None:
    observation = packed(make, 4, telemetry=True)
    columns = getattr(observation, block)
    for name in columns._fields:
        if (block, name) == ("signals", "epoch"):  # the batch shape is read from it
            continue
        broken = observation._replace(**{block: columns._replace(**{name: torch.zeros(3, 3)})})
        with pytest.raises(
            ObservationShapeError, match=rf"`observation\.{block}\.{name}` has shape \(3, 3\)"
        ):
            extract_features(broken, SLOTS, telemetry=True)


@pytest.mark.compile
@pytest.mark.parametrize("telemetry", [False, True])
def test_compiles_whole_and_once_for_all_numbers_of_environments(make: Maker, telemetry: bool) -> None:
    torch.compiler.reset()
    compiled = torch.compile(extract_features, fullgraph=True, dynamic=True)

    def check(num_envs: int) -> None:
        observation = packed(make, num_envs, telemetry=telemetry)
        out = torch.empty(num_envs, observation_schema(SLOTS, telemetry=telemetry).dim)
        workspace = FeatureWorkspace(SLOTS, (num_envs,), telemetry=telemetry)
        expected = extract_features(observation, SLOTS, telemetry=telemetry)
        for into in (None, out, workspace):
            found = compiled(observation, SLOTS, telemetry=telemetry, out=into)
            torch.testing.assert_close(found, expected, atol=2e-6, rtol=0)
        assert torch.equal(out, workspace.features)

    check(4)
    with torch.compiler.set_stance("fail_on_recompile"):
        for num_envs in (6, 2, 9, 64):
            check(num_envs)


@pytest.mark.compile
def test_compiles_once_for_all_lengths_of_sequences(make: Maker) -> None:
    torch.compiler.reset()
    compiled = torch.compile(extract_features, fullgraph=True, dynamic=True)

    def check(num_envs: int, length: int) -> None:
        flat = packed(make, num_envs * length)
        observation = Observation(
            SignalColumns(*(column.unflatten(0, (num_envs, length)) for column in flat.signals)),
            SlotColumns(*(column.unflatten(0, (num_envs, length)) for column in flat.slots)),
        )
        expected = extract_features(observation, SLOTS)
        torch.testing.assert_close(compiled(observation, SLOTS), expected, atol=2e-6, rtol=0)

    check(4, 7)  # unlike each other and the number of slots: the compiler takes equal sizes to stay equal
    with torch.compiler.set_stance("fail_on_recompile"):
        check(5, 7)
        check(9, 6)


@pytest.mark.compile
def test_one_environment_and_other_slots_compile_too(make: Maker) -> None:
    torch.compiler.reset()
    compiled = torch.compile(extract_features, fullgraph=True)
    for slots in (SLOTS, SlotConfig.for_grid(2, 2)):
        observation = pack_observations(*make.batch(5, 1, slots), slots, task=make.task)
        for _ in range(2):
            torch.testing.assert_close(
                compiled(observation, slots), extract_features(observation, slots), atol=2e-6, rtol=0
            )


@pytest.mark.parametrize("floats", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
@pytest.mark.parametrize("integers", [torch.int32, torch.int64])
def test_columns_of_any_dtype(make: Maker, floats: torch.dtype, integers: torch.dtype) -> None:
    """A count beyond float16 beside half-precision columns stays what it is, with a workspace and without."""
    signals, slots, _ = packed(make, 4)
    signals = signals._replace(total_params=torch.full((4,), 137_001), host_params=torch.full((4,), 100_003))

    def convert(column: Tensor) -> Tensor:
        if column.is_floating_point():
            return column.clamp(-6e4, 6e4).to(floats)
        return column if column.dtype is torch.bool else column.clamp(max=2**30).to(integers)

    observation = Observation(SignalColumns(*map(convert, signals)), SlotColumns(*map(convert, slots)))
    features = extract_features(observation, SLOTS)
    place = observation_schema(SLOTS).names.index("total_params")
    torch.testing.assert_close(features[:, place], torch.full((4,), log1p(137_001 / 100_003)))
    assert torch.equal(extract_features(observation, SLOTS, out=FeatureWorkspace(SLOTS, (4,))), features)


def test_other_dtypes_and_devices_are_refused(make: Maker) -> None:
    observation = packed(make, 4)
    for dtype in (torch.int64, torch.bool, torch.complex64):
        with pytest.raises(
            ObservationShapeError, match=f"`dtype` is {dtype}, it must be one of torch.float64"
        ):
            extract_features(observation, SLOTS, dtype=dtype)
    elsewhere = observation.slots._replace(alpha=observation.slots.alpha.to("meta"))
    with pytest.raises(ObservationShapeError, match=r"slots.alpha` is on meta, `signals.epoch` on cpu"):
        extract_features(observation._replace(slots=elsewhere), SLOTS)


def test_a_first_call_inside_a_transform_leaves_nothing_behind(make: Maker) -> None:
    slots = SlotConfig(("r7c9",))  # of no other test
    observation = pack_observations(*make.batch(5, 4, slots), slots, task=make.task)

    def total(x: Tensor) -> Tensor:
        return x * extract_features(observation, slots).sum()

    torch.func.grad(total)(torch.tensor(2.0))
    batch = extract_features(observation, slots)
    mapped: Tensor = torch.func.vmap(lambda one: extract_features(one, slots))(observation)
    assert torch.equal(mapped, batch)
    compiled = torch.compile(extract_features, fullgraph=True, backend="aot_eager")
    assert torch.equal(compiled(observation, slots), batch)


def test_a_traced_first_call_leaves_nothing_behind(make: Maker) -> None:
    class Module(torch.nn.Module):
        def forward(self, observation: Observation[Tensor]) -> Tensor:
            return extract_features(observation, slots)

    slots = SlotConfig(("r6c6",))  # of no other test: its constants are made while the graph is traced
    observation = pack_observations(*make.batch(5, 4, slots), slots, task=make.task)
    torch.export.export(Module(), (observation,), strict=False)
    features = extract_features(observation, slots)
    assert type(features) is Tensor
    assert features.isfinite().all()


def test_maps_over_one_column(make: Maker) -> None:
    observation = packed(make, 4)
    losses = torch.rand(3, 4) + 1

    def with_baseline(baseline: Tensor) -> Tensor:
        signals = observation.signals._replace(baseline_loss=baseline)
        return extract_features(observation._replace(signals=signals), SLOTS)

    assert torch.equal(torch.func.vmap(with_baseline)(losses), torch.stack([*map(with_baseline, losses)]))


def test_telemetry_of_an_empty_slot_is_zero(make: Maker) -> None:
    observation = packed(make, 4, telemetry=True)
    assert observation.telemetry is not None
    telemetry = observation.telemetry._replace(known=torch.ones_like(observation.telemetry.known))
    slots = observation.slots._replace(occupied=torch.zeros_like(observation.slots.occupied))
    features = extract_features(Observation(observation.signals, slots, telemetry), SLOTS, telemetry=True)
    assert not features[:, -3 * 8 :].any()


def test_objects_to_a_device_and_dtype(make: Maker) -> None:
    signals, reports = make.batch(0, 2, SLOTS)
    batch = batch_obs_to_features(
        signals, reports, SLOTS, task=make.task, device="meta", dtype=torch.bfloat16
    )
    single = obs_to_multislot_features(
        signals[0], reports[0], SLOTS, task=make.task, device="meta", dtype=torch.float64
    )
    assert (batch.device.type, batch.dtype) == ("meta", torch.bfloat16)
    assert (single.device.type, single.dtype, single.shape) == ("meta", torch.float64, (230,))
