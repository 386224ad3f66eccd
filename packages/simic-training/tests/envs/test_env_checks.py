"""Environments show what is finite and can be acted on, or say by environment, slot and feature what is not."""

import re
from collections.abc import Callable
from typing import Any

import gymnasium
import numpy as np
import pytest
import torch
from gymnasium.error import ResetNeeded
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from small_envs import SLOTS, SMALL, WAIT
from torch import Tensor

from leyline_types import Observation, SignalColumns
from simic_training.envs import hosts
from simic_training.envs.flatten import FlattenAction, FlattenVectorAction
from simic_training.envs.sb3 import GrowthVecEnv
from simic_training.envs.single import GrowthEnv
from simic_training.envs.vector import GrowthVectorEnv
from simic_training.growth.world import GrowthWorld
from tamiyo_features import NonFiniteValueError
from tamiyo_masks import InvalidStateMachineError, action_masks

HOSTS = 3
Spoil = Callable[[Observation[Tensor]], Observation[Tensor]]


@pytest.fixture
def spoil(monkeypatch: pytest.MonkeyPatch) -> list[Spoil]:
    """Applied to what hosts show; nothing at first."""
    spoils: list[Spoil] = []
    observe = GrowthWorld.observe

    def spoiled(world: GrowthWorld) -> Observation[Tensor]:
        seen = observe(world)
        for each in spoils:
            seen = each(seen)
        return seen

    monkeypatch.setattr(GrowthWorld, "observe", spoiled)
    return spoils


def with_value(name: str, env: int, slot: int, value: float) -> Spoil:
    """Puts a value into a floating column, of a slot where the column has one."""

    def spoil(seen: Observation[Tensor]) -> Observation[Tensor]:
        columns: Any = seen.signals if name in SignalColumns._fields else seen.slots
        column = getattr(columns, name).clone()
        column[(env, slot) if column.ndim > 1 else env] = value
        changed = columns._replace(**{name: column})
        return seen._replace(signals=changed) if columns is seen.signals else seen._replace(slots=changed)

    return spoil


MAY_BE_UNKNOWN = ("grad_norm_host", "contribution", "gradient_ratio")


@given(
    st.sampled_from(["train_loss", "val_accuracy", "alpha", "improvement_in_stage", *MAY_BE_UNKNOWN]),
    st.integers(0, HOSTS - 1),
    st.integers(0, len(SLOTS) - 1),
    st.sampled_from([torch.nan, torch.inf, -torch.inf]),
    st.booleans(),
)
@settings(
    deadline=None,
    max_examples=30,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
def test_what_hosts_show_is_finite_or_named(
    spoil: list[Spoil], name: str, env: int, slot: int, value: float, at_reset: bool
) -> None:
    spoil.clear()
    envs = GrowthVectorEnv(HOSTS, SMALL)
    envs.reset(seed=0)
    spoil.append(with_value(name, env, slot, value))
    actions = np.stack([WAIT] * HOSTS)

    def show() -> np.ndarray[Any, Any]:
        seen = envs.reset(seed=1)[0] if at_reset else envs.step(actions)[0]
        assert isinstance(seen, np.ndarray)
        return seen

    if value != value and name in MAY_BE_UNKNOWN:
        assert np.isfinite(show()).all()
        return
    where = f"environment {env}" + ("" if name in SignalColumns._fields else f", slot {SLOTS.slot_ids[slot]}")
    with pytest.raises(
        NonFiniteValueError, match=f"^{where}: feature '{name}' is {value}, expected a finite"
    ):
        show()
    with pytest.raises(ResetNeeded):
        envs.step(actions)
    spoil.clear()
    envs.reset(seed=1)
    envs.step(actions)


def vector_env() -> Any:
    return GrowthVectorEnv(1, SMALL)


MAKERS: dict[str, tuple[Callable[[], Any], Any]] = {
    "one host": (lambda: GrowthEnv(SMALL), WAIT),
    "many hosts": (vector_env, WAIT[np.newaxis]),
    "one host, one list": (lambda: FlattenAction(GrowthEnv(SMALL)), 0),
    "many hosts, one list": (lambda: FlattenVectorAction(vector_env()), np.zeros(1, dtype=np.int64)),
    "Stable-Baselines3": (
        lambda: GrowthVecEnv(FlattenVectorAction(vector_env())),
        np.zeros(1, dtype=np.int64),
    ),
    "gymnasium.make": (
        lambda: gymnasium.make("simic_training.envs.registered:tamiyo/Growth-v0", config=SMALL),
        WAIT,
    ),
}


@pytest.mark.parametrize("name", MAKERS)
def test_every_environment_checks(spoil: list[Spoil], name: str) -> None:
    make, wait = MAKERS[name]
    env = make()
    env.reset()
    env.step(wait)
    spoil.append(with_value("alpha", 0, 1, torch.nan))
    with pytest.raises(
        NonFiniteValueError, match=re.escape("environment 0, slot r0c1: feature 'alpha' is nan")
    ):
        env.step(wait)
    with pytest.raises(
        NonFiniteValueError, match=re.escape("environment 0, slot r0c1: feature 'alpha' is nan")
    ):
        env.reset()


def test_an_environment_without_a_legal_choice(monkeypatch: pytest.MonkeyPatch) -> None:
    envs = GrowthVectorEnv(HOSTS, SMALL)
    envs.reset(seed=0)

    def nothing_legal(*args: Any) -> Any:
        masks = action_masks(*args)
        op = masks.op.clone()
        op[1] = False
        return masks._replace(op=op)

    monkeypatch.setattr(hosts, "action_masks", nothing_legal)
    with pytest.raises(InvalidStateMachineError, match=r"^environment 1: head 'op' has no legal choice"):
        envs.step(np.stack([WAIT] * HOSTS))
