"""The arithmetic of masked distributions, along any axis: log-probabilities, probabilities, entropy, floors, draws.

An illegal choice is -inf before the softmax, never a finite stand-in: no magnitude of a logit can let it win, and its
gradient is exactly 0. Everything is float32 for half-precision logits and the logits' own precision otherwise.

Numbers stand inside the functions: a global float would be an input of every compiled graph, a tensor made anew at
each call.
"""

from typing import Final

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

_WIDEST_TRIANGLE: Final = 64


def mask_logits(logits: Float[Tensor, "..."], mask: Bool[Tensor, "..."]) -> Float[Tensor, "..."]:
    """The logits in the precision of all arithmetic here, -inf where illegal."""
    if logits.dtype not in (torch.float32, torch.float64):
        logits = logits.float()
    return torch.where(mask, logits, -torch.inf)


def probabilities(log_probs: Float[Tensor, "..."]) -> Float[Tensor, "..."]:
    """exp(log_probs), and exactly 0 where that is below 2e-35, as at illegal choices; gradients are finite."""
    return torch.threshold(_bounded(log_probs).exp(), 2e-35, 0.0)  # a little more than the bound's


def entropy_of(
    log_probs: Float[Tensor, "..."], probs: Float[Tensor, "..."], dim: int
) -> Float[Tensor, "..."]:
    """Entropy along an axis, nats."""
    return (probs * _bounded(log_probs)).sum(dim).neg()


def normalize_entropy(
    entropy: Float[Tensor, "*batch"], count: Int[Tensor, "*batch"]
) -> Float[Tensor, "*batch"]:
    """Entropy over the largest that so many legal choices can have; 0 with one choice, whose entropy is 0."""
    return entropy / count.clamp_min(2).to(entropy.dtype).log()


def mix_with_uniform(
    log_probs: Float[Tensor, "..."], mask: Bool[Tensor, "..."], floor: float | Tensor, dim: int
) -> Float[Tensor, "..."]:
    """Log-probabilities of (1 - floor) p + floor uniform over the legal choices; as they are where the floor is 0."""
    share = floor / mask.sum(dim, keepdim=True).clamp_min(1).to(log_probs.dtype)
    mixed = (1 - floor) * log_probs.exp() + share
    touched = mask & (share > 0)
    return torch.where(touched, torch.where(touched, mixed, 1.0).log(), log_probs)


def draw(probs: Float[Tensor, "..."], uniform: Float[Tensor, "*batch"], dim: int) -> Int[Tensor, "*batch"]:
    """The index at which the cumulative probability passes `uniform`, numbers in [0, 1]; 0 if nothing is possible.

    The target is kept below the total, which rounding could make it reach. So some cumulative value exceeds it, and
    the first that does belongs to a choice of positive probability, if there is one.
    """
    cumulative = _cumulative(probs, dim)
    total = cumulative.narrow(dim, -1, 1)
    below_one = 1.0 - 2.0**-23  # times any float32 number above 0, this is less than that number
    target = uniform.to(total.dtype).clamp_max(below_one).unsqueeze(dim) * total
    if torch.compiler.is_compiling() or dim != -1:
        return (cumulative <= target).sum(dim)
    found = torch.searchsorted(cumulative.contiguous(), target, right=True).squeeze(-1)
    return found % probs.shape[-1]  # 0 where no choice is legal: found is then past the end


def _bounded(log_probs: Float[Tensor, "..."]) -> Float[Tensor, "..."]:
    """At least -80: exp is many times slower where its result is subnormal."""
    return log_probs.clamp_min(-80.0)


def _cumulative(probs: Float[Tensor, "..."], dim: int) -> Float[Tensor, "..."]:
    """Cumulative sums; in compiled code by n * n / 2 additions, which fuse with what goes before and after."""
    count = probs.shape[dim]
    if not torch.compiler.is_compiling() or count > _WIDEST_TRIANGLE:
        return probs.cumsum(dim)
    place = torch.arange(count, device=probs.device)
    summed = probs.movedim(dim, -1).unsqueeze(-2) * (place.unsqueeze(-1) >= place)
    return summed.sum(-1).movedim(-1, dim)
