"""A categorical distribution over the legal choices alone."""

from typing import final

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from tamiyo_masks.validation import check_rows, should_validate


@final
class MaskedCategorical:
    """Categorical over the legal choices: p_i = exp(l_i) / sum over legal j of exp(l_j), and exactly 0 if illegal.

    Huang and Ontanon, A Closer Look at Invalid Action Masking in Policy Gradient Algorithms,
    https://arxiv.org/abs/2006.14171. We differ in that illegal logits are never given a finite stand-in: they are left
    out, so that no magnitude of a logit can let one win, and their gradients are exactly 0.

    Arithmetic is float32 for half-precision logits and the logits' own otherwise. Immutable.

    Args:
        logits: [*batch, choice], finite where legal.
        mask: [*batch, choice], True = legal, at least one per row.
        floor: probability spread evenly over the legal choices, p = (1 - floor) softmax + floor uniform; 0 to 1.
        validate: whether to look for rows without a legal choice and for logits that are not finite, which waits for
            the device; None takes the environment variable TAMIYO_VALIDATE. Never done inside compiled code.

    Raises:
        ValueError: the shapes differ, the mask is not boolean, or the floor lies outside [0, 1].
        InvalidStateMachineError: with validation, a row without a legal choice, or a legal logit that is not finite.
    """

    __slots__ = ("log_probs", "mask")

    log_probs: Float[Tensor, "*batch choice"]
    mask: Bool[Tensor, "*batch choice"]

    def __init__(
        self,
        logits: Float[Tensor, "*batch choice"],
        mask: Bool[Tensor, "*batch choice"],
        *,
        floor: float = 0.0,
        validate: bool | None = None,
    ) -> None:
        if logits.shape != mask.shape:
            raise ValueError(f"`mask` has shape {tuple(mask.shape)} but `logits` has {tuple(logits.shape)}")
        if mask.dtype is not torch.bool:
            raise ValueError(f"`mask` must be boolean, not {mask.dtype}")
        if not 0.0 <= floor <= 1.0:
            raise ValueError(f"`floor` must lie in [0, 1], not {floor}")
        if should_validate(validate):
            check_rows(logits, mask)
        log_probs = masked_log_softmax(logits, mask)
        object.__setattr__(
            self, "log_probs", mix_with_uniform(log_probs, mask, floor) if floor else log_probs
        )
        object.__setattr__(self, "mask", mask)

    def __setattr__(self, name: str, value: object) -> None:
        raise AttributeError(f"MaskedCategorical is immutable; cannot set {name!r}")

    @property
    def probs(self) -> Float[Tensor, "*batch choice"]:
        """Probabilities; 0 where illegal."""
        return torch.where(self.mask, self.log_probs.exp(), 0.0)

    def log_prob(self, action: Int[Tensor, "*batch"]) -> Float[Tensor, "*batch"]:
        """Log-probability of the chosen indices; -inf where illegal."""
        chosen = self.log_probs.gather(-1, action[..., None])[..., 0]
        legal = self.mask.gather(-1, action[..., None])[..., 0]
        return torch.where(legal, chosen, -torch.inf)

    def sample(self, generator: torch.Generator | None = None) -> Int[Tensor, "*batch"]:
        """Draw an index per row, by the inverse of the cumulative distribution."""
        uniform = torch.rand(self.mask.shape[:-1], generator=generator, device=self.mask.device)
        return draw(self.probs.detach(), self.mask, uniform)

    def mode(self) -> Int[Tensor, "*batch"]:
        """The likeliest legal index of each row."""
        return torch.where(self.mask, self.log_probs, -torch.inf).argmax(-1)

    def entropy(self, normalized: bool = True) -> Float[Tensor, "*batch"]:
        """Entropy in nats, or over log(number of legal choices): then 1 for uniform. 0 with one choice either way."""
        raw = -(self.probs * self.log_probs).sum(-1)
        return normalize_entropy(raw, self.mask) if normalized else raw

    def kl(self, other: "MaskedCategorical") -> Float[Tensor, "*batch"]:
        """KL divergence from self to `other`, nats; inf where self may choose what is illegal for `other`."""
        difference = torch.where(self.mask & other.mask, self.log_probs - other.log_probs, 0.0)
        finite = (self.probs * difference).sum(-1)
        return torch.where((self.mask & ~other.mask).any(-1), torch.inf, finite)


def masked_log_softmax(
    logits: Float[Tensor, "*batch choice"], mask: Bool[Tensor, "*batch choice"]
) -> Float[Tensor, "*batch choice"]:
    """Log-probabilities over the legal choices, and 0 (not -inf, whose gradients are NaN) at illegal ones."""
    precise = logits.to(torch.promote_types(logits.dtype, torch.float32))
    largest = torch.where(mask, precise, -torch.inf).amax(-1, keepdim=True).detach()
    largest = torch.where(largest.isfinite(), largest, 0.0)
    # Bounded, as a difference beyond the finite numbers would be -inf, and 0 * -inf is NaN in entropy and gradients.
    shifted = torch.where(mask, precise - largest, 0.0).clamp(min=-(torch.finfo(precise.dtype).max ** 0.5))
    total = torch.where(mask, shifted.exp(), 0.0).sum(-1, keepdim=True)
    return torch.where(mask, shifted - total.log(), 0.0)


def mix_with_uniform(
    log_probs: Float[Tensor, "*batch choice"], mask: Bool[Tensor, "*batch choice"], floor: float
) -> Float[Tensor, "*batch choice"]:
    """Log-probabilities of (1 - floor) p + floor uniform over the legal choices; 0 at illegal ones."""
    share = floor / mask.sum(-1, keepdim=True).clamp(min=1)
    mixed = (1 - floor) * torch.where(mask, log_probs.exp(), 0.0) + share
    return torch.where(mask, mixed, 1.0).log()


def draw(
    probs: Float[Tensor, "*batch choice"],
    mask: Bool[Tensor, "*batch choice"],
    uniform: Float[Tensor, "*batch"],
) -> Int[Tensor, "*batch"]:
    """The index at which the cumulative probability passes `uniform` (in [0, 1)); always a legal one.

    Rounding can leave the last cumulative value below 1 or put a step onto an illegal index of probability 0: the
    strict comparison skips those, and what lies past the end falls to the last legal index of positive probability.
    """
    cumulative = probs.cumsum(-1)
    below = (cumulative <= uniform[..., None] * cumulative[..., -1:]).sum(-1)
    positions = torch.arange(mask.shape[-1], device=mask.device)
    last = torch.where(mask & (probs > 0), positions, 0).amax(-1)
    return torch.minimum(below, last)


def normalize_entropy(
    entropy: Float[Tensor, "*batch"], mask: Bool[Tensor, "*batch choice"]
) -> Float[Tensor, "*batch"]:
    """Entropy over the largest that so many legal choices can have; 0 with one choice."""
    count = mask.sum(-1)
    largest = count.clamp(min=2).to(entropy.dtype).log()
    return torch.where(count > 1, entropy / largest, 0.0)
