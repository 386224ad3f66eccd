"""A host in company is the host alone, and the host alone is ordinary modules in an ordinary training loop."""

from dataclasses import replace

import pytest
import torch
from host_scripts import SLOTS, WIDE_OPEN, advance, first_samples, together, waiting
from plain_hosts import PlainHost, plain_host
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from kasmina_hosts import (
    DigitsTask,
    HostConfig,
    HostPopulation,
    Split,
    build_host,
    built_blueprints,
    empty_lifecycle,
)
from kasmina_hosts.config import OptimizerKind
from kasmina_hosts.epoch import train_epoch
from kasmina_hosts.network import HostNetworks
from leyline_types import (
    AlphaAlgorithm,
    AlphaSpeedAction,
    AlphaTargetAction,
    BlueprintAction,
    FactoredAction,
    GerminationStyle,
    LifecycleOp,
    Observation,
    SeedStage,
    SignalColumns,
    SlotColumns,
    TempoAction,
    Topology,
)

CNN = HostConfig(max_epochs=10)
VIT = HostConfig(topology=Topology.TRANSFORMER, width=16, patch_size=2, max_epochs=10)
LACKING = replace(CNN, kernels=(1, 3, 5), inner_widths=(0, 1, 2), norms=(True, False, True))
LACKING_VIT = replace(VIT, attention=(False, True, False), inner_widths=(0, 2, 0), head_norm=False)
SHAPE, CLASSES = (1, 8, 8), 10
Company = dict[Topology, tuple[list[int], HostPopulation, list[Observation[Tensor]]]]
SEEDS = [100 + 7 * index for index in range(32)]


def script(index: int, epoch: int, topology: Topology) -> FactoredAction:
    """What host `index` does: grow one seed, then another, and let the first one end in one of three ways."""
    built = built_blueprints(topology)
    first, second = SLOTS.slot_ids[index % 3], SLOTS.slot_ids[(index + 1) % 3]
    style = GerminationStyle(index % 4)
    match epoch:
        case 0 | 3:
            return FactoredAction(
                LifecycleOp.GERMINATE,
                second if epoch else first,
                blueprint=built[(index + epoch) % 7],
                style=style,
                tempo=TempoAction.FAST,
                alpha_target=AlphaTargetAction(index % 2),
            )
        case 1 | 2 | 5:
            return advance(first)
        case 4 | 7:
            return advance(second)
        case 6:
            return ending(index, first)
        case 8 if index // 12 == 2:
            return FactoredAction(LifecycleOp.PRUNE, first, alpha_speed=AlphaSpeedAction.FAST)
        case _:
            return waiting()


def ending(index: int, slot_id: str) -> FactoredAction:
    match index // 12:
        case 0:
            return FactoredAction(LifecycleOp.FOSSILIZE, slot_id)
        case 1:
            return FactoredAction(LifecycleOp.PRUNE, slot_id)
        case _:
            return FactoredAction(
                LifecycleOp.SET_ALPHA_TARGET,
                slot_id,
                style=GerminationStyle((index + 1) % 4),
                alpha_target=AlphaTargetAction.FULL,
            )


def grow(
    task: DigitsTask, config: HostConfig, indices: list[int], dtype: torch.dtype
) -> tuple[HostPopulation, list[Observation[Tensor]]]:
    """Ten epochs of hosts that each follow their own script."""
    small = first_samples(task, 136 if config.topology is Topology.CNN else 72, 96)
    population = HostPopulation(small, config, gates=WIDE_OPEN, dtype=dtype)
    seen = [population.reset([SEEDS[index] for index in indices])]
    for epoch in range(config.max_epochs):
        outcome = population.step(together(script(index, epoch, config.topology) for index in indices))
        assert outcome.took_effect.all()
        seen.append(outcome.observation)
    return population, seen


@pytest.fixture(scope="module")
def company(task: DigitsTask) -> Company:
    """All 32 convolutional hosts, and eight of the transformers, each in float64."""
    hosts = {CNN: list(range(32)), VIT: [0, 3, 7, 13, 17, 22, 26, 31]}
    return {
        config.topology: (indices, *grow(task, config, indices, torch.float64))
        for config, indices in hosts.items()
    }


