"""Object entry points: the same masks as from columns, and every mistake named."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

from leyline_types import AlphaMode, LifecycleOp, MaskSeedInfo, SeedStage, SeedStateReport, SlotConfig
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


def test_one_seed_at_a_time() -> None:
    assert not compute_action_masks(STATES, ALL, sequential_development=True).op[LifecycleOp.GERMINATE]
    resting = {**dict.fromkeys(ALL), "r0c1": MaskSeedInfo(SeedStage.FOSSILIZED, 3)}
    assert compute_action_masks(resting, ALL, sequential_development=True).op[LifecycleOp.GERMINATE]


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
        ({**STATES, "r9c9": None}, ALL, {}, "name unknown r9c9; slots are"),
        ({**STATES, "late": None}, ALL, {}, "environment 0 name unknown late; .* write 'r0c2'; slots are"),
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
    with pytest.raises(
        ValueError, match="name unknown early; slot name 'early' is no longer used; write 'r0c0'"
    ):
        build_slot_states({**dict.fromkeys(ALL), "early": None}, ALL)


def test_numbers_of_numpy_are_numbers() -> None:
    sound: dict[str, Any] = {"stage": np.int64(3), "seed_age_epochs": np.int64(2)}
    states = {**STATES, "r0c1": MaskSeedInfo(**sound), "r0c2": MaskSeedInfo(SeedStage.TRAINING, -1)}
    with pytest.raises(ValueError) as caught:  # noqa: PT011  # the message is compared below
        compute_action_masks(states, ALL)
    assert str(caught.value).startswith("environment 0, slot r0c2: seed_age_epochs is -1")
    with pytest.raises(ValueError, match="name unknown 0;"):
        compute_action_masks({**STATES, 0: None}, ALL)  # type: ignore[dict-item,unused-ignore]


def test_slot_index() -> None:
    assert slot_id_to_index("r0c2") == 2
    assert slot_id_to_index("r0c2", SlotConfig(("r0c2",))) == 0
    with pytest.raises(ValueError, match="write 'r0c0'"):
        slot_id_to_index("early")


def test_states_that_are_none_are_all_named() -> None:
    def state(**changes: object) -> Any:
        values: dict[str, Any] = {"stage": SeedStage.TRAINING, "seed_age_epochs": 1, **changes}
        return MaskSeedInfo(**values)

    batch = [
        {"r0c0": state(stage=77), "r0c1": state(stage=5), "r0c2": None},
        {"r0c0": state(), "r0c1": state(alpha_mode=9, seed_age_epochs=-1), "r0c2": "text"},
    ]
    with pytest.raises(ValueError) as caught:  # noqa: PT011  # the message is compared below
        compute_batch_masks(batch, ALL)
    stages = "UNKNOWN=0, DORMANT=1, GERMINATED=2, TRAINING=3, BLENDING=4, HOLDING=6, FOSSILIZED=7, PRUNED=8, "
    stages += "EMBARGOED=9, RESETTING=10"
    assert str(caught.value).splitlines() == [
        f"environment 0, slot r0c0: stage is 77, it must be one of {stages}",
        f"environment 0, slot r0c1: stage is 5, it must be one of {stages}; 5 is retired",
        "environment 1, slot r0c1: alpha_mode is 9, it must be one of HOLD=0, UP=1, DOWN=2",
        "environment 1, slot r0c1: seed_age_epochs is -1, it must be a whole number, at least 0",
        "environment 1, slot r0c2: the state is 'text', it must be a MaskSeedInfo or None",
    ]


@pytest.mark.parametrize(
    "wrong",
    [
        {"stage": None},
        {"stage": 3.5},
        {"stage": 5},
        {"stage": 77},
        {"alpha_mode": 9},
        {"seed_age_epochs": "2"},
        {"seed_age_epochs": -1},
        {"seed_age_epochs": 2**70},
    ],
)
def test_one_wrong_state_is_named(wrong: dict[str, Any]) -> None:
    values: dict[str, Any] = {"stage": SeedStage.TRAINING, "seed_age_epochs": 1, **wrong}
    with pytest.raises(ValueError, match=f"environment 0, slot r0c1: {next(iter(wrong))} is "):
        compute_action_masks({**STATES, "r0c1": MaskSeedInfo(**values)}, ALL)


def test_states_of_reports(make_report: Callable[..., SeedStateReport]) -> None:
    report = make_report("r0c1", stage=SeedStage.HOLDING, age=4, mode=AlphaMode.UP)
    states = build_slot_states({**dict.fromkeys(ALL), "r0c1": report}, ALL)
    assert states == {"r0c0": None, "r0c1": MaskSeedInfo(SeedStage.HOLDING, 4, AlphaMode.UP), "r0c2": None}
