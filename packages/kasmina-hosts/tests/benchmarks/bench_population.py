"""One epoch of training for E hosts at once, beside E ordinary hosts one after another; evaluation; memory.

The ordinary hosts are the same modules of `torch.nn`, one network each, the same seeds behind their stages, trained by
the same optimiser of `torch.optim`: no blending, gradient norms, accuracies or diagnostics, which the population has
as well.
"""

import subprocess
import sys
from collections.abc import Callable
from functools import cache, partial

import pytest
import torch
from pytest_benchmark.fixture import BenchmarkFixture
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from kasmina_hosts import (
    DigitsTask,
    GrownSeed,
    HostConfig,
    Lifecycle,
    OptimizerKind,
    Split,
    build_blueprint,
    build_host,
    empty_lifecycle,
)
from kasmina_hosts.epoch import gradient_norms, train_epoch
from kasmina_hosts.evaluation import cross_entropies, diagnose, evaluate, score_hosts
from kasmina_hosts.grown import fossilized
from kasmina_hosts.network import HostNetworks
from kasmina_hosts.stacked_optimizer import side_by_side
from leyline_types import AlphaAlgorithm, BlueprintAction, SlotConfig, Topology

HEAVY, SLOTS, TASK = BlueprintAction.CONV_HEAVY, SlotConfig.default(), DigitsTask()
# Members of the family have 150 to 1152 samples to train on.
TRAIN = Split(*(part[:384] for part in TASK.train))
SHAPE = (1, 8, 8)
CONFIG = HostConfig()
ORDINARY, POPULATION = "nn.Conv2d hosts one after another", "population"
BLUEPRINTS = {
    Topology.CNN: (None, HEAVY),
    Topology.TRANSFORMER: (None, BlueprintAction.MLP),
}


@pytest.fixture(autouse=True, scope="module")
def one_thread() -> None:
    torch.set_num_threads(1)


def ordinary(hosts: int, config: HostConfig, blueprint: BlueprintAction | None) -> Callable[[], object]:
    """An epoch of each host in turn."""
    networks = []
    for _ in range(hosts):
        *stages, head = build_host(config, SHAPE, TASK.num_classes)
        seeds = [
            [build_blueprint(blueprint, config.topology, config.width)] if blueprint else [] for _ in stages
        ]
        pairs = zip(stages, seeds, strict=True)
        networks.append(nn.Sequential(*(module for stage, seed in pairs for module in (stage, *seed)), head))
    optimizers = [optimizer_of(network, config) for network in networks]

    def epoch() -> object:
        for network, optimizer in zip(networks, optimizers, strict=True):
            for batch in torch.randperm(len(TRAIN.labels)).split(config.batch_size):
                optimizer.zero_grad()
                cross_entropy(network(TRAIN.images[batch]), TRAIN.labels[batch]).backward()
                optimizer.step()
        return networks

    return epoch


def optimizer_of(network: nn.Module, config: HostConfig) -> torch.optim.Optimizer:
    match config.optimizer:
        case OptimizerKind.ADAM:
            return torch.optim.Adam(network.parameters(), lr=config.learning_rate)
        case OptimizerKind.SGD:
            return torch.optim.SGD(network.parameters(), lr=config.learning_rate, momentum=config.momentum)


def population(
    hosts: int, config: HostConfig, blueprint: BlueprintAction | None
) -> tuple[HostNetworks, Lifecycle]:
    """The same hosts, stacked."""
    networks = HostNetworks(range(hosts), config, SHAPE, TASK.num_classes)
    if blueprint is None:
        return networks, empty_lifecycle(hosts, len(SLOTS))
    seeds = dict.fromkeys(SLOTS, GrownSeed(blueprint, AlphaAlgorithm.ADD, 1.0))
    for host in range(hosts):
        for slot in range(len(SLOTS)):
            networks.plant(host, slot, blueprint, 0)
    return networks, fossilized([seeds] * hosts, SLOTS)


def train(networks: HostNetworks, life: Lifecycle, config: HostConfig) -> object:
    order = torch.stack([torch.randperm(len(TRAIN.labels)) for _ in life.stage])
    train_epoch(networks, life, TRAIN, order, batch_size=config.batch_size)
    return diagnose(networks, life, TASK.validation)


