"""Convolutions as one matrix product: equal to `nn.Conv2d`, alone and as parts of whole modules under vmap."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.func import functional_call, stack_module_state, vmap

from kasmina_hosts import dense_convolution
from kasmina_hosts.conv_host import ConvStage
from kasmina_hosts.conv_seeds import ConvHeavySeed, DepthwiseSeed
from kasmina_hosts.dense_convolution import DenseConv2d, with_dense_convolutions

TOLERANCE = {torch.float32: 1e-5, torch.float64: 1e-12}


def library_convolutions(monkeypatch: pytest.MonkeyPatch) -> list[Tensor]:
    """Grows with every call of the library's convolution on trained weights, which it holds."""
    weights: list[Tensor] = []
    library = nn.functional.conv2d

    def counted(x: Tensor, weight: Tensor, *options: Any, **named: Any) -> Tensor:
        if isinstance(weight, nn.Parameter):
            weights.append(weight)
        return library(x, weight, *options, **named)

    monkeypatch.setattr(nn.functional, "conv2d", counted)
    return weights


def test_a_row_of_pixels_by_hand() -> None:
    conv = nn.Conv2d(1, 1, 3, padding=1, stride=2, bias=True)
    with torch.no_grad():
        conv.weight.zero_()
        conv.weight[0, 0, 1] = torch.tensor([1.0, 10.0, 100.0])
        assert conv.bias is not None
        conv.bias.fill_(0.5)
    found = DenseConv2d(conv)(torch.tensor([[[[1.0, 2.0, 3.0, 4.0]]]]))
    assert found.tolist() == [[[[210.5, 432.5]]]]


