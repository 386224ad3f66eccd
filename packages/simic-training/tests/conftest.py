"""Small, quick stand-ins for a run: the real hosts and policy, for few epochs."""

import pytest
import torch

from kasmina_hosts import DigitsTask, HostConfig, HostPopulation
from simic_training import PPOConfig, TrainConfig
from tamiyo_policies import PolicyBundle, PolicyConfig, create_policy, register_builtin_policies


@pytest.fixture(autouse=True, scope="session")
def one_thread() -> None:
    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def task() -> DigitsTask:
    return DigitsTask()


@pytest.fixture
def population(task: DigitsTask) -> HostPopulation:
    return HostPopulation(task, HostConfig(max_epochs=3))


@pytest.fixture
def policy(population: HostPopulation) -> PolicyBundle:
    register_builtin_policies()
    return create_policy(PolicyConfig(policy="lstm", slot_config=population.slot_config, hidden_dim=16))


@pytest.fixture
def tiny_config() -> TrainConfig:
    return TrainConfig(
        episodes=6,
        hosts=3,
        replicas=1,
        hidden_dim=16,
        host=HostConfig(max_epochs=3),
        ppo=PPOConfig(epochs=2, minibatches=1),
    )
