"""The contract of every blueprint and way of blending: neutral at alpha 0, harmless in training, alive."""

import pytest
import torch
from torch import Tensor, nn

from kasmina_hosts import UnbuiltBlueprintError, blend, build_blueprint, built_blueprints, incubate
from kasmina_hosts.blending import joined
from leyline_types import AlphaAlgorithm, BlueprintAction, Topology

BUILT = built_blueprints(Topology.CNN)
ALGORITHMS = list(AlphaAlgorithm)
CHANNELS = 6


def activations(seed: int = 0) -> Tensor:
    """[host, batch, C, H, W]"""
    return torch.randn(2, 3, CHANNELS, 4, 4, generator=torch.Generator().manual_seed(seed))


def test_what_is_built() -> None:
    assert BUILT == (BlueprintAction.CONV_LIGHT, BlueprintAction.NORM)


@pytest.mark.parametrize(
    ("blueprint", "size"),
    [(BlueprintAction.CONV_LIGHT, 9 * CHANNELS**2 + 2 * CHANNELS), (BlueprintAction.NORM, 2 * CHANNELS + 1)],
)
def test_number_of_parameters(blueprint: BlueprintAction, size: int) -> None:
    module = build_blueprint(blueprint, Topology.CNN, CHANNELS)
    assert sum(parameter.numel() for parameter in module.parameters()) == size


def test_unbuilt_blueprint_is_named() -> None:
    with pytest.raises(
        UnbuiltBlueprintError, match="'attention' in a cnn network; there are: conv_light, norm"
    ):
        build_blueprint(BlueprintAction.ATTENTION, Topology.CNN, CHANNELS)
    with pytest.raises(UnbuiltBlueprintError, match="transformer network; there are: none"):
        build_blueprint(BlueprintAction.NORM, Topology.TRANSFORMER, CHANNELS)


@pytest.mark.parametrize("blueprint", BUILT)
def test_shape_stays_and_every_parameter_learns(blueprint: BlueprintAction) -> None:
    torch.manual_seed(0)
    module = build_blueprint(blueprint, Topology.CNN, CHANNELS)
    x = activations()[0]
    target = torch.randn(x.shape)
    alive = dict.fromkeys((name for name, _ in module.named_parameters()), False)
    for _ in range(2):
        output = module(x)
        assert output.shape == x.shape
        module.zero_grad()
        (output - target).square().mean().backward()
        for name, parameter in module.named_parameters():
            assert parameter.grad is not None
            alive[name] |= bool(parameter.grad.any())
            parameter.data -= 0.1 * parameter.grad
    assert all(alive.values()), alive


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_alpha_zero_is_the_host_bit_for_bit(algorithm: AlphaAlgorithm) -> None:
    h, s = activations(0), activations(1) * 100
    gate = torch.rand(2, 3, 1, 1, 1)
    assert torch.equal(blend(h, s, gate, torch.zeros(2), torch.full((2,), int(algorithm))), h)


def test_formulas_by_hand() -> None:
    h, s, gate = torch.tensor([[[2.0]]] * 3), torch.tensor([[[3.0]]] * 3), torch.tensor([[[0.5]]] * 3)
    algorithms = torch.tensor([AlphaAlgorithm.ADD, AlphaAlgorithm.MULTIPLY, AlphaAlgorithm.GATE])
    found = blend(h, s, gate, torch.full((3,), 0.5), algorithms).flatten()
    expected = [2 + 0.5 * 1, 2 * (1 + 0.5 * torch.tensor(1.0).tanh().item()), 2 + 0.5 * 0.5 * 1]
    torch.testing.assert_close(found, torch.tensor(expected))


@pytest.mark.parametrize("blueprint", BUILT)
@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_a_seed_in_training_leaves_output_and_gradients_of_the_host_as_they_are(
    blueprint: BlueprintAction, algorithm: AlphaAlgorithm
) -> None:
    torch.manual_seed(0)
    layer, seed = (
        nn.Conv2d(CHANNELS, CHANNELS, 3, padding=1),
        build_blueprint(blueprint, Topology.CNN, CHANNELS),
    )
    x = activations()[0]

    def loss(h: Tensor) -> Tensor:
        return h.sin().square().sum()

    bare = layer(x)
    expected = torch.autograd.grad(loss(bare), list(layer.parameters()))
    h = layer(x)
    s = seed(h.detach())
    kinds = torch.full((len(h),), int(algorithm))
    after = joined(h, s, torch.ones(()), torch.zeros(len(h)), kinds, torch.ones(len(h), dtype=torch.bool))
    assert torch.equal(after, bare)
    gradients = torch.autograd.grad(loss(after), [*layer.parameters(), *seed.parameters()])
    for found, right in zip(gradients, expected, strict=False):
        assert torch.equal(found, right)
    assert all(gradient.any() for gradient in gradients[len(expected) :])


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_above_zero_the_host_learns_through_the_seed(algorithm: AlphaAlgorithm) -> None:
    h = activations().requires_grad_()
    seed = build_blueprint(BlueprintAction.CONV_LIGHT, Topology.CNN, CHANNELS)
    s = torch.stack([seed(own) for own in h])
    kinds = torch.full((2,), int(algorithm))
    through = torch.autograd.grad(
        blend(h, s, torch.ones(()), torch.full((2,), 0.5), kinds).square().sum(), h
    )[0]
    around = torch.autograd.grad(
        blend(h, s.detach(), torch.ones(()), torch.full((2,), 0.5), kinds).square().sum(), h
    )[0]
    assert not torch.equal(through, around)


def test_incubating_adds_nothing_but_gradient() -> None:
    h, s = activations(0), activations(1).requires_grad_()
    after = incubate(h, s)
    assert torch.equal(after, h)
    assert torch.equal(torch.autograd.grad(after.sum(), s)[0], torch.ones_like(s))
