"""The observation schema for people: which feature stands where, what a vector says, and whether it can be true."""

from dataclasses import dataclass
from math import isfinite

import torch
from jaxtyping import Float
from torch import Tensor

from leyline_types import ObservationSchema, PlacedField, SlotConfig, observation_schema, place_in_words
from tamiyo_features.errors import FeatureRangeError, NonFiniteValueError, ObservationShapeError

_MOST_LISTED = 20


@dataclass(frozen=True, slots=True)
class FeatureRow:
    """One feature: its place in the vector, name, unit of the raw value, range of the feature, meaning."""

    index: int
    name: str
    unit: str
    low: float
    high: float
    meaning: str


class FeatureTable(tuple[FeatureRow, ...]):
    """Rows in the order of the vector. `print` shows them as aligned columns."""

    __slots__ = ()

    def __str__(self) -> str:
        cells = [("index", "name", "unit", "range", "meaning")]
        cells += [
            (str(row.index), row.name, row.unit, f"{row.low:g} to {row.high:g}", row.meaning) for row in self
        ]
        widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
        lines = (
            "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) for row in cells
        )
        return "\n".join(line.rstrip() for line in lines)


def get_feature_size(slot_config: SlotConfig, *, telemetry: bool = False) -> int:
    """Features of one environment with these slots."""
    return observation_schema(slot_config, telemetry=telemetry).dim


def feature_names(slot_config: SlotConfig, *, telemetry: bool = False) -> tuple[str, ...]:
    """One unique name per feature, in order: "epoch", "loss_history[-1]", "r0c1.alpha", "r0c1.stage=TRAINING"."""
    return observation_schema(slot_config, telemetry=telemetry).names


def describe(slot_config: SlotConfig, *, telemetry: bool = False) -> FeatureTable:
    """A row for every feature of a network with these slots."""
    schema = observation_schema(slot_config, telemetry=telemetry)
    specs = [field.spec for field in schema.fields for _ in range(field.spec.width)]
    return FeatureTable(
        FeatureRow(index, name, spec.unit, spec.low, spec.high, spec.description)
        for index, (name, spec) in enumerate(zip(schema.names, specs, strict=True))
    )


def explain(
    features: Float[Tensor, " feature"], slot_config: SlotConfig, *, telemetry: bool = False
) -> dict[str, float]:
    """One environment's vector as {name: value}, in order.

    Raises:
        ObservationShapeError: `features` is not one vector of a network with these slots.
    """
    schema = observation_schema(slot_config, telemetry=telemetry)
    if features.dim() != 1:
        raise ObservationShapeError(f"`features` has shape {tuple(features.shape)}; one vector has one axis")
    _check_width(features, schema)
    return dict(zip(schema.names, features.tolist(), strict=True))


def check_features(
    features: Float[Tensor, "*batch feature"], slot_config: SlotConfig, *, telemetry: bool = False
) -> None:
    """Check that every feature lies in the range that the schema declares for it. Synchronises with the device.

    Raises:
        FeatureRangeError: some do not (NaN among them); names each with its place in the batch, value and range.
        ObservationShapeError: the last axis has another length than the schema.
    """
    schema = observation_schema(slot_config, telemetry=telemetry)
    _check_width(features, schema)
    low, high = (torch.tensor(bounds, device=features.device) for bounds in (schema.low, schema.high))
    outside = ((features >= low) & (features <= high)).logical_not().nonzero().tolist()
    if outside:
        lines = [
            f"{f'at {place}: ' if place else ''}{schema.names[index]} is {features[*place, index].item():g}, "
            f"its range is {schema.low[index]:g} to {schema.high[index]:g}"
            for *place, index in outside[:_MOST_LISTED]
        ]
        if len(outside) > _MOST_LISTED:
            lines.append(f"and {len(outside) - _MOST_LISTED} more")
        raise FeatureRangeError("\n".join(lines))


def check_finite_features(
    features: Float[Tensor, "*batch feature"], slot_config: SlotConfig, *, telemetry: bool = False
) -> None:
    """Check that every feature is finite, normalised or not. Synchronises with the device.

    `extract_features` gives finite features whatever the columns hold; `check_observation` is for those.

    Raises:
        NonFiniteValueError: names environment, slot, feature and value of the first that is not, and says how many
            others are not.
        ObservationShapeError: the last axis has another length than the schema.
    """
    schema = observation_schema(slot_config, telemetry=telemetry)
    _check_width(features, schema)
    if isfinite(
        features.sum()
    ):  # the cheapest look at all of them; a sum that is only too large is looked into
        return
    places = features.isfinite().logical_not().nonzero().tolist()
    if not places:
        return
    *place, index = places[0]
    field, name = _field_at(schema, index)
    more = f" (and {len(places) - 1} more)" if len(places) > 1 else ""
    raise NonFiniteValueError(
        f"{place_in_words(tuple(place), field.slot_id)}: feature {name!r} is {features[*place, index].item():g}, "
        f"expected a finite number{more}"
    )


def _field_at(schema: ObservationSchema, index: int) -> tuple[PlacedField, str]:
    """The field that a feature belongs to, and the feature's name without its slot."""
    field = next(field for field in schema.fields if index < field.stop)
    return field, field.names[index - field.start].rpartition(".")[2]


def _check_width(features: Tensor, schema: ObservationSchema) -> None:
    if features.shape[-1:] != (schema.dim,):
        raise ObservationShapeError(
            f"`features` has shape {tuple(features.shape)}, the schema of slots {', '.join(schema.slot_config)} "
            f"(telemetry {schema.telemetry}) has {schema.dim} features"
        )
