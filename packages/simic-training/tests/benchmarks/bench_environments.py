"""One environment step of E hosts of ten classes: the hosts alone, then with all that a policy needs around them.

And what the checks of observations and masks cost: a step with and without them, in turns, and the checks alone.
"""

import statistics
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, nullcontext
from functools import cache
from unittest.mock import patch

import pytest
import torch
from pytest_benchmark.fixture import BenchmarkFixture
from torch import Tensor
from whole_digits import WHOLE_DIGITS

from leyline_types import FactoredActions
from simic_training.envs import hosts as hosts_module
from simic_training.envs.vector import GrowthVectorEnv
from simic_training.growth.config import GrowthConfig
from simic_training.growth.draws import draw_groups
from simic_training.growth.world import GrowthWorld
from tamiyo_features import check_finite_features, check_observation, extract_features
from tamiyo_masks import action_masks, check_masks
from tamiyo_policies import (
    PolicyConfig,
    RandomController,
    create_policy,
    register_builtin_policies,
)

CONFIG = GrowthConfig(family=WHOLE_DIGITS, group_size=16)
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
    world = GrowthWorld()
    world.reset(draw_groups(CONFIG, hosts, 0))
    chance = RandomController(world.slot_config)
    shadow = GrowthWorld()  # draws the actions, which are not timed
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


UNCHECKED, CHECKED, CHECKS = "without checks", "GrowthVectorEnv", "its checks alone"
CHECK_NAMES = ("check_observation", "check_masks", "check_finite_features")
TURNS = 24


@contextmanager
def unchecked() -> Iterator[None]:
    """Environments look at nothing in the block."""
    with ExitStack() as stack:
        for name in CHECK_NAMES:
            stack.enter_context(patch.object(hosts_module, name, new=lambda *_: None))
        yield


def checks_of(hosts: int) -> Callable[[], None]:
    """What every step looks at, in a state with seeds in it."""
    world = GrowthWorld()
    observation, slots = world.reset(draw_groups(CONFIG, hosts, 0)), world.slot_config
    observation = world.step(RandomController(slots).act(observation, 0)[0]).observation
    masks, features = action_masks(observation, slots, world.rules), extract_features(observation, slots)

    def checks() -> None:
        check_observation(observation, slots)
        check_masks(masks)
        check_finite_features(features, slots)

    return checks


@cache
def alternating_medians(hosts: int) -> dict[str, float]:
    """Seconds of a step with and without checks, of equal hosts in turns, and of the checks by themselves."""
    times: dict[str, list[float]] = {UNCHECKED: [], CHECKED: [], CHECKS: []}
    envs = {name: gymnasium_env(hosts) for name in (UNCHECKED, CHECKED)}
    chance, checks = RandomController(envs[CHECKED][0].slot_config), checks_of(hosts)
    for turn in range(TURNS):
        world = envs[CHECKED][0]._hosts._world
        actions = chance.act(world.observe(), turn)[0]
        for name in sorted(envs, reverse=turn % 2 == 0):
            with unchecked() if name == UNCHECKED else nullcontext():
                start = time.perf_counter()
                envs[name][1](actions)
                times[name].append(time.perf_counter() - start)
        for _ in range(20):
            start = time.perf_counter()
            checks()
            times[CHECKS].append(time.perf_counter() - start)
    return {name: statistics.median(each) for name, each in times.items()}


@pytest.mark.parametrize("column", [UNCHECKED, CHECKED, CHECKS])
@pytest.mark.parametrize("hosts", [1, 64])
def test_checks(benchmark: BenchmarkFixture, hosts: int, column: str) -> None:
    benchmark.extra_info.update(
        table="A step of E hosts at once, with and without its checks",
        row=f"E = {hosts}",
        column=column,
        paired_s=alternating_medians(hosts)[column],
        torch=torch.__version__,
    )
    benchmark.pedantic(checks_of(hosts), rounds=5)  # type: ignore[no-untyped-call]
