"""Diagnostics by hand, against slow loops, and free of scale."""

import doctest

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

from kasmina_hosts import diagnostics
from kasmina_hosts.diagnostics import activation_shape, gradient_effect, shares
from leyline_types import Topology


def maps(seed: int, *shape: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def test_the_examples_run() -> None:
    assert doctest.testmod(diagnostics).failed == 0
    assert doctest.testmod(diagnostics).attempted


def by_eigenvalues(activations: Tensor) -> tuple[float, float]:
    """[sample, channel, row, column], the long way."""
    channels = activations.shape[1]
    rows = activations.flatten(2).transpose(1, 2).reshape(-1, channels).double()
    values = torch.linalg.eigvalsh(torch.cov(rows.T, correction=0))
    rank = float(values.sum() ** 2 / values.square().sum()) / channels
    within = activations.double().flatten(2).var(-1, correction=0).mean(0).sum()
    total = rows.var(0, correction=0).sum()
    return rank, float(within / total)


@pytest.mark.parametrize("seed", range(3))
def test_equal_to_the_long_way(seed: int) -> None:
    activations = maps(seed, 20, 5, 3, 4) * maps(seed + 9, 5, 1, 1) + 7
    found = activation_shape(activations, Topology.CNN)
    assert [float(each) for each in found] == pytest.approx(by_eigenvalues(activations), abs=1e-6)


def test_extremes() -> None:
    one = maps(0, 50, 1, 2, 2) * torch.ones(1, 4, 1, 1)
    assert activation_shape(one, Topology.CNN).rank.item() == pytest.approx(0.25)
    flat = maps(0, 50, 4, 1, 1).expand(-1, -1, 3, 3)
    assert activation_shape(flat, Topology.CNN).within_map.item() == pytest.approx(0, abs=1e-6)
    same = maps(0, 1, 4, 3, 3).expand(50, -1, -1, -1)
    assert activation_shape(same, Topology.CNN).within_map.item() == pytest.approx(1, abs=0.2)
    assert all(each.isnan() for each in activation_shape(torch.ones(5, 2, 3, 3), Topology.CNN))


def test_tokens_are_positions() -> None:
    tokens = maps(1, 20, 6, 5)
    as_maps = tokens.mT.unflatten(-1, (2, 3))
    assert activation_shape(tokens, Topology.TRANSFORMER) == activation_shape(as_maps, Topology.CNN)


def test_each_of_a_batch_by_itself() -> None:
    batch = maps(2, 3, 20, 4, 2, 2)
    found = activation_shape(batch, Topology.CNN)
    for index, activations in enumerate(batch):
        alone = activation_shape(activations, Topology.CNN)
        assert all(torch.equal(ours[index], own) for ours, own in zip(found, alone, strict=True))


@given(st.floats(1e-3, 1e3), st.floats(-100, 100))
def test_scale_and_mean_of_activations_change_nothing(scale: float, shift: float) -> None:
    activations = maps(3, 30, 4, 3, 3)
    before, after = (activation_shape(each, Topology.CNN) for each in (activations, scale * activations + shift))
    torch.testing.assert_close(after, before, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("scale", [0.1, 10.0])
def test_weights_behind_which_there_is_a_norm_may_have_any_scale(scale: float) -> None:
    torch.manual_seed(0)
    first = nn.Conv2d(2, 4, 3)
    rest = nn.Sequential(nn.GroupNorm(1, 4, eps=0.0), nn.ReLU(), nn.Conv2d(4, 4, 3), nn.Flatten(), nn.Linear(16, 3))
    images, labels = maps(4, 8, 2, 6, 6), torch.arange(8) % 3

    def measured() -> Tensor:
        loss = nn.functional.cross_entropy(rest(first(images)), labels)
        effects = []
        for layer in (first, rest[2]):
            own = list(layer.parameters())
            gradients = torch.autograd.grad(loss, own, retain_graph=True)
            effects.append(gradient_effect([(w[None].detach(), g[None]) for w, g in zip(own, gradients, strict=True)]))
        return shares(torch.cat(effects))

    before = measured()
    assert before.sum().item() == pytest.approx(1)
    with torch.no_grad():
        for parameter in first.parameters():
            parameter.mul_(scale)
    torch.testing.assert_close(measured(), before, rtol=1e-4, atol=1e-5)


def test_a_loss_that_hangs_on_nothing_is_unknown() -> None:
    assert shares(torch.tensor([[0.0, 0.0], [3.0, 1.0]])).tolist()[1] == [0.75, 0.25]
    assert shares(torch.zeros(1, 2)).isnan().all()
