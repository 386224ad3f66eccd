"""How a seed's output joins the host's activation. Every function is pure and keeps the shape.

h is the host's activation at the slot, which is the seed's input too; s the seed's output; alpha the amplitude.
"""

from typing import final

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from leyline_types import AlphaAlgorithm, Topology


@final
class Gate(nn.Module):
    """sigmoid(w . mean(x) + b), one number per sample: how far a gated seed is let in. C + 1 parameters.

    Args:
        channels: C of [batch, C, H, W] (cnn) or D of [batch, token, D] (transformer).
        topology: which of the two.
    """

    def __init__(self, channels: int, topology: Topology) -> None:
        super().__init__()
        self.linear = nn.Linear(channels, 1)
        self.pooled_axes = (-2, -1) if topology is Topology.CNN else (-2,)

    def forward(self, x: Float[Tensor, "batch *shape"]) -> Float[Tensor, "batch *one"]:
        """From activations to [batch, 1, ...]."""
        share: Tensor = self.linear(x.mean(dim=self.pooled_axes)).sigmoid()
        return share[(..., *[None] * (len(self.pooled_axes)))]


def incubate(h: Float[Tensor, "*shape"], s: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
    """H + (s - stopgrad(s)): the host's activation unchanged, while the seed learns as if it were added.

    The seed must have been given a detached input; the host's gradients are then those without the seed.
    """
    return h + (s - s.detach())


def blend(
    h: Float[Tensor, "*shape"],
    s: Float[Tensor, "*shape"],
    gate: Float[Tensor, "*#shape"],
    alpha: Float[Tensor, "*#shape"] | float,
    algorithm: AlphaAlgorithm,
) -> Float[Tensor, "*shape"]:
    """The activation with the seed blended in; exactly h where alpha is 0.

    ADD h + alpha (s - h);  MULTIPLY h (1 + alpha tanh(s - h));  GATE h + alpha gate (s - h)

    Args:
        gate: of `Gate`; looked at by GATE alone.
    """
    match algorithm:
        case AlphaAlgorithm.ADD:
            return h + alpha * (s - h)
        case AlphaAlgorithm.MULTIPLY:
            return h * (1 + alpha * (s - h).tanh())
        case AlphaAlgorithm.GATE:
            return h + alpha * gate * (s - h)


def blend_each(
    h: Float[Tensor, "host *shape"],
    s: Float[Tensor, "host *shape"],
    gate: Float[Tensor, "*ones"],
    alpha: Float[Tensor, " host"],
    algorithm: Int[Tensor, " host"],
    kinds: tuple[AlphaAlgorithm, ...],
) -> Float[Tensor, "host *shape"]:
    """`blend`, each host by its own algorithm; `kinds` are those that occur, and without GATE no gate is looked at."""
    blended = blend(h, s, gate, each(alpha, h), kinds[0])
    for kind in kinds[1:]:
        blended = torch.where(each(algorithm == kind, h), blend(h, s, gate, each(alpha, h), kind), blended)
    return blended


def each(
    column: Bool[Tensor, " host"] | Float[Tensor, " host"], like: Float[Tensor, "host *shape"]
) -> Tensor:
    """One value per host, [host, 1, 1, ...], in as many dimensions as `like`."""
    return column.reshape(-1, *[1] * (like.dim() - 1))
