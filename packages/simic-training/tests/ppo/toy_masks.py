"""Masks that leave only what a test is about, and masks by chance."""

from collections.abc import Mapping, Sequence

import torch

from leyline_types import HEAD_NAMES, LifecycleOp, SlotConfig, head_sizes
from tamiyo_masks import ActionMasks


def allow(
    num_envs: int, slots: int, ops: Mapping[LifecycleOp, Sequence[int]], **heads: Sequence[int]
) -> ActionMasks:
    """The same masks in every environment: these ops with these slots each, and of the heads by name these choices.

    Of heads that are not named only choice 0 is legal. WAIT takes no slot; slot 0 stands for none.
    """
    slot_config = SlotConfig.for_grid(1, slots)
    masks = {
        name: torch.zeros(num_envs, size, dtype=torch.bool)
        for name, size in zip(HEAD_NAMES, head_sizes(slot_config), strict=True)
    }
    slot_by_op = torch.zeros(num_envs, len(LifecycleOp), slots, dtype=torch.bool)
    slot_by_op[..., 0] = True
    for op, its_slots in ops.items():
        masks["op"][:, op] = True
        slot_by_op[:, op] = False
        slot_by_op[:, op, list(its_slots)] = True
        masks["slot"][:, list(its_slots)] = True
    for name in HEAD_NAMES[1:-1]:
        masks[name][:, list(heads.get(name, (0,)))] = True
    return ActionMasks(**masks, slot_by_op=slot_by_op)


def pick(first: Sequence[bool], one: ActionMasks, other: ActionMasks) -> ActionMasks:
    """The rows of one where `first` says so, and those of the other elsewhere."""
    rows = torch.tensor(first)
    return ActionMasks(
        *(
            torch.where(rows.reshape(-1, *[1] * (mask.ndim - 1)), mask, its)
            for mask, its in zip(one, other, strict=True)
        )
    )


def masks_by_chance(*batch: int, slots: int, generator: torch.Generator) -> ActionMasks:
    """Each op, slot and choice legal with some probability; in a fifth of the rows WAIT alone is."""
    slot_config = SlotConfig.for_grid(1, slots)
    slot_by_op = torch.rand(*batch, len(LifecycleOp), slots, generator=generator) < 0.6
    slot_by_op[..., LifecycleOp.WAIT, :] = False
    slot_by_op &= (torch.rand(*batch, generator=generator) < 0.8)[..., None, None]
    op = slot_by_op.any(-1)
    slot = slot_by_op.any(-2)
    slot[..., 0] |= ~slot.any(-1)
    slot_by_op[..., 0] |= ~op
    op[..., LifecycleOp.WAIT] = torch.rand(*batch, generator=generator) < 0.7
    op[..., LifecycleOp.WAIT] |= ~op.any(-1)
    heads = [torch.rand(*batch, size, generator=generator) < 0.5 for size in head_sizes(slot_config)[1:-1]]
    for mask in heads:
        mask[..., -1] |= ~mask.any(-1)
    return ActionMasks(*[slot, *heads, op, slot_by_op])
