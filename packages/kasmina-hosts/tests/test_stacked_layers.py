"""Layers of many hosts at once are each host's own layers; what has no such form is refused."""

from collections.abc import Callable

import pytest
import torch
from host_scripts import SLOTS
from torch import Tensor, nn

from kasmina_hosts import build_blueprint, built_blueprints
from kasmina_hosts.stacked import StackedModule
from kasmina_hosts.stacked_layers import STACKED_LAYERS, as_in_memory, as_seen, with_stacked_layers
from leyline_types import BlueprintAction, Topology

HOSTS = 3
SHAPES = {Topology.CNN: (5, 4, 4), Topology.TRANSFORMER: (9, 8)}


def randomised(module: nn.Module) -> nn.Module:
    """With no parameter at the value that it begins with: some would hide what is wrong with others."""
    for parameter in module.parameters():
        nn.init.normal_(parameter)
    return module.double()


def assert_each_its_own(modules: list[nn.Module], x: Tensor) -> None:
    """Outputs and gradients, of all hosts and of some."""
    stack = StackedModule(modules, torch.float64)
    for hosts in (None, torch.tensor([2, 0])):
        chosen = list(range(HOSTS)) if hosts is None else hosts.tolist()
        own = x[chosen].requires_grad_()
        found = stack(own, hosts)
        expected = torch.stack([modules[host](one) for host, one in zip(chosen, own, strict=True)])
        torch.testing.assert_close(found, expected, rtol=1e-11, atol=1e-11)
        weight = torch.randn_like(expected)
        names = list(stack.parameters)
        gradients = torch.autograd.grad((found * weight).sum(), [own, *stack.parameters.values()])
        theirs = [parameter for host in chosen for parameter in modules[host].parameters()]
        wanted = torch.autograd.grad((expected * weight).sum(), [own, *theirs])
        torch.testing.assert_close(gradients[0], wanted[0], rtol=1e-9, atol=1e-9)
        for place, name in enumerate(names, 1):
            rows = torch.stack(wanted[place :: len(names)])
            torch.testing.assert_close(gradients[place][chosen], rows, rtol=1e-9, atol=1e-9, msg=name)
        if hosts is not None:
            assert not any(gradient[1].any() for gradient in gradients[1:])


@pytest.mark.parametrize(
    ("make", "shape"),
    [
        (lambda: nn.Linear(5, 3), (5,)),
        (lambda: nn.Linear(5, 3, bias=False), (7, 5)),
        (lambda: nn.LayerNorm(5), (5,)),
        (lambda: nn.LayerNorm(5, eps=0.3), (7, 5)),
        (lambda: nn.GroupNorm(1, 5), (5, 2, 3)),
        (lambda: nn.GroupNorm(1, 5, eps=0.3), (5, 1, 1)),
        (lambda: nn.Sequential(nn.Linear(5, 4), nn.GELU(), nn.Sequential(nn.Linear(4, 2))), (5,)),
    ],
    ids=["linear", "of tokens", "layer norm", "layer norm of tokens", "group norm", "of one place", "nested"],
)
def test_layers(make: Callable[[], nn.Module], shape: tuple[int, ...]) -> None:
    torch.manual_seed(0)
    x = torch.randn(HOSTS, 6, *shape, dtype=torch.float64)
    assert_each_its_own([randomised(make()) for _ in range(HOSTS)], x)


@pytest.mark.parametrize(
    ("topology", "blueprint"),
    [(topology, blueprint) for topology in Topology for blueprint in built_blueprints(topology)],
)
def test_every_blueprint(topology: Topology, blueprint: BlueprintAction) -> None:
    torch.manual_seed(0)
    shape = SHAPES[topology]
    channels = shape[0] if topology is Topology.CNN else shape[-1]
    modules = [randomised(build_blueprint(blueprint, topology, channels)) for _ in range(HOSTS)]
    assert_each_its_own(modules, torch.randn(HOSTS, 2, *shape, dtype=torch.float64))


def test_numbers_of_a_large_mean_are_normalised_as_well() -> None:
    x = torch.randn(2, 4, 3, 2, 2, generator=torch.Generator().manual_seed(0)) + 1000
    stack = StackedModule([nn.GroupNorm(1, 3)] * 2, torch.float32)
    expected = nn.functional.group_norm(x.flatten(0, 1).double(), 1).unflatten(0, (2, 4))
    torch.testing.assert_close(stack(x).double(), expected, rtol=0, atol=1e-3)


def test_samples_lie_last_and_stay_so() -> None:
    seeds = [build_blueprint(BlueprintAction.CONV_HEAVY, Topology.CNN, 4) for _ in SLOTS]
    found = StackedModule(seeds, torch.float32)(torch.randn(3, 4, 4, 4, 6).movedim(-1, 1))
    assert found.movedim(1, -1).is_contiguous()
    seeds = [build_blueprint(BlueprintAction.MLP, Topology.TRANSFORMER, 4) for _ in SLOTS]
    found = StackedModule(seeds, torch.float32)(as_seen(torch.randn(3, 4, 5, 6)))
    assert as_in_memory(found).is_contiguous()
    assert torch.equal(as_seen(as_in_memory(found)), found)


def test_modules_stay_as_they_are() -> None:
    module = build_blueprint(BlueprintAction.NORM, Topology.CNN, 4)
    before = [(name, type(part)) for name, part in module.named_modules()]
    stacked, holders = with_stacked_layers(module)
    assert [(name, type(part)) for name, part in module.named_modules()] == before
    assert list(holders) == [name for name, _ in before]
    assert isinstance(holders["norm"], STACKED_LAYERS)
    assert not list(stacked.parameters())
    assert len(list(module.parameters())) == 3


@pytest.mark.parametrize(
    "layer", [nn.Conv1d(2, 2, 1), nn.GroupNorm(2, 4), nn.LayerNorm((2, 2)), nn.LayerNorm(2, bias=False)]
)
def test_a_layer_without_a_stacked_form_is_refused(layer: nn.Module) -> None:
    with pytest.raises(ValueError, match=f"there is no stacked form of {type(layer).__name__}"):
        StackedModule([nn.Sequential(layer)], torch.float32)
