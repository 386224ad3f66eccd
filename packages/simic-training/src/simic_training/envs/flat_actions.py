"""Every action as one choice from one list, and which of the list are legal."""

from itertools import product

import torch
from jaxtyping import Bool, Int
from torch import Tensor

from leyline_types import ACTION_HEADS, HEAD_NAMES, HEAD_RELEVANCE, LifecycleOp, SlotConfig
from tamiyo_masks import ActionMasks, relevant_heads

_SLOT, _OP = HEAD_NAMES.index("slot"), HEAD_NAMES.index("op")


def canonical_actions(slot_config: SlotConfig) -> Int[Tensor, "action head"]:
    """Every action that differs from all others in some head that matters for its op; other heads are 0.

    In order of op, then of the other heads from first to last. The list depends on nothing but the slots: choices that
    an environment never allows, such as a blueprint of another topology, are in it too. Three slots make 1879 actions.

    Returns:
        Indices in head order.
    """
    actions = [
        choice
        for op in LifecycleOp
        for choice in product(
            *(
                (int(op),)
                if head.name == "op"
                else range(head.size(slot_config) if head.name in HEAD_RELEVANCE[op] else 1)
                for head in ACTION_HEADS
            )
        )
    ]
    return torch.tensor(actions)


def joint_mask(masks: ActionMasks, actions: Int[Tensor, "action head"]) -> Bool[Tensor, "*batch action"]:
    """Which actions are legal: exactly those that hosts accept, slot and op together.

    Args:
        masks: [*batch, choice] in every head.
        actions: heads that do not matter for an action's op are not looked at.
    """
    op = actions[:, _OP]
    matters = relevant_heads(op)
    legal = masks.op[..., op]
    for place, mask in enumerate(masks[: len(HEAD_NAMES)]):
        if place != _OP:
            choice = actions[:, place]
            open_to_it = masks.slot_by_op[..., op, choice] if place == _SLOT else mask[..., choice]
            legal = legal & (open_to_it | ~matters[:, place])
    return legal
