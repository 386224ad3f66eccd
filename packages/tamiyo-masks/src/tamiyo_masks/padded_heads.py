"""All heads of a small batch as one padded block, which costs the fewest calls.

The block is [*batch, row, width]: a row per head, then the slot head once more for every op, under the slots that this
op may take. Everything is drawn at once; the op that was drawn then says which of the slot rows counts.
"""

from typing import NamedTuple, final

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from torch.nn.functional import embedding

from leyline_types import HEAD_NAMES, FactoredActions, LifecycleOp
from tamiyo_masks.action_masks import ActionMasks
from tamiyo_masks.constants import constant_when_compiled, keep
from tamiyo_masks.relevance import OP, SLOT, relevant_heads
from tamiyo_masks.softmax import (
    draw,
    entropy_of,
    mask_logits,
    mix_with_uniform,
    normalize_entropy,
    probabilities,
)

_NUM_HEADS, _NUM_OPS = len(HEAD_NAMES), len(LifecycleOp)


class _Layout(NamedTuple):
    """Where things stand.

    Choices are those of all heads side by side, then the slots by op, then one that is never legal. Places are those
    of the block.

    Args:
        shape: (rows, width).
        logit_of_choice: [choice].
        nowhere: [1], False: the bit of the choice that is never legal.
        choice_of_place: [row * width], the last choice where a row is padded.
        head_of_row: [row].
        row_of_head: [op, head], the row that counts once the op is chosen.
        member: [head choice, head], 1 where the choice is the head's.
    """

    shape: tuple[int, int]
    logit_of_choice: Int[Tensor, " choice"]
    nowhere: Bool[Tensor, " 1"]
    choice_of_place: Int[Tensor, " place"]
    head_of_row: Int[Tensor, " row"]
    row_of_head: Int[Tensor, "op head"]
    member: Float[Tensor, "head_choice head"]


_layouts: dict[tuple[tuple[int, ...], torch.device], _Layout] = {}


@constant_when_compiled
def _layout_of(sizes: tuple[int, ...], device: torch.device) -> _Layout:
    return keep(_layouts, (sizes, device), lambda: _make_layout(sizes, device))


def _make_layout(sizes: tuple[int, ...], device: torch.device) -> _Layout:
    width, total, slots = max(sizes), sum(sizes), sizes[SLOT]
    head_of_row = [*range(_NUM_HEADS), *[SLOT] * _NUM_OPS]
    first_choices = [*(sum(sizes[:head]) for head in range(_NUM_HEADS))]
    first_choices += [total + op * slots for op in range(_NUM_OPS)]
    never = total + _NUM_OPS * slots
    choice_of_place: list[int] = []
    for first, head in zip(first_choices, head_of_row, strict=True):
        choice_of_place += [*range(first, first + sizes[head]), *[never] * (width - sizes[head])]
    slot_logits = range(first_choices[SLOT], first_choices[SLOT] + slots)
    head_of_choice = [head for head in range(_NUM_HEADS) for _ in range(sizes[head])]
    row_of_head = [
        [_NUM_HEADS + op if head == SLOT else head for head in range(_NUM_HEADS)] for op in range(_NUM_OPS)
    ]
    return _Layout(
        shape=(len(head_of_row), width),
        logit_of_choice=torch.tensor([*range(total), *[*slot_logits] * _NUM_OPS, 0], device=device),
        nowhere=torch.zeros(1, dtype=torch.bool, device=device),
        choice_of_place=torch.tensor(choice_of_place, device=device),
        head_of_row=torch.tensor(head_of_row, device=device),
        row_of_head=torch.tensor(row_of_head, device=device),
        member=torch.eye(_NUM_HEADS, dtype=torch.float32, device=device)[head_of_choice],
    )


