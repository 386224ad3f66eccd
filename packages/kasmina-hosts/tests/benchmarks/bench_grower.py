"""What a `Grower` adds to a user's training: to a step without live seeds; by checks and diagnostics, to an epoch."""

import statistics
import time
from collections.abc import Callable
from functools import cache

import pytest
import torch
from networks_to_grow import Script, SmallResNet, SmallTransformer, plain_cnn
from pytest_benchmark.fixture import BenchmarkFixture
from torch import nn
from torch.nn.functional import cross_entropy

from kasmina_hosts import DigitsTask, Grower, Split
from kasmina_hosts.actions import check_actions
from kasmina_hosts.diagnostics import DIAGNOSED_SAMPLES
from kasmina_hosts.seed_optimizer import IDLE_STEPS
from leyline_types import FactoredActions, SlotConfig, find_not_finite

PAIRS, TURNS = 12, 5
BARE, GROWER = "bare", "with a Grower, no live seeds"
NETWORKS: dict[str, tuple[Callable[[], nn.Module], dict[str, str]]] = {
    "plain CNN": (plain_cnn, {"r0c0": "2", "r0c1": "4"}),
    "residual network": (SmallResNet, {"r0c0": "stem", "r0c1": "blocks.0", "r0c2": "blocks.1"}),
    "transformer": (SmallTransformer, {"r0c0": "layers.0", "r0c1": "layers.1"}),
}


@pytest.fixture(autouse=True, scope="module")
def one_thread() -> None:
    torch.set_num_threads(1)


def stepper(row: str, column: str) -> Callable[[], None]:
    """So many steps that a Grower does all that it does."""
    build, slots = NETWORKS[row]
    torch.manual_seed(0)
    model, data = build(), DigitsTask().train
    images, labels = data.images[:64], data.labels[:64]
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01, momentum=0.9)
    if column == GROWER:
        Grower(
            model,
            slots=slots,
            controller=Script([]),
            optimizer=optimizer,
            sample=images,
            max_epochs=25,
            num_classes=10,
        )

    def steps() -> None:
        for _ in range(IDLE_STEPS):
            optimizer.zero_grad()
            cross_entropy(model(images), labels).backward()
            optimizer.step()

    return steps


@cache
def alternating_medians(row: str) -> dict[str, float]:
    """Seconds of the steps with and without a Grower, in turns: they differ by less than the machine drifts.

    And on fresh pairs of networks: where their memory happens to lie makes as much of a difference.
    """
    columns = [BARE, GROWER]
    times: dict[str, list[float]] = {column: [] for column in columns}
    for _ in range(PAIRS):
        columns.reverse()
        steppers = {column: stepper(row, column) for column in columns}
        for steps in steppers.values():
            steps()
        for _ in range(TURNS):
            for column, steps in steppers.items():
                start = time.perf_counter()
                steps()
                times[column].append(time.perf_counter() - start)
    return {column: statistics.median(each) for column, each in times.items()}


@pytest.mark.parametrize("column", [BARE, GROWER])
@pytest.mark.parametrize("row", NETWORKS)
def test_steps(benchmark: BenchmarkFixture, row: str, column: str) -> None:
    benchmark.extra_info.update(
        table=f"{IDLE_STEPS} training steps, batch of 64 digits",
        row=row,
        column=column,
        paired_s=alternating_medians(row)[column],
        torch=torch.__version__,
    )
    benchmark.pedantic(stepper(row, column), rounds=3)  # type: ignore[no-untyped-call]


EPOCH = "an epoch of 32 steps with its Grower"
CHECKS, DIAGNOSTICS = "the Grower's checks alone", f"`diagnose` alone, {DIAGNOSED_SAMPLES} samples"


@cache
def medians_of_an_epoch(row: str) -> dict[str, float]:
    """Seconds of an epoch, its end included, and of what the end looks at in it, in turns."""
    build, layers = NETWORKS[row]
    torch.manual_seed(0)
    model, data, slots = build(), DigitsTask().train, SlotConfig(tuple(layers))
    images, labels = data.images[:64], data.labels[:64]
    held_out = Split(*(part[:DIAGNOSED_SAMPLES] for part in DigitsTask().validation))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01, momentum=0.9)
    grower = Grower(
        model,
        slots=layers,
        controller=Script([]),
        optimizer=optimizer,
        sample=images,
        max_epochs=PAIRS,
        num_classes=10,
        diagnose=lambda: cross_entropy(model(held_out.images), held_out.labels),
    )
    waits = FactoredActions(*torch.zeros(8, 1, dtype=torch.long))
    times: dict[str, list[float]] = {EPOCH: [], CHECKS: [], DIAGNOSTICS: []}
    for _ in range(PAIRS):
        start = time.perf_counter()
        for _ in range(IDLE_STEPS):
            optimizer.zero_grad()
            cross_entropy(model(images), labels).backward()
            optimizer.step()
        step = grower.end_epoch(train_loss=1.0, val_loss=1.0, train_accuracy=1.0, val_accuracy=1.0)
        times[EPOCH].append(time.perf_counter() - start)
        start = time.perf_counter()
        found = list(find_not_finite(step.observation, slots))
        check_actions(waits, slots, 1)
        times[CHECKS].append(time.perf_counter() - start)
        assert not found
        start = time.perf_counter()
        grower._diagnostics()
        times[DIAGNOSTICS].append(time.perf_counter() - start)
    return {column: statistics.median(each) for column, each in times.items()}


@pytest.mark.parametrize("column", [EPOCH, CHECKS, DIAGNOSTICS])
@pytest.mark.parametrize("row", NETWORKS)
def test_checks(benchmark: BenchmarkFixture, row: str, column: str) -> None:
    benchmark.extra_info.update(
        table="The checks and diagnostics of a Grower, batch of 64 digits",
        row=row,
        column=column,
        paired_s=medians_of_an_epoch(row)[column],
        torch=torch.__version__,
    )
    benchmark.pedantic(stepper(row, GROWER), rounds=1)  # type: ignore[no-untyped-call]
