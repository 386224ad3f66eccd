"""The action space: head order, sizes, relevance and translation between words and indices."""

import itertools

import pytest

from leyline_types import (
    ACTION_HEADS,
    HEAD_NAMES,
    HEAD_RELEVANCE,
    AlphaSpeedAction,
    BlueprintAction,
    FactoredAction,
    FactoredActions,
    LifecycleOp,
    SlotConfig,
    action_space_hash,
    head_sizes,
)

SLOTS = SlotConfig.default()


def test_order_and_sizes() -> None:
    assert FactoredActions._fields == HEAD_NAMES
    assert HEAD_NAMES == (
        "slot",
        "blueprint",
        "style",
        "tempo",
        "alpha_target",
        "alpha_speed",
        "alpha_curve",
        "op",
    )
    assert head_sizes(SLOTS) == (3, 13, 4, 3, 3, 4, 3, 6)
    assert head_sizes(SlotConfig.for_grid(5, 5)) == (25, 13, 4, 3, 3, 4, 3, 6)


def test_relevance_by_hand() -> None:
    expected = {
        "WAIT": "op",
        "GERMINATE": "op slot blueprint style tempo alpha_target",
        "SET_ALPHA_TARGET": "op slot style alpha_target alpha_speed alpha_curve",
        "PRUNE": "op slot alpha_speed alpha_curve",
        "FOSSILIZE": "op slot",
        "ADVANCE": "op slot",
    }
    assert {op.name: set(heads) for op, heads in HEAD_RELEVANCE.items()} == {
        op: set(heads.split()) for op, heads in expected.items()
    }


def test_every_choice_of_every_head_survives_the_round_trip() -> None:
    for position, head in enumerate(ACTION_HEADS):
        for index in range(head.size(SLOTS)):
            indices = [0] * len(ACTION_HEADS)
            indices[position] = index
            action = FactoredAction.from_indices(FactoredActions(*indices), SLOTS)
            assert list(action.to_indices(SLOTS)) == indices


def test_all_ops_on_all_slots() -> None:
    for slot, op in itertools.product(range(3), LifecycleOp):
        indices = FactoredActions(slot, 1, 2, 1, 2, 3, 1, int(op))
        assert FactoredAction.from_indices(indices, SLOTS).to_indices(SLOTS) == indices


def test_index_outside_its_head_is_named() -> None:
    with pytest.raises(ValueError, match="head 'blueprint' has 13 choices, index 13 is none"):
        FactoredAction.from_indices(FactoredActions(0, 13, 0, 0, 0, 0, 0, 1), SLOTS)
    with pytest.raises(ValueError, match="head 'op' has 6 choices, index -1 is none"):
        FactoredAction.from_indices(FactoredActions(0, 0, 0, 0, 0, 0, 0, -1), SLOTS)


def test_unknown_slot_is_refused() -> None:
    with pytest.raises(ValueError, match="'r1c0' is not one of"):
        FactoredAction(LifecycleOp.PRUNE, "r1c0").to_indices(SLOTS)


def test_describe_names_only_what_matters() -> None:
    germinate = FactoredAction(LifecycleOp.GERMINATE, "r0c1", blueprint=BlueprintAction.NORM)
    assert (
        germinate.describe() == "GERMINATE r0c1 blueprint=NORM style=LINEAR_ADD tempo=FAST alpha_target=HALF"
    )
    prune = FactoredAction(LifecycleOp.PRUNE, "r0c1", alpha_speed=AlphaSpeedAction.SLOW)
    assert prune.describe() == "PRUNE r0c1 alpha_speed=SLOW alpha_curve=LINEAR"
    assert FactoredAction(LifecycleOp.WAIT, "r0c1").describe() == "WAIT"


def test_hash_tells_action_spaces_apart() -> None:
    assert action_space_hash(SLOTS) == action_space_hash(SlotConfig.default())
    assert action_space_hash(SLOTS) != action_space_hash(SlotConfig(("r0c1", "r0c0", "r0c2")))
