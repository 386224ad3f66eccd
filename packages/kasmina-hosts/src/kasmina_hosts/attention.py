"""Attention over all tokens or a window of them, by whichever kernel runs where it is called."""

from collections.abc import Callable
from functools import lru_cache
from typing import TYPE_CHECKING

import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention

if TYPE_CHECKING:
    from torch.nn.attention.flex_attention import BlockMask

FLEX_MIN_DEPTH = 16
"""Depth of a head below which FlexAttention has no kernel."""

Heads = Float[Tensor, "*batch head token depth"]


def split_heads(x: Float[Tensor, "*batch token width"], heads: int) -> Heads:
    """[..., T, D] -> [..., heads, T, D / heads]."""
    parted: Tensor = x.unflatten(-1, (heads, -1))
    return parted.transpose(-3, -2)


def attention(q: Heads, k: Heads, v: Heads, *, window: int | None) -> Heads:
    """softmax(q k^T / sqrt(depth)) v, where token i sees token j if |i - j| <= window // 2.

    One function with three kernels that agree: FlexAttention for windows on CUDA, which skips blocks outside the window
    (J. Dong et al., https://arxiv.org/abs/2412.05496; it has no backward on a CPU);
    scaled_dot_product_attention elsewhere, also where a network is compiled or exported; and the formula itself for
    stacked hosts, whose two axes of a batch that one has no fast kernel for.

    Args:
        window: None lets every token see all.
    """
    if q.dim() > 4:
        return formula_attention(q, k, v, window=window)
    fits_flex = q.is_cuda and q.shape[-1] >= FLEX_MIN_DEPTH and not torch.compiler.is_compiling()
    if window is not None and fits_flex:
        return flex_window_attention(q, k, v, window=window)
    mask = None if window is None else window_mask(q.shape[-2], window, q.device)
    return scaled_dot_product_attention(q, k, v, attn_mask=mask)


def formula_attention(q: Heads, k: Heads, v: Heads, *, window: int | None) -> Heads:
    """`attention` as its formula says."""
    scores = (q * q.shape[-1] ** -0.5) @ k.transpose(-2, -1)
    if window is not None:
        scores = scores.masked_fill(~window_mask(q.shape[-2], window, q.device), -torch.inf)
    seen: Tensor = scores.softmax(-1) @ v
    return seen


def flex_window_attention(q: Heads, k: Heads, v: Heads, *, window: int) -> Heads:
    """`attention` within a window by FlexAttention. The batch must be one axis."""
    run, mask = _flex(q.shape[-2], window, q.device)
    return run(q, k, v, block_mask=mask)


def window_mask(tokens: int, window: int, device: torch.device) -> Bool[Tensor, "token token"]:
    """Which tokens (row) see which (column)."""
    position = torch.arange(tokens, device=device)
    return (position[:, None] - position).abs() <= window // 2


@lru_cache(maxsize=64)
def _flex(tokens: int, window: int, device: torch.device) -> "tuple[Callable[..., Tensor], BlockMask]":
    """The kernel, compiled where it runs fused (uncompiled it writes out all scores), and what it may skip."""
    from torch.nn.attention.flex_attention import create_block_mask, flex_attention  # takes seconds to import

    def near(batch: Tensor, head: Tensor, q: Tensor, k: Tensor) -> Tensor:
        return (q - k).abs() <= window // 2

    run: Callable[..., Tensor] = flex_attention
    # It is kept: a first call in inference mode must not make it unfit to train with.
    with torch.inference_mode(False):
        mask = create_block_mask(near, None, None, tokens, tokens, device=str(device))
    return torch.compile(run) if device.type == "cuda" else run, mask
