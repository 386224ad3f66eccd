"""A categorical distribution over the legal choices alone."""

from typing import final

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from tamiyo_masks.inference import ordinary
from tamiyo_masks.softmax import (
    draw,
    entropy_of,
    mask_logits,
    mix_with_uniform,
    normalize_entropy,
    probabilities,
)
from tamiyo_masks.validation import check_rows, should_validate


@final
class MaskedCategorical:
    """Categorical over the legal choices: p_i = exp(l_i) / sum over legal j of exp(l_j), and exactly 0 if illegal.

    Huang and Ontanon, A Closer Look at Invalid Action Masking in Policy Gradient Algorithms,
    https://arxiv.org/abs/2006.14171. We differ in that illegal logits are never given a finite stand-in: they are left
    out, so that no magnitude of a logit can let one win, and their gradients are exactly 0.

    Arithmetic is float32 for half-precision logits and the logits' own otherwise (`softmax`). Immutable. Masks, actions
    and the distribution that another is held against may be of inference mode.

    Args:
        logits: [*batch, choice], finite where legal.
        mask: [*batch, choice], True = legal, at least one per row.
        floor: probability spread evenly over the legal choices, p = (1 - floor) softmax + floor uniform; 0 to below 1.
        validate: whether to look for rows without a legal choice and for logits that are not finite, which waits for
            the device; None takes the environment variable TAMIYO_VALIDATE. Never done inside compiled code.

    Raises:
        ValueError: the shapes differ, the mask is not boolean, or the floor lies outside [0, 1).
        InvalidStateMachineError: with validation, a row without a legal choice, or a legal logit that is not finite.
    """

    __slots__ = ("log_probs", "mask", "probs")

    log_probs: Float[Tensor, "*batch choice"]
    """Log-probabilities; -inf where illegal."""
    mask: Bool[Tensor, "*batch choice"]
    probs: Float[Tensor, "*batch choice"]
    """Probabilities; 0 where illegal."""

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
        if not 0.0 <= floor < 1.0:
            raise ValueError(f"`floor` must lie in [0, 1), not {floor}")
        if should_validate(validate):
            check_rows("mask", logits, mask)
        mask = ordinary(mask)
        log_probs = mask_logits(logits, mask).log_softmax(-1)
        if floor:
            log_probs = mix_with_uniform(log_probs, mask, floor, -1)
        object.__setattr__(self, "log_probs", log_probs)
        object.__setattr__(self, "mask", mask)
        object.__setattr__(self, "probs", probabilities(log_probs))

    def __setattr__(self, name: str, value: object) -> None:
        raise AttributeError(f"MaskedCategorical is immutable; cannot set {name!r}")

    def log_prob(self, action: Int[Tensor, "*batch"]) -> Float[Tensor, "*batch"]:
        """Log-probability of the chosen indices; -inf where illegal."""
        return self.log_probs.gather(-1, ordinary(action).unsqueeze(-1)).squeeze(-1)

    def sample(self, generator: torch.Generator | None = None) -> Int[Tensor, "*batch"]:
        """Draw an index per row, by the inverse of the cumulative distribution."""
        uniform = torch.rand(self.mask.shape[:-1], generator=generator, device=self.mask.device)
        return draw(self.probs.detach(), uniform, -1)

    def mode(self) -> Int[Tensor, "*batch"]:
        """The likeliest legal index of each row."""
        return self.log_probs.argmax(-1)

    def entropy(self, normalized: bool = True) -> Float[Tensor, "*batch"]:
        """Entropy in nats, or over log(number of legal choices): then 1 for uniform. 0 with one choice either way."""
        raw = entropy_of(self.log_probs, self.probs, -1)
        return normalize_entropy(raw, self.mask.sum(-1)) if normalized else raw

    def kl(self, other: "MaskedCategorical") -> Float[Tensor, "*batch"]:
        """KL divergence from self to `other`, nats; inf where self may choose what is illegal for `other`.

        Gradients are finite also there; log-probabilities beyond half the largest number count as that.
        """
        lowest = torch.finfo(self.log_probs.dtype).min / 2
        difference = self.log_probs.clamp_min(lowest) - other.log_probs.clamp_min(lowest)
        finite = (ordinary(self.probs) * torch.where(self.mask & other.mask, difference, 0.0)).sum(-1)
        escapes = ((self.probs > 0) & ~other.mask).any(-1)
        return finite + torch.where(escapes, torch.inf, 0.0)
