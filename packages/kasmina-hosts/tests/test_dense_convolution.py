"""Convolutions of many hosts as products: each host's is `nn.Conv2d`, whichever way is taken, alone and in modules."""

import pytest
import torch
from torch import Tensor, nn

from kasmina_hosts import dense_convolution
from kasmina_hosts.conv_host import ConvStage
from kasmina_hosts.conv_seeds import ConvHeavySeed, DepthwiseSeed
from kasmina_hosts.dense_convolution import StackedConv2d
from kasmina_hosts.stacked import StackedModule

TOLERANCE = {torch.float32: 1e-5, torch.float64: 1e-12}
HOSTS = 3


def grouped_convolutions(monkeypatch: pytest.MonkeyPatch) -> list[None]:
    """Grows with every convolution of the library's that has the hosts as groups."""
    calls: list[None] = []
    library = nn.functional.conv2d

    def counted(*args: object, groups: int = 1, **options: object) -> Tensor:
        calls.extend([None] * (groups >= HOSTS))
        return library(*args, groups=groups, **options)  # type: ignore[call-overload, no-any-return]

    monkeypatch.setattr(nn.functional, "conv2d", counted)
    return calls


def stacked(convs: list[nn.Conv2d]) -> StackedConv2d:
    """With parameters that learn."""
    layer = StackedConv2d(convs[0])
    layer.weight = torch.stack([conv.weight.detach() for conv in convs]).requires_grad_()
    if convs[0].bias is not None:
        layer.bias = torch.stack(
            [conv.bias.detach() for conv in convs if conv.bias is not None]
        ).requires_grad_()
    return layer


def assert_equals_each(layer: StackedConv2d, networks: list[nn.Module], x: Tensor, tolerance: float) -> None:
    """Outputs and gradients; the layer's parameters lie in order beside those of the networks."""
    x.requires_grad_()
    found = layer(x)
    expected = torch.stack([network(own) for network, own in zip(networks, x, strict=True)])
    torch.testing.assert_close(found, expected, rtol=tolerance, atol=tolerance)
    ours = [part for conv in (layer, layer.after) if conv is not None for part in (conv.weight, conv.bias)]
    inputs = [x, *(part for part in ours if part is not None)]
    weight = torch.randn_like(expected)
    gradients = torch.autograd.grad((found * weight).sum(), inputs)
    theirs = [list(network.parameters()) for network in networks]
    wanted = torch.autograd.grad((expected * weight).sum(), [x, *(each for own in theirs for each in own)])
    for place, gradient in enumerate(gradients):
        want = wanted[place] if place == 0 else torch.stack(wanted[place :: len(gradients) - 1][:HOSTS])
        scale = max(float(want.abs().max()), 1.0)
        torch.testing.assert_close(gradient, want, rtol=0, atol=tolerance * scale)


def test_a_row_of_pixels_by_hand() -> None:
    conv = nn.Conv2d(1, 1, 3, padding=1, stride=2, bias=True)
    layer = stacked([conv, conv])
    with torch.no_grad():
        layer.weight.zero_()
        layer.weight[:, 0, 0, 1] = torch.tensor([[1.0, 10.0, 100.0], [1.0, 2.0, 3.0]])
        assert layer.bias is not None
        layer.bias[:] = torch.tensor([[0.5], [0.0]])
    found = layer(torch.tensor([1.0, 2.0, 3.0, 4.0]).expand(2, 1, 1, 1, 4))
    assert found.tolist() == [[[[[210.5, 432.5]]]], [[[[8.0, 20.0]]]]]


@pytest.mark.parametrize("dtype", list(TOLERANCE))
@pytest.mark.parametrize("side", [1, 4, 5, 24])
@pytest.mark.parametrize(
    ("kernel", "stride", "padding", "groups", "bias"),
    [
        (1, 1, 0, 1, False),
        (1, 1, 0, 4, True),
        (1, 2, 0, 1, True),
        (3, 1, 1, 1, True),
        (3, 2, 1, 1, False),
        (5, 2, 2, 1, True),
        (3, 1, 1, 4, False),
        (3, 2, 1, 4, True),
        (3, 1, 1, 2, True),
    ],
)
def test_equals_each_host_s(
    kernel: int, stride: int, padding: int, groups: int, bias: bool, side: int, dtype: torch.dtype
) -> None:
    torch.manual_seed(0)
    convs = [
        nn.Conv2d(4, 8, kernel, stride, padding, groups=groups, bias=bias, dtype=dtype) for _ in range(HOSTS)
    ]
    x = torch.randn(HOSTS, 2, 4, side, side, dtype=dtype)
    assert_equals_each(stacked(convs), [*convs], x, TOLERANCE[dtype])


def test_each_way_where_it_is_said_to_be_the_fastest(monkeypatch: pytest.MonkeyPatch) -> None:
    calls = grouped_convolutions(monkeypatch)
    for conv, side, grouped in (
        (nn.Conv2d(4, 4, 1), 30, False),
        (nn.Conv2d(4, 4, 3, padding=1), 4, False),
        (nn.Conv2d(4, 4, 3, padding=1), 14, True),
        (nn.Conv2d(1, 4, 3, padding=1, stride=2), 28, False),
        (nn.Conv2d(4, 4, 3, padding=1, stride=2), 28, True),
    ):
        calls.clear()
        stacked([conv] * HOSTS)(torch.randn(HOSTS, 2, conv.in_channels, side, side))
        assert len(calls) == grouped, conv


