"""Everything that trained policies depend on, as plain data to hold against a committed lock file."""

import hashlib
import json
from enum import IntEnum
from typing import Final

from leyline_types.actions import (
    AlphaAlgorithm,
    AlphaCurveAction,
    AlphaMode,
    AlphaSpeedAction,
    AlphaTargetAction,
    GerminationStyle,
    LifecycleOp,
    TempoAction,
)
from leyline_types.blueprints import TOPOLOGY_BLUEPRINTS, BlueprintAction, Topology
from leyline_types.heads import ACTION_HEADS, HEAD_RELEVANCE
from leyline_types.legality import MIN_PRUNE_AGE, OP_RULES
from leyline_types.schema import FIELDS, SCHEMA_VERSION, describe_field
from leyline_types.schema_fields import Block
from leyline_types.slots import SlotConfig
from leyline_types.stages import TRANSITIONS, SeedStage

CONTRACTS_VERSION: Final = 2
"""Raised by hand with every intended change of a contract; the lock file records it."""

_ENUMS: Final[tuple[type[IntEnum], ...]] = (
    SeedStage,
    BlueprintAction,
    LifecycleOp,
    GerminationStyle,
    TempoAction,
    AlphaTargetAction,
    AlphaSpeedAction,
    AlphaCurveAction,
    AlphaMode,
    AlphaAlgorithm,
)


def snapshot() -> dict[str, object]:
    """Enum values and their meanings, transitions, legality, heads and schema, as JSON-able data."""
    return {
        "version": CONTRACTS_VERSION,
        "enums": {enum.__name__: {member.name: member.value for member in enum} for enum in _ENUMS},
        "topologies": {
            topology.value: sorted(member.name for member in TOPOLOGY_BLUEPRINTS[topology])
            for topology in Topology
        },
        "topology_codes": {topology.value: topology.code for topology in Topology},
        "meanings": {
            "TempoAction.epochs": {member.name: member.epochs for member in TempoAction},
            "AlphaTargetAction.target": {member.name: member.target for member in AlphaTargetAction},
            "AlphaSpeedAction.steps": {member.name: member.steps for member in AlphaSpeedAction},
            "GerminationStyle": {
                member.name: f"{member.blend_curve.value} {member.alpha_algorithm.name}"
                for member in GerminationStyle
            },
        },
        "transitions": {
            stage.name: sorted(target.name for target in TRANSITIONS[stage]) for stage in SeedStage
        },
        "legality": {
            op.name: {
                "stages": None if rule.stages is None else sorted(stage.name for stage in rule.stages),
                "needs_empty_slot": rule.needs_empty_slot,
                "needs_hold": rule.needs_hold,
                "needs_min_age": rule.needs_min_age,
                "needs_capacity": rule.needs_capacity,
            }
            for op, rule in OP_RULES.items()
        },
        "min_prune_age": MIN_PRUNE_AGE,
        "heads": {head.name: head.choices.__name__ if head.choices else "slots" for head in ACTION_HEADS},
        "head_order": [head.name for head in ACTION_HEADS],
        "relevance": {op.name: sorted(heads) for op, heads in HEAD_RELEVANCE.items()},
        "schema": {
            "version": SCHEMA_VERSION,
            "fields": {block.value: [describe_field(spec) for spec in FIELDS[block]] for block in Block},
        },
    }


def action_space_hash(slot_config: SlotConfig) -> str:
    """SHA-256 over heads, their choices and the slot ids: equal only for equal action spaces."""
    content = {
        "slots": slot_config.slot_ids,
        "heads": [
            [head.name, {member.name: member.value for member in head.choices} if head.choices else "slots"]
            for head in ACTION_HEADS
        ],
        "relevance": {op.name: sorted(heads) for op, heads in HEAD_RELEVANCE.items()},
    }
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()
