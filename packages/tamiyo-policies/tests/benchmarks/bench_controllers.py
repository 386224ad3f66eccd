"""What the checks of a `PolicyController` cost: a step with and without them, in turns, and the checks alone."""

import statistics
import time
from collections.abc import Callable
from functools import cache

import pytest
import torch
from pytest_benchmark.fixture import BenchmarkFixture
from torch import Tensor

from leyline_types import (
    HISTORY_LENGTH,
    BlueprintAction,
    Observation,
    SeedStage,
    SignalColumns,
    SlotColumns,
    SlotConfig,
)
from tamiyo_features import check_finite_features, check_observation, extract_features
from tamiyo_masks import action_masks, check_masks
from tamiyo_policies import PolicyConfig, PolicyController, create_policy, register_builtin_policies
from tamiyo_policies.step_checks import check_step

HIDDEN, TURNS = 128, 400
SLOTS = SlotConfig.default()
BARE, CHECKED, CHECKS = "features, masks, policy", "PolicyController", "its checks alone"

_FLOATING = {
    *("train_loss", "val_loss", "train_accuracy", "val_accuracy", "best_val_accuracy", "best_val_loss"),
    *("loss_delta", "accuracy_delta", "grad_norm_host", "grad_norm_seed", "baseline_loss", "alpha"),
    *("loss_history", "accuracy_history", "alpha_target", "alpha_velocity", "improvement_in_stage"),
    *("contribution", "contribution_velocity", "interaction_sum", "boost_received", "gradient_ratio"),
    *("upstream_alpha_sum", "downstream_alpha_sum"),
}
_BITS = {"host_stabilized", "rolled_back", "occupied"}


@pytest.fixture(autouse=True, scope="module")
def one_thread() -> None:
    torch.set_num_threads(1)


def observation(envs: int) -> Observation[Tensor]:
    """An empty slot, a seed in training and a held one in every environment."""

    def column(name: str, *shape: int) -> Tensor:
        if name in _FLOATING:
            return torch.rand(envs, *shape, *([HISTORY_LENGTH] if name.endswith("history") else []))
        return torch.ones(envs, *shape, dtype=torch.bool if name in _BITS else torch.int64)

    signals = SignalColumns(*(column(name) for name in SignalColumns._fields))
    slots = SlotColumns(*(column(name, len(SLOTS)) for name in SlotColumns._fields))
    stage = torch.tensor([SeedStage.DORMANT, SeedStage.TRAINING, SeedStage.HOLDING]).repeat(envs, 1)
    slots = slots._replace(stage=stage, occupied=stage != SeedStage.DORMANT, alpha_mode=0 * stage)
    blueprint = torch.where(slots.occupied, int(BlueprintAction.NORM), int(BlueprintAction.NOOP))
    return Observation(signals._replace(topology=0 * signals.topology), slots._replace(blueprint=blueprint))


def steppers(envs: int) -> dict[str, Callable[[], object]]:
    """The same step three times: as rollouts take it, as a controller does, and what the latter adds."""
    register_builtin_policies()
    policy = create_policy(PolicyConfig(hidden_dim=HIDDEN))
    controller, seen = PolicyController(policy), observation(envs)
    memory = controller.initial_memory(envs)

    def bare() -> object:
        features, masks = extract_features(seen, SLOTS), action_masks(seen, SLOTS)
        generator = torch.Generator().manual_seed(0)
        return policy.get_action(features, masks, memory.hidden, generator=generator)

    features, masks = extract_features(seen, SLOTS), action_masks(seen, SLOTS)
    result = policy.get_action(features, masks, memory.hidden)

    def checks() -> None:
        check_observation(seen, SLOTS)
        check_finite_features(features, SLOTS)
        check_masks(masks)
        check_step(policy, memory.hidden, result, masks)

    return {BARE: bare, CHECKED: lambda: controller.act(seen, memory), CHECKS: checks}


@cache
def alternating_medians(envs: int) -> dict[str, float]:
    """Seconds of each, in turns: two of them differ by less than the machine drifts."""
    ways = steppers(envs)
    times: dict[str, list[float]] = {name: [] for name in ways}
    for turn in range(TURNS):
        for name in sorted(ways, reverse=turn % 2 == 0):
            start = time.perf_counter()
            ways[name]()
            times[name].append(time.perf_counter() - start)
    return {name: statistics.median(each) for name, each in times.items()}


@pytest.mark.parametrize("name", [BARE, CHECKED, CHECKS])
@pytest.mark.parametrize("envs", [1, 64])
def test_act(benchmark: BenchmarkFixture, envs: int, name: str) -> None:
    benchmark.extra_info.update(
        table=f"One step of a controller of E networks of three slots, {HIDDEN} hidden",
        row=f"E = {envs}",
        column=name,
        paired_s=alternating_medians(envs)[name],
        torch=torch.__version__,
    )
    benchmark.pedantic(steppers(envs)[name], rounds=5, warmup_rounds=2)  # type: ignore[no-untyped-call]
