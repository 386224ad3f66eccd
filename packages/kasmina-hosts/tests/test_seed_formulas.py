"""What each seed and each part of the hosts computes, against its formula or the library's own module."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import conv2d, gelu, silu

from kasmina_hosts import build_blueprint
from kasmina_hosts.attention import window_mask
from kasmina_hosts.conv_host import ConvStage, PooledHead
from kasmina_hosts.token_seeds import AttentionSeed, num_heads
from kasmina_hosts.vit_host import EncoderBlock, PatchEmbedding, TokenHead
from leyline_types import BlueprintAction, Topology

B = BlueprintAction
Values = dict[str, Tensor]


def standard(x: Tensor, axes: tuple[int, ...]) -> Tensor:
    return (x - x.mean(axes, keepdim=True)) / (x.var(axes, correction=0, keepdim=True) + 1e-5).sqrt()


def channel_norm(x: Tensor, w: Values, name: str) -> Tensor:
    weight, bias = (w[f"{name}.{part}"][:, None, None] for part in ("weight", "bias"))
    return standard(x, (1, 2, 3)) * weight + bias


def token_norm(x: Tensor, w: Values, name: str) -> Tensor:
    return standard(x, (-1,)) * w[f"{name}.weight"] + w[f"{name}.bias"]


def dense(x: Tensor, w: Values, name: str) -> Tensor:
    product = x @ w[f"{name}.weight"].T
    return product + w[f"{name}.bias"] if f"{name}.bias" in w else product


def bottleneck(x: Tensor, w: Values) -> Tensor:
    inside = silu(conv2d(silu(conv2d(x, w["down.weight"])), w["conv.weight"], padding=1))
    return x + channel_norm(conv2d(inside, w["up.weight"]), w, "norm")


def heavy(x: Tensor, w: Values) -> Tensor:
    inside = channel_norm(conv2d(x, w["first.weight"], padding=1), w, "first_norm").relu()
    return x + channel_norm(conv2d(inside, w["second.weight"], padding=1), w, "second_norm").relu()


def depthwise(x: Tensor, w: Values) -> Tensor:
    apart = conv2d(x, w["depthwise.weight"], padding=1, groups=x.shape[1])
    return x + channel_norm(conv2d(apart, w["pointwise.weight"]), w, "norm").relu()


def squeeze_excite(x: Tensor, w: Values) -> Tensor:
    scale = dense(silu(dense(x.mean((2, 3)), w, "squeeze")), w, "excite").sigmoid()
    return 2 * x * scale[:, :, None, None]


def mlp(x: Tensor, w: Values) -> Tensor:
    return x + dense(gelu(dense(x, w, "up")), w, "down")


def lora(x: Tensor, w: Values) -> Tensor:
    return x + x @ w["down.weight"].T @ w["up.weight"].T


CNN_FORMULAS: dict[BlueprintAction, Callable[[Tensor, Values], Tensor]] = {
    B.NORM: lambda x, w: x + w["gain"] * channel_norm(x, w, "norm"),
    B.CONV_SMALL: lambda x, w: x + channel_norm(conv2d(x, w["conv.weight"]), w, "norm").relu(),
    B.CONV_LIGHT: lambda x, w: x + channel_norm(conv2d(x, w["conv.weight"], padding=1), w, "norm").relu(),
    B.DEPTHWISE: depthwise,
    B.BOTTLENECK: bottleneck,
    B.CONV_HEAVY: heavy,
    B.ATTENTION: squeeze_excite,
}
TOKEN_FORMULAS: dict[BlueprintAction, Callable[[Tensor, Values], Tensor]] = {
    B.NORM: lambda x, w: x + w["gain"] * token_norm(x, w, "norm"),
    B.LORA: lora,
    B.LORA_LARGE: lora,
    B.MLP_SMALL: mlp,
    B.MLP: mlp,
}


def disturbed(module: nn.Module) -> tuple[nn.Module, Values]:
    """In float64, no parameter where it began: a gain of 1 or a bias of 0 would hide what it does."""
    module.double()
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.add_(0.2 * torch.randn_like(parameter))
    return module, {name: value.detach() for name, value in module.named_parameters()}


@pytest.mark.parametrize(
    ("topology", "blueprint"),
    [
        *((Topology.CNN, blueprint) for blueprint in CNN_FORMULAS),
        *((Topology.TRANSFORMER, blueprint) for blueprint in TOKEN_FORMULAS),
    ],
)
def test_a_seed_computes_its_formula(topology: Topology, blueprint: BlueprintAction) -> None:
    torch.manual_seed(0)
    module, weights = disturbed(build_blueprint(blueprint, topology, 8))
    formulas, shape = (
        (CNN_FORMULAS, (3, 8, 4, 5)) if topology is Topology.CNN else (TOKEN_FORMULAS, (3, 6, 8))
    )
    x = torch.randn(shape, dtype=torch.float64)
    torch.testing.assert_close(module(x), formulas[blueprint](x, weights), rtol=1e-10, atol=1e-10)


def library_attention(seed: AttentionSeed, x: Tensor, window: int | None) -> Tensor:
    """The same by `nn.MultiheadAttention`."""
    width = x.shape[-1]
    library = nn.MultiheadAttention(width, seed.heads, batch_first=True, dtype=x.dtype)
    with torch.no_grad():
        library.in_proj_weight.copy_(torch.cat([seed.query.weight, seed.key.weight, seed.value.weight]))
        library.in_proj_bias.zero_()
        library.in_proj_bias[:width] = seed.query.bias
        library.out_proj.weight.copy_(seed.out.weight)
        library.out_proj.bias.copy_(seed.out.bias)
    hidden = None if window is None else ~window_mask(x.shape[1], window, x.device)
    normed = seed.norm(x)
    seen: Tensor = library(normed, normed, normed, attn_mask=hidden, need_weights=False)[0]
    return x + seen


@pytest.mark.parametrize(
    ("blueprint", "window"), [(BlueprintAction.ATTENTION, None), (BlueprintAction.FLEX_ATTENTION, 8)]
)
@pytest.mark.parametrize("width", [16, 6])
def test_attention_is_the_library_s(blueprint: BlueprintAction, window: int | None, width: int) -> None:
    torch.manual_seed(0)
    seed, _ = disturbed(build_blueprint(blueprint, Topology.TRANSFORMER, width))
    assert isinstance(seed, AttentionSeed)
    x = torch.randn(2, 12, width, dtype=torch.float64)
    torch.testing.assert_close(seed(x), library_attention(seed, x, window), rtol=1e-10, atol=1e-10)


def test_heads_divide_the_width() -> None:
    assert [num_heads(width) for width in (1, 2, 3, 4, 5, 6, 7, 8, 9, 16)] == [1, 2, 3, 4, 1, 3, 1, 4, 3, 4]


def test_patches_by_hand() -> None:
    embedding = PatchEmbedding((2, 4, 6), 2, 8)
    with torch.no_grad():
        embedding.linear.weight.copy_(torch.eye(8))
        embedding.linear.bias.zero_()
        embedding.position.zero_()
    image = torch.arange(24.0).reshape(4, 6)
    tokens = embedding(torch.stack([image, image + 100])[None])[0]
    first = [0, 1, 6, 7]  # of the first channel: two pixels of the first row, two below them
    assert tokens.shape == (2 * 3, 8)
    for patch, corner in enumerate((0, 2, 4, 12, 14, 16)):  # row by row
        own = [pixel + corner for pixel in first]
        assert tokens[patch].tolist() == [*own, *(pixel + 100 for pixel in own)]
    with torch.no_grad():
        embedding.position[4] = 0.5
    moved = embedding(torch.stack([image, image + 100])[None])[0] - tokens
    assert moved.sum(1).tolist() == [0, 0, 0, 0, 4, 0]


def test_block_and_head_compute_their_formulas() -> None:
    torch.manual_seed(0)
    x = torch.randn(2, 5, 8, dtype=torch.float64)
    for attends in (True, False):
        block, w = disturbed(EncoderBlock(8, attends=attends, hidden=3))
        assert isinstance(block, EncoderBlock)
        assert isinstance(block.attention, AttentionSeed) is attends
        attended = (
            library_attention(block.attention, x, None) if isinstance(block.attention, AttentionSeed) else x
        )
        expected = attended + dense(gelu(dense(token_norm(attended, w, "norm"), w, "up")), w, "down")
        torch.testing.assert_close(block(x), expected, rtol=1e-10, atol=1e-10)
    head, w = disturbed(TokenHead(8, 3, norm=True))
    expected = dense(token_norm(x.mean(1), w, "norm"), w, "linear")
    torch.testing.assert_close(head(x), expected, rtol=1e-10, atol=1e-10)
    head, w = disturbed(TokenHead(8, 3, norm=False))
    torch.testing.assert_close(head(x), dense(x.mean(1), w, "linear"), rtol=1e-10, atol=1e-10)


def test_stages_compute_their_formulas() -> None:
    torch.manual_seed(0)
    x = torch.randn(2, 3, 6, 6, dtype=torch.float64)
    for kernel, inner, norm in ((3, 0, True), (1, 2, True), (5, 0, False)):
        stage, w = disturbed(ConvStage(3, 4, stride=2, kernel=kernel, inner=inner, norm=norm))
        expected = conv2d(x, w["conv.weight"], w["conv.bias"], stride=2, padding=kernel // 2)
        if inner:
            expected = conv2d(expected, w["widen.weight"], w["widen.bias"])
        if norm:
            expected = channel_norm(expected, w, "norm")
        torch.testing.assert_close(stage(x), expected.relu(), rtol=1e-10, atol=1e-10)
    head, w = disturbed(PooledHead(3, 5, norm=True))
    expected = dense(token_norm(x.mean((2, 3)), w, "norm"), w, "linear")
    torch.testing.assert_close(head(x), expected, rtol=1e-10, atol=1e-10)
