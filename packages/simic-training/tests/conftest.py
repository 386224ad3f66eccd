"""Small, quick stand-ins for a run: the real hosts and policy, for few epochs."""

import sys
from pathlib import Path

import pytest
import torch

from kasmina_hosts import DigitsFamily, HostConfig
from simic_training.growth.config import GrowthConfig
from simic_training.ppo.config import PPOConfig
from simic_training.runs.config import TrainConfig

for folder in Path(__file__).parent.iterdir():  # helper modules beside the tests
    if folder.is_dir():
        sys.path.insert(0, str(folder))


@pytest.fixture(autouse=True, scope="session")
def one_thread() -> None:
    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def tiny_env() -> GrowthConfig:
    """Two groups' worth of hosts that each differ, two classes, three epochs."""
    return GrowthConfig(
        family=DigitsFamily(class_counts=(2,), label_noises=(0.0,)),
        host=HostConfig(max_epochs=3, interactions=False),
        group_size=2,
    )


@pytest.fixture(scope="session")
def tiny_config(tiny_env: GrowthConfig) -> TrainConfig:
    return TrainConfig(
        episodes=8, groups=2, hidden_dim=16, env=tiny_env, ppo=PPOConfig(epochs=2, minibatches=1)
    )