@final
class PaddedHeads:
    """The heads' distributions; see the head of this module.

    Args:
        logits: [*batch, logit], all heads side by side.
        masks: of the same batch.
        floors: of each head, in head order; None for none. Those in a tensor may change under compiled code.
    """

    __slots__ = ("_layout", "_legal", "_log_probs", "_probs")

    def __init__(
        self,
        logits: Float[Tensor, "*batch logit"],
        masks: ActionMasks,
        floors: tuple[float, ...] | Float[Tensor, " head"] | None,
    ) -> None:
        heads, by_op = masks[:_NUM_HEADS], masks.slot_by_op.flatten(-2)
        layout: _Layout = _layout_of(masks.head_sizes, logits.device)
        self._layout = layout
        never = layout.nowhere.expand(*masks.batch_shape, 1)
        self._legal = torch.cat([*heads, by_op, never], dim=-1)
        # Masked before it is spread out: a bool costs several times what a float does.
        masked = mask_logits(logits.index_select(-1, layout.logit_of_choice), self._legal)
        log_probs = self._spread(masked).log_softmax(-1)
        if floors is not None:
            each = torch.as_tensor(floors, dtype=log_probs.dtype, device=logits.device)
            rows = each.index_select(0, layout.head_of_row).unsqueeze(-1)
            log_probs = mix_with_uniform(log_probs, self._spread(self._legal), rows, -1)
        self._log_probs, self._probs = log_probs, probabilities(log_probs)

    @property
    def op_probs(self) -> Float[Tensor, "*batch op"]:
        """Probability of each op."""
        return self._probs.select(-2, OP).narrow(-1, 0, _NUM_OPS)

    def draw(
        self, uniform: Float[Tensor, "*batch head"]
    ) -> tuple[FactoredActions[Tensor], Float[Tensor, "*batch head"]]:
        """The action that these numbers in [0, 1) stand for, and its `log_probs`."""
        choices = draw(self._probs.detach(), uniform.index_select(-1, self._layout.head_of_row), -1)
        actions, row_of_head, used = self._choose(choices)
        rows = self._log_probs.gather(-1, choices.unsqueeze(-1)).squeeze(-1)
        return actions, torch.where(used, rows.gather(-1, row_of_head), 0.0)

    def mode(self) -> FactoredActions[Tensor]:
        """The likeliest op, then the likeliest choice of every head that matters for it."""
        return self._choose(self._log_probs.argmax(-1))[0]

    def log_probs(self, actions: FactoredActions[Tensor]) -> Float[Tensor, "*batch head"]:
        """Log-probability of each head's choice given the op; 0 where the head does not matter."""
        choices = torch.stack(tuple(actions), dim=-1).index_select(-1, self._layout.head_of_row)
        rows = self._log_probs.gather(-1, choices.long().unsqueeze(-1)).squeeze(-1)
        row_of_head = embedding(actions.op, self._layout.row_of_head)
        return torch.where(relevant_heads(actions.op), rows.gather(-1, row_of_head), 0.0)

    def head_entropy(self, *, normalized: bool) -> Float[Tensor, "*batch head"]:
        """Entropy of each head, the slot head's over the slots of all legal ops."""
        found = self._entropy(0, _NUM_HEADS)
        if not normalized:
            return found
        member = self._layout.member
        legal = self._legal.narrow(-1, 0, len(member)).float()
        # The same sums: one call where each call costs, and one kernel with the rest where that is compiled.
        compiled = torch.compiler.is_compiling()
        counts = (legal.unsqueeze(-1) * member).sum(-2) if compiled else legal @ member
        return normalize_entropy(found, counts)

    def slot_entropy(self, *, normalized: bool) -> Float[Tensor, "*batch op"]:
        """Entropy of the slot head given each op."""
        found = self._entropy(_NUM_HEADS, _NUM_OPS)
        if not normalized:
            return found
        return normalize_entropy(found, self._spread(self._legal).narrow(-2, _NUM_HEADS, _NUM_OPS).sum(-1))

    def _entropy(self, first: int, count: int) -> Float[Tensor, "*batch row"]:
        log_probs, probs = (each.narrow(-2, first, count) for each in (self._log_probs, self._probs))
        return entropy_of(log_probs, probs, -1)

    def _spread(self, choices: Tensor) -> Tensor:
        """The block with what belongs to each choice."""
        block: Tensor = choices.index_select(-1, self._layout.choice_of_place).unflatten(
            -1, self._layout.shape
        )
        return block

    def _choose(
        self, choices: Int[Tensor, "*batch row"]
    ) -> tuple[FactoredActions[Tensor], Int[Tensor, "*batch head"], Bool[Tensor, "*batch head"]]:
        """The action of these choices in all rows, the rows that count for its op, and which heads matter for it."""
        op = choices.select(-1, OP)
        row_of_head, used = embedding(op, self._layout.row_of_head), relevant_heads(op)
        return FactoredActions(*(choices.gather(-1, row_of_head) * used).unbind(-1)), row_of_head, used
