"""The schema for people: names, table, explanation, and the check of ranges."""

import pytest
import torch
from observation_maker import Maker

from leyline_types import SlotConfig, observation_schema
from tamiyo_features import (
    FeatureRangeError,
    ObservationShapeError,
    batch_obs_to_features,
    check_features,
    describe,
    explain,
    feature_names,
    get_feature_size,
)

SLOTS = SlotConfig.default()


@pytest.mark.parametrize("telemetry", [False, True])
def test_size_and_names(telemetry: bool) -> None:
    names = feature_names(SLOTS, telemetry=telemetry)
    assert names == observation_schema(SLOTS, telemetry=telemetry).names
    assert len(set(names)) == get_feature_size(SLOTS, telemetry=telemetry) == 53 + 59 * 3 + 8 * 3 * telemetry


def test_describe_has_a_row_for_every_feature() -> None:
    table = describe(SLOTS, telemetry=True)
    assert [row.index for row in table] == list(range(254))
    assert tuple(row.name for row in table) == feature_names(SLOTS, telemetry=True)
    row = table[12 + 53]
    assert (row.name, row.unit, row.low, row.high) == ("r0c0.contribution", "points", -12.0, 12.0)
    lines = str(table).splitlines()
    assert lines[0].split() == ["index", "name", "unit", "range", "meaning"]
    assert lines[66].split() == [
        *["65", "r0c0.contribution", "points", "-12", "to", "12"],
        *["accuracy", "with", "the", "seed", "minus", "without", "it"],
    ]
    assert len(lines) == 255


def test_explain(make: Maker) -> None:
    features = batch_obs_to_features(*make.batch(0, 2, SLOTS), SLOTS, task=make.task)
    said = explain(features[1], SLOTS)
    assert tuple(said) == feature_names(SLOTS)
    assert list(said.values()) == features[1].tolist()
    with pytest.raises(ObservationShapeError, match=r"\(2, 230\); one vector has one axis"):
        explain(features, SLOTS)
    with pytest.raises(ObservationShapeError, match=r"\(230,\), the schema of slots r0c0, r0c1 .* has 171"):
        explain(features[0], SlotConfig.for_grid(1, 2))


def test_features_out_of_range_are_named(make: Maker) -> None:
    features = batch_obs_to_features(*make.batch(0, 2, SLOTS), SLOTS, task=make.task)
    check_features(features, SLOTS)
    features[1, 2] = 12.5
    features[0, 11 + 53] = torch.nan
    with pytest.raises(FeatureRangeError) as caught:
        check_features(features, SLOTS)
    assert str(caught.value).splitlines() == [
        "at [0]: r0c0.alpha is nan, its range is 0 to 1",
        "at [1]: train_loss is 12.5, its range is 0 to 12",
    ]
    with pytest.raises(FeatureRangeError) as caught:
        check_features(torch.full((2, 230), 13.0), SLOTS)
    assert len(str(caught.value).splitlines()) == 21
    assert str(caught.value).endswith("and 440 more")