def test_the_limits_decide(monkeypatch: pytest.MonkeyPatch) -> None:
    x = torch.randn(HOSTS, 1, 2, 4, 4)
    calls = grouped_convolutions(monkeypatch)
    for stride, name, limit in ((1, "MAX_ENTRIES", 2 * 16 * 3 * 16), (2, "MAX_ROWS", 2 * 9)):
        monkeypatch.setattr(dense_convolution, "MAX_ENTRIES", 0)
        layer = stacked([nn.Conv2d(2, 3, 3, padding=1, stride=stride)] * HOSTS)
        for most, count in ((limit, 0), (limit - 1, 1)):
            calls.clear()
            monkeypatch.setattr(dense_convolution, name, most)
            layer(x)
            assert len(calls) == count, name


@pytest.mark.parametrize("side", [4, 8, 24])
def test_images_that_all_hosts_share_are_laid_out_once(side: int) -> None:
    torch.manual_seed(0)
    layer = stacked([nn.Conv2d(1, 4, 3, 2, 1) for _ in range(HOSTS)])
    images = torch.randn(6, 1, side, side)
    shared = images.expand(HOSTS, *images.shape)
    torch.testing.assert_close(layer(shared), layer(shared.clone()), rtol=1e-6, atol=1e-6)
    columns = layer._columns(shared.movedim(1, -1))
    assert columns.untyped_storage().size() == columns[0].nbytes


@pytest.mark.parametrize("side", [4, 24])
@pytest.mark.parametrize("biases", [(True, True), (True, False), (False, True), (False, False)])
@pytest.mark.parametrize("inner", [1, 9])
def test_two_in_a_row_are_one(inner: int, biases: tuple[bool, bool], side: int) -> None:
    torch.manual_seed(0)
    firsts = [nn.Conv2d(2, inner, 3, padding=1, bias=biases[0]).double() for _ in range(HOSTS)]
    seconds = [nn.Conv2d(inner, 4, 1, bias=biases[1]).double() for _ in range(HOSTS)]
    pairs = [nn.Sequential(*pair) for pair in zip(firsts, seconds, strict=True)]
    layer = stacked(firsts)
    layer.after = stacked(seconds)
    x = torch.randn(HOSTS, 2, 2, side, side, dtype=torch.float64)
    assert_equals_each(layer, [*pairs], x, 1e-12)


def test_what_is_led_through_many_channels_costs_no_more(monkeypatch: pytest.MonkeyPatch) -> None:
    products: list[int] = []
    library = torch.baddbmm

    def counted(each: Tensor, matrix: Tensor, seen: Tensor) -> Tensor:
        products.append(matrix.numel())
        return library(each, matrix, seen)

    monkeypatch.setattr(torch, "baddbmm", counted)
    x = torch.randn(2, 3, 4, 4, 4)
    sizes = []
    for inner in (0, 30):
        products.clear()
        stages = [ConvStage(4, 4, stride=1, kernel=3, inner=inner, norm=True) for _ in range(2)]
        StackedModule(stages, torch.float32)(x)
        sizes.append(list(products))
    assert sizes[0] == sizes[1]


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
def test_what_has_no_such_product_is_refused(conv: nn.Conv2d) -> None:
    with pytest.raises(ValueError, match="equal sides, zeros around and no dilation, not Conv2d"):
        StackedConv2d(conv)


@pytest.mark.parametrize(
    ("modules", "channels"),
    [
        ([ConvHeavySeed(4) for _ in range(3)], 4),
        ([DepthwiseSeed(4) for _ in range(3)], 4),
        ([ConvStage(1, 4, stride=2, kernel=3, inner=0, norm=True) for _ in range(3)], 1),
        ([ConvStage(3, 4, stride=1, kernel=1, inner=2, norm=False) for _ in range(3)], 3),
        ([ConvStage(3, 4, stride=1, kernel=3, inner=7, norm=True) for _ in range(3)], 3),
    ],
    ids=["heavy seed", "depthwise seed", "stage", "lacking stage", "filled stage"],
)
def test_whole_modules_equal_the_loop(modules: list[nn.Module], channels: int) -> None:
    modules = [module.double() for module in modules]
    x = torch.randn(3, 2, channels, 4, 4, dtype=torch.float64)
    stack = StackedModule(modules, torch.float64)
    found = stack(x)
    torch.testing.assert_close(
        found, torch.stack([m(own) for m, own in zip(modules, x, strict=True)]), rtol=1e-12, atol=1e-12
    )
    found.sin().sum().backward()
    for host, (module, own) in enumerate(zip(modules, x, strict=True)):
        expected = torch.autograd.grad(module(own).sin().sum(), list(module.parameters()))
        for (name, _), want in zip(module.named_parameters(), expected, strict=True):
            gradient = stack.parameters[name].grad
            assert gradient is not None
            torch.testing.assert_close(gradient[host], want, rtol=1e-12, atol=1e-12)


def test_a_first_call_in_inference_mode_does_not_stop_later_training() -> None:
    layer = stacked([nn.Conv2d(1, 1, 3, padding=1)] * 2)
    x = torch.randn(2, 1, 1, 6, 7)  # sizes that no other test lays out
    with torch.inference_mode():
        layer(x)
    layer(x).sum().backward()
    assert layer.weight.grad is not None
