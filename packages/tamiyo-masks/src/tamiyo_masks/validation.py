"""Checks of masks, logits and actions: all but `invalid_rows` wait for the device, so that hot paths leave them off.

Distributions check only where they are asked to. Whoever acts once an epoch checks every time: `check_masks` before,
`check_logits` and `check_actions` after.
"""

import os
from collections.abc import Iterable
from math import isfinite
from typing import Final, NamedTuple

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from leyline_types import (
    ACTION_HEADS,
    HEAD_NAMES,
    FactoredActions,
    LifecycleOp,
    SlotConfig,
    place_in_words,
)
from tamiyo_masks.action_masks import ActionMasks
from tamiyo_masks.constants import constant_when_compiled, keep
from tamiyo_masks.relevance import OP, SLOT, Relevance, relevance_on, relevant_heads, takes_slot

VARIABLE = "TAMIYO_VALIDATE"


class InvalidStateMachineError(ValueError):
    """A state without a legal choice, or logits from which none can be made."""


class IllegalActionError(ValueError):
    """An answer that is not one action per environment, or an action that the masks forbid."""


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


def check_masks(masks: ActionMasks) -> None:
    """Check that every environment has a legal op, and every legal op a legal choice of each head that it uses.

    Raises:
        InvalidStateMachineError: names environment, op and head of the first that has none.
    """
    columns: _Columns = _columns_of(masks.head_sizes, masks.op.device)
    counts = masks.flat().float() @ columns.member
    if counts.all() & masks.slot_by_op.any(-1).all():
        return  # every head can be drawn from, whichever op uses it
    tables: Relevance = relevance_on(masks.op.device)
    for_op = [
        (masks.slot_by_op if name == "slot" else mask.unsqueeze(-2)).any(-1).expand(masks.op.shape)
        for name, mask in zip(HEAD_NAMES, masks, strict=False)
    ]
    lacking = masks.op.unsqueeze(-1) & tables.bits & ~torch.stack(for_op, dim=-1)
    stuck = ~masks.op.any(-1)
    if not (lacking.any() | stuck.any()):
        return
    if stuck.any():
        raise InvalidStateMachineError(
            f"{place_in_words(_first(stuck))}: head 'op' has no legal choice; WAIT at least is always possible"
        )
    *place, op, head = _first(lacking)
    raise InvalidStateMachineError(
        f"{place_in_words(tuple(place))}: {LifecycleOp(op).name} is legal, "
        f"but head {HEAD_NAMES[head]!r} has no legal choice for it"
    )


def check_logits(logits: Float[Tensor, "*batch logit"], masks: ActionMasks, slot_config: SlotConfig) -> None:
    """Check that the logit of every legal choice is finite.

    Args:
        logits: heads side by side in head order.
        masks: of the same batch.
        slot_config: the slots, to name them.

    Raises:
        InvalidStateMachineError: names environment, head, choice and value of the first that is not.
        ValueError: the logits have another shape than the masks call for.
    """
    legal = masks.flat()
    if logits.shape != legal.shape:
        raise ValueError(f"`logits` has shape {tuple(logits.shape)}, the masks call for {tuple(legal.shape)}")
    if isfinite(torch.where(legal, logits, 0.0).sum()):  # the cheapest look at all of them
        return
    broken = legal & ~logits.isfinite()
    if broken.any():  # and not only their sum too large
        *place, index = _first(broken)
        head, choice = _head_of(index, masks.head_sizes)
        raise InvalidStateMachineError(
            f"{place_in_words(tuple(place))}, head {HEAD_NAMES[head]!r}: the logit of "
            f"{_choice_in_words(head, choice, slot_config)} is {float(logits[*place, index]):g}, "
            "expected a finite number"
        )


