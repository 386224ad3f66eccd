"""What tells hosts that lack something from sound ones: how often a random forest names the kind, by what it sees.

Hosts of six kinds and three widths on all digits, after four epochs without any seed; five-fold cross-validation. No
policy is trained on this: it shows whether there is anything to see.
"""

from dataclasses import replace
from functools import cache
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pytest
import torch
from pytest_benchmark.fixture import BenchmarkFixture
from sklearn.ensemble import RandomForestClassifier
from sklearn.model_selection import StratifiedKFold, cross_val_score
from torch import Tensor

from kasmina_hosts import DigitsTask, HostConfig, HostPopulation
from leyline_types import FactoredActions, Topology

EPOCHS, HOSTS, WIDTHS = 4, 24, (4, 6, 8)
Table = npt.NDArray[np.float64]
ROWS = {
    Topology.CNN: {
        "nothing": HostConfig(),
        "stage 1 sees 1x1": HostConfig(kernels=(1, 3, 3)),
        "stages 2 and 3 see 1x1": HostConfig(kernels=(3, 1, 1)),
        "stage 1 through one channel": HostConfig(inner_widths=(1, 0, 0)),
        "stage 2 through one channel": HostConfig(inner_widths=(0, 1, 0)),
        "stage 3 through one channel": HostConfig(inner_widths=(0, 0, 1)),
    },
    Topology.TRANSFORMER: {
        "nothing": HostConfig(),
        "block 1 does not attend": HostConfig(attention=(False, True, True)),
        "no block attends": HostConfig(attention=(False, False, False)),
        "MLP 1 through one unit": HostConfig(inner_widths=(1, 0, 0)),
        "MLP 2 through one unit": HostConfig(inner_widths=(0, 1, 0)),
        "MLP 3 through one unit": HostConfig(inner_widths=(0, 0, 1)),
    },
}


class Seen(NamedTuple):
    """What is known of each host, [host, ...], and its kind."""

    curve: Table
    share: Table
    rank: Table
    within: Table
    kind: npt.NDArray[np.int64]


@pytest.fixture(autouse=True, scope="module")
def one_thread() -> None:
    torch.set_num_threads(1)


@cache
def seen(topology: Topology) -> Seen:
    """Each kind and width trained for the epochs, side by side."""
    parts: list[Seen] = []
    for kind, lacking in enumerate(ROWS[topology].values()):
        for width in WIDTHS:
            factor = 1 if topology is Topology.CNN else 2
            config = replace(lacking, topology=topology, width=factor * width, max_epochs=EPOCHS)
            parts.append(look(config, kind, first_seed=1000 * len(parts)))
    return Seen(*(np.concatenate(part) for part in zip(*parts, strict=True)))


def look(config: HostConfig, kind: int, *, first_seed: int) -> Seen:
    population = HostPopulation(DigitsTask(), config)
    observation = population.reset(range(first_seed, first_seed + HOSTS))
    waits = FactoredActions(*(torch.zeros(HOSTS, dtype=torch.long) for _ in FactoredActions._fields))
    curve = [observation.signals.val_accuracy]
    for _ in range(EPOCHS):
        observation = population.step(waits).observation
        curve.append(observation.signals.val_accuracy)
    slots = observation.slots
    return Seen(
        table(torch.stack(curve, dim=1)),
        table(slots.host_gradient_share),
        table(slots.activation_rank),
        table(slots.within_map_variance),
        np.full(HOSTS, kind),
    )


def table(columns: Tensor) -> Table:
    return columns.nan_to_num(-1).double().numpy()


def named(columns: list[Table], kind: npt.NDArray[np.int64]) -> float:
    """Share of hosts whose kind is named rightly by a forest that has not seen them."""
    forest = RandomForestClassifier(200, random_state=0)
    folds = StratifiedKFold(5, shuffle=True, random_state=0)
    return float(cross_val_score(forest, np.concatenate(columns, axis=1), kind, cv=folds).mean())


@pytest.mark.parametrize(
    "column", ["curve alone", "and gradient shares", "and ranks", "and variance within maps", "all of these"]
)
@pytest.mark.parametrize("topology", Topology)
def test_kinds_named(benchmark: BenchmarkFixture, topology: Topology, column: str) -> None:
    known = seen(topology)
    more = {
        "curve alone": [],
        "and gradient shares": [known.share],
        "and ranks": [known.rank],
        "and variance within maps": [known.within],
        "all of these": [known.share, known.rank, known.within],
    }
    share = benchmark.pedantic(named, args=([known.curve, *more[column]], known.kind), rounds=1)  # type: ignore[no-untyped-call]
    benchmark.extra_info.update(
        table=f"Hosts whose kind is named, of {len(known.kind)} of 6 kinds",
        row=topology.value,
        column=column,
        share=share,
        torch=torch.__version__,
    )
