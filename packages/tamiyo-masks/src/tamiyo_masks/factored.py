"""One distribution over all eight heads: the op first, then the slot that this op may take, then the rest."""

from collections.abc import Mapping
from math import prod
from typing import Final, final

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from leyline_types import HEAD_NAMES, FactoredActions
from tamiyo_masks.action_masks import ActionMasks
from tamiyo_masks.inference import ordinary
from tamiyo_masks.padded_heads import PaddedHeads
from tamiyo_masks.relevance import OP, SLOT, Relevance, could_matter, relevance_on, relevant_heads, takes_slot
from tamiyo_masks.separate_heads import SeparateHeads
from tamiyo_masks.validation import check_heads, should_validate

LARGEST_PADDED: Final = 128
"""Batches up to this size are one padded block (measured: beyond about 200 the padding costs more than the calls).

In compiled code, where calls cost nothing, only a batch of 1 is.
"""


@final
class FactoredMaskedCategorical:
    """The exact joint distribution of a factored action.

    p(action) = p(op) p(slot | op) times the product of p(head) over the other heads that matter for the op

    The slot is drawn from the row of `slot_by_op` that belongs to the op; heads that do not matter for the op
    (`HEAD_RELEVANCE`) are canonical: index 0, log-probability 0. The same rule holds when acting and when evaluating,
    so that ratios of probabilities are exact and probabilities sum to 1 over the legal actions. Immutable.

    Actions, ops, masks and floors may be inference tensors, as a rollout makes them: gradients still reach the logits.

    Args:
        logits: [*batch, sum of head sizes], heads one after the other in head order.
        masks: of the same batch shape, each head and each legal op that takes a slot with a legal choice.
        validate: as in `MaskedCategorical`, for every head and for the slots of every legal op.
        floors: by head name, the probability that is spread evenly over the legal choices instead of following the
            logits, p = (1 - floor) softmax + floor uniform; None for no floor at any head. Or a tensor of every head's
            floor in head order, whose values are not looked at: compiled code then takes other floors as it is.

    Raises:
        ValueError: logits that do not fit the masks, masks not boolean or not of one batch shape, an
            unknown head in `floors`, a floor outside [0, 1) or a tensor of another shape than [8].
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
        floors: Mapping[str, float] | Float[Tensor, " head"] | None = None,
        validate: bool | None = None,
    ) -> None:
        sizes, batch = masks.head_sizes, masks.batch_shape
        if logits.shape != (*batch, sum(sizes)):
            raise ValueError(
                f"`logits` has shape {tuple(logits.shape)}, the masks call for {(*batch, sum(sizes))}"
            )
        if masks.slot_by_op.shape[:-2] != batch or any(mask.dtype is not torch.bool for mask in masks):
            raise ValueError(
                f"masks must be boolean and of one batch shape: `slot_by_op` is {tuple(masks.slot_by_op.shape)}, "
                f"`op` {tuple(masks.op.shape)}, dtypes are {', '.join(str(mask.dtype) for mask in masks)}"
            )
        if should_validate(validate):
            check_heads(logits, masks)
        small = prod(batch) <= (1 if torch.compiler.is_compiling() else LARGEST_PADDED)
        kind = PaddedHeads if small else SeparateHeads
        masks = ActionMasks(*map(ordinary, masks))
        object.__setattr__(self, "_heads", kind(logits, masks, _each_floor(floors)))
        object.__setattr__(self, "masks", masks)

    def __setattr__(self, name: str, value: object) -> None:
        raise AttributeError(f"FactoredMaskedCategorical is immutable; cannot set {name!r}")

    def sample(
        self, generator: torch.Generator | None = None, *, uniform: Float[Tensor, "*batch head"] | None = None
    ) -> FactoredActions[Tensor]:
        """Draw an action per environment, int64 [*batch] in each head.

        Args:
            generator: the source of randomness.
            uniform: numbers in [0, 1) to use instead, one per head in head order; a generator cannot enter compiled
                functions, these can.
        """
        return self.sample_and_head_log_probs(generator, uniform=uniform)[0]

    def sample_and_head_log_probs(
        self, generator: torch.Generator | None = None, *, uniform: Float[Tensor, "*batch head"] | None = None
    ) -> tuple[FactoredActions[Tensor], Float[Tensor, "*batch head"]]:
        """`sample` and the `head_log_probs` of what it drew, to the bit, for less than the two calls cost."""
        if uniform is None:
            shape = (*self.masks.batch_shape, len(HEAD_NAMES))
            uniform = torch.rand(shape, generator=generator, device=self.masks.op.device)
        return self._heads.draw(uniform)

    def mode(self) -> FactoredActions[Tensor]:
        """The likeliest op, then the likeliest choice of every head that matters for it."""
        return self._heads.mode()

    def log_prob(self, actions: FactoredActions[Tensor]) -> Float[Tensor, "*batch"]:
        """Log-probability of the whole action, the sum of `head_log_probs`; -inf for one that is not legal."""
        return self.head_log_probs(actions).sum(-1)

    def head_log_probs(self, actions: FactoredActions[Tensor]) -> Float[Tensor, "*batch head"]:
        """Log-probability of each head's choice given the op, in head order; 0 where the head does not matter.

        Choices must be in range: others give -inf or an error of torch.
        """
        return self._heads.log_probs(FactoredActions(*map(ordinary, actions)))

    def masks_given(self, op: Int[Tensor, "*batch"]) -> FactoredActions[Bool[Tensor, "*batch choice"]]:
        """The masks that a draw of this op goes by: the op's own slots, choice 0 alone where a head does not matter.

        Eight independent categoricals under these masks give the log-probabilities of `log_prob`: what to store for
        learners that know nothing of heads that depend on each other.
        """
        used = FactoredActions(*self.masks[: len(HEAD_NAMES)])._replace(slot=self.masks.slots_given(op))
        matters = relevant_heads(op).unsqueeze(-1).unbind(-2)
        first = (torch.arange(mask.shape[-1], device=op.device) == 0 for mask in used)
        return FactoredActions(*map(torch.where, matters, used, first))

    def head_entropies(
        self, op: Int[Tensor, "*batch"], *, normalized: bool = True
    ) -> Float[Tensor, "*batch head"]:
        """Entropy of each head once the op is chosen, in head order; 0 where the head does not matter.

        Args:
            op: the ops; the op head's own entropy does not depend on them.
            normalized: over log(number of legal choices), 0 with one choice; else in nats.
        """
        op = ordinary(op)
        slot = self._heads.slot_entropy(normalized=normalized).gather(-1, op.unsqueeze(-1))
        others = self._heads.head_entropy(normalized=normalized)[..., SLOT + 1 :]
        return torch.where(relevant_heads(op), torch.cat([slot, others], dim=-1), 0.0)

    def entropy(self) -> Float[Tensor, "*batch"]:
        """Entropy of the whole action, nats: H(op) plus, over ops, p(op) times the entropies of the heads they use."""
        heads = self._heads.head_entropy(normalized=False)
        tables: Relevance = relevance_on(heads.device)
        used = heads.unsqueeze(-2) * tables.weights
        slots = torch.where(takes_slot(self.masks.op), self._heads.slot_entropy(normalized=False), 0.0)
        given = slots + used[..., SLOT + 1 : OP].sum(-1)
        return heads[..., OP] + (self._heads.op_probs * given).sum(-1)

    def regularizer_entropy(self) -> Float[Tensor, "*batch"]:
        """How undecided the policy is, 0 to 1: the mean normalised entropy of the heads that could matter.

        Looks at every head that some legal op uses, under the head's mask before an op is chosen, so that a head is
        kept undecided also while its op is rare.
        """
        matters = could_matter(self.masks.op)
        return (self._heads.head_entropy(normalized=True) * matters).sum(-1) / matters.sum(-1)


def floors_by_head(floors: Mapping[str, float]) -> tuple[float, ...]:
    """Every head's floor in head order, 0 for heads that are not named.

    Raises:
        ValueError: an unknown head or a floor outside [0, 1).
    """
    for name, floor in floors.items():
        if name not in HEAD_NAMES:
            raise ValueError(f"`floors` names no head: {name!r}; heads are {', '.join(HEAD_NAMES)}")
        if not 0.0 <= floor < 1.0:
            raise ValueError(f"floor of head {name!r} must lie in [0, 1), not {floor}")
    return tuple(floors.get(name, 0.0) for name in HEAD_NAMES)


def _each_floor(floors: Mapping[str, float] | Tensor | None) -> tuple[float, ...] | Tensor | None:
    if not isinstance(floors, Tensor):
        return floors_by_head(floors) if floors else None
    due = (len(HEAD_NAMES),)
    if floors.shape != due:
        raise ValueError(f"`floors` has shape {tuple(floors.shape)}, one number for each head makes it {due}")
    return ordinary(floors)
