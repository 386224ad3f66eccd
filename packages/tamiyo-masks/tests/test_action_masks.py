"""Masks as a value: moved, indexed, stacked, seen as a dict or flat, and checked."""

import pytest
import torch
from masks_loop import empty_masks, loop, random_states

from leyline_types import HEAD_NAMES, LegalityRules, SlotConfig, Topology, head_sizes
from tamiyo_masks import ActionMasks, compute_batch_masks

SLOTS = SlotConfig.default()


def masks_of(num_envs: int, seed: int = 0) -> ActionMasks:
    states = random_states(SLOTS, num_envs, torch.Generator().manual_seed(seed), occupancy=0.7)
    return compute_batch_masks(states, SLOTS.slot_ids)


def same(one: ActionMasks, two: ActionMasks) -> bool:
    return all(torch.equal(a, b) for a, b in zip(one, two, strict=True))


def test_at_a_place_of_the_batch() -> None:
    masks = masks_of(5)
    for index in (2, slice(1, 3), torch.tensor([4, 0]), None):
        found = masks.at(index)
        assert isinstance(found, ActionMasks)
        assert torch.equal(found.op, masks.op[index])
        assert torch.equal(found.slot_by_op, masks.slot_by_op[index])
    assert masks.at(2).batch_shape == ()
    assert same(masks.at((..., 2)), masks.at(2))
    with pytest.raises(IndexError):
        masks.at((0, 0))  # choices cannot be cut
    assert torch.equal(masks[0], masks.slot)


def test_stack() -> None:
    steps = [masks_of(5, seed) for seed in range(3)]
    by_time = ActionMasks.stack(steps, dim=1)
    assert by_time.batch_shape == (5, 3)
    for time, step in enumerate(steps):
        assert same(by_time.at((slice(None), time)), step)
    assert same(ActionMasks.stack(steps).at(1), steps[1])
    with pytest.raises(ValueError, match=r"`dim` is 2, masks of batch shape \(5,\) allow 0 to 1"):
        ActionMasks.stack(steps, dim=2)
    with pytest.raises(ValueError, match="`dim` is -1"):
        ActionMasks.stack(steps, dim=-1)
    with pytest.raises(ValueError, match="at least one"):
        ActionMasks.stack([])


def test_dict_and_flat() -> None:
    masks = masks_of(5)
    assert tuple(masks.as_dict()) == HEAD_NAMES
    assert torch.equal(masks.as_dict()["op"], masks.op)
    parts = masks.flat().split(head_sizes(SLOTS), dim=-1)
    for part, mask in zip(parts, masks.as_dict().values(), strict=True):
        assert torch.equal(part, mask)


def test_to_a_device() -> None:
    moved = masks_of(2).to("meta")
    assert {mask.device.type for mask in moved} == {"meta"}
    moved.check((2,), SLOTS)


def test_check_names_every_mask_that_does_not_fit() -> None:
    masks = masks_of(5)
    masks.check((5,), SLOTS)
    ActionMasks.stack([masks] * 2, dim=1).check((5, 2), SLOTS)
    broken = masks._replace(tempo=masks.tempo[:, :2], op=masks.op.float())
    with pytest.raises(ValueError) as caught:  # noqa: PT011  # the message is compared below
        broken.check((5,), SLOTS)
    assert str(caught.value).splitlines() == [
        "mask `tempo` is torch.bool (5, 2), it must be torch.bool (5, 3)",
        "mask `op` is torch.float32 (5, 6), it must be torch.bool (5, 6)",
    ]
    with pytest.raises(
        ValueError, match=r"mask `slot_by_op` is torch.bool \(5, 6, 3\), it must be .* \(5, 6, 4\)"
    ):
        masks.check((5,), SlotConfig.for_grid(1, 4))


@pytest.mark.parametrize("topology", list(Topology))
@pytest.mark.parametrize("override", [False, True])
@pytest.mark.parametrize(("slots", "enabled"), [(SLOTS, ("r0c2",)), (SlotConfig.for_grid(5, 5), None)])
def test_object_masks_equal_the_loop(
    topology: Topology, override: bool, slots: SlotConfig, enabled: tuple[str, ...] | None
) -> None:
    states = random_states(slots, 40, torch.Generator().manual_seed(1), occupancy=0.7)
    live = [env % 4 for env in range(40)]
    rules = LegalityRules(enabled_slots=enabled, allow_governor_override=override)
    found = compute_batch_masks(
        states,
        enabled or slots.slot_ids,
        live,
        2,
        slots,
        topology=topology.value,
        allow_governor_override=override,
    )
    assert same(found, loop(states, live, 2, slots, topology, rules, empty_masks(40, slots)))
