"""Attention over all tokens or a window of them, by whichever kernel runs where it is called."""

from collections.abc import Callable
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Final

import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torch.autograd.function import FunctionCtx
from torch.nn.functional import scaled_dot_product_attention

if TYPE_CHECKING:
    from torch.nn.attention.flex_attention import BlockMask

FLEX_MIN_DEPTH = 16
"""Depth of a head below which FlexAttention has no kernel."""

FEW_TOKENS: Final = 12
"""Up to so many, stacked hosts attend by one product for each feature and token. Measured, 32 hosts of 64 samples, 4
heads of depth 4, forward and backward, against batched products of tiny matrices: 4 tokens in 3.6 ms, not 19; 16 tokens
in 30, not 29."""

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
    stacked hosts, whose two axes of a batch that one has no fast kernel for, spelt out where tokens are few.

    Args:
        window: None lets every token see all.
    """
    if q.dim() > 4:
        if q.shape[-2] > FEW_TOKENS:
            return formula_attention(q, k, v, window=window)
        found: Heads = _FewTokens.apply(q, k, v, window)
        return found
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


class _FewTokens(torch.autograd.Function):
    """`formula_attention` of stacked hosts, [host, sample, head, token, depth], with samples last in memory.

    Every product is of rows of samples, and none of its sums is laid out before it is summed.
    """

    @staticmethod
    def forward(ctx: FunctionCtx, q: Heads, k: Heads, v: Heads, window: int | None) -> Heads:
        q, k, v = (_samples_last(each) for each in (q, k, v))
        scores = _outer(q, k).mul_(q.shape[2] ** -0.5)
        if window is not None:
            outside = ~window_mask(q.shape[3], window, q.device)
            scores.masked_fill_(outside[:, :, None], -torch.inf)
        shares = scores.softmax(3)
        ctx.save_for_backward(q, k, v, shares)
        return _samples_second(_weighted(shares, v))

    @staticmethod
    def backward(ctx: Any, gradient: Heads) -> tuple[Heads, Heads, Heads, None]:
        q, k, v, shares = ctx.saved_tensors
        gradient = _samples_last(gradient)
        of_shares = _outer(gradient, v)
        taken_back = (of_shares * shares).sum(3, keepdim=True)
        of_scores = of_shares.sub_(taken_back).mul_(shares).mul_(q.shape[2] ** -0.5)
        of_q, of_k = _weighted(of_scores, k), _weighted(of_scores.transpose(2, 3), q)
        of_v = _weighted(shares.transpose(2, 3), gradient)
        return _samples_second(of_q), _samples_second(of_k), _samples_second(of_v), None


Rows = Float[Tensor, "host head depth token sample"]


def _samples_last(x: Heads) -> Rows:
    return x.movedim((1, 3), (-1, -2))


def _samples_second(x: Rows) -> Heads:
    return x.movedim((-1, -2), (1, 3))


def _outer(q: Rows, k: Rows) -> Float[Tensor, "host head query key sample"]:
    """The product of every two tokens, summed over the depth."""
    found = q[:, :, 0, :, None] * k[:, :, 0, None]
    for feature in range(1, q.shape[2]):
        found.addcmul_(q[:, :, feature, :, None], k[:, :, feature, None])
    return found


def _weighted(shares: Float[Tensor, "host head query key sample"], v: Rows) -> Rows:
    """For every query the sum of the keys' rows, each times its share."""
    found = shares[:, :, None, :, 0] * v[:, :, :, None, 0]
    for key in range(1, v.shape[3]):
        found.addcmul_(shares[:, :, None, :, key], v[:, :, :, None, key])
    return found


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
