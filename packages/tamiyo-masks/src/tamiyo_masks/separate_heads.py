"""Each head of a large batch, or of a compiled function, by itself: without padding, and choices first.

Blocks are [choice, *batch], so that the reductions over few choices run over whole rows of the batch.
"""

from typing import final

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from leyline_types import HEAD_NAMES, FactoredActions
from tamiyo_masks.action_masks import ActionMasks
from tamiyo_masks.relevance import relevance
from tamiyo_masks.softmax import (
    draw,
    entropy_of,
    masked_log_softmax,
    mix_with_uniform,
    normalize_entropy,
    probabilities,
)

Block = Float[Tensor, "choice *batch"]


@final
class SeparateHeads:
    """The heads' distributions; see the head of this module. Arguments and methods are those of `PaddedHeads`."""

    __slots__ = ("_log_probs", "_logits", "_masks", "_slot_by_op", "_slot_floor")

    def __init__(
        self, logits: Float[Tensor, "*batch logit"], masks: ActionMasks, floors: tuple[float, ...] | None
    ) -> None:
        heads = masks[: len(HEAD_NAMES)]
        first = logits.movedim(-1, 0).contiguous()
        self._logits = FactoredActions(*first.split([mask.shape[-1] for mask in heads]))
        self._masks = FactoredActions(*(mask.movedim(-1, 0).contiguous() for mask in heads))
        each = floors or (0.0,) * len(HEAD_NAMES)
        self._log_probs = FactoredActions(*map(_log_probs, self._logits, self._masks, each))
        self._slot_by_op, self._slot_floor = masks.slot_by_op, FactoredActions(*each).slot

    def draw(self, uniform: Float[Tensor, "*batch head"]) -> FactoredActions[Tensor]:
        """The action that these numbers in [0, 1) stand for."""
        numbers = FactoredActions(*uniform.unbind(-1))
        op = draw(probabilities(self._log_probs.op).detach(), numbers.op, 0)
        given = self._given(op)
        return _canonical(
            [
                op if name == "op" else draw(probabilities(block).detach(), number, 0)
                for name, block, number in zip(HEAD_NAMES, given, numbers, strict=True)
            ],
            op,
        )

    def mode(self) -> FactoredActions[Tensor]:
        """The likeliest op, then the likeliest choice of every head that matters for it."""
        op = self._log_probs.op.argmax(0)
        return _canonical([block.argmax(0) for block in self._given(op)], op)

    def log_prob(self, actions: FactoredActions[Tensor]) -> Float[Tensor, "*batch head"]:
        """Log-probability of each head's choice given the op; 0 where the head does not matter."""
        given = self._given(actions.op)
        found = [
            block.gather(0, choice.unsqueeze(0)).squeeze(0)
            for block, choice in zip(given, actions, strict=True)
        ]
        return torch.where(relevance(actions.op), torch.stack(found, dim=-1), 0.0)

    def entropy(self) -> Float[Tensor, "*batch head"]:
        """Normalised entropy of each head, the slot head's over the slots of all legal ops."""
        found = [
            normalize_entropy(entropy_of(block, probabilities(block), 0), mask.sum(0))
            for block, mask in zip(self._log_probs, self._masks, strict=True)
        ]
        return torch.stack(found, dim=-1)

    def _given(self, op: Int[Tensor, "*batch"]) -> FactoredActions[Block]:
        """Every head's log-probabilities once the op is chosen."""
        rows = op[..., None, None].expand(*op.shape, 1, self._slot_by_op.shape[-1])
        mask = self._slot_by_op.gather(-2, rows).squeeze(-2).movedim(-1, 0).contiguous()
        return self._log_probs._replace(slot=_log_probs(self._logits.slot, mask, self._slot_floor))


def _log_probs(logits: Block, mask: Bool[Tensor, "choice *batch"], floor: float) -> Block:
    log_probs = masked_log_softmax(logits, mask, 0)
    return mix_with_uniform(log_probs, mask, floor, 0) if floor else log_probs


def _canonical(choices: list[Tensor], op: Int[Tensor, "*batch"]) -> FactoredActions[Tensor]:
    return FactoredActions(
        *(choice * matters for choice, matters in zip(choices, relevance(op).unbind(-1), strict=True))
    )
