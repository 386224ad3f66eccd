"""Rollouts against the number of workers, two units for each; and the bytes of a unit on its way."""

from collections.abc import Iterator
from contextlib import closing, contextmanager
from typing import Any

import pytest
import torch
from pytest_benchmark.fixture import BenchmarkFixture
from whole_digits import WHOLE_DIGITS

from simic_training.engines.local import LocalEngine, cores
from simic_training.engines.ray_engine import RayEngine
from simic_training.engines.ray_library import import_ray
from simic_training.engines.unit import Done, Engine, Unit
from simic_training.evaluation.schedules import NONE
from simic_training.evaluation.stages import HostDraw
from simic_training.evaluation.units import GREEDY, HEURISTIC, POLICY, Player, play_unit
from simic_training.growth.config import GrowthConfig
from simic_training.runs.config import TrainConfig
from simic_training.runs.training import fresh_state
from simic_training.runs.units import grow_unit, units_of, weights_of

UNIT = GrowthConfig(family=WHOLE_DIGITS, group_size=8, replicas=0)
"""Eight hosts of ten classes to the end of their episode."""

CONFIG = TrainConfig(episodes=8, groups=1, env=UNIT)
STEPS = UNIT.group_size * UNIT.family.max_epochs[1]
UNITS_EACH = 2
ROUNDS = 3
SPEED = "Time per environment step, W workers with two units of 8 hosts each"
WORKERS = [count for count in (1, 2, 4, 8, 16, 32, 64) if count <= cores()]


@contextmanager
def local(workers: int) -> Iterator[Engine]:
    """Worker processes."""
    with closing(LocalEngine(workers)) as engine:
        yield engine


@contextmanager
def on_ray(workers: int) -> Iterator[Engine]:
    """A Ray node of so many cores."""
    import_ray()
    from ray.cluster_utils import Cluster

    cluster: Any = Cluster(
        initialize_head=True, head_node_args={"num_cpus": workers, "include_dashboard": False}
    )
    try:
        with closing(RayEngine(cluster.address)) as engine:
            yield engine
    finally:
        cluster.shutdown()


ENGINES = {"--engine local": local, "--engine ray": on_ray}


@pytest.fixture(scope="module")
def weights() -> bytes:
    torch.set_num_threads(1)
    return weights_of(fresh_state(CONFIG))


def tell_nobody(done: Done, content: bytes) -> None:
    """Who did what does not matter here."""


@pytest.mark.parametrize("column", list(ENGINES))
@pytest.mark.parametrize("workers", WORKERS)
def test_rollouts(benchmark: BenchmarkFixture, weights: bytes, workers: int, column: str) -> None:
    (unit,) = units_of(CONFIG, 0)
    units = [Unit(str(number), unit.arguments) for number in range(UNITS_EACH * workers)]
    benchmark.extra_info.update(table=SPEED, row=f"W = {workers}", column=column, per=STEPS * len(units))
    benchmark.extra_info["torch"] = torch.__version__
    with ENGINES[column](workers) as engine:

        def grow() -> list[bytes]:
            return engine.start(grow_unit, weights, units).results(tell_nobody)

        benchmark.pedantic(grow, rounds=ROUNDS, warmup_rounds=1)  # type: ignore[no-untyped-call]


@pytest.mark.parametrize("row", ["weights", "rollout of 8 hosts", "results of 64 hosts in an evaluation"])
def test_bytes(benchmark: BenchmarkFixture, weights: bytes, row: str) -> None:
    draw = HostDraw(UNIT, held_out=True, per_member=16, seed=0)
    players = tuple(map(Player, (POLICY, GREEDY, NONE, HEURISTIC)))
    content = {
        "weights": lambda: weights,
        "rollout of 8 hosts": lambda: grow_unit(weights, *units_of(CONFIG, 0)[0].arguments),
        "results of 64 hosts in an evaluation": lambda: play_unit(weights, draw, 0, players),
    }[row]
    result = benchmark.pedantic(content, rounds=1)  # type: ignore[no-untyped-call]
    benchmark.extra_info.update(
        table="Bytes on their way, a unit", row=row, column="bytes", bytes=len(result)
    )
    benchmark.extra_info["torch"] = torch.__version__
