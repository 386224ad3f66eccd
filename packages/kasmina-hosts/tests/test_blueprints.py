"""The contract of every blueprint, by every way of blending, in real hosts of both kinds.

Neutral at alpha 0, harmless in training, alive, and from there on part of the host.
"""

from collections.abc import Callable, Sequence
from functools import cache

import pytest
import torch
from plain_hosts import PlainHost, PlainSeed, plain_host
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from kasmina_hosts import HostConfig, Lifecycle, build_blueprint, built_blueprints, empty_lifecycle
from kasmina_hosts.evaluation import cross_entropies
from kasmina_hosts.network import HostNetworks
from leyline_types import (
    AlphaAlgorithm,
    BlueprintAction,
    GerminationStyle,
    SeedStage,
    Topology,
    germinable_blueprints,
)

SLOT = 1
HOST_SEEDS = (3, 4)
CONFIGS = (
    HostConfig(width=4),
    HostConfig(width=8),
    HostConfig(topology=Topology.TRANSFORMER, width=16, patch_size=2),
)
CASES = [
    pytest.param(config, blueprint, id=f"{config.topology}-{config.width}-{blueprint.blueprint_id}")
    for config in CONFIGS
    for blueprint in built_blueprints(config.topology)
]
every_blueprint = pytest.mark.parametrize(("config", "blueprint"), CASES)
every_style = pytest.mark.parametrize("style", list(GerminationStyle), ids=lambda style: style.name.lower())