@pytest.mark.parametrize("config", [CNN, VIT], ids=["cnn", "transformer"])
def test_the_script_grows_all_there_is_to_grow(config: HostConfig, company: Company) -> None:
    indices, _, seen = company[config.topology]
    slots = [observation.slots for observation in seen]
    stages = {SeedStage(stage) for each in slots for stage in each.stage.unique().tolist()}
    assert stages == set(SeedStage) - {SeedStage.UNKNOWN}
    planted = {int(blueprint) for each in slots for blueprint in each.blueprint.unique()}
    assert planted == {*map(int, built_blueprints(config.topology)), BlueprintAction.NOOP}
    algorithms = {int(algorithm) for each in slots for algorithm in each.alpha_algorithm.unique()}
    assert algorithms == {0, *map(int, AlphaAlgorithm)}
    assert (torch.stack([each.alpha for each in slots]).amax((0, 2)) > 0).sum() == len(indices)


@pytest.mark.parametrize("config", [CNN, VIT], ids=["cnn", "transformer"])
@pytest.mark.parametrize("index", [0, 13, 31])
def test_a_host_among_many_is_the_host_alone(
    task: DigitsTask,
    config: HostConfig,
    index: int,
    company: Company,
) -> None:
    """In float64: parameters to a few units of rounding, whole columns exactly, others to float32's precision."""
    indices, crowd, seen = company[config.topology]
    place = indices.index(index)
    alone, seen_alone = grow(task, config, [index], torch.float64)
    for ours, own in zip(seen, seen_alone, strict=True):
        for name, among, single in columns(ours, own):
            tolerance = 0 if not single.is_floating_point() else 1e-4 if "ratio" in name else 1e-6
            torch.testing.assert_close(
                among[place], single[0], rtol=tolerance, atol=tolerance, equal_nan=True, msg=name
            )
    rows = dict(crowd._present.networks.named_tensors())
    for name, tensor in alone._present.networks.named_tensors():
        torch.testing.assert_close(rows[name][place], tensor[0], rtol=1e-9, atol=1e-9, msg=name)


def test_in_float32_too_but_for_rounding(task: DigitsTask) -> None:
    """Batched products add in another order, some 1e-7 of a number; over these 30 steps it grew to 5e-7."""
    _, seen = grow(task, CNN, list(range(32)), torch.float32)
    _, alone = grow(task, CNN, [13], torch.float32)
    for epoch, (ours, own) in enumerate(zip(seen, alone, strict=True)):
        for name in ("train_loss", "val_loss"):
            found, expected = getattr(ours.signals, name)[13:14], getattr(own.signals, name)
            tolerance = 2e-6 if epoch < 3 else 1e-4
            torch.testing.assert_close(found, expected, rtol=0, atol=tolerance)
        assert torch.equal(ours.slots.stage[13:14], own.slots.stage)
        assert torch.equal(ours.slots.alpha[13:14], own.slots.alpha)


def columns(a: Observation[Tensor], b: Observation[Tensor]) -> list[tuple[str, Tensor, Tensor]]:
    return [
        *zip(SignalColumns._fields, a.signals, b.signals, strict=True),
        *zip(SlotColumns._fields, a.slots, b.slots, strict=True),
    ]


@pytest.mark.parametrize("config", [CNN, VIT], ids=["cnn", "transformer"])
def test_first_values_are_of_modules_built_under_the_host_s_seed(config: HostConfig) -> None:
    networks = HostNetworks([8, 5], config, SHAPE, CLASSES)
    torch.manual_seed(5)
    for part, stack in zip(build_host(config, SHAPE, CLASSES), networks.parts, strict=True):
        for name, value in part.named_parameters():
            assert torch.equal(stack.parameters[name][1], value)
            assert value.std() == 0 or not torch.equal(stack.parameters[name][0], value)
    blueprint = built_blueprints(config.topology)[0]
    for host, count in ((0, 0), (1, 0), (1, 1)):
        networks.plant(host, 2, blueprint, count)
        assert any(value.std() > 0 for value in seed_row(networks, blueprint, host))
    again = HostNetworks([5], config, SHAPE, CLASSES)
    again.plant(0, 2, blueprint, 1)
    rows = zip(seed_row(networks, blueprint, 1), seed_row(again, blueprint, 0), strict=True)
    assert all(torch.equal(a, b) for a, b in rows)
    again.plant(0, 2, blueprint, 0)
    rows = zip(seed_row(networks, blueprint, 1), seed_row(again, blueprint, 0), strict=True)
    assert not all(torch.equal(a, b) for a, b in rows)


def seed_row(networks: HostNetworks, blueprint: BlueprintAction, host: int) -> list[Tensor]:
    return [value[host].detach() for value in networks.slots[2].seeds[blueprint].tensors()]


