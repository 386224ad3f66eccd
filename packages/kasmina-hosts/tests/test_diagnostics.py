"""Diagnostics by hand, against slow loops, and free of scale."""

import doctest

import pytest
import torch
from host_scripts import advance, first_samples, germinate, same_for_all, waiting
from hypothesis import given, settings
from hypothesis import strategies as st
from plain_hosts import plain_host
from torch import Tensor, nn

from kasmina_hosts import (
    DigitsTask,
    GrownSeed,
    HostConfig,
    HostPopulation,
    built_blueprints,
    diagnostics,
)
from kasmina_hosts.diagnostics import (
    DIAGNOSED_SAMPLES,
    Diagnostics,
    activation_shape,
    gradient_effect,
    shares,
)
from kasmina_hosts.evaluation import diagnose
from leyline_types import AlphaAlgorithm, Topology


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
    assert activation_shape(same, Topology.CNN).within_map.item() == pytest.approx(1, abs=1e-6)
    for dtype in (torch.float32, torch.float64):
        constant = torch.full((30, 3, 3, 3), 0.1, dtype=dtype)
        assert all(each.isnan() for each in activation_shape(constant, Topology.CNN))


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
    before, after = (
        activation_shape(each, Topology.CNN) for each in (activations, scale * activations + shift)
    )
    torch.testing.assert_close(after, before, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("scale", [0.1, 10.0])
def test_weights_behind_which_there_is_a_norm_may_have_any_scale(scale: float) -> None:
    torch.manual_seed(0)
    first = nn.Conv2d(2, 4, 3)
    rest = nn.Sequential(
        nn.GroupNorm(1, 4, eps=0.0), nn.ReLU(), nn.Conv2d(4, 4, 3), nn.Flatten(), nn.Linear(16, 3)
    )
    images, labels = maps(4, 8, 2, 6, 6), torch.arange(8) % 3

    def measured() -> Tensor:
        loss = nn.functional.cross_entropy(rest(first(images)), labels)
        effects = []
        for layer in (first, rest[2]):
            own = list(layer.parameters())
            gradients = torch.autograd.grad(loss, own, retain_graph=True)
            effects.append(
                gradient_effect([(w[None].detach(), g[None]) for w, g in zip(own, gradients, strict=True)])
            )
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


def test_an_effect_that_is_unknown_leaves_the_others_their_shares() -> None:
    assert shares(torch.tensor([[1.0, torch.nan, 3.0]]))[0].nan_to_num(9).tolist() == [0.25, 9, 0.75]
    assert shares(torch.tensor([[1.0, torch.inf, 3.0]])).isnan().all()


CONFIGS = {
    "cnn": HostConfig(width=4, kernels=(3, 1, 1), inner_widths=(0, 0, 1), max_epochs=3),
    "transformer": HostConfig(
        topology=Topology.TRANSFORMER, width=8, attention=(True, False, True), max_epochs=3
    ),
}


def grown(config: HostConfig, seeds: list[int]) -> HostPopulation:
    """Two epochs old, with a seed that alters the first host only, and another in each that does not."""
    blueprint = built_blueprints(config.topology)[1]
    population = HostPopulation(first_samples(DigitsTask(), 128, 64), config)
    held = [{"r0c2": GrownSeed(blueprint, AlphaAlgorithm.MULTIPLY, 0.7)}] + [{}] * (len(seeds) - 1)
    population.reset(seeds, held)
    population.step(same_for_all(germinate("r0c0", blueprint), len(seeds)))
    population.step(same_for_all(advance("r0c0"), len(seeds)))
    return population


@pytest.mark.parametrize("config", CONFIGS.values(), ids=CONFIGS)
def test_a_population_measures_each_host_as_ordinary_modules_would(config: HostConfig) -> None:
    population = grown(config, [3, 4])
    now, slots = population._present, population.observe().slots
    data = first_samples(DigitsTask(), 1, DIAGNOSED_SAMPLES).validation
    for host in range(2):
        plain = plain_host(now.networks, now.life, host, config, (1, 8, 8), 10)
        h, activations = data.images, []
        for index, part in enumerate(plain.parts):
            h = part(h)
            if index < 3:
                activations.append(h)
                seed = plain.seeds.get(index)
                h = seed(h) if seed is not None and seed.alpha else h
        effects = []
        for part in plain.parts[:-1]:
            own = list(part.parameters())
            loss = nn.functional.cross_entropy(h, data.labels)
            gradients = torch.autograd.grad(loss, own, retain_graph=True)
            squares = [float(w.detach().norm() * g.norm()) ** 2 for w, g in zip(own, gradients, strict=True)]
            effects.append(sum(squares) ** 0.5)
        share = torch.tensor(effects) / sum(effects)
        torch.testing.assert_close(slots.host_gradient_share[host], share, rtol=1e-4, atol=1e-6)
        for slot, activation in enumerate(activations):
            rank, within = activation_shape(activation.detach(), config.topology)
            assert slots.activation_rank[host, slot].item() == pytest.approx(rank.item(), abs=1e-5)
            assert slots.within_map_variance[host, slot].item() == pytest.approx(within.item(), abs=1e-5)


@pytest.mark.parametrize("config", CONFIGS.values(), ids=CONFIGS)
def test_a_population_knows_them_of_every_slot_from_the_start(config: HostConfig) -> None:
    population = grown(config, [3, 4])
    first = population.reset([5, 6])
    for slots in (first.slots, population.step(same_for_all(waiting(), 2)).observation.slots):
        assert not slots.occupied.any()
        for name in Diagnostics._fields:
            column = getattr(slots, name)
            assert ((column >= 0) & (column <= 1)).all(), name
        torch.testing.assert_close(slots.host_gradient_share.sum(1), torch.ones(2))


def test_a_host_whose_activations_do_not_vary_is_unknown() -> None:
    population = grown(CONFIGS["cnn"], [3, 4])
    networks = population._present.networks
    with torch.no_grad():
        for tensor in networks.parts[0].tensors():
            tensor[1] = 0
    found = diagnose(networks, population._present.life, population._validation)
    assert found.activation_rank[1, 0].isnan()
    assert found.within_map_variance[1, 0].isnan()
    assert found.activation_rank[0].isfinite().all()


@given(st.sampled_from([0, 1, 2]), st.sampled_from([0.1, 10.0]))
@settings(max_examples=6)
def test_a_stage_of_any_scale_in_front_of_its_norm_is_the_same_stage(stage: int, scale: float) -> None:
    """But for the small number that the norm adds to the variance, and what that is of small weights' variance."""
    population = grown(HostConfig(max_epochs=3), [3, 4])
    networks, life, data = population._present.networks, population._present.life, population._validation
    before = diagnose(networks, life, data)
    with torch.no_grad():
        for name, tensor in networks.parts[stage].parameters.items():
            if name.startswith("conv."):
                tensor[0] *= scale
    after = diagnose(networks, life, data)
    torch.testing.assert_close(after, before, rtol=2e-3, atol=2e-3)


def test_measuring_leaves_no_gradients_and_changes_nothing() -> None:
    population = grown(CONFIGS["cnn"], [3, 4])
    before = population.state_dict()
    for _ in range(2):
        diagnose(population._present.networks, population._present.life, population._validation)
    after = population.state_dict()
    assert all(
        torch.equal(before[name], after[name]) for name in before if not before[name].is_floating_point()
    )
    assert all(torch.equal(before[name].nan_to_num(7), after[name].nan_to_num(7)) for name in before)
    assert all(tensor.grad is None for _, tensor in population._present.networks.named_parameters())
