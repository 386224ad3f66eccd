"""One step over stacked parameters is each host's own step."""

from collections.abc import Sequence

import pytest
import torch
from host_scripts import (
    WIDE_OPEN,
    SmallTask,
    advance,
    first_samples,
    germinate,
    same_for_all,
    suspect,
    waiting,
)
from torch import Tensor

from kasmina_hosts import DigitsTask, HostConfig, HostPopulation
from kasmina_hosts.config import OptimizerKind
from kasmina_hosts.stacked_optimizer import Learning, StackedOptimizer, side_by_side
from leyline_types import BlueprintAction, FactoredAction, LifecycleOp, SeedStage

HOSTS, STEPS = 3, 7


def gradients(seed: int, shape: tuple[int, ...]) -> list[Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return [torch.randn(HOSTS, *shape, generator=generator) for _ in range(STEPS)]


def plain(kind: OptimizerKind, parameter: Tensor) -> torch.optim.Optimizer:
    if kind is OptimizerKind.ADAM:
        return torch.optim.Adam([parameter], lr=0.01)
    return torch.optim.SGD([parameter], lr=0.01, momentum=0.9)


def step(optimizer: StackedOptimizer, learning: Sequence[Learning], *gradient: Tensor) -> None:
    """A single one."""
    with optimizer.stepping(learning) as steps:
        steps.take(side_by_side(gradient))


def make(kind: OptimizerKind, **joined: Tensor) -> StackedOptimizer:
    """With these parameters; two underscores stand for a dot."""
    optimizer = StackedOptimizer(kind, learning_rate=0.01, momentum=0.9)
    for name, tensor in joined.items():
        optimizer.join(name.replace("__", "."), tensor)
    return optimizer


@pytest.mark.parametrize("kind", OptimizerKind)
@pytest.mark.parametrize("shape", [(), (4,), (2, 3, 3, 3)])
def test_each_row_moves_as_under_an_optimiser_of_its_own(kind: OptimizerKind, shape: tuple[int, ...]) -> None:
    stacked = torch.randn(HOSTS, *shape).requires_grad_()
    alone = [row.detach().clone().requires_grad_() for row in stacked]
    ours, theirs = make(kind, weight=stacked), [plain(kind, row) for row in alone]
    for gradient in gradients(0, shape):
        step(ours, [Learning("weight", stacked, None)], gradient)
        for row, optimizer, own in zip(alone, theirs, gradient, strict=True):
            row.grad = own.clone()
            optimizer.step()
    torch.testing.assert_close(stacked.detach(), torch.stack([row.detach() for row in alone]))


@pytest.mark.parametrize("kind", OptimizerKind)
def test_a_row_that_does_not_learn_stays_and_counts_its_own_steps(kind: OptimizerKind) -> None:
    stacked = torch.randn(HOSTS, 4).requires_grad_()
    first = stacked.detach().clone()
    alone = stacked[1].detach().clone().requires_grad_()
    ours, theirs = make(kind, weight=stacked), plain(kind, alone)
    for number, gradient in enumerate(gradients(1, (4,))):
        learns = number % 2 == 0
        step(ours, [Learning("weight", stacked, torch.tensor([True, learns, False]))], gradient)
        if learns:
            alone.grad = gradient[1].clone()
            theirs.step()
    torch.testing.assert_close(stacked[1].detach(), alone.detach())
    assert torch.equal(stacked[2].detach(), first[2])
    moments = ours.moments["weight"]
    assert moments.steps.tolist() == [STEPS, 4, 0]
    assert not any(tensor[2].any() for tensor in moments if tensor is not None)


@pytest.mark.parametrize("kind", OptimizerKind)
def test_many_steps_with_many_parameters_are_single_steps_with_single_ones(kind: OptimizerKind) -> None:
    shapes: list[tuple[int, ...]] = [(), (4,), (2, 3)]
    rows = [None, torch.tensor([True, False, True]), torch.tensor([False, False, True])]
    runs: list[tuple[StackedOptimizer, list[Learning]]] = []
    for _ in range(2):
        torch.manual_seed(0)
        tensors = [torch.randn(HOSTS, *shape).requires_grad_() for shape in shapes]
        names = [f"weight{place}" for place in range(len(shapes))]
        optimizer = make(kind, **dict(zip(names, tensors, strict=True)))
        runs.append((optimizer, [*map(Learning, names, tensors, rows)]))
    every = list(zip(*(gradients(seed, shape) for seed, shape in enumerate(shapes)), strict=True))
    (together, learning), (apart, alone) = runs
    with together.stepping(learning) as steps:
        for gradient in every:
            steps.take(side_by_side(gradient))
    for gradient in every:
        for each, own in zip(alone, gradient, strict=True):
            step(apart, [each], own)
    for ours, theirs in zip(learning, alone, strict=True):
        assert torch.equal(ours.tensor, theirs.tensor)
    for (name, ours_kept), (other, kept) in zip(together.named_tensors(), apart.named_tensors(), strict=True):
        assert name == other
        assert torch.equal(ours_kept, kept), name
        assert ours_kept.is_contiguous()


@pytest.mark.parametrize("kind", OptimizerKind)
def test_what_is_forgotten_begins_anew(kind: OptimizerKind) -> None:
    stacked, other = (torch.randn(HOSTS, 4).requires_grad_() for _ in range(2))
    ours = make(kind, slots__0__norm__gain=stacked, slots__1__norm__gain=other)
    for gradient in gradients(2, (4,)):
        both = [Learning("slots.0.norm.gain", stacked, None), Learning("slots.1.norm.gain", other, None)]
        step(ours, both, gradient, gradient)
    ours.forget(1, "slots.0.")
    gone, kept = (
        [tensor for tensor in ours.moments[name] if tensor is not None]
        for name in ("slots.0.norm.gain", "slots.1.norm.gain")
    )
    assert not any(tensor[1].any() for tensor in gone)
    assert all(tensor[0].any() for tensor in gone)
    assert all(tensor[1].any() for tensor in kept)
    alone = stacked[1].detach().clone().requires_grad_()
    theirs = plain(kind, alone)
    step(ours, [Learning("slots.0.norm.gain", stacked, None)], torch.ones(HOSTS, 4))
    alone.grad = torch.ones(4)
    theirs.step()
    torch.testing.assert_close(stacked[1].detach(), alone.detach())


SEED = "slots.1.norm."


@pytest.fixture(scope="module")
def small(task: DigitsTask) -> SmallTask:
    return first_samples(task, 128, 64)


def grown(small: SmallTask, kind: OptimizerKind, epochs: int = 3) -> HostPopulation:
    """Three hosts whose norm seed in r0c1 has learnt for two epochs."""
    population = HostPopulation(small, HostConfig(max_epochs=9, optimizer=kind), gates=WIDE_OPEN)
    population.reset([1, 2, 3])
    for action in (germinate("r0c1", BlueprintAction.NORM), *[advance("r0c1")] * (epochs - 1)):
        population.step(same_for_all(action, 3))
    return population


def remembered(population: HostPopulation, host: int, prefix: str = SEED) -> list[Tensor]:
    found = population._present.networks.optimizer.named_tensors()
    return [tensor[host].clone() for name, tensor in found if name.startswith(prefix)]


@pytest.mark.parametrize("kind", OptimizerKind)
def test_a_seed_joins_with_nothing_remembered_and_a_pruned_one_leaves_nothing(
    small: SmallTask, kind: OptimizerKind
) -> None:
    population = grown(small, kind, epochs=1)
    assert not any(tensor.any() for tensor in remembered(population, 0))
    population = grown(small, kind, epochs=2)
    assert all(tensor.any() for host in range(3) for tensor in remembered(population, host))
    steps = population._present.networks.optimizer.moments[f"{SEED}gain"].steps
    assert steps.tolist() == [2, 2, 2]
    pruned = population.step(same_for_all(FactoredAction(LifecycleOp.PRUNE, "r0c1"), 3)).observation
    assert (pruned.slots.stage[:, 1] == SeedStage.PRUNED).all()
    assert not any(tensor.any() for host in range(3) for tensor in remembered(population, host))
    assert all(tensor.any() for tensor in remembered(population, 0, "parts."))


@pytest.mark.parametrize("kind", OptimizerKind)
def test_what_is_remembered_of_a_host_that_diverged_is_rolled_back_and_of_the_others_not(
    small: SmallTask, kind: OptimizerKind, monkeypatch: pytest.MonkeyPatch
) -> None:
    population = grown(small, kind)
    suspect(monkeypatch, population, 1, {3, 4, 5})
    before = [remembered(population, host, "parts.") for host in range(3)]
    for _ in range(3):
        outcome = population.step(same_for_all(waiting(), 3))
    assert outcome.rolled_back.tolist() == [False, True, False]
    for host, told in enumerate(outcome.rolled_back.tolist()):
        after = remembered(population, host, "parts.")
        assert [torch.equal(a, b) for a, b in zip(after, before[host], strict=True)] == [told] * len(after)
    assert not any(tensor.any() for tensor in remembered(population, 1))
    assert all(tensor.any() for tensor in remembered(population, 0))
