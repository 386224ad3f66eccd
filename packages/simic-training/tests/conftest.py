"""Small, quick stand-ins for a run: the real hosts and policy, for few epochs."""

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import HealthCheck, settings

from kasmina_hosts import HostConfig, HostFamily
from simic_training.growth.config import GrowthConfig
from simic_training.ppo.config import PPOConfig
from simic_training.runs.config import TrainConfig

sys.path.extend(
    str(path) for path in Path(__file__).parent.iterdir() if path.is_dir()
)  # helpers beside the tests

from ray_cluster import cluster_of  # stands in engines/

settings.register_profile("tensors", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("tensors")


@pytest.fixture(autouse=True, scope="session")
def one_thread() -> None:
    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def cluster() -> Iterator[Any]:
    """A Ray cluster of two nodes of one core, and a head with none."""
    pytest.importorskip("ray", reason="the extra `ray` is not installed")
    with cluster_of(2) as cluster:
        yield cluster


@pytest.fixture(scope="session")
def tiny_env() -> GrowthConfig:
    """Two groups' worth of hosts that each differ, two classes, three epochs."""
    return GrowthConfig(
        family=HostFamily(class_counts=(2, 2), max_label_noise=0.0, max_epochs=(3, 3)),
        host=HostConfig(interactions=False),
        group_size=2,
    )


@pytest.fixture(scope="session")
def tiny_config(tiny_env: GrowthConfig) -> TrainConfig:
    return TrainConfig(
        episodes=8, groups=2, hidden_dim=16, env=tiny_env, ppo=PPOConfig(epochs=2, minibatches=1)
    )