@pytest.mark.parametrize("dtype", list(TOLERANCE))
@pytest.mark.parametrize("side", [1, 4, 5, 24])
@pytest.mark.parametrize(
    ("kernel", "stride", "padding", "groups", "bias"),
    [
        (1, 1, 0, 1, False),
        (1, 2, 0, 1, True),
        (3, 1, 1, 1, True),
        (3, 2, 1, 1, False),
        (3, 1, 1, 4, False),
        (3, 2, 1, 4, True),
        (3, 1, 1, 2, True),
    ],
)
def test_equals_the_library_s(
    kernel: int,
    stride: int,
    padding: int,
    groups: int,
    bias: bool,
    side: int,
    dtype: torch.dtype,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    torch.manual_seed(0)
    conv = nn.Conv2d(4, 8, kernel, stride, padding, groups=groups, bias=bias, dtype=dtype)
    x = torch.randn(3, 4, side, side, dtype=dtype, requires_grad=True)
    inputs = (x, *conv.parameters())
    expected = conv(x)
    calls = library_convolutions(monkeypatch)
    found = DenseConv2d(conv)(x)
    as_library = 4 * side**2 * expected[0].numel() > dense_convolution.MAX_ENTRIES
    if side != 5:  # there it depends on the stride
        assert as_library == (side == 24)
    assert len(calls) == int(as_library)
    weight = torch.randn_like(expected)
    wanted = torch.autograd.grad((expected * weight).sum(), inputs)
    gradients = torch.autograd.grad((found * weight).sum(), inputs)
    tolerance = TOLERANCE[dtype]
    torch.testing.assert_close(found, expected, rtol=tolerance, atol=tolerance)
    for gradient, want in zip(gradients, wanted, strict=True):
        scale = float(want.abs().max())
        torch.testing.assert_close(gradient, want, rtol=0, atol=tolerance * max(scale, 1.0))


def test_the_limit_decides(monkeypatch: pytest.MonkeyPatch) -> None:
    conv, x = nn.Conv2d(2, 3, 3, padding=1), torch.randn(1, 2, 4, 4)
    expected = conv(x)
    calls = library_convolutions(monkeypatch)
    for limit, count in ((2 * 16 * 3 * 16, 0), (2 * 16 * 3 * 16 - 1, 1)):
        monkeypatch.setattr(dense_convolution, "MAX_ENTRIES", limit)
        torch.testing.assert_close(DenseConv2d(conv)(x), expected)
        assert len(calls) == count


def test_modules_stay_as_they_are_and_names_too() -> None:
    for module in (ConvHeavySeed(4), nn.Sequential(nn.Sequential(nn.Conv2d(2, 2, 1)), nn.ReLU())):
        before = [type(part) for part in module.modules()]
        dense = with_dense_convolutions(module)
        assert [type(part) for part in module.modules()] == before
        assert [name for name, _ in dense.named_parameters()] == [
            name for name, _ in module.named_parameters()
        ]
        assert sum(isinstance(part, DenseConv2d) for part in dense.modules()) == before.count(nn.Conv2d)
        assert not any(isinstance(part, nn.Conv2d) for part in dense.modules())


def test_a_lone_convolution_is_replaced_by_one_with_its_own_parameters() -> None:
    conv = nn.Conv2d(2, 2, 3, padding=1)
    dense = with_dense_convolutions(conv)
    assert isinstance(dense, DenseConv2d)
    with torch.no_grad():
        dense.weight.zero_()
    assert conv.weight.any()


@pytest.mark.parametrize(
    "conv",
    [
        nn.Conv2d(2, 2, 3, padding=2, dilation=2),
        nn.Conv2d(2, 2, 3, padding=1, padding_mode="reflect"),
        nn.Conv2d(2, 2, (1, 3)),
        nn.Conv2d(2, 2, 3, stride=(1, 2)),
        nn.Conv2d(2, 2, 3, padding=(0, 1)),
        nn.Conv2d(2, 2, 3, padding="same"),
    ],
    ids=["dilated", "reflecting", "unequal kernel", "unequal stride", "unequal padding", "named padding"],
)
def test_what_has_no_such_product_is_kept(conv: nn.Conv2d) -> None:
    x = torch.randn(2, 2, 4, 4)
    inside = with_dense_convolutions(nn.Sequential(conv, nn.ReLU()))
    assert not any(isinstance(part, DenseConv2d) for part in inside.modules())
    assert torch.equal(inside(x), conv(x).relu())
    assert type(with_dense_convolutions(conv)) is nn.Conv2d


@pytest.mark.parametrize(
    ("modules", "channels"),
    [
        ([ConvHeavySeed(4) for _ in range(3)], 4),
        ([DepthwiseSeed(4) for _ in range(3)], 4),
        ([ConvStage(1, 4, stride=2, kernel=3, inner=0, norm=True) for _ in range(3)], 1),
        ([ConvStage(3, 4, stride=1, kernel=1, inner=2, norm=False) for _ in range(3)], 3),
    ],
    ids=["heavy seed", "depthwise seed", "stage", "lacking stage"],
)
def test_whole_modules_under_vmap_equal_the_loop(modules: list[nn.Module], channels: int) -> None:
    modules = [module.double() for module in modules]
    x = torch.randn(3, 2, channels, 4, 4, dtype=torch.float64)
    parameters, _ = stack_module_state(modules)
    dense = with_dense_convolutions(modules[0])
    found = vmap(lambda own, own_x: functional_call(dense, own, (own_x,)))(parameters, x)
    torch.testing.assert_close(
        found, torch.stack([m(own) for m, own in zip(modules, x, strict=True)]), rtol=1e-12, atol=1e-12
    )
    found.sin().sum().backward()
    for host, (module, own) in enumerate(zip(modules, x, strict=True)):
        expected = torch.autograd.grad(module(own).sin().sum(), list(module.parameters()))
        for (name, _), want in zip(module.named_parameters(), expected, strict=True):
            gradient = parameters[name].grad
            assert gradient is not None
            torch.testing.assert_close(gradient[host], want, rtol=1e-12, atol=1e-12)


def test_a_first_call_in_inference_mode_does_not_stop_later_training() -> None:
    dense = DenseConv2d(nn.Conv2d(1, 1, 3, padding=1))
    x = torch.randn(1, 1, 6, 7)  # sizes that no other test lays out
    with torch.inference_mode():
        dense(x)
    dense(x).sum().backward()
    assert dense.weight.grad is not None