def measure(
    benchmark: BenchmarkFixture, table: str, row: str, column: str, way: Callable[[], object], rounds: int = 3
) -> None:
    benchmark.extra_info.update(table=table, row=row, column=column, torch=torch.__version__)
    benchmark.pedantic(way, rounds=rounds, warmup_rounds=1)  # type: ignore[no-untyped-call]


@pytest.mark.parametrize("column", [ORDINARY, POPULATION])
@pytest.mark.parametrize(
    ("topology", "optimizer", "grown"),
    [
        (Topology.CNN, OptimizerKind.ADAM, False),
        (Topology.CNN, OptimizerKind.ADAM, True),
        (Topology.CNN, OptimizerKind.SGD, False),
        (Topology.TRANSFORMER, OptimizerKind.ADAM, False),
        (Topology.TRANSFORMER, OptimizerKind.ADAM, True),
    ],
)
def test_epoch(
    benchmark: BenchmarkFixture, topology: Topology, optimizer: OptimizerKind, grown: bool, column: str
) -> None:
    width = 4 if topology is Topology.CNN else 16
    config = HostConfig(topology=topology, width=width, optimizer=optimizer)
    blueprint = BLUEPRINTS[topology][grown]
    if column == ORDINARY:
        way = ordinary(32, config, blueprint)
    else:
        way = partial(train, *population(32, config, blueprint), config)
    seeds = f"three seeds {blueprint.blueprint_id} each" if blueprint else "no seeds"
    measure(benchmark, "One epoch of 32 hosts, 384 samples", f"{topology}, {optimizer}, {seeds}", column, way)


@pytest.mark.parametrize("column", [ORDINARY, POPULATION])
@pytest.mark.parametrize("blueprint", [None, HEAVY])
def test_epoch_of_the_family(
    benchmark: BenchmarkFixture, blueprint: BlueprintAction | None, column: str
) -> None:
    """A host as `HostFamily` draws it: filled up inside, so that its size does not tell what it lacks."""
    config = HostConfig(width=8, kernels=(5, 1, 1), inner_widths=(0, 9, 9))
    if column == ORDINARY:
        way = ordinary(32, config, blueprint)
    else:
        way = partial(train, *population(32, config, blueprint), config)
    seeds = f"three seeds {blueprint.blueprint_id} each" if blueprint else "no seeds"
    measure(
        benchmark,
        "One epoch of 32 hosts of the family, 384 samples",
        f"width 8, kernels 5, 1, 1, {seeds}",
        column,
        way,
    )


@pytest.mark.parametrize("column", [ORDINARY, POPULATION])
@pytest.mark.parametrize("blueprint", [None, HEAVY])
@pytest.mark.parametrize("hosts", [1, 4, 16, 64])
def test_scaling(
    benchmark: BenchmarkFixture, hosts: int, blueprint: BlueprintAction | None, column: str
) -> None:
    if column == ORDINARY:
        way = ordinary(hosts, CONFIG, blueprint)
    else:
        way = partial(train, *population(hosts, CONFIG, blueprint), CONFIG)
    table = f"One epoch, cnn, 384 samples, {'three heavy seeds each' if blueprint else 'no seeds'}"
    measure(benchmark, table, f"E = {hosts}", column, way)


def step(
    networks: HostNetworks, life: Lifecycle, *, diagnostics: bool, contributions: bool, interactions: bool
) -> object:
    order = torch.stack([torch.randperm(len(TRAIN.labels)) for _ in life.stage])
    train_epoch(networks, life, TRAIN, order, batch_size=CONFIG.batch_size)
    if diagnostics:
        diagnose(networks, life, TASK.validation)
    if contributions:
        return evaluate(networks, life, TASK.validation, interactions=interactions)
    return score_hosts(networks, life, TASK.validation)


@pytest.mark.parametrize(
    ("column", "diagnostics", "contributions", "interactions"),
    [
        ("training and validation", False, False, False),
        ("and each slot's diagnostics", True, False, False),
        ("and each seed's contribution", True, True, False),
        ("and each pair's interaction", True, True, True),
    ],
)
@pytest.mark.parametrize("blueprint", [None, BlueprintAction.NORM, HEAVY])
def test_counterfactuals(
    benchmark: BenchmarkFixture,
    blueprint: BlueprintAction | None,
    column: str,
    diagnostics: bool,
    contributions: bool,
    interactions: bool,
) -> None:
    networks, life = population(32, CONFIG, blueprint)
    way = partial(
        step, networks, life, diagnostics=diagnostics, contributions=contributions, interactions=interactions
    )
    row = f"three seeds {blueprint.blueprint_id} each" if blueprint else "no seeds"
    measure(benchmark, "One step of 32 hosts, 384 samples", row, column, way, rounds=5)


