"""One distribution over all eight heads: the op first, then the slot that this op may take, then the rest."""

from collections.abc import Callable, Mapping
from typing import final

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from leyline_types import ACTION_HEADS, HEAD_NAMES, HEAD_RELEVANCE, FactoredActions, LifecycleOp
from tamiyo_masks.action_masks import ActionMasks
from tamiyo_masks.categorical import MaskedCategorical, draw

# Plain tuples: the compiler cannot look into the read-only mapping.
_RELEVANCE = tuple(tuple(name in HEAD_RELEVANCE[op] for name in HEAD_NAMES) for op in LifecycleOp)


@final
class FactoredMaskedCategorical:
    """The exact joint distribution of a factored action.

    p(action) = p(op) p(slot | op) times the product of p(head) over the other heads that matter for the op

    The slot is drawn from the row of `slot_by_op` that belongs to the op; heads that do not matter for the op
    (`HEAD_RELEVANCE`) are canonical: index 0, log-probability 0. The same rule holds when acting and when evaluating,
    so that ratios of probabilities are exact and probabilities sum to 1 over the legal actions.

    Args:
        logits: [*batch, sum of head sizes], heads one after the other in head order.
        masks: of the same batch shape, every row with a legal choice.
        validate: as in `MaskedCategorical`, for every head that is looked at.
        floors: by head name, the probability that is spread evenly over the legal choices instead of following the
            logits, p = (1 - floor) softmax + floor uniform; None for no floor at any head.

    Raises:
        ValueError: logits that do not fit the masks, an unknown head in `floors` or a floor outside [0, 1).
    """

    __slots__ = ("_floors", "_logits", "_validate", "masks")

    def __init__(
        self,
        logits: Float[Tensor, "*batch logit"],
        masks: ActionMasks,
        *,
        floors: Mapping[str, float] | None = None,
        validate: bool | None = None,
    ) -> None:
        head_masks = masks[: len(ACTION_HEADS)]
        sizes = [mask.shape[-1] for mask in head_masks]
        if logits.shape != (*masks.op.shape[:-1], sum(sizes)):
            raise ValueError(
                f"`logits` has shape {tuple(logits.shape)}, the masks call for {(*masks.op.shape[:-1], sum(sizes))}"
            )
        for name, floor in (floors or {}).items():
            if name not in HEAD_NAMES:
                raise ValueError(f"`floors` names no head: {name!r}; heads are {', '.join(HEAD_NAMES)}")
            if not 0.0 <= floor < 1.0:
                raise ValueError(f"floor of head {name!r} must lie in [0, 1), not {floor}")
        self.masks = masks
        self._logits = FactoredActions(*torch.split(logits, sizes, dim=-1))
        self._floors = dict(floors or {})
        self._validate = validate

    def sample(
        self, generator: torch.Generator | None = None, *, uniform: Float[Tensor, "*batch head"] | None = None
    ) -> FactoredActions[Tensor]:
        """Draw an action per environment.

        Args:
            generator: the source of randomness.
            uniform: numbers in [0, 1) to use instead, one per head in head order; compiled functions need them given.
        """
        if uniform is None:
            shape = (*self.masks.op.shape[:-1], len(HEAD_NAMES))
            uniform = torch.rand(shape, generator=generator, device=self.masks.op.device)
        numbers = dict(zip(HEAD_NAMES, uniform.unbind(-1), strict=True))

        def choose(name: str, head: MaskedCategorical) -> Int[Tensor, "*batch"]:
            return draw(head.probs.detach(), head.mask, numbers[name])

        return self._choose(choose)

    def mode(self) -> FactoredActions[Tensor]:
        """The likeliest op, then the likeliest choice of every head that matters for it."""
        return self._choose(lambda name, head: head.mode())

    def log_prob(self, actions: FactoredActions[Tensor]) -> FactoredActions[Tensor]:
        """Log-probability of each head's choice given the op, [*batch] each; 0 where the head does not matter.

        The log-probability of the whole action is the sum over heads; -inf for an action that is not legal.
        """
        matters = relevance(actions.op).unbind(-1)
        return FactoredActions(
            *(
                torch.where(matter, self._head(name, actions.op).log_prob(choice), 0.0)
                for name, choice, matter in zip(HEAD_NAMES, actions, matters, strict=True)
            )
        )

    def joint_log_prob(self, actions: FactoredActions[Tensor]) -> Float[Tensor, "*batch"]:
        """Log-probability of the whole action."""
        return torch.stack(tuple(self.log_prob(actions)), dim=-1).sum(-1)

    def entropy(self) -> Float[Tensor, "*batch"]:
        """How undecided the policy is, 0 to 1: the mean normalised entropy of the heads that could matter.

        A regulariser rather than the joint entropy: it looks at every head that some legal op uses, under the head's
        mask before an op is chosen, so that a head is kept undecided also while its op is rare.
        """
        could_matter = (relevance_table(self.masks.op.device) & self.masks.op[..., None]).any(-2)
        entropies = torch.stack([self._head(name, None).entropy() for name in HEAD_NAMES], dim=-1)
        return torch.where(could_matter, entropies, 0.0).sum(-1) / could_matter.sum(-1)

    def _choose(self, choose: Callable[[str, MaskedCategorical], Tensor]) -> FactoredActions[Tensor]:
        op = choose("op", self._head("op", None))
        matters = relevance(op).unbind(-1)
        return FactoredActions(
            *(
                op if name == "op" else torch.where(matter, choose(name, self._head(name, op)), 0)
                for name, matter in zip(HEAD_NAMES, matters, strict=True)
            )
        )

    def _head(self, name: str, op: Int[Tensor, "*batch"] | None) -> MaskedCategorical:
        """The distribution of a head, that of the slot given the op where one is chosen."""
        mask: Tensor = getattr(self.masks, name)
        if name == "slot" and op is not None:
            rows = op[..., None, None].expand(*op.shape, 1, mask.shape[-1])
            mask = self.masks.slot_by_op.gather(-2, rows)[..., 0, :]
        return MaskedCategorical(
            getattr(self._logits, name), mask, floor=self._floors.get(name, 0.0), validate=self._validate
        )


def relevance_table(device: torch.device) -> Bool[Tensor, "op head"]:
    """`HEAD_RELEVANCE` as a tensor."""
    return torch.tensor(_RELEVANCE, device=device)


def relevance(op: Int[Tensor, "*batch"]) -> Bool[Tensor, "*batch head"]:
    """Which heads matter for the chosen ops."""
    return relevance_table(op.device)[op]
