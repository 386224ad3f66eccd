"""The arithmetic of masked distributions, along any axis: log-probabilities, probabilities, entropy, floors, draws.

An illegal choice is -inf before the softmax, never a finite stand-in: no magnitude of a logit can let it win, and its
gradient is exactly 0. Everything is float32 for half-precision logits and the logits' own precision otherwise.
"""

from typing import Final

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

LOWEST: Final = -80.0
"""Log-probabilities below this count as probability 0: exp is many times slower where its result is subnormal."""

_BELOW_ONE: Final = 1.0 - 2.0**-23  # times any float32 number above 0, this is less than that number

# A little more than exp(LOWEST); taken off, it leaves exactly 0 where there is nothing.
_NEGLIGIBLE: Final = 2e-35


def masked_log_softmax(
    logits: Float[Tensor, "..."], mask: Bool[Tensor, "..."], dim: int
) -> Float[Tensor, "..."]:
    """Log-probabilities over the legal choices of an axis; -inf at illegal ones."""
    precise = logits.to(torch.promote_types(logits.dtype, torch.float32))
    return torch.where(mask, precise, -torch.inf).log_softmax(dim)


def probabilities(log_probs: Float[Tensor, "..."]) -> Float[Tensor, "..."]:
    """exp(log_probs), within 2e-35; exactly 0 at illegal choices, and with finite gradients everywhere."""
    return (log_probs.clamp(min=LOWEST).exp() - _NEGLIGIBLE).clamp(min=0.0)


def entropy_of(
    log_probs: Float[Tensor, "..."], probs: Float[Tensor, "..."], dim: int
) -> Float[Tensor, "..."]:
    """Entropy along an axis, nats."""
    return (probs * log_probs.clamp(min=LOWEST)).sum(dim).neg()


def normalize_entropy(
    entropy: Float[Tensor, "*batch"], count: Int[Tensor, "*batch"]
) -> Float[Tensor, "*batch"]:
    """Entropy over the largest that so many legal choices can have; 0 with one choice, whose entropy is 0."""
    return entropy / count.clamp(min=2).to(entropy.dtype).log()


def mix_with_uniform(
    log_probs: Float[Tensor, "..."], mask: Bool[Tensor, "..."], floor: float | Tensor, dim: int
) -> Float[Tensor, "..."]:
    """Log-probabilities of (1 - floor) p + floor uniform over the legal choices; as they are where the floor is 0."""
    share = floor / mask.sum(dim, keepdim=True).clamp(min=1)
    mixed = (1 - floor) * log_probs.exp() + share
    touched = mask & (share > 0)
    return torch.where(touched, torch.where(touched, mixed, 1.0).log(), log_probs)


def draw(probs: Float[Tensor, "..."], uniform: Float[Tensor, "*batch"], dim: int) -> Int[Tensor, "*batch"]:
    """The index at which the cumulative probability passes `uniform`, numbers in [0, 1]; always a possible one.

    The target is kept below the total, which rounding could make it reach. So some cumulative value exceeds it, and
    the first that does belongs to a choice of positive probability.
    """
    cumulative = probs.cumsum(dim)
    target = uniform.clamp(max=_BELOW_ONE) * cumulative.select(dim, -1)
    return (cumulative <= target.unsqueeze(dim)).sum(dim)
