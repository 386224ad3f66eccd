"""One step over stacked parameters is each host's own step."""

import pytest
import torch
from torch import Tensor

from kasmina_hosts.config import OptimizerKind
from kasmina_hosts.stacked_optimizer import Learning, StackedOptimizer

HOSTS, STEPS = 3, 7


def gradients(seed: int, shape: tuple[int, ...]) -> list[Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return [torch.randn(HOSTS, *shape, generator=generator) for _ in range(STEPS)]


def plain(kind: OptimizerKind, parameter: Tensor) -> torch.optim.Optimizer:
    if kind is OptimizerKind.ADAM:
        return torch.optim.Adam([parameter], lr=0.01)
    return torch.optim.SGD([parameter], lr=0.01, momentum=0.9)


def make(kind: OptimizerKind) -> StackedOptimizer:
    return StackedOptimizer(kind, learning_rate=0.01, momentum=0.9)


@pytest.mark.parametrize("kind", OptimizerKind)
@pytest.mark.parametrize("shape", [(), (4,), (2, 3, 3, 3)])
def test_each_row_moves_as_under_an_optimiser_of_its_own(kind: OptimizerKind, shape: tuple[int, ...]) -> None:
    stacked = torch.randn(HOSTS, *shape).requires_grad_()
    alone = [row.detach().clone().requires_grad_() for row in stacked]
    ours, theirs = make(kind), [plain(kind, row) for row in alone]
    for gradient in gradients(0, shape):
        stacked.grad = gradient
        ours.step([Learning("weight", stacked, None)])
        for row, optimizer, own in zip(alone, theirs, gradient, strict=True):
            row.grad = own.clone()
            optimizer.step()
    torch.testing.assert_close(stacked.detach(), torch.stack([row.detach() for row in alone]))


@pytest.mark.parametrize("kind", OptimizerKind)
def test_a_row_that_does_not_learn_stays_and_counts_its_own_steps(kind: OptimizerKind) -> None:
    stacked = torch.randn(HOSTS, 4).requires_grad_()
    first = stacked.detach().clone()
    alone = stacked[1].detach().clone().requires_grad_()
    ours, theirs = make(kind), plain(kind, alone)
    for step, gradient in enumerate(gradients(1, (4,))):
        stacked.grad = gradient
        learns = step % 2 == 0
        ours.step([Learning("weight", stacked, torch.tensor([True, learns, False]))])
        if learns:
            alone.grad = gradient[1].clone()
            theirs.step()
    torch.testing.assert_close(stacked[1].detach(), alone.detach())
    assert torch.equal(stacked[2].detach(), first[2])
    moments = ours.moments["weight"]
    assert moments.steps.tolist() == [STEPS, 4, 0]
    assert not any(tensor[2].any() for tensor in moments)


@pytest.mark.parametrize("kind", OptimizerKind)
def test_what_is_forgotten_begins_anew(kind: OptimizerKind) -> None:
    stacked, other = (torch.randn(HOSTS, 4).requires_grad_() for _ in range(2))
    ours = make(kind)
    for gradient in gradients(2, (4,)):
        stacked.grad, other.grad = gradient, gradient.clone()
        ours.step([Learning("slots.0.norm.gain", stacked, None), Learning("slots.1.norm.gain", other, None)])
    ours.forget(1, "slots.0.")
    assert not any(tensor[1].any() for tensor in ours.moments["slots.0.norm.gain"])
    assert all(tensor[0].any() for tensor in ours.moments["slots.0.norm.gain"] if tensor.numel())
    assert all(tensor[1].any() for tensor in ours.moments["slots.1.norm.gain"] if tensor.numel())
    alone = stacked[1].detach().clone().requires_grad_()
    theirs = plain(kind, alone)
    stacked.grad = torch.ones(HOSTS, 4)
    ours.step([Learning("slots.0.norm.gain", stacked, None)])
    alone.grad = torch.ones(4)
    theirs.step()
    torch.testing.assert_close(stacked[1].detach(), alone.detach())
