"""Opt-in checks of masks and logits: all but `invalid_rows` wait for the device, so that hot paths leave them off."""

import os
from collections.abc import Iterable

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from leyline_types import HEAD_NAMES
from tamiyo_masks.action_masks import ActionMasks
from tamiyo_masks.relevance import takes_slot

VARIABLE = "TAMIYO_VALIDATE"


class InvalidStateMachineError(ValueError):
    """A state without a legal choice, or logits from which none can be made."""


def should_validate(wanted: bool | None) -> bool:
    """Whether to check: what was asked for, else the environment variable TAMIYO_VALIDATE; never while compiling.

    Checks read values, so that torch.func.vmap refuses them.

    Raises:
        ValueError: the variable is neither 0 nor 1.
    """
    if torch.compiler.is_compiling():
        return False
    if wanted is not None:
        return wanted
    setting = os.environ.get(VARIABLE, "0")
    if setting not in ("0", "1"):
        raise ValueError(f"environment variable {VARIABLE} must be 0 or 1, not {setting!r}")
    return setting == "1"


def invalid_rows(logits: Float[Tensor, "*batch logit"], masks: ActionMasks) -> Bool[Tensor, "*batch"]:
    """Environments in which a head, or a legal op, has no legal choice or slot, or a legal logit is not finite.

    Reads no value back from the device and may be compiled: gather what it finds over a rollout, `bad |= ...`, and
    look once.

    Args:
        logits: heads side by side in head order.
    """
    found = [_invalid(*head) for _, *head in _heads(logits, masks)]
    return torch.stack(found).any(0) | (takes_slot(masks.op) & ~masks.slot_by_op.any(-1)).any(-1)


def check_heads(logits: Float[Tensor, "*batch logit"], masks: ActionMasks) -> None:
    """Check that every head, and the slots of every legal op, can be drawn from; waits for the device once.

    Raises:
        InvalidStateMachineError: as `check_rows`, of the first head that has an invalid row.
    """
    if invalid_rows(logits, masks).any():
        for name, head_logits, mask in _heads(logits, masks):
            check_rows(name, head_logits, mask)
        slots = masks.slot_by_op | ~takes_slot(masks.op).unsqueeze(-1)
        check_rows("slot_by_op", torch.zeros_like(slots, dtype=logits.dtype), slots)


def _heads(logits: Tensor, masks: ActionMasks) -> Iterable[tuple[str, Tensor, Tensor]]:
    return zip(HEAD_NAMES, logits.split(masks.head_sizes, dim=-1), masks, strict=False)


def _invalid(
    logits: Float[Tensor, "*batch choice"], mask: Bool[Tensor, "*batch choice"]
) -> Bool[Tensor, "*batch"]:
    return ~mask.any(-1) | (mask & ~logits.isfinite()).any(-1)


def check_rows(
    what: str, logits: Float[Tensor, "*batch choice"], mask: Bool[Tensor, "*batch choice"]
) -> None:
    """Check that every row of a mask, which messages call `what`, can be drawn from.

    Raises:
        InvalidStateMachineError: naming the first row without a legal choice or with a legal logit that is not finite.
    """
    if not _invalid(logits, mask).any():
        return
    empty = ~mask.any(-1)
    if empty.any():
        raise InvalidStateMachineError(f"row {empty.nonzero()[0].tolist()} of `{what}` has no legal choice")
    place = (mask & ~logits.isfinite()).nonzero()[0].tolist()
    raise InvalidStateMachineError(
        f"legal logit of `{what}` at {place} is {float(logits[tuple(place)])}, not finite"
    )
