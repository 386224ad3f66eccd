"""Each head of a large batch, or of a compiled function, by itself: without padding, and choices first.

Blocks are [choice, *batch], so that the reductions over few choices run over whole rows of the batch. All heads' masked
logits are joined first: the compiler then keeps them, instead of masking and transposing again in every reduction.
"""

from collections.abc import Sequence
from typing import final

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from leyline_types import HEAD_NAMES, FactoredActions
from tamiyo_masks.action_masks import ActionMasks
from tamiyo_masks.relevance import relevant_heads
from tamiyo_masks.softmax import (
    draw,
    entropy_of,
    mask_logits,
    mix_with_uniform,
    normalize_entropy,
    probabilities,
)

Block = Float[Tensor, "choice *batch"]


@final
class SeparateHeads:
    """The heads' distributions; see the head of this module. Arguments and methods are those of `PaddedHeads`."""

    __slots__ = ("_floors", "_log_probs", "_masks", "_probs", "_slot_logits")

    def __init__(
        self,
        logits: Float[Tensor, "*batch logit"],
        masks: ActionMasks,
        floors: tuple[float, ...] | Float[Tensor, " head"] | None,
    ) -> None:
        heads = masks[: len(HEAD_NAMES)]
        sizes = masks.head_sizes
        of_heads = FactoredActions(*logits.split(sizes, dim=-1))
        blocks = _join(list(map(mask_logits, of_heads, heads))).split(sizes)
        self._floors = FactoredActions(*((0.0,) * len(HEAD_NAMES) if floors is None else floors))
        self._log_probs = FactoredActions(*map(_log_softmax, blocks, heads, self._floors))
        self._probs = FactoredActions(*map(probabilities, self._log_probs))
        self._slot_logits, self._masks = of_heads.slot, masks

    @property
    def op_probs(self) -> Float[Tensor, "*batch op"]:
        """Probability of each op."""
        return self._probs.op.movedim(0, -1)

    def draw(
        self, uniform: Float[Tensor, "*batch head"]
    ) -> tuple[FactoredActions[Tensor], Float[Tensor, "*batch head"]]:
        """The action that these numbers in [0, 1) stand for, and its `log_probs`."""
        numbers = FactoredActions(*uniform.unbind(-1))
        op = draw(self._probs.op.detach(), numbers.op, 0)
        slot = self._slot_given(op)
        probs = self._probs._replace(slot=probabilities(slot))
        choices = [
            op if name == "op" else draw(block.detach(), number, 0)
            for name, block, number in zip(HEAD_NAMES, probs, numbers, strict=True)
        ]
        return _canonical(choices, op), _find(self._log_probs._replace(slot=slot), choices, op)

    def mode(self) -> FactoredActions[Tensor]:
        """The likeliest op, then the likeliest choice of every head that matters for it."""
        op = self._log_probs.op.argmax(0)
        given = self._log_probs._replace(slot=self._slot_given(op))
        return _canonical([block.argmax(0) for block in given], op)

    def log_probs(self, actions: FactoredActions[Tensor]) -> Float[Tensor, "*batch head"]:
        """Log-probability of each head's choice given the op; 0 where the head does not matter."""
        given = self._log_probs._replace(slot=self._slot_given(actions.op))
        return _find(given, actions, actions.op)

    def head_entropy(self, *, normalized: bool) -> Float[Tensor, "*batch head"]:
        """Entropy of each head, the slot head's over the slots of all legal ops."""
        found = [
            entropy_of(log_probs, probs, 0)
            for log_probs, probs in zip(self._log_probs, self._probs, strict=True)
        ]
        if normalized:
            found = list(
                map(normalize_entropy, found, (mask.sum(-1) for mask in self._masks[: len(HEAD_NAMES)]))
            )
        return torch.stack(found, dim=-1)

    def slot_entropy(self, *, normalized: bool) -> Float[Tensor, "*batch op"]:
        """Entropy of the slot head given each op."""
        blocks = mask_logits(self._slot_logits.unsqueeze(-2), self._masks.slot_by_op).movedim(-1, 0)
        log_probs = _log_softmax(blocks.contiguous(), self._masks.slot_by_op, self._floors.slot)
        found = entropy_of(log_probs, probabilities(log_probs), 0)
        return normalize_entropy(found, self._masks.slot_by_op.sum(-1)) if normalized else found

    def _slot_given(self, op: Int[Tensor, "*batch"]) -> Block:
        """The slot head's log-probabilities once the op is chosen."""
        mask = self._masks.slots_given(op)
        masked = mask_logits(self._slot_logits, mask)
        # Cut in two, for the compiler keeps nothing of a single piece.
        return _log_softmax(_join(masked.split((1, mask.shape[-1] - 1), dim=-1)), mask, self._floors.slot)


def _join(masked: Sequence[Tensor]) -> Block:
    """Pieces of choices as one block in memory, choices first."""
    return torch.cat([piece.movedim(-1, 0) for piece in masked])


def _log_softmax(masked: Block, mask: Bool[Tensor, "*batch choice"], floor: float | Tensor) -> Block:
    log_probs = masked.log_softmax(0)
    # Whether a tensor is 0 is not asked: the answer would have to come from the device.
    mixes = isinstance(floor, Tensor) or floor > 0
    return mix_with_uniform(log_probs, mask.movedim(-1, 0), floor, 0) if mixes else log_probs


def _canonical(choices: Sequence[Tensor], op: Int[Tensor, "*batch"]) -> FactoredActions[Tensor]:
    """The choices of an op, 0 at the heads that do not matter for it."""
    return FactoredActions(*map(torch.mul, choices, relevant_heads(op).unbind(-1)))


def _find(
    given: FactoredActions[Block], choices: Sequence[Tensor], op: Int[Tensor, "*batch"]
) -> Float[Tensor, "*batch head"]:
    """The choices' log-probabilities, 0 at the heads that do not matter for the op."""
    found = [
        block.gather(0, choice.unsqueeze(0)).squeeze(0) for block, choice in zip(given, choices, strict=True)
    ]
    return torch.where(relevant_heads(op), torch.stack(found, dim=-1), 0.0)
