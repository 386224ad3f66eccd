"""What the masks of a batch cost, from columns and from objects, beside a plain loop. Every slot holds a seed.

`nox -s bench` runs this; it is no test, but each contender's result is held against the reference before it is timed.
"""

from collections.abc import Callable

import pytest
import torch
from masks_loop import empty_masks, loop, random_states
from pytest_benchmark.fixture import BenchmarkFixture

from leyline_types import LegalityRules, SlotConfig, Topology
from tamiyo_masks import ActionMasks, LegalityColumns, compute_batch_masks, masks_from_columns

SIZES = [(1, (1, 3)), (4, (1, 3)), (16, (3, 3)), (64, (5, 5)), (256, (5, 5))]
NAMES = ["loop reference", "columns", "columns, compiled", "objects"]


def contenders(num_envs: int, slots: SlotConfig) -> dict[str, Callable[[], ActionMasks]]:
    """Each way from the same states to their masks."""
    states = random_states(slots, num_envs, torch.Generator().manual_seed(0), occupancy=1.0)
    live, capacity, rules = [1] * num_envs, 4, LegalityRules()
    seeds = [[seed for seed in each.values() if seed is not None] for each in states]
    stage = torch.tensor([[int(seed.stage) for seed in row] for row in seeds])
    columns = LegalityColumns(
        occupied=torch.ones_like(stage, dtype=torch.bool),
        stage=stage,
        age_epochs=torch.tensor([[seed.seed_age_epochs for seed in row] for row in seeds]),
        alpha_mode=torch.tensor([[int(seed.alpha_mode) for seed in row] for row in seeds]),
        live_seeds=torch.tensor(live),
        seed_capacity=torch.full((num_envs,), capacity),
        topology=torch.zeros(num_envs, dtype=torch.int64),
    )
    out = empty_masks(num_envs, slots)
    compiled = torch.compile(masks_from_columns, fullgraph=True, dynamic=True)
    return {
        "loop reference": lambda: loop(states, live, capacity, slots, Topology.CNN, rules, out),
        "columns": lambda: masks_from_columns(columns, slots, rules),
        "columns, compiled": lambda: compiled(columns, slots, rules),
        "objects": lambda: compute_batch_masks(states, slots.slot_ids, live, capacity, slots),
    }


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(("num_envs", "grid"), SIZES)
def test_masks(benchmark: BenchmarkFixture, num_envs: int, grid: tuple[int, int], name: str) -> None:
    slots = SlotConfig.for_grid(*grid)
    ways = contenders(num_envs, slots)
    for found, expected in zip(ways[name](), ways["loop reference"](), strict=True):
        assert torch.equal(found, expected)
    benchmark.extra_info["table"] = "Masks of a batch, environments x slots"
    benchmark.extra_info["row"] = f"{num_envs} x {len(slots)}"
    benchmark.extra_info["column"] = name
    benchmark.extra_info["torch"] = torch.__version__
    benchmark(ways[name])
