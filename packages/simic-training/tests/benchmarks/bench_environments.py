"""One environment step of E hosts of ten classes: the hosts alone, then with all that a policy needs around them."""

from collections.abc import Callable

import pytest
import torch
from pytest_benchmark.fixture import BenchmarkFixture
from torch import Tensor

from kasmina_hosts import DigitsFamily, HostConfig
from leyline_types import FactoredActions
from simic_training.envs.vector import GrowthVectorEnv
from simic_training.growth.config import GrowthConfig
from simic_training.growth.draws import draw_groups
from simic_training.growth.world import GrowthWorld
from tamiyo_features import extract_features
from tamiyo_masks import action_masks
from tamiyo_policies import (
    PolicyConfig,
    RandomController,
    create_policy,
    register_builtin_policies,
)

FAMILY = DigitsFamily(class_counts=(10,), widths=(4,), label_noises=(0.0,), learning_rates=(0.2,))
CONFIG = GrowthConfig(family=FAMILY, host=HostConfig(), group_size=16)
ALONE, ROLLOUT, GYMNASIUM = "hosts alone", "rollout: features, masks, LSTM policy", "GrowthVectorEnv"
ROUNDS = 20


@pytest.fixture(autouse=True, scope="module")
def one_thread() -> None:
    torch.set_num_threads(1)


def hosts_alone(world: GrowthWorld) -> Callable[[FactoredActions[Tensor]], object]:
    """The hosts train and are measured, and nobody looks."""
    return world.step


def rollout(world: GrowthWorld) -> Callable[[FactoredActions[Tensor]], object]:
    """Everything that a step of a rollout runs; the actions taken are those of the other columns all the same."""
    register_builtin_policies()
    policy = create_policy(PolicyConfig(hidden_dim=64, slot_config=world.slot_config))
    hidden = policy.initial_hidden(world.num_hosts)
    generator = torch.Generator().manual_seed(0)

    def step(actions: FactoredActions[Tensor]) -> object:
        observation = world.observe()
        features = extract_features(observation, world.slot_config)
        masks = action_masks(observation, world.slot_config, world.rules)
        policy.get_action(features, masks, hidden, generator=generator, floors={"op": 0.02})
        return world.step(actions)

    return step


def gymnasium_env(hosts: int) -> tuple[GrowthVectorEnv, Callable[[FactoredActions[Tensor]], object]]:
    """Arrays in and out, infos and all."""
    env = GrowthVectorEnv(hosts, CONFIG)
    env.reset(seed=0)

    def step(actions: FactoredActions[Tensor]) -> object:
        return env.step(torch.stack(list(actions), dim=1).numpy())

    return env, step


@pytest.mark.parametrize("column", [ALONE, ROLLOUT, GYMNASIUM])
@pytest.mark.parametrize("hosts", [1, 16, 64])
def test_environment_step(benchmark: BenchmarkFixture, hosts: int, column: str) -> None:
    world = GrowthWorld(rent_rate=CONFIG.rent_rate)
    world.reset(draw_groups(CONFIG, hosts, 0))
    chance = RandomController(world.slot_config)
    shadow = GrowthWorld(rent_rate=CONFIG.rent_rate)  # draws the actions, which are not timed
    shadow.reset(draw_groups(CONFIG, hosts, 0))
    actions = []
    for number in range(ROUNDS + 1):
        actions.append(chance.act(shadow.observe(), number)[0])
        shadow.step(actions[-1])
    if column == GYMNASIUM:
        _, step = gymnasium_env(hosts)
    else:
        step = {ALONE: hosts_alone, ROLLOUT: rollout}[column](world)
    upcoming = iter(actions)

    benchmark.extra_info.update(
        table="Time per environment step, E hosts at once", row=f"E = {hosts}", column=column, per=hosts
    )
    benchmark.extra_info["torch"] = torch.__version__
    benchmark.pedantic(  # type: ignore[no-untyped-call]
        step, setup=lambda: ((next(upcoming),), {}), rounds=ROUNDS, warmup_rounds=1
    )