@pytest.mark.parametrize("optimizer", OptimizerKind)
@pytest.mark.parametrize(
    ("config", "blueprint"),
    [
        (CNN, None),
        (CNN, BlueprintAction.CONV_HEAVY),
        (LACKING, BlueprintAction.NORM),
        (VIT, None),
        (VIT, BlueprintAction.FLEX_ATTENTION),
        (LACKING_VIT, BlueprintAction.ATTENTION),
    ],
    ids=[
        "cnn",
        "cnn with seeds",
        "lacking cnn",
        "transformer",
        "transformer with seeds",
        "lacking transformer",
    ],
)
def test_one_host_is_ordinary_modules_in_an_ordinary_loop(
    task: DigitsTask, config: HostConfig, blueprint: BlueprintAction | None, optimizer: OptimizerKind
) -> None:
    """Two epochs of train_epoch against torch.optim: logits, losses, norms of gradients, every parameter."""
    config = replace(config, optimizer=optimizer, learning_rate=0.02)
    networks = HostNetworks([5], config, SHAPE, CLASSES, torch.float64)
    life = empty_lifecycle(1, 3)
    if blueprint is not None:
        for slot in range(3):
            networks.plant(0, slot, blueprint, 0)
        life = life.where(
            torch.ones(1, 3, dtype=torch.bool),
            stage=torch.tensor([[SeedStage.FOSSILIZED, SeedStage.TRAINING, SeedStage.BLENDING]]),
            blueprint=float(blueprint),
            algorithm=torch.tensor([[AlphaAlgorithm.MULTIPLY, AlphaAlgorithm.ADD, AlphaAlgorithm.GATE]]),
            alpha=torch.tensor([[1.0, 0.0, 0.3]]),
        )
    plain = plain_host(networks, life, 0, config, SHAPE, CLASSES)
    parameters = list(plain.named_parameters().values())
    if optimizer is OptimizerKind.ADAM:
        plain_optimizer: torch.optim.Optimizer = torch.optim.Adam(parameters, lr=0.02)
    else:
        plain_optimizer = torch.optim.SGD(parameters, lr=0.02, momentum=config.momentum)
    data = first_samples(task, 80, 1).train
    for epoch in range(2):
        order = torch.randperm(80, generator=torch.Generator().manual_seed(epoch))
        result = train_epoch(networks, life, data, order[None], batch_size=32)
        losses, norms, seed_norms = ordinary_epoch(plain, plain_optimizer, data, order)
        torch.testing.assert_close(result.score.loss[0].item(), losses.mean().item(), rtol=1e-6, atol=0)
        torch.testing.assert_close(result.host_gradient[0].item(), norms[-1], rtol=1e-6, atol=0)
        mean = sum(norms) / len(norms)
        torch.testing.assert_close(result.mean_host_gradient[0].item(), mean, rtol=1e-6, atol=0)
        torch.testing.assert_close(result.seed_gradient[0], seed_norms, rtol=1e-6, atol=0, equal_nan=True)
    ours = dict(networks.named_parameters())
    for name, value in plain.named_parameters().items():
        stacked = ours[name.replace(".seed.", f".{blueprint.blueprint_id}.") if blueprint else name]
        torch.testing.assert_close(stacked[0], value, rtol=1e-12, atol=1e-12, msg=name)
    images = task.validation.images[:50].double()
    logits = networks.forward(images[None], networks.groups(life, training=False))[0]
    torch.testing.assert_close(logits, plain(images), rtol=1e-12, atol=1e-12)


def ordinary_epoch(
    plain: PlainHost, optimizer: torch.optim.Optimizer, data: Split, order: Tensor
) -> tuple[Tensor, list[float], Tensor]:
    """Each sample's loss, each step's norm of the host's gradients, each slot's mean norm of the seed's."""
    parameters = plain.named_parameters()
    losses, norms, seed_norms = [], [], []
    for batch in order.split(32):
        each = cross_entropy(plain(data.images[batch].double()), data.labels[batch], reduction="none")
        optimizer.zero_grad()
        each.mean().backward()
        optimizer.step()
        losses.append(each.detach())
        norms.append(norm(parameters, "parts."))
        seed_norms.append([norm(parameters, f"slots.{slot}.") for slot in range(3)])
    return torch.cat(losses), norms, torch.tensor(seed_norms).mean(0)


def norm(parameters: dict[str, nn.Parameter], prefix: str) -> float:
    """Of the gradients of these parameters; NaN if there are none."""
    own = [value for name, value in parameters.items() if name.startswith(prefix)]
    squares = [float(value.grad.square().sum()) for value in own if value.grad is not None]
    return sum(squares) ** 0.5 if squares else float("nan")