def check_actions(actions: FactoredActions[Tensor], masks: ActionMasks, slot_config: SlotConfig) -> None:
    """Check that there is one action per environment, and that the masks allow it.

    The op must be legal, and so must be the slot for this op and the choice of every other head that it uses; the rest
    need only be choices of their heads.

    Args:
        actions: integers, [*batch] in each head.
        masks: of the same batch.
        slot_config: the slots, to name them.

    Raises:
        IllegalActionError: names environment, head and choice of the first that is not legal, or the head that is of
            another shape or dtype.
    """
    for name, index in zip(HEAD_NAMES, actions, strict=True):
        if index.shape != masks.batch_shape or index.is_floating_point() or index.dtype is torch.bool:
            raise IllegalActionError(
                f"head {name!r} of the actions is {index.dtype} {tuple(index.shape)}, expected integers of shape "
                f"{tuple(masks.batch_shape)}"
            )
    columns: _Columns = _columns_of(masks.head_sizes, masks.op.device)
    chosen = torch.stack(tuple(actions), dim=-1).long()
    safe = torch.clamp(chosen, columns.none, columns.last)
    op = safe.select(-1, OP)
    # One look-up for all heads, the slot's among the slots of its op.
    legal = torch.cat((*masks[: len(HEAD_NAMES)], masks.slot_by_op.flatten(-2)), dim=-1)
    place = safe + columns.first + op.unsqueeze(-1) * columns.per_op
    fine = (safe == chosen) & (legal.gather(-1, place) | ~relevant_heads(op))
    if not fine.all():
        # The op first: the other heads are judged by it.
        *env, from_last = _first(~fine.flip(-1))
        head = len(HEAD_NAMES) - 1 - from_last
        raise IllegalActionError(_fault_of(tuple(env), head, chosen[*env].tolist(), masks, slot_config))


class _Columns(NamedTuple):
    """Where the choices of each head stand when all heads, and then the slots of each op, lie side by side.

    Args:
        member: [head choice, head], 1 where the choice is the head's.
        first: of a head's choices; of the slot head, the first slot of the first op.
        per_op: how much further the next op's choices begin: the number of slots for the slot head, else 0.
        none, last: 0 and the last choice of each head.
    """

    member: Float[Tensor, "choice head"]
    first: Int[Tensor, " head"]
    per_op: Int[Tensor, " head"]
    none: Int[Tensor, " head"]
    last: Int[Tensor, " head"]


_columns: Final[dict[tuple[tuple[int, ...], torch.device], _Columns]] = {}


@constant_when_compiled
def _columns_of(sizes: tuple[int, ...], device: torch.device) -> _Columns:
    return keep(_columns, (sizes, device), lambda: _make_columns(sizes, device))


def _make_columns(sizes: tuple[int, ...], device: torch.device) -> _Columns:
    heads = range(len(sizes))
    head_of_choice = [head for head in heads for _ in range(sizes[head])]
    first = [sum(sizes) if head == SLOT else sum(sizes[:head]) for head in heads]
    return _Columns(
        member=torch.eye(len(sizes), dtype=torch.float32, device=device)[head_of_choice],
        first=torch.tensor(first, device=device),
        per_op=torch.tensor([sizes[SLOT] if head == SLOT else 0 for head in heads], device=device),
        none=torch.zeros(len(sizes), dtype=torch.int64, device=device),
        last=torch.tensor(sizes, device=device) - 1,
    )


def _fault_of(
    place: tuple[int, ...], head: int, chosen: list[int], masks: ActionMasks, slot_config: SlotConfig
) -> str:
    """What is wrong with the choice of a head, in words."""
    what, size = f"{place_in_words(place)}, head {HEAD_NAMES[head]!r}", masks.head_sizes[head]
    if not 0 <= chosen[head] < size:
        return f"{what}: choice {chosen[head]} is none of its {size}"
    words = _choice_in_words(head, chosen[head], slot_config)
    op = LifecycleOp(chosen[OP])
    return f"{what}: {words} is not legal" + ("" if head == OP else f" for {op.name}")


def _choice_in_words(head: int, choice: int, slot_config: SlotConfig) -> str:
    choices = ACTION_HEADS[head].choices
    return f"slot {slot_config.slot_ids[choice]}" if choices is None else choices(choice).name


def _head_of(index: int, sizes: tuple[int, ...]) -> tuple[int, int]:
    """The head of a choice, by its place among all choices side by side, and its index in the head."""
    head = 0
    while index >= sizes[head]:
        index -= sizes[head]
        head += 1
    return head, index


def _first(flags: Bool[Tensor, "..."]) -> tuple[int, ...]:
    """The index of the first that is True."""
    return tuple(flags.nonzero()[0].tolist())


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
