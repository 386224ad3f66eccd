"""The PPO loss: by hand, against a plain loop over steps, and its gradients."""

import math

import pytest
import torch
from torch import Tensor

from simic_training import PPOLoss, ppo_loss

SHAPE = (3, 5)


def random_inputs(seed: int = 0) -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    names = ("log_prob", "old_log_prob", "advantage", "value", "value_target", "entropy")
    inputs = {name: torch.randn(SHAPE, generator=generator, dtype=torch.float64) for name in names}
    inputs["free"] = torch.rand(SHAPE, generator=generator) < 0.7
    return inputs


def loss_of(inputs: dict[str, Tensor]) -> PPOLoss:
    return ppo_loss(**inputs, clip=0.2, value_weight=0.5, entropy_weight=0.01)


def test_by_hand() -> None:
    one_step = {
        "log_prob": math.log(1.5),
        "old_log_prob": 0.0,
        "advantage": 2.0,
        "value": 1.0,
        "value_target": 3.0,
        "entropy": 0.7,
    }
    loss = loss_of(
        {name: torch.tensor([[x]]) for name, x in one_step.items()} | {"free": torch.tensor([[True]])}
    )
    assert float(loss.actor) == pytest.approx(-2.4)  # clipped at 1.2 x 2
    assert float(loss.critic) == pytest.approx(2.0)
    assert float(loss.total) == pytest.approx(-2.4 + 0.5 * 2.0 - 0.01 * 0.7)
    assert float(loss.approx_kl) == pytest.approx(0.5 - math.log(1.5))
    assert float(loss.clip_fraction) == 1.0


@pytest.mark.parametrize("seed", range(5))
def test_equals_a_loop_over_steps(seed: int) -> None:
    inputs = random_inputs(seed)
    loss = loss_of(inputs)
    actor = critic = entropy = kl = clipped = count = 0.0
    for env in range(SHAPE[0]):
        for step in range(SHAPE[1]):
            at = {name: float(x[env, step]) for name, x in inputs.items()}
            critic += 0.5 * (at["value"] - at["value_target"]) ** 2 / (SHAPE[0] * SHAPE[1])
            if not at["free"]:
                continue
            ratio = math.exp(at["log_prob"] - at["old_log_prob"])
            bounded = min(max(ratio, 0.8), 1.2)
            actor -= min(ratio * at["advantage"], bounded * at["advantage"])
            entropy += at["entropy"]
            kl += ratio - 1 - math.log(ratio)
            clipped += ratio != bounded
            count += 1
    expected = (actor / count, critic, entropy / count, kl / count, clipped / count)
    found = (loss.actor, loss.critic, loss.entropy, loss.approx_kl, loss.clip_fraction)
    assert [float(x) for x in found] == pytest.approx(expected)
    assert float(loss.total) == pytest.approx(expected[0] + 0.5 * expected[1] - 0.01 * expected[2])


def test_forced_steps_teach_the_critic_only() -> None:
    inputs = random_inputs()
    for name in ("log_prob", "value", "entropy"):
        inputs[name].requires_grad_()
    total = loss_of(inputs).total
    log_prob_gradient, value_gradient = torch.autograd.grad(total, [inputs["log_prob"], inputs["value"]])
    forced = ~inputs["free"]
    assert not log_prob_gradient[forced].any()
    assert value_gradient[forced].all()
    assert log_prob_gradient[inputs["free"]].any()


def test_no_free_step_gives_a_finite_loss() -> None:
    inputs = random_inputs()
    inputs["free"] = torch.zeros(SHAPE, dtype=torch.bool)
    loss = loss_of(inputs)
    assert float(loss.actor) == 0.0
    assert loss.total.isfinite()