def parts_of_a_step(blueprint: BlueprintAction | None) -> dict[str, Callable[[], object]]:
    """What a step of 32 hosts consists of, each by itself and as often as in a step."""
    networks, life = population(32, CONFIG, blueprint)
    groups = networks.groups(life, training=True)
    parts = [networks.learning_hosts(), *(networks.learning_seeds(life, slot) for slot in range(len(SLOTS)))]
    learning = [each for part in parts for each in part]
    tensors = [each.tensor for each in learning]
    sizes = [sum(each.tensor[0].numel() for each in part) for part in parts]
    batches = torch.stack([torch.randperm(len(TRAIN.labels)) for _ in range(32)]).split(
        CONFIG.batch_size, dim=1
    )

    def passes() -> Tensor:
        for batch in batches:
            losses = cross_entropies(networks.forward(TRAIN.images[batch], groups), TRAIN.labels[batch])
            gradient = side_by_side(torch.autograd.grad(losses.mean(1).sum(), tensors))
        return gradient

    gradient = passes()

    def norms() -> None:
        for _ in batches:
            gradient_norms(gradient, sizes)

    def optimiser() -> None:
        with networks.optimizer.stepping(learning) as steps:
            for _ in batches:
                steps.take(gradient)

    return {
        "forward and backward passes": passes,
        "norms of gradients": norms,
        "optimiser": optimiser,
        "validation and contributions": partial(
            evaluate, networks, life, TASK.validation, interactions=False
        ),
        "diagnostics": partial(diagnose, networks, life, TASK.validation),
    }


@pytest.mark.parametrize("blueprint", [None, HEAVY])
@pytest.mark.parametrize("column", list(parts_of_a_step(None)))
def test_parts_of_a_step(benchmark: BenchmarkFixture, column: str, blueprint: BlueprintAction | None) -> None:
    row = f"three seeds {blueprint.blueprint_id} each" if blueprint else "no seeds"
    way = parts_of_a_step(blueprint)[column]
    measure(benchmark, "What the time of a step of 32 hosts goes to", row, column, way)


PEAK = """
import pathlib, re, torch
torch.set_num_threads(1)
from kasmina_hosts import DigitsTask, GrownSeed, HostConfig, HostPopulation
from leyline_types import AlphaAlgorithm, BlueprintAction, FactoredActions
hosts = {hosts}
population = HostPopulation(DigitsTask(), HostConfig(interactions=True))
seed = GrownSeed(BlueprintAction.CONV_HEAVY, AlphaAlgorithm.ADD, 1.0)
population.reset(list(range(hosts)), [dict.fromkeys(population.slot_config, seed)] * hosts if {grown} else None)
for _ in range(2):
    population.step(FactoredActions(*[torch.zeros(hosts, dtype=torch.int64)] * 8))
state = sum(tensor.numel() * tensor.element_size() for tensor in population.state_dict().values())
peak = re.search(r"VmHWM:\\s+(\\d+) kB", pathlib.Path("/proc/self/status").read_text())  # of this process alone
print(int(peak[1]) * 1024, state)
"""


@cache
def peak_and_state(hosts: int, grown: bool) -> list[int]:
    """Most memory that a process of so many hosts held, and the size of their saved state; bytes."""
    code = PEAK.format(hosts=hosts, grown=grown)
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return [int(number) for number in done.stdout.split()]


@pytest.mark.parametrize(("column", "kind"), [("in a saved state", 1), ("at the peak of a step", 0)])
@pytest.mark.parametrize("grown", [False, True])
def test_memory(benchmark: BenchmarkFixture, grown: bool, column: str, kind: int) -> None:
    """What each host adds between 32 and 128 of them."""
    few = benchmark.pedantic(peak_and_state, args=(32, grown), rounds=1)  # type: ignore[no-untyped-call]
    many = peak_and_state(128, grown)
    benchmark.extra_info.update(
        table="Memory that a host adds",
        row="three heavy seeds" if grown else "no seeds",
        column=column,
        bytes=(many[kind] - few[kind]) / 96,
        torch=torch.__version__,
    )
