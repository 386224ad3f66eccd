"""Quantities that nothing bounds: compressed so that large values differ, in order, and small ones keep proportions."""

from math import log

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from observation_maker import LARGEST, Maker
from torch import Tensor

from leyline_types import FIELDS, Block, FieldSpec, Observation, SlotConfig, observation_schema
from tamiyo_features import FeatureWorkspace, extract_features, pack_observations
from tamiyo_features.plan import PIECES, RAW_COLUMNS

SLOTS = SlotConfig.default()
SCHEMA = observation_schema(SLOTS, telemetry=True)
COMPRESSED = [spec for block in Block for spec in FIELDS[block] if spec.symlog]
TWO_SIDED = [spec for spec in COMPRESSED if spec.low < 0]


def observed(make: Maker, num_envs: int) -> Observation[Tensor]:
    """Environments alike, with a seed that gives telemetry in every slot; losses and parameters are relative to 1."""
    signals, reports = make.batch(0, 1, SLOTS, telemetry=True, occupancy=1.0)
    observation = pack_observations(signals * num_envs, reports * num_envs, SLOTS, task=make.task)
    assert observation.telemetry is not None
    one = torch.ones(num_envs)
    return observation._replace(
        signals=observation.signals._replace(baseline_loss=one, host_params=one),
        telemetry=observation.telemetry._replace(known=torch.ones_like(observation.telemetry.known)),
    )


def shown(make: Maker, spec: FieldSpec, values: list[float], *, workspace: bool = False) -> Tensor:
    """What a field shows of these values of its column, one per environment; of the first slot if it is a slot's."""
    observation = observed(make, len(values))
    block = Observation._fields[list(Block).index(spec.block)]
    columns = getattr(observation, block)
    column = getattr(columns, spec.source)
    column = torch.tensor(values).reshape(-1, *[1] * (column.dim() - 1)).expand_as(column)
    observation = observation._replace(**{block: columns._replace(**{spec.source: column})})
    out = FeatureWorkspace(SLOTS, (len(values),), telemetry=True) if workspace else None
    features = extract_features(observation, SLOTS, telemetry=True, out=out)
    place = next(field.start for field in SCHEMA.fields if field.spec is spec)
    return features[:, place]


def field_of(block: Block, name: str) -> FieldSpec:
    return next(spec for spec in FIELDS[block] if spec.name == name)


@pytest.mark.parametrize("workspace", [False, True])
def test_by_hand(make: Maker, workspace: bool) -> None:
    for block, name in ((Block.BASE, "grad_norm_host"), (Block.TELEMETRY, "gradient_norm")):
        found = shown(make, field_of(block, name), [0.0, 1.0, 10.0, 1000.0, 1e30], workspace=workspace)
        torch.testing.assert_close(found, torch.tensor([0.0, log(2), log(11), log(1001), 12.0]))
    contribution = field_of(Block.SLOT, "contribution")
    found = shown(make, contribution, [-10.0, -0.5, 0.5, torch.nan], workspace=workspace)
    torch.testing.assert_close(found, torch.tensor([-log(11), -log(1.5), log(1.5), 0.0]))


def test_the_price_is_seen(make: Maker) -> None:
    signals, reports = make.batch(0, 2, SLOTS)
    observation = pack_observations(signals, reports, SLOTS, task=[make.task, make.other_task])
    assert observation.signals.parameter_price.tolist() == pytest.approx([0.3, 1.25])
    features = extract_features(observation, SLOTS)[:, SCHEMA.names.index("parameter_price")]
    torch.testing.assert_close(features, torch.tensor([log(1.3), log(2.25)]))


@pytest.mark.parametrize("spec", COMPRESSED, ids=lambda spec: spec.name)
def test_large_values_are_told_apart(make: Maker, spec: FieldSpec) -> None:
    """Gradient norms of 10 and 1000, losses of 9 and 100."""
    nine, ten, hundred, thousand = shown(make, spec, [9.0, 10.0, 100.0, 1000.0]).tolist()
    assert hundred - nine > 2
    assert thousand - ten > 4


@given(
    st.sampled_from(COMPRESSED),
    st.lists(st.floats(0, LARGEST, width=32), min_size=2, max_size=6),
)
def test_rises_with_the_value(make: Maker, spec: FieldSpec, values: list[float]) -> None:
    values.sort()
    found = shown(make, spec, values)
    assert (found.diff() >= -1e-6).all()
    apart = torch.tensor(values).clamp(max=1e5)
    clearly = apart[1:] > apart[:-1] * 1.01 + 1e-6
    assert (found.diff()[clearly] > 0).all()


@given(st.sampled_from(TWO_SIDED), st.floats(0, LARGEST, width=32))
def test_falls_are_as_large_as_rises(make: Maker, spec: FieldSpec, value: float) -> None:
    rise, fall = shown(make, spec, [value, -value]).tolist()
    assert fall == -rise


@given(st.sampled_from(COMPRESSED), st.floats(2**-100, 2**-13, width=32))
def test_small_values_keep_their_proportions(make: Maker, spec: FieldSpec, value: float) -> None:
    assert shown(make, spec, [value]).item() == pytest.approx(value, rel=2**-13)


@pytest.mark.parametrize("name", ["train_loss", "best_val_loss", "grad_norm_host"])
def test_gradients_are_those_of_the_formula(make: Maker, name: str) -> None:
    observation = observed(make, 4)
    values = torch.tensor([0.01, 1.0, 10.0, 1000.0], requires_grad=True)
    observation = observation._replace(signals=observation.signals._replace(**{name: values}))
    place = SCHEMA.names.index(name)
    (gradient,) = torch.autograd.grad(extract_features(observation, SLOTS)[:, place].sum(), values)
    torch.testing.assert_close(gradient, 1 / (1 + values.detach()))


def test_the_pieces_of_the_raw_columns_are_what_the_table_says() -> None:
    for block in Block:
        owners = [source for source, width in RAW_COLUMNS[block].items() for _ in range(width)]
        compressed, plain, of_slot = PIECES[block]
        assert {*owners[:compressed]} == {spec.source for spec in FIELDS[block] if spec.symlog}
        assert {*owners[compressed + plain :]} == {spec.source for spec in FIELDS[block] if spec.of_slot}
        assert compressed + plain + of_slot == len(owners)
