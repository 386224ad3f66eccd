"""Seeds of transformers: each is one module, [batch, token, D] -> same shape."""

from typing import final

import torch
from jaxtyping import Float
from torch import Tensor, nn

from kasmina_hosts.attention import attention, split_heads

Tokens = Float[Tensor, "batch token width"]


@final
class TokenNormSeed(nn.Module):
    """x + gain * layernorm(x): 2D + 1 parameters."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.gain = nn.Parameter(torch.ones(()))

    def forward(self, x: Tokens) -> Tokens:
        """Same shape in and out."""
        changed: Tensor = x + self.gain[..., None, None] * self.norm(x)
        return changed


@final
class LoRASeed(nn.Module):
    """x + B A x with A of `rank` rows and B zero at first: 2 rank D parameters.

    E. Hu et al., LoRA: Low-Rank Adaptation of Large Language Models, https://arxiv.org/abs/2106.09685, around the
    identity instead of a trained layer.
    """

    def __init__(self, width: int, *, rank: int) -> None:
        super().__init__()
        self.down = nn.Linear(width, rank, bias=False)
        self.up = nn.Linear(rank, width, bias=False)
        nn.init.zeros_(self.up.weight)

    def forward(self, x: Tokens) -> Tokens:
        """Same shape in and out."""
        changed: Tensor = x + self.up(self.down(x))
        return changed


@final
class MLPSeed(nn.Module):
    """x + W2 gelu(W1 x + b1) + b2 by way of f D units: 2f D^2 + (f + 1)D parameters."""

    def __init__(self, width: int, *, expansion: int) -> None:
        super().__init__()
        self.up = nn.Linear(width, expansion * width)
        self.down = nn.Linear(expansion * width, width)

    def forward(self, x: Tokens) -> Tokens:
        """Same shape in and out."""
        changed: Tensor = x + self.down(nn.functional.gelu(self.up(x)))
        return changed


@final
class AttentionSeed(nn.Module):
    """x + W attention(layernorm(x)) + b, over all tokens or those near by: 4D^2 + 4D parameters.

    A. Vaswani et al., Attention Is All You Need, https://arxiv.org/abs/1706.03762. Keys and values have no biases: a
    key's would change nothing, a value's is that of the output.

    Args:
        width: D.
        window: a token sees those at most window // 2 positions away; None: all of them.
    """

    def __init__(self, width: int, *, window: int | None = None) -> None:
        super().__init__()
        self.window = window
        self.heads = num_heads(width)
        self.norm = nn.LayerNorm(width)
        self.query = nn.Linear(width, width)
        self.key = nn.Linear(width, width, bias=False)
        self.value = nn.Linear(width, width, bias=False)
        self.out = nn.Linear(width, width)

    def forward(self, x: Tokens) -> Tokens:
        """Same shape in and out."""
        normed = self.norm(x)
        q, k, v = (split_heads(layer(normed), self.heads) for layer in (self.query, self.key, self.value))
        seen = attention(q, k, v, window=self.window)
        changed: Tensor = x + self.out(seen.transpose(-3, -2).flatten(-2))
        return changed


def num_heads(width: int) -> int:
    """4 heads, or the most below that which divide the width."""
    return next(heads for heads in (4, 3, 2, 1) if width % heads == 0)
