"""The legality table, held against the design's sentence on each op."""

import pytest

from leyline_types import (
    MIN_PRUNE_AGE,
    OP_RULES,
    TRANSITIONS,
    BlueprintAction,
    LegalityRules,
    LifecycleOp,
    SeedStage,
    Topology,
    germinable_blueprints,
)


def stages(*values: int) -> frozenset[SeedStage]:
    return frozenset(map(SeedStage, values))


def test_table_by_hand() -> None:
    assert MIN_PRUNE_AGE == 1
    assert set(OP_RULES) == set(LifecycleOp)
    assert OP_RULES[LifecycleOp.WAIT].stages is None
    assert {op.name: rule.stages for op, rule in OP_RULES.items() if rule.stages is not None} == {
        "GERMINATE": stages(1),
        "SET_ALPHA_TARGET": stages(4, 6),
        "PRUNE": stages(2, 3, 4, 6),
        "FOSSILIZE": stages(6),
        "ADVANCE": stages(2, 3, 4),
    }
    assert [op.name for op, rule in OP_RULES.items() if rule.needs_hold] == ["SET_ALPHA_TARGET", "PRUNE"]
    assert [op.name for op, rule in OP_RULES.items() if rule.needs_min_age] == ["PRUNE"]
    assert [op.name for op, rule in OP_RULES.items() if rule.needs_capacity] == ["GERMINATE"]
    assert [op.name for op, rule in OP_RULES.items() if rule.needs_empty_slot] == ["GERMINATE"]


@pytest.mark.parametrize(
    ("op", "target"),
    [
        (LifecycleOp.GERMINATE, SeedStage.GERMINATED),
        (LifecycleOp.PRUNE, SeedStage.PRUNED),
        (LifecycleOp.FOSSILIZE, SeedStage.FOSSILIZED),
    ],
)
def test_ops_with_one_target_follow_the_transition_table(op: LifecycleOp, target: SeedStage) -> None:
    sources = OP_RULES[op].stages
    assert sources == frozenset(source for source in SeedStage if target in TRANSITIONS[source])


def test_bad_rules_are_refused() -> None:
    with pytest.raises(ValueError, match="at least one slot id; None enables all"):
        LegalityRules(enabled_slots=())
    with pytest.raises(ValueError, match="no longer used"):
        LegalityRules(enabled_slots=("mid",))
    with pytest.raises(ValueError, match="at least one blueprint; None enables all"):
        LegalityRules(enabled_blueprints=())
    with pytest.raises(ValueError, match="NOOP, which is never germinated"):
        LegalityRules(enabled_blueprints=(BlueprintAction.NOOP,))
    with pytest.raises(ValueError, match="at least 0, not -1"):
        LegalityRules(min_prune_age=-1)


def test_blueprints_are_those_enabled_that_fit_the_topology() -> None:
    rules = LegalityRules(
        enabled_blueprints=(BlueprintAction.LORA, BlueprintAction.NORM, BlueprintAction.CONV_LIGHT)
    )
    assert rules.blueprints(Topology.CNN) == (BlueprintAction.CONV_LIGHT, BlueprintAction.NORM)
    assert rules.blueprints(Topology.TRANSFORMER) == (BlueprintAction.NORM, BlueprintAction.LORA)
    assert LegalityRules().blueprints(Topology.CNN) == germinable_blueprints(Topology.CNN)
    assert LegalityRules(enabled_blueprints=(BlueprintAction.LORA,)).blueprints(Topology.CNN) == ()
