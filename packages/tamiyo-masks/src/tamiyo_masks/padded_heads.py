"""All heads of a small batch as one padded block, which costs the fewest calls.

The block is [*batch, row, width]: a row per head, then the slot head once more for every op, under the slots that this
op may take. Everything is drawn at once; the op that was drawn then says which of the slot rows counts.
"""

from typing import NamedTuple, final

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn.functional import embedding, pad

from leyline_types import HEAD_NAMES, FactoredActions, LifecycleOp
from tamiyo_masks.action_masks import ActionMasks
from tamiyo_masks.constants import keep
from tamiyo_masks.relevance import relevance
from tamiyo_masks.softmax import (
    draw,
    entropy_of,
    masked_log_softmax,
    mix_with_uniform,
    normalize_entropy,
    probabilities,
)

_NUM_HEADS, _NUM_OPS = len(HEAD_NAMES), len(LifecycleOp)
_SLOT, _OP = HEAD_NAMES.index("slot"), HEAD_NAMES.index("op")


class _Layout(NamedTuple):
    """Where things stand in the block, by row and place in the row.

    Args:
        shape: (rows, width).
        logit: [row * width], the logit; the first one where there is none, for it is masked.
        legal: [row * width], the bit among all masks side by side, slots by op last; one past the end is False.
        head_of_row: [row].
        row_of_head: [op, head], the row that counts once the op is chosen.
    """

    shape: tuple[int, int]
    logit: Int[Tensor, " place"]
    legal: Int[Tensor, " place"]
    head_of_row: Int[Tensor, " row"]
    row_of_head: Int[Tensor, "op head"]


_layouts: dict[tuple[tuple[int, ...], torch.device], _Layout] = {}


def _layout_of(sizes: tuple[int, ...], device: torch.device) -> _Layout:
    return keep(_layouts, (sizes, device), lambda: _make_layout(sizes, device))


def _make_layout(sizes: tuple[int, ...], device: torch.device) -> _Layout:
    width, starts = max(sizes), [sum(sizes[:head]) for head in range(_NUM_HEADS)]
    head_of_row = [*range(_NUM_HEADS), *[_SLOT] * _NUM_OPS]
    row_of_head = [
        [_NUM_HEADS + op if head == _SLOT else head for head in range(_NUM_HEADS)] for op in range(_NUM_OPS)
    ]
    nowhere = sum(sizes) + _NUM_OPS * sizes[_SLOT]
    logit, legal = [], []
    for row, head in enumerate(head_of_row):
        start = starts[head] if row < _NUM_HEADS else sum(sizes) + (row - _NUM_HEADS) * sizes[_SLOT]
        padding = width - sizes[head]
        logit += [*range(starts[head], starts[head] + sizes[head]), *[0] * padding]
        legal += [*range(start, start + sizes[head]), *[nowhere] * padding]
    tables = (torch.tensor(each, device=device) for each in (logit, legal, head_of_row, row_of_head))
    return _Layout((len(head_of_row), width), *tables)


@final
class PaddedHeads:
    """The heads' distributions; see the head of this module.

    Args:
        logits: [*batch, logit], all heads side by side.
        masks: of the same batch.
        floors: of each head, in head order; None for none.
    """

    __slots__ = ("_layout", "_log_probs", "_mask", "_probs")

    def __init__(
        self, logits: Float[Tensor, "*batch logit"], masks: ActionMasks, floors: tuple[float, ...] | None
    ) -> None:
        sizes = tuple(mask.shape[-1] for mask in masks[:_NUM_HEADS])
        layout = self._layout = _layout_of(sizes, logits.device)
        by_op = masks.slot_by_op.flatten(-2)
        legal = pad(torch.cat([*masks[:_NUM_HEADS], by_op], dim=-1), (0, 1))
        self._mask = legal.index_select(-1, layout.legal).unflatten(-1, layout.shape)
        block = logits.index_select(-1, layout.logit).unflatten(-1, layout.shape)
        log_probs = masked_log_softmax(block, self._mask, -1)
        if floors is not None:
            each = torch.tensor(floors, dtype=log_probs.dtype, device=logits.device)
            rows = each.index_select(0, layout.head_of_row).unsqueeze(-1)
            log_probs = mix_with_uniform(log_probs, self._mask, rows, -1)
        self._log_probs, self._probs = log_probs, probabilities(log_probs)

    def draw(self, uniform: Float[Tensor, "*batch head"]) -> FactoredActions[Tensor]:
        """The action that these numbers in [0, 1) stand for."""
        return self._choose(
            draw(self._probs.detach(), uniform.index_select(-1, self._layout.head_of_row), -1)
        )

    def mode(self) -> FactoredActions[Tensor]:
        """The likeliest op, then the likeliest choice of every head that matters for it."""
        return self._choose(self._log_probs.argmax(-1))

    def log_prob(self, actions: FactoredActions[Tensor]) -> Float[Tensor, "*batch head"]:
        """Log-probability of each head's choice given the op; 0 where the head does not matter."""
        choices = torch.stack(tuple(actions), dim=-1).index_select(-1, self._layout.head_of_row)
        rows = self._log_probs.gather(-1, choices.unsqueeze(-1)).squeeze(-1)
        found = rows.gather(-1, embedding(actions.op, self._layout.row_of_head))
        return torch.where(relevance(actions.op), found, 0.0)

    def entropy(self) -> Float[Tensor, "*batch head"]:
        """Normalised entropy of each head, the slot head's over the slots of all legal ops."""
        heads = [each.narrow(-2, 0, _NUM_HEADS) for each in (self._log_probs, self._probs, self._mask)]
        return normalize_entropy(entropy_of(heads[0], heads[1], -1), heads[2].sum(-1))

    def _choose(self, choices: Int[Tensor, "*batch row"]) -> FactoredActions[Tensor]:
        op = choices.select(-1, _OP)
        actions = choices.gather(-1, embedding(op, self._layout.row_of_head)) * relevance(op)
        return FactoredActions(*actions.unbind(-1))
