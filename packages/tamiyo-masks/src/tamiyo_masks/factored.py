"""One distribution over all eight heads: the op first, then the slot that this op may take, then the rest."""

from collections.abc import Mapping
from math import prod
from typing import Final, final

import torch
from jaxtyping import Float
from torch import Tensor

from leyline_types import HEAD_NAMES, FactoredActions
from tamiyo_masks.action_masks import ActionMasks
from tamiyo_masks.padded_heads import PaddedHeads
from tamiyo_masks.relevance import could_matter
from tamiyo_masks.separate_heads import SeparateHeads
from tamiyo_masks.validation import check_rows, should_validate

LARGEST_PADDED: Final = 128
"""Batches up to this size are one padded block (measured: beyond about 200 the padding costs more than the calls)."""


@final
class FactoredMaskedCategorical:
    """The exact joint distribution of a factored action.

    p(action) = p(op) p(slot | op) times the product of p(head) over the other heads that matter for the op

    The slot is drawn from the row of `slot_by_op` that belongs to the op; heads that do not matter for the op
    (`HEAD_RELEVANCE`) are canonical: index 0, log-probability 0. The same rule holds when acting and when evaluating,
    so that ratios of probabilities are exact and probabilities sum to 1 over the legal actions. Immutable.

    Args:
        logits: [*batch, sum of head sizes], heads one after the other in head order.
        masks: of the same batch shape, every row with a legal choice.
        validate: as in `MaskedCategorical`, for every head and for the slots of every legal op.
        floors: by head name, the probability that is spread evenly over the legal choices instead of following the
            logits, p = (1 - floor) softmax + floor uniform; None for no floor at any head.

    Raises:
        ValueError: logits that do not fit the masks, an unknown head in `floors` or a floor outside [0, 1).
        InvalidStateMachineError: with validation, a row without a legal choice, or a legal logit that is not finite.
    """

    __slots__ = ("_heads", "masks")

    masks: ActionMasks
    _heads: PaddedHeads | SeparateHeads

    def __init__(
        self,
        logits: Float[Tensor, "*batch logit"],
        masks: ActionMasks,
        *,
        floors: Mapping[str, float] | None = None,
        validate: bool | None = None,
    ) -> None:
        sizes = [mask.shape[-1] for mask in masks[: len(HEAD_NAMES)]]
        if logits.shape != (*masks.batch_shape, sum(sizes)):
            raise ValueError(
                f"`logits` has shape {tuple(logits.shape)}, the masks call for {(*masks.batch_shape, sum(sizes))}"
            )
        for name, floor in (floors or {}).items():
            if name not in HEAD_NAMES:
                raise ValueError(f"`floors` names no head: {name!r}; heads are {', '.join(HEAD_NAMES)}")
            if not 0.0 <= floor < 1.0:
                raise ValueError(f"floor of head {name!r} must lie in [0, 1), not {floor}")
        if should_validate(validate):
            _check(logits.split(sizes, dim=-1), masks)
        small = not torch.compiler.is_compiling() and prod(masks.batch_shape) <= LARGEST_PADDED
        each = None if not floors else tuple(floors.get(name, 0.0) for name in HEAD_NAMES)
        object.__setattr__(self, "_heads", (PaddedHeads if small else SeparateHeads)(logits, masks, each))
        object.__setattr__(self, "masks", masks)

    def __setattr__(self, name: str, value: object) -> None:
        raise AttributeError(f"FactoredMaskedCategorical is immutable; cannot set {name!r}")

    def sample(
        self, generator: torch.Generator | None = None, *, uniform: Float[Tensor, "*batch head"] | None = None
    ) -> FactoredActions[Tensor]:
        """Draw an action per environment, int64 [*batch] in each head.

        Args:
            generator: the source of randomness.
            uniform: numbers in [0, 1) to use instead, one per head in head order; compiled functions need them given.
        """
        if uniform is None:
            shape = (*self.masks.batch_shape, len(HEAD_NAMES))
            uniform = torch.rand(shape, generator=generator, device=self.masks.op.device)
        return self._heads.draw(uniform)

    def mode(self) -> FactoredActions[Tensor]:
        """The likeliest op, then the likeliest choice of every head that matters for it."""
        return self._heads.mode()

    def log_prob(self, actions: FactoredActions[Tensor]) -> FactoredActions[Tensor]:
        """Log-probability of each head's choice given the op, [*batch] each; 0 where the head does not matter.

        The log-probability of the whole action is the sum over heads; -inf for an action that is not legal.
        """
        return FactoredActions(*self._heads.log_prob(actions).unbind(-1))

    def joint_log_prob(self, actions: FactoredActions[Tensor]) -> Float[Tensor, "*batch"]:
        """Log-probability of the whole action."""
        return self._heads.log_prob(actions).sum(-1)

    def entropy(self) -> Float[Tensor, "*batch"]:
        """How undecided the policy is, 0 to 1: the mean normalised entropy of the heads that could matter.

        A regulariser rather than the joint entropy: it looks at every head that some legal op uses, under the head's
        mask before an op is chosen, so that a head is kept undecided also while its op is rare.
        """
        matters = could_matter(self.masks.op)
        return torch.where(matters, self._heads.entropy(), 0.0).sum(-1) / matters.sum(-1)


def _check(logits: tuple[Tensor, ...], masks: ActionMasks) -> None:
    """Check every head, and that every legal op has a slot. Raises: as the class."""
    for name, head_logits in zip(HEAD_NAMES, logits, strict=True):
        check_rows(name, head_logits, getattr(masks, name))
    slots = masks.slot_by_op | ~masks.op.unsqueeze(-1)
    check_rows("slot_by_op", torch.zeros_like(slots, dtype=logits[0].dtype), slots)
