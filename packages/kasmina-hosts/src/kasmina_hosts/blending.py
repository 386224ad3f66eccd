"""How a seed's output joins the host's activation. Every function is pure and keeps the shape.

h is the host's activation at the slot, which is the seed's input too; s the seed's output; alpha the amplitude.
"""

from typing import final

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from leyline_types import AlphaAlgorithm


@final
class Gate(nn.Module):
    """sigmoid(w . mean(x) + b), one number per sample: how far a gated seed is let in. C + 1 parameters."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.linear = nn.Linear(channels, 1)

    def forward(self, x: Float[Tensor, "batch channel height width"]) -> Float[Tensor, "batch 1 1 1"]:
        """From activations [batch, C, H, W]."""
        return torch.sigmoid(self.linear(x.mean(dim=(-2, -1))))[..., None, None]


def incubate(h: Float[Tensor, "*shape"], s: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
    """H + (s - stopgrad(s)): the host's activation unchanged, while the seed learns as if it were added.

    The seed must have been given a detached input; the host's gradients are then those without the seed.
    """
    return h + (s - s.detach())


def blend(
    h: Float[Tensor, "host *shape"],
    s: Float[Tensor, "host *shape"],
    gate: Float[Tensor, "host *shape"],
    alpha: Float[Tensor, " host"],
    algorithm: Int[Tensor, " host"],
) -> Float[Tensor, "host *shape"]:
    """Each host's activation with its seed blended in by its own algorithm; exactly h where alpha is 0.

    ADD h + alpha (s - h);  MULTIPLY h (1 + alpha tanh(s - h));  GATE h + alpha gate (s - h)
    """

    def each(column: Tensor) -> Tensor:
        return column.reshape(-1, *[1] * (h.dim() - 1))

    difference = s - h
    multiplied = h * (1 + each(alpha) * difference.tanh())
    share = torch.where(each(algorithm == AlphaAlgorithm.GATE), gate, 1.0)
    added = h + each(alpha) * share * difference
    return torch.where(each(algorithm == AlphaAlgorithm.MULTIPLY), multiplied, added)


def joined(
    h: Float[Tensor, "host *shape"],
    s: Float[Tensor, "host *shape"],
    gate: Float[Tensor, "host *shape"],
    alpha: Float[Tensor, " host"],
    algorithm: Int[Tensor, " host"],
    incubating: Bool[Tensor, " host"],
) -> Float[Tensor, "host *shape"]:
    """`incubate` where the seed is still in training, `blend` elsewhere."""
    chosen = incubating.reshape(-1, *[1] * (h.dim() - 1))
    return torch.where(chosen, incubate(h, s), blend(h, s, gate, alpha, algorithm))
