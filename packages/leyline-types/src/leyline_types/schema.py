"""The observation schema of a network: the table laid out over its slots, with everything derived from it."""

import hashlib
import json
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Final, NamedTuple

from leyline_types.schema_fields import (
    BASE_FIELDS,
    SLOT_FIELDS,
    TELEMETRY_FIELDS,
    Block,
    Encoding,
    FieldSpec,
)
from leyline_types.slots import SlotConfig

SCHEMA_VERSION: Final = 2
"""Raised with every change of the table; policies trained on another version are refused."""

FIELDS: Final = {
    Block.BASE: BASE_FIELDS,
    Block.SLOT: SLOT_FIELDS,
    Block.TELEMETRY: TELEMETRY_FIELDS,
}


class PlacedField(NamedTuple):
    """A row of the table at its place in the feature vector: features [start, stop), of one slot or (None) the base."""

    spec: FieldSpec
    slot_id: str | None
    start: int
    stop: int

    @property
    def names(self) -> tuple[str, ...]:
        """One name per feature: "epoch", "loss_history[-1]", "r0c1.alpha", "r0c1.stage=TRAINING"."""
        name = self.spec.name if self.slot_id is None else f"{self.slot_id}.{self.spec.name}"
        if self.spec.encoding is Encoding.ONE_HOT:
            return tuple(f"{name}={member.name}" for member in self.spec.categories)
        if self.spec.width > 1:
            return tuple(f"{name}[{index - self.spec.width}]" for index in range(self.spec.width))
        return (name,)


@dataclass(frozen=True)
class ObservationSchema:
    """The feature vector of a network with these slots: base, then slot by slot, then telemetry slot by slot.

    Made by `observation_schema`. Two schemas with the same `hash` describe the same vector.
    """

    slot_config: SlotConfig
    telemetry: bool

    @cached_property
    def fields(self) -> tuple[PlacedField, ...]:
        """Every field at its place, in order."""
        layout: list[tuple[FieldSpec, str | None]] = [(spec, None) for spec in BASE_FIELDS]
        layout += [(spec, slot_id) for slot_id in self.slot_config for spec in SLOT_FIELDS]
        if self.telemetry:
            layout += [(spec, slot_id) for slot_id in self.slot_config for spec in TELEMETRY_FIELDS]
        placed, start = [], 0
        for spec, slot_id in layout:
            placed.append(PlacedField(spec, slot_id, start, start + spec.width))
            start += spec.width
        return tuple(placed)

    @cached_property
    def dim(self) -> int:
        """Number of features."""
        return self.fields[-1].stop

    @cached_property
    def names(self) -> tuple[str, ...]:
        """One unique name per feature."""
        return tuple(name for field in self.fields for name in field.names)

    @property
    def version(self) -> int:
        """`SCHEMA_VERSION`."""
        return SCHEMA_VERSION

    @cached_property
    def hash(self) -> str:
        """SHA-256 over version, slot ids and every field with its scaling: equal only for equal vectors."""
        content = {
            "version": SCHEMA_VERSION,
            "slots": self.slot_config.slot_ids,
            "telemetry": self.telemetry,
            "fields": {block.value: [describe_field(spec) for spec in FIELDS[block]] for block in Block},
        }
        return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()

    def block_dim(self, block: Block) -> int:
        """Features of one occurrence of a block: of the base, or of one slot."""
        return sum(spec.width for spec in FIELDS[block])

    @cached_property
    def low(self) -> tuple[float, ...]:
        """Least value of each feature."""
        return tuple(field.spec.low for field in self.fields for _ in range(field.spec.width))

    @cached_property
    def high(self) -> tuple[float, ...]:
        """Greatest value of each feature."""
        return tuple(field.spec.high for field in self.fields for _ in range(field.spec.width))


@lru_cache(maxsize=64)
def observation_schema(slot_config: SlotConfig, *, telemetry: bool = False) -> ObservationSchema:
    """The schema for a network with these slots; with `telemetry`, the optional block is part of the vector."""
    return ObservationSchema(slot_config, telemetry)


def describe_field(spec: FieldSpec) -> dict[str, object]:
    """A field as plain data, for hashes and lock files."""
    return {
        "name": spec.name,
        "source": spec.source,
        "encoding": spec.encoding.value,
        "width": spec.width,
        "unit": spec.unit,
        "relative_to": spec.relative_to,
        "symlog": spec.symlog,
        "of_slot": spec.of_slot,
        "scale": spec.scale,
        "low": spec.low,
        "high": spec.high,
        "categories": {member.name: member.value for member in spec.categories},
    }
