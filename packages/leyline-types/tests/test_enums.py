"""The exact values that trained policies depend on, worked out by hand from the design."""

from enum import IntEnum

import pytest

from leyline_types import (
    TOPOLOGY_BLUEPRINTS,
    TRANSITIONS,
    AlphaAlgorithm,
    AlphaCurveAction,
    AlphaMode,
    AlphaSpeedAction,
    AlphaTargetAction,
    BlendCurve,
    BlueprintAction,
    GerminationStyle,
    LifecycleOp,
    SeedStage,
    TempoAction,
    Topology,
    can_transition,
    germinable_blueprints,
    parse_stage,
)

STAGES = (
    "UNKNOWN=0 DORMANT=1 GERMINATED=2 TRAINING=3 BLENDING=4 "
    "HOLDING=6 FOSSILIZED=7 PRUNED=8 EMBARGOED=9 RESETTING=10"
)
BLUEPRINTS = (
    "NOOP CONV_LIGHT ATTENTION NORM DEPTHWISE BOTTLENECK CONV_SMALL CONV_HEAVY "
    "LORA LORA_LARGE MLP_SMALL MLP FLEX_ATTENTION"
)


def names_in_order(enum: type[IntEnum]) -> list[str]:
    assert [member.value for member in enum] == list(range(len(enum)))
    return [member.name for member in enum]


def test_stage_values() -> None:
    assert " ".join(f"{stage.name}={stage.value}" for stage in SeedStage) == STAGES


@pytest.mark.parametrize(
    ("enum", "names"),
    [
        (BlueprintAction, BLUEPRINTS),
        (LifecycleOp, "WAIT GERMINATE SET_ALPHA_TARGET PRUNE FOSSILIZE ADVANCE"),
        (GerminationStyle, "LINEAR_ADD LINEAR_MULTIPLY SIGMOID_ADD GATED_GATE"),
        (TempoAction, "FAST STANDARD SLOW"),
        (AlphaTargetAction, "HALF SEVENTY FULL"),
        (AlphaSpeedAction, "INSTANT FAST MEDIUM SLOW"),
        (AlphaCurveAction, "LINEAR COSINE SIGMOID"),
        (AlphaMode, "HOLD UP DOWN"),
    ],
)
def test_numbered_from_zero_in_order(enum: type[IntEnum], names: str) -> None:
    assert names_in_order(enum) == names.split()


def test_alpha_algorithm_starts_at_one() -> None:
    assert {member.name: member.value for member in AlphaAlgorithm} == {"ADD": 1, "MULTIPLY": 2, "GATE": 3}


def test_meanings_of_choices() -> None:
    assert [tempo.epochs for tempo in TempoAction] == [3, 5, 8]
    assert [target.target for target in AlphaTargetAction] == [0.5, 0.7, 1.0]
    assert [speed.steps for speed in AlphaSpeedAction] == [0, 3, 5, 8]
    assert [(style.blend_curve, style.alpha_algorithm) for style in GerminationStyle] == [
        (BlendCurve.LINEAR, AlphaAlgorithm.ADD),
        (BlendCurve.LINEAR, AlphaAlgorithm.MULTIPLY),
        (BlendCurve.SIGMOID, AlphaAlgorithm.ADD),
        (BlendCurve.GATED, AlphaAlgorithm.GATE),
    ]


def test_transitions() -> None:
    expected = {
        0: {1},
        1: {2},
        2: {3, 8},
        3: {4, 8},
        4: {6, 8},
        6: {7, 4, 8},
        7: set(),
        8: {9},
        9: {10},
        10: {1},
    }
    assert {source.value: {t.value for t in targets} for source, targets in TRANSITIONS.items()} == expected
    assert can_transition(SeedStage.HOLDING, SeedStage.BLENDING)
    assert not can_transition(SeedStage.FOSSILIZED, SeedStage.PRUNED)


@pytest.mark.parametrize(
    ("value", "reason"), [(5, "retired"), (11, "does not exist"), (-1, "does not exist")]
)
def test_stage_that_is_none_is_refused(value: int, reason: str) -> None:
    with pytest.raises(ValueError, match=f"stage {value} .*{reason}|stage {value} is {reason}"):
        parse_stage(value)


def test_parse_stage() -> None:
    assert [parse_stage(stage.value) for stage in SeedStage] == list(SeedStage)


def test_blueprint_ids_are_derived_names() -> None:
    assert BlueprintAction.FLEX_ATTENTION.blueprint_id == "flex_attention"
    for member in BlueprintAction:
        assert BlueprintAction.from_blueprint_id(member.blueprint_id) is member
    with pytest.raises(ValueError, match="'conv_lite' is unknown; blueprints are noop, conv_light"):
        BlueprintAction.from_blueprint_id("conv_lite")


def test_topologies() -> None:
    assert {b.value for b in TOPOLOGY_BLUEPRINTS[Topology.CNN]} == set(range(8))
    assert {b.value for b in TOPOLOGY_BLUEPRINTS[Topology.TRANSFORMER]} == {0, 2, 3, 8, 9, 10, 11, 12}
    assert [topology.code for topology in Topology] == [0, 1]
    for topology in Topology:
        germinable = germinable_blueprints(topology)
        assert BlueprintAction.NOOP not in germinable
        assert list(germinable) == sorted(TOPOLOGY_BLUEPRINTS[topology])[1:]
