"""Object entry points: the same masks as from columns, and every mistake named."""

import pytest
import torch

from leyline_types import AlphaMode, LifecycleOp, MaskSeedInfo, SeedStage, SlotConfig
from tamiyo_masks import build_slot_states, compute_action_masks, compute_batch_masks, slot_id_to_index

SLOTS = SlotConfig.default()
ALL = SLOTS.slot_ids
STATES = {
    "r0c0": None,
    "r0c1": MaskSeedInfo(SeedStage.TRAINING, 3),
    "r0c2": MaskSeedInfo(SeedStage.HOLDING, 0),
}


def test_by_hand() -> None:
    masks = compute_action_masks(STATES, ALL)
    assert masks.op.tolist() == [True, True, True, True, True, True]
    assert masks.slot_by_op[LifecycleOp.PRUNE].tolist() == [False, True, False]
    assert masks.slot_by_op[LifecycleOp.GERMINATE].tolist() == [True, False, False]


def test_seed_limit() -> None:
    assert not compute_action_masks(STATES, ALL, total_seeds=2, max_seeds=2).op[LifecycleOp.GERMINATE]
    assert compute_action_masks(STATES, ALL, total_seeds=2, max_seeds=3).op[LifecycleOp.GERMINATE]
    assert compute_action_masks(STATES, ALL, total_seeds=99, max_seeds=0).op[LifecycleOp.GERMINATE]


def test_batch_is_its_environments() -> None:
    other = {**STATES, "r0c0": MaskSeedInfo(SeedStage.BLENDING, 2, AlphaMode.UP)}
    batch = compute_batch_masks([STATES, other], ALL, total_seeds_list=[2, 3], max_seeds=3)
    for env, (states, total) in enumerate([(STATES, 2), (other, 3)]):
        single = compute_action_masks(states, ALL, total, 3)
        assert all(torch.equal(a[env], b) for a, b in zip(batch, single, strict=True))


def test_governor_override_and_topology() -> None:
    moving = dict.fromkeys(ALL, MaskSeedInfo(SeedStage.BLENDING, 2, AlphaMode.DOWN))
    assert not compute_action_masks(moving, ALL).op[LifecycleOp.PRUNE]
    assert compute_action_masks(moving, ALL, allow_governor_override=True).op[LifecycleOp.PRUNE]
    assert compute_action_masks(moving, ALL, topology="transformer").blueprint.nonzero().min() == 2


@pytest.mark.parametrize(
    ("states", "enabled", "options", "message"),
    [
        ({"r0c0": None}, ALL, {}, "environment 0 lack r0c1, r0c2; slots are r0c0, r0c1, r0c2"),
        ({**STATES, "r9c9": None}, ALL, {}, "name unknown r9c9"),
        (STATES, (), {}, "at least one slot id"),
        (STATES, ("r9c9",), {}, "'r9c9' is not one of"),
        (STATES, ("mid",), {}, "'mid' is no longer used; write 'r0c1'"),
        (STATES, ALL, {"topology": "rnn"}, "one of cnn, transformer, not 'rnn'"),
        (STATES, ALL, {"total_seeds": -1}, "the fewest live seeds -1"),
        (STATES, ALL, {"max_seeds": -2}, "`max_seeds` is -2"),
    ],
)
def test_mistakes_are_named(
    states: dict[str, MaskSeedInfo | None], enabled: tuple[str, ...], options: dict[str, int], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        compute_action_masks(states, enabled, **options)  # type: ignore[arg-type]


def test_list_of_another_length_and_empty_batch() -> None:
    with pytest.raises(ValueError, match="has 1 entries for 2 environments"):
        compute_batch_masks([STATES, STATES], ALL, total_seeds_list=[1])
    with pytest.raises(ValueError, match="at least one environment"):
        compute_batch_masks([], ALL)


def test_slot_states_need_every_slot() -> None:
    assert build_slot_states(dict.fromkeys(ALL), ALL) == dict.fromkeys(ALL)
    with pytest.raises(ValueError, match="slot_reports lack r0c2"):
        build_slot_states({"r0c0": None, "r0c1": None}, ALL)
    with pytest.raises(ValueError, match="slot_reports name unknown early"):
        build_slot_states({**dict.fromkeys(ALL), "early": None}, ALL)


def test_slot_index() -> None:
    assert slot_id_to_index("r0c2") == 2
    assert slot_id_to_index("r0c2", SlotConfig(("r0c2",))) == 0
    with pytest.raises(ValueError, match="write 'r0c0'"):
        slot_id_to_index("early")
