"""Settings: each is refused outside its range by name, and each makes a difference to an update."""

from dataclasses import asdict, fields, replace
from typing import Any

import pytest
import torch
from made_up_updates import fresh_policy, rollout, update, weights
from torch import Tensor

from simic_training.ppo.config import PPOConfig, Ratio
from simic_training.ppo.update import make_optimizer, set_learning_rate

BASE = PPOConfig(learning_rate=0.01, epochs=2, minibatches=2, grad_clip=5.0, target_kl=1.0, op_floor=0.02)
OTHERS: dict[str, Any] = {
    "gamma": 0.9,
    "lam": 0.5,
    "clip": 0.01,
    "ratio": Ratio.JOINT,
    "value_weight": 0.1,
    "entropy_start": 1.0,
    "entropy_end": 1.0,
    "op_floor": 0.5,
    "learning_rate": 0.003,
    "learning_rate_end": 0.001,
    "grad_clip": 0.1,
    "epochs": 3,
    "minibatches": 3,
    "target_kl": 1e-4,
    "least_std": 10.0,
}
REFUSED: dict[str, list[Any]] = {
    "gamma": [-0.1, 1.1, torch.nan],
    "lam": [-0.1, 1.1, torch.nan],
    "clip": [0.0, -0.1, torch.inf, torch.nan],
    "ratio": ["both", ""],
    "value_weight": [-0.1, torch.inf, torch.nan],
    "entropy_start": [-0.1, torch.inf, torch.nan],
    "entropy_end": [-0.1, torch.inf, torch.nan],
    "op_floor": [-0.1, 1.0, torch.nan],
    "learning_rate": [0.0, -0.1, torch.inf, torch.nan],
    "learning_rate_end": [-0.1, torch.inf, torch.nan],
    "grad_clip": [0.0, -1.0, torch.inf, torch.nan],
    "epochs": [0, -1, 1.5],
    "minibatches": [0, -1, 1.5],
    "target_kl": [0.0, -0.1, torch.inf, torch.nan],
    "least_std": [0.0, -0.1, torch.inf, torch.nan],
}
NAMES = [field.name for field in fields(PPOConfig)]


@pytest.fixture(scope="module")
def outcome_of_base() -> Tensor:
    return outcome(BASE)


def outcome(config: PPOConfig) -> Tensor:
    """The weights after a rollout and an update halfway through a run."""
    policy = fresh_policy()
    optimizer = make_optimizer(policy, config)
    set_learning_rate(optimizer, config.learning_rate_at(0.5))
    update(
        policy,
        rollout(policy, config),
        config,
        entropy_weight=config.entropy_weight(0.5),
        replicas=2,
        optimizer=optimizer,
    )
    return torch.cat([weight.flatten() for weight in weights(policy).values()])


def test_equal_settings_give_equal_outcomes(outcome_of_base: Tensor) -> None:
    assert torch.equal(outcome(replace(BASE)), outcome_of_base)


@pytest.mark.parametrize("name", NAMES)
def test_every_setting_makes_a_difference(name: str, outcome_of_base: Tensor) -> None:
    changed = outcome(replace(BASE, **{name: OTHERS[name]}))
    assert (changed - outcome_of_base).abs().max() > 1e-4


@pytest.mark.parametrize(("name", "value"), [(name, value) for name in NAMES for value in REFUSED[name]])
def test_out_of_range_is_refused_by_name(name: str, value: Any) -> None:
    with pytest.raises(ValueError, match=f"`{name}` must .* not "):
        PPOConfig(**{name: value})


def test_defaults_are_those_of_the_design() -> None:
    config = PPOConfig()
    assert (config.gamma, config.lam, config.clip, config.value_weight) == (0.995, 0.98, 0.2, 0.5)
    assert (config.grad_clip, config.learning_rate, config.target_kl) == (5.0, 3e-4, 0.015)
    assert (config.entropy_start, config.ratio) == (0.05, Ratio.HEAD)


def test_settings_survive_being_written_as_plain_words_and_numbers() -> None:
    written = asdict(PPOConfig(ratio=Ratio.JOINT)) | {"ratio": "joint"}
    again = PPOConfig(**written)
    assert again == PPOConfig(ratio=Ratio.JOINT)
    assert isinstance(again.ratio, Ratio)


def test_the_entropy_weight_goes_from_start_to_end() -> None:
    config = PPOConfig(entropy_start=0.1, entropy_end=0.02)
    assert [config.entropy_weight(progress) for progress in (0.0, 0.5, 1.0)] == pytest.approx(
        [0.1, 0.06, 0.02]
    )


def test_the_learning_rate_goes_from_start_to_end() -> None:
    config = PPOConfig(learning_rate=0.01, learning_rate_end=0.0)
    assert [config.learning_rate_at(progress) for progress in (0.0, 0.5, 1.0)] == pytest.approx(
        [0.01, 0.005, 0.0]
    )


def test_floors_are_those_of_the_op_head() -> None:
    assert PPOConfig(op_floor=0.1).floors == {"op": 0.1}
    assert PPOConfig(op_floor=0.0).floors == {}
