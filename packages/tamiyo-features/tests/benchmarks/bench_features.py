"""What a batch's features cost, from columns and from objects, beside the plain loops; every slot holds a seed.

`nox -s bench` runs this; it is no test, but each contender's result is held against the reference before it is timed.
"""

from collections.abc import Callable

import pytest
import torch
from loop_reference import list_loop, loop
from observation_maker import Maker
from pytest_benchmark.fixture import BenchmarkFixture
from torch import Tensor

from leyline_types import SlotConfig
from tamiyo_features import (
    FeatureWorkspace,
    batch_obs_to_features,
    extract_features,
    get_feature_size,
    pack_observations,
)

SIZES = [(1, (1, 3)), (4, (1, 3)), (16, (3, 3)), (64, (5, 5)), (256, (5, 5))]
NAMES = [
    *("loop reference", "list loop", "columns", "columns, workspace", "columns, compiled"),
    *("objects", "objects, compiled"),
]

Contender = Callable[[], Tensor]


def contenders(make: Maker, num_envs: int, slots: SlotConfig) -> dict[str, Contender]:
    """Each way from the same observations to their features."""
    signals, reports = make.batch(0, num_envs, slots, occupancy=1.0, diagnosed=True)
    tasks = [make.task] * num_envs
    observation = pack_observations(signals, reports, slots, task=make.task)
    out = torch.zeros(num_envs, get_feature_size(slots))
    workspace = FeatureWorkspace(slots, (num_envs,))
    compiled = torch.compile(extract_features, fullgraph=True, dynamic=True)
    return {
        "loop reference": lambda: loop(signals, reports, slots, tasks, out=out),
        "list loop": lambda: list_loop(signals, reports, slots, tasks),
        "columns": lambda: extract_features(observation, slots),
        "columns, workspace": lambda: extract_features(observation, slots, out=workspace),
        "columns, compiled": lambda: compiled(observation, slots),
        "objects": lambda: batch_obs_to_features(signals, reports, slots, task=make.task),
        "objects, compiled": lambda: compiled(
            pack_observations(signals, reports, slots, task=make.task), slots
        ),
    }


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(("num_envs", "grid"), SIZES)
def test_features(
    benchmark: BenchmarkFixture, make: Maker, num_envs: int, grid: tuple[int, int], name: str
) -> None:
    slots = SlotConfig.for_grid(*grid)
    ways = contenders(make, num_envs, slots)
    torch.testing.assert_close(ways[name](), ways["list loop"](), atol=2e-6, rtol=0)
    benchmark.extra_info["table"] = "Features of a batch, environments x slots"
    benchmark.extra_info["row"] = f"{num_envs} x {len(slots)}"
    benchmark.extra_info["column"] = name
    benchmark.extra_info["torch"] = torch.__version__
    benchmark(ways[name])
