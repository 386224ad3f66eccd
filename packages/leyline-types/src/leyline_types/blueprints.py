"""What a seed can be built from, and which blueprints fit which kind of network."""

from enum import IntEnum, StrEnum
from types import MappingProxyType
from typing import Final


class Topology(StrEnum):
    """The kind of activation that passes a slot: [batch, C, H, W] (cnn) or [batch, token, D] (transformer)."""

    CNN = "cnn"
    TRANSFORMER = "transformer"

    @property
    def code(self) -> int:
        """Position in declaration order: the integer that columns carry."""
        return list(Topology).index(self)


class BlueprintAction(IntEnum):
    """The module that a germinated seed is built from. NOOP marks the absence of one and is never germinated."""

    NOOP = 0
    CONV_LIGHT = 1
    ATTENTION = 2
    NORM = 3
    DEPTHWISE = 4
    BOTTLENECK = 5
    CONV_SMALL = 6
    CONV_HEAVY = 7
    LORA = 8
    LORA_LARGE = 9
    MLP_SMALL = 10
    MLP = 11
    FLEX_ATTENTION = 12

    @property
    def blueprint_id(self) -> str:
        """The lower-case name; the one spelling used in reports, files and registries."""
        return self.name.lower()

    @classmethod
    def from_blueprint_id(cls, blueprint_id: str) -> "BlueprintAction":
        """The member with this id.

        Raises:
            ValueError: no blueprint has this id.
        """
        for member in cls:
            if member.blueprint_id == blueprint_id:
                return member
        known = ", ".join(member.blueprint_id for member in cls)
        raise ValueError(f"blueprint {blueprint_id!r} is unknown; blueprints are {known}")


_CNN: Final = (0, 1, 2, 3, 4, 5, 6, 7)
_TRANSFORMER: Final = (0, 2, 3, 8, 9, 10, 11, 12)

TOPOLOGY_BLUEPRINTS: Final = MappingProxyType(
    {
        Topology.CNN: frozenset(map(BlueprintAction, _CNN)),
        Topology.TRANSFORMER: frozenset(map(BlueprintAction, _TRANSFORMER)),
    }
)
"""The blueprints that each topology knows, NOOP included."""


def germinable_blueprints(topology: Topology) -> tuple[BlueprintAction, ...]:
    """The blueprints that may be germinated in a network of this topology, in order of value: never NOOP."""
    return tuple(sorted(TOPOLOGY_BLUEPRINTS[topology] - {BlueprintAction.NOOP}))
