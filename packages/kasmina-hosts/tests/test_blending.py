"""How a seed joins its host: the formulas by hand, and what holds of each of them everywhere."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from kasmina_hosts import Gate, blend, incubate
from kasmina_hosts.blending import blend_each
from leyline_types import AlphaAlgorithm, Topology

ALGORITHMS = list(AlphaAlgorithm)


def activations(seed: int, scale: float = 1.0) -> Tensor:
    """[host, batch, C, H, W]"""
    return scale * torch.randn(3, 2, 4, 2, 2, generator=torch.Generator().manual_seed(seed))


def test_formulas_by_hand() -> None:
    h, s, gate, alpha = (torch.tensor(value) for value in (2.0, 3.0, 0.25, 0.5))
    found = {algorithm: blend(h, s, gate, alpha, algorithm).item() for algorithm in ALGORITHMS}
    assert found[AlphaAlgorithm.ADD] == 2 + 0.5 * (3 - 2)
    assert found[AlphaAlgorithm.MULTIPLY] == pytest.approx(
        2 * (1 + 0.5 * 0.76159416), rel=1e-6
    )  # tanh(3 - 2)
    assert found[AlphaAlgorithm.GATE] == 2 + 0.5 * 0.25 * (3 - 2)


def test_ends_of_alpha_by_hand() -> None:
    h, s, one = torch.tensor([2.0, -1.0]), torch.tensor([5.0, 7.0]), torch.tensor(1.0)
    for algorithm in ALGORITHMS:
        assert torch.equal(blend(h, s, one, torch.tensor(0.0), algorithm), h)
    for algorithm in (AlphaAlgorithm.ADD, AlphaAlgorithm.GATE):
        assert torch.equal(blend(h, s, one, one, algorithm), s)
    assert torch.equal(blend(h, s, torch.tensor(0.0), one, AlphaAlgorithm.GATE), h)


@given(st.integers(0, 2**31), st.sampled_from(ALGORITHMS), st.sampled_from([1e-3, 1.0, 1e3, 1e18]))
def test_alpha_zero_is_the_host_bit_for_bit(seed: int, algorithm: AlphaAlgorithm, scale: float) -> None:
    h, s = activations(seed), activations(seed + 1, scale)
    gate = torch.rand(3, 2, 1, 1, 1)
    assert torch.equal(blend(h, s, gate, torch.zeros(()), algorithm), h)


def test_each_host_is_blended_by_its_own_algorithm_and_alpha() -> None:
    h, s, gate = activations(0), activations(1), torch.rand(3, 2, 1, 1, 1)
    alpha, algorithm = torch.tensor([0.2, 0.5, 0.9]), torch.tensor([3, 1, 2])
    found = blend_each(h, s, gate, alpha, algorithm, tuple(ALGORITHMS))
    for host in range(3):
        kind = AlphaAlgorithm(int(algorithm[host]))
        assert torch.equal(found[host], blend(h[host], s[host], gate[host], alpha[host], kind))


def test_incubating_adds_nothing_but_gradient() -> None:
    h, s = activations(0).requires_grad_(), activations(1, 100.0).requires_grad_()
    after = incubate(h, s)
    assert torch.equal(after, h)
    weight = activations(2)
    for gradient in torch.autograd.grad((after * weight).sum(), (h, s)):
        assert torch.equal(gradient, weight)


@pytest.mark.parametrize(
    ("topology", "shape", "pooled"),
    [(Topology.CNN, (5, 3, 4, 4), (2, 3)), (Topology.TRANSFORMER, (5, 7, 3), (1,))],
)
def test_gate_is_one_share_per_sample(topology: Topology, shape: tuple[int, ...], pooled: tuple[int]) -> None:
    gate, x = Gate(3, topology), torch.randn(shape)
    assert sum(parameter.numel() for parameter in gate.parameters()) == 3 + 1
    with torch.no_grad():
        gate.linear.weight.copy_(torch.tensor([[1.0, -2.0, 0.5]]))
        gate.linear.bias.fill_(0.25)
        mean = x.mean(pooled)
        score = mean[:, 0] - 2 * mean[:, 1] + 0.5 * mean[:, 2] + 0.25
        share = gate(x)
    assert share.shape == (5, *(1 for _ in shape[1:]))
    torch.testing.assert_close(share.flatten(), 1 / (1 + torch.exp(-score)))
