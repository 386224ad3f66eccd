"""What a host takes is found without building it, and is what the built ones take."""

import doctest
import tracemalloc
from itertools import product

import pytest
import torch

import kasmina_hosts.host
from kasmina_hosts import HostConfig, OptimizerKind, build_host, host_bytes, host_size
from kasmina_hosts.governor import take_snapshot
from kasmina_hosts.network import HostNetworks
from leyline_types import Topology

CONFIGS = [
    *(
        HostConfig(topology=topology, width=width, patch_size=2)
        for topology, width in product(Topology, (1, 4, 6, 17))
    ),
    HostConfig(kernels=(1, 3, 5), inner_widths=(0, 2, 1), norms=(True, False, False), head_norm=False),
    HostConfig(optimizer=OptimizerKind.SGD),
    HostConfig(
        topology=Topology.TRANSFORMER, patch_size=2, attention=(False, True, False), inner_widths=(0, 1, 3)
    ),
]
SHAPES = [((1, 8, 8), 10), ((3, 12, 4), 2)]


@pytest.mark.parametrize("config", CONFIGS)
@pytest.mark.parametrize(("shape", "classes"), SHAPES)
def test_parameters_are_those_of_the_built_host(
    config: HostConfig, shape: tuple[int, int, int], classes: int
) -> None:
    parts = build_host(config, shape, classes)
    found = sum(parameter.numel() for part in parts for parameter in part.parameters())
    assert host_size(config, shape, classes) == found


@pytest.mark.parametrize("config", CONFIGS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_bytes_are_those_of_a_host_of_a_population(config: HostConfig, dtype: torch.dtype) -> None:
    hosts = 3
    networks = HostNetworks(range(hosts), config, (1, 8, 8), 10, dtype)
    gradients = [(name, torch.zeros_like(tensor)) for name, tensor in networks.named_parameters()]
    copies = take_snapshot(networks).tensors.items()
    tensors = (*networks.named_tensors(), *gradients, *copies)
    found = sum(tensor.nbytes for name, tensor in tensors if not name.endswith(".steps"))
    assert hosts * host_bytes(config, (1, 8, 8), 10, dtype) == found


@pytest.mark.parametrize("topology", list(Topology))
def test_a_host_that_no_memory_holds_is_not_built_to_find_that(topology: Topology) -> None:
    tracemalloc.start()
    needed = host_bytes(HostConfig(topology=topology, width=10**8), (1, 8, 8), 10)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert 18 * 10**16 * 28 < needed < 19 * 10**16 * 28
    assert peak < 10**7


def test_patches_that_do_not_tile_the_images() -> None:
    with pytest.raises(ValueError, match=r"3 x 3 pixels \(`patch_size`\) do not tile images of 8 x 8"):
        host_size(HostConfig(topology=Topology.TRANSFORMER, patch_size=3), (1, 8, 8), 10)


@pytest.mark.parametrize("name", ["max_epochs", "width", "patch_size", "batch_size", "validation_samples"])
def test_numbers_that_do_not_fit_into_columns(name: str) -> None:
    settings = {name: 2**31}
    with pytest.raises(ValueError, match=rf"`{name}` must be below 2\^31, not 2147483648"):
        HostConfig(**settings)  # type: ignore[arg-type]  # one of many keywords


def test_the_examples_run() -> None:
    assert doctest.testmod(kasmina_hosts.host).failed == 0