B = BlueprintAction
SIZES: dict[tuple[Topology, BlueprintAction], Callable[[int], int]] = {
    (Topology.CNN, B.NORM): lambda c: 2 * c + 1,
    (Topology.CNN, B.CONV_SMALL): lambda c: c**2 + 2 * c,
    (Topology.CNN, B.CONV_LIGHT): lambda c: 9 * c**2 + 2 * c,
    (Topology.CNN, B.DEPTHWISE): lambda c: c**2 + 11 * c,
    (Topology.CNN, B.BOTTLENECK): lambda c: 2 * max(8, c // 4) * c + 9 * max(8, c // 4) ** 2 + 2 * c,
    (Topology.CNN, B.CONV_HEAVY): lambda c: 18 * c**2 + 4 * c,
    (Topology.CNN, B.ATTENTION): lambda c: c**2 // 2 + c,
    (Topology.TRANSFORMER, B.NORM): lambda d: 2 * d + 1,
    (Topology.TRANSFORMER, B.LORA): lambda d: 16 * d,
    (Topology.TRANSFORMER, B.LORA_LARGE): lambda d: 64 * d,
    (Topology.TRANSFORMER, B.ATTENTION): lambda d: 4 * d**2 + 4 * d,
    (Topology.TRANSFORMER, B.FLEX_ATTENTION): lambda d: 4 * d**2 + 4 * d,
    (Topology.TRANSFORMER, B.MLP_SMALL): lambda d: 4 * d**2 + 3 * d,
    (Topology.TRANSFORMER, B.MLP): lambda d: 8 * d**2 + 5 * d,
}


def images() -> Tensor:
    """[host, batch, C, H, W]"""
    return torch.randn(2, 5, 1, 8, 8, generator=torch.Generator().manual_seed(0))


LABELS = torch.tensor([[0, 1, 2, 3, 4], [9, 8, 7, 6, 5]])


def planted(
    config: HostConfig, blueprint: BlueprintAction, dtype: torch.dtype = torch.float32
) -> HostNetworks:
    """Two hosts with a fresh seed each."""
    networks = HostNetworks(HOST_SEEDS, config, (1, 8, 8), 10, dtype)
    for host in range(2):
        networks.plant(host, SLOT, blueprint, 0)
    return networks


@cache
def disturbed(
    config: HostConfig, blueprint: BlueprintAction, dtype: torch.dtype = torch.float32
) -> HostNetworks:
    """The same with seeds away from their first values, as after some training. Shared, so not to be changed."""
    networks, noise = planted(config, blueprint, dtype), torch.Generator().manual_seed(1)
    with torch.no_grad():
        for tensor in seed_tensors(networks, blueprint):
            tensor += 0.1 * torch.randn(tensor.shape, generator=noise, dtype=dtype)
    return networks


def living(
    blueprint: BlueprintAction,
    style: GerminationStyle,
    stages: Sequence[SeedStage],
    alpha: float = 0.0,
) -> Lifecycle:
    """The lifecycle of the two hosts, their seeds in these stages."""
    life = empty_lifecycle(2, 3)
    column = torch.tensor([True, False, False]).roll(SLOT)[None]
    stage = torch.tensor(stages)[:, None]
    here = column & (stage != SeedStage.DORMANT)
    return life.where(
        here,
        stage=stage,
        blueprint=float(blueprint),
        algorithm=float(style.alpha_algorithm),
        alpha=torch.where(stage == SeedStage.TRAINING, 0.0, alpha),
        alpha_target=alpha,
    )


def seed_tensors(networks: HostNetworks, blueprint: BlueprintAction) -> list[Tensor]:
    return list(networks.slots[SLOT].seeds[blueprint].tensors())


def host_tensors(networks: HostNetworks) -> list[Tensor]:
    return [tensor for part in networks.parts for tensor in part.tensors()]


def run(networks: HostNetworks, life: Lifecycle, *, training: bool = True) -> tuple[Tensor, Tensor]:
    """Logits and the sum of the hosts' losses."""
    logits = networks.forward(images().to(networks.dtype), networks.groups(life, training=training))
    return logits, cross_entropies(logits, LABELS).mean(1).sum()


def host_gradients(networks: HostNetworks, life: Lifecycle) -> tuple[Tensor, ...]:
    return torch.autograd.grad(run(networks, life)[1], host_tensors(networks))


NONE = (SeedStage.DORMANT, SeedStage.DORMANT)
BOTH_TRAIN = (SeedStage.TRAINING, SeedStage.TRAINING)
BOTH_BLEND = (SeedStage.BLENDING, SeedStage.BLENDING)
ONE_TRAINS = (SeedStage.DORMANT, SeedStage.TRAINING)
ONE_BLENDS = (SeedStage.BLENDING, SeedStage.DORMANT)


@every_blueprint
def test_number_of_parameters(config: HostConfig, blueprint: BlueprintAction) -> None:
    formula = SIZES[config.topology, blueprint]
    for channels in (config.width, 16, 64):
        module = build_blueprint(blueprint, config.topology, channels)
        assert sum(parameter.numel() for parameter in module.parameters()) == formula(channels)
    networks = planted(config, blueprint)
    for style in GerminationStyle:
        gate = config.width + 1 if style.alpha_algorithm is AlphaAlgorithm.GATE else 0
        sizes = networks.seed_sizes(living(blueprint, style, ONE_TRAINS))
        assert sizes.tolist() == [[0, 0, 0], [0, formula(config.width) + gate, 0]]


@every_blueprint
def test_one_final_class_that_keeps_the_shape(config: HostConfig, blueprint: BlueprintAction) -> None:
    module = build_blueprint(blueprint, config.topology, config.width)
    assert type(module).__final__  # type: ignore[attr-defined]  # set by typing.final
    assert not list(module.buffers())
    for size in (3, 4):
        shape = (config.width, size, size) if config.topology is Topology.CNN else (size**2, config.width)
        x = torch.randn(2, *shape)
        assert module(x).shape == x.shape
        torch.testing.assert_close(module(x)[1:], module(x[1:]))  # no sample sees another


def test_every_germinable_blueprint_is_built_and_no_other() -> None:
    for topology in Topology:
        built = built_blueprints(topology)
        assert built == germinable_blueprints(topology)
        for blueprint in set(BlueprintAction) - set(built):
            known = ", ".join(each.blueprint_id for each in built)
            message = f"'{blueprint.blueprint_id}' does not fit a {topology} network; there are: {known}$"
            with pytest.raises(ValueError, match=message):
                build_blueprint(blueprint, topology, 4)


@every_style
@every_blueprint
def test_alpha_zero_is_the_host_bit_for_bit(
    config: HostConfig, blueprint: BlueprintAction, style: GerminationStyle
) -> None:
    networks = disturbed(config, blueprint)
    for training in (True, False):
        bare, _ = run(networks, living(blueprint, style, NONE), training=training)
        for stages in (BOTH_BLEND, ONE_BLENDS):
            seeded, _ = run(networks, living(blueprint, style, stages), training=training)
            assert torch.equal(seeded, bare)


@every_style
@every_blueprint
def test_a_seed_in_training_changes_no_bit_of_its_host_s_logits_and_gradients(
    config: HostConfig, blueprint: BlueprintAction, style: GerminationStyle
) -> None:
    networks = disturbed(config, blueprint)
    bare = living(blueprint, style, NONE)
    expected = run(networks, bare)[0], *host_gradients(networks, bare)
    for stages in (BOTH_TRAIN, ONE_TRAINS):
        life = living(blueprint, style, stages)
        found = run(networks, life)[0], *host_gradients(networks, life)
        assert all(torch.equal(new, old) for new, old in zip(found, expected, strict=True))
    beside = living(blueprint, style, (SeedStage.BLENDING, SeedStage.TRAINING), alpha=0.5)
    found = run(networks, beside)[0], *host_gradients(networks, beside)
    assert all(torch.equal(new[1], old[1]) for new, old in zip(found, expected, strict=True))
    assert not torch.equal(found[0][0], expected[0][0])


@every_style
@every_blueprint
def test_every_parameter_learns_within_two_steps(
    config: HostConfig, blueprint: BlueprintAction, style: GerminationStyle
) -> None:
    gated = style.alpha_algorithm is AlphaAlgorithm.GATE
    for stages, alpha in ((BOTH_TRAIN, 0.0), (BOTH_BLEND, 0.5)):
        networks = planted(config, blueprint)
        life = living(blueprint, style, stages, alpha)
        gate = list(networks.slots[SLOT].gate.tensors()) if gated and stages is BOTH_BLEND else []
        learners = [*seed_tensors(networks, blueprint), *gate]
        everything = [*host_tensors(networks), *learners]
        learnt = [torch.zeros(2, dtype=torch.bool) for _ in learners]
        for _ in range(2):
            gradients = torch.autograd.grad(run(networks, life)[1], everything)
            with torch.no_grad():
                for tensor, gradient in zip(everything, gradients, strict=True):
                    tensor -= 0.1 * gradient
            for seen, gradient in zip(learnt, gradients[-len(learners) :], strict=True):
                seen |= gradient.reshape(2, -1).any(1)
        assert torch.stack(learnt).all(), learnt


@every_style
@every_blueprint
def test_a_blended_seed_is_part_of_its_host(
    config: HostConfig, blueprint: BlueprintAction, style: GerminationStyle
) -> None:
    """Its host's gradients are those of ordinary modules; they go through it and would be others without it."""
    networks = disturbed(config, blueprint, torch.float64)
    life = living(blueprint, style, BOTH_BLEND, alpha=0.5)
    gradients = host_gradients(networks, life)
    for host in range(2):
        plain = plain_host(networks, life, host, config, (1, 8, 8), 10)
        own = [gradient[host] for gradient in gradients]
        torch.testing.assert_close(own, plain_gradients(plain, host), rtol=1e-12, atol=1e-12)
        for other in (plain.without(SLOT), with_detached_output(plain)):
            upstream = len(networks.parts[0].parameters)
            change = torch.stack(
                [
                    (ours - theirs).norm() / ours.norm()
                    for ours, theirs in zip(
                        own[:upstream], plain_gradients(other, host)[:upstream], strict=True
                    )
                ]
            )
            assert change.max() > 1e-3


def plain_gradients(plain: PlainHost, host: int) -> list[Tensor]:
    parameters = [parameter for part in plain.parts for parameter in part.parameters()]
    loss = cross_entropy(plain(images()[host].double()), LABELS[host])
    return list(torch.autograd.grad(loss, parameters))


def with_detached_output(plain: PlainHost) -> PlainHost:
    class Detached(nn.Module):
        def __init__(self, inner: nn.Module) -> None:
            super().__init__()
            self.inner = inner

        def forward(self, x: Tensor) -> Tensor:
            result: Tensor = self.inner(x).detach()
            return result

    seed = plain.seeds[SLOT]
    cut = PlainSeed(Detached(seed.module), seed.gate, seed.stage, seed.alpha, seed.algorithm)
    return PlainHost(plain.parts, {SLOT: cut})
