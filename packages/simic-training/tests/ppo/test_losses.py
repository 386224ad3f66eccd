"""The PPO loss: by hand, against a plain loop over steps and heads, and its gradients."""

import math

import pytest
import torch
from plain_ppo import LossInputs, plain_loss
from torch import Tensor

from simic_training.ppo.config import Ratio
from simic_training.ppo.losses import PPOLoss, ppo_loss

SHAPE = (4, 6)
HEADS = 8
CLIP, VALUE_WEIGHT, ENTROPY_WEIGHT = 0.2, 0.5, 0.01
BOTH = pytest.mark.parametrize("ratio", Ratio)
SEEDS = pytest.mark.parametrize("seed", range(5))


def random_inputs(seed: int = 0) -> LossInputs:
    """As `FactoredMaskedCategorical` gives them: heads that do not matter hold 0; a third of the steps is forced."""
    generator = torch.Generator().manual_seed(seed)
    free_heads = torch.rand(*SHAPE, HEADS, generator=generator) < 0.5
    free_heads &= (torch.rand(SHAPE, generator=generator) < 0.7)[..., None]
    now, then = 0.1 * torch.randn(2, *SHAPE, HEADS, generator=generator, dtype=torch.float64) - 1
    others = torch.randn(4, *SHAPE, generator=generator, dtype=torch.float64)
    advantage, value, value_target, entropy = others
    return LossInputs(
        torch.where(free_heads, now, 0.0),
        torch.where(free_heads, then, 0.0),
        advantage,
        value,
        value_target,
        entropy,
        free_heads,
    )


def learnable(inputs: LossInputs) -> tuple[LossInputs, list[Tensor]]:
    """The inputs with copies that take gradients: of log-probabilities, values and entropies."""
    copies = [x.clone().requires_grad_() for x in (inputs.head_log_probs, inputs.value, inputs.entropy)]
    return inputs._replace(head_log_probs=copies[0], value=copies[1], entropy=copies[2]), copies


def loss_of(inputs: LossInputs, ratio: Ratio) -> PPOLoss:
    return ppo_loss(*inputs, ratio=ratio, clip=CLIP, value_weight=VALUE_WEIGHT, entropy_weight=ENTROPY_WEIGHT)


def reference(inputs: LossInputs, ratio: Ratio) -> tuple[Tensor, ...]:
    return plain_loss(
        inputs, ratio=ratio, clip=CLIP, value_weight=VALUE_WEIGHT, entropy_weight=ENTROPY_WEIGHT
    )


@pytest.mark.parametrize(
    ("ratio", "gain", "actor", "clip_fraction"),
    [
        (Ratio.HEAD, 2.0, -(2 * 1.2 + 2 * 0.9), 0.5),  # 1.5 is held at 1.2; 0.9 is inside
        (Ratio.HEAD, -2.0, 2 * 1.5 + 2 * 0.9, 0.5),  # on its way back nothing is held
        (Ratio.JOINT, 2.0, -2 * 1.2, 1.0),  # 1.5 x 0.9 = 1.35 is held at 1.2
        (Ratio.JOINT, -2.0, 2 * 1.35, 1.0),
    ],
)
def test_by_hand(ratio: Ratio, gain: float, actor: float, clip_fraction: float) -> None:
    """One step with two heads that had a choice, one that had none and one that did not matter."""
    moved = torch.tensor([math.log(1.5), math.log(0.9), 0.0, 0.0], dtype=torch.float64)
    then = torch.tensor([-1.0, -2.0, 0.0, 0.0], dtype=torch.float64)
    one = torch.ones(1, 1, dtype=torch.float64)
    free_heads = torch.tensor([[[True, True, False, False]]])
    inputs = LossInputs(
        (then + moved)[None, None], then[None, None], gain * one, one, 3 * one, 0.7 * one, free_heads
    )
    loss = loss_of(inputs, ratio)
    assert float(loss.actor) == pytest.approx(actor)
    assert float(loss.critic) == pytest.approx(2.0)
    assert float(loss.entropy) == pytest.approx(0.7)
    assert float(loss.total) == pytest.approx(actor + 0.5 * 2.0 - 0.01 * 0.7)
    assert float(loss.approx_kl) == pytest.approx(0.35 - math.log(1.35))
    assert float(loss.clip_fraction) == pytest.approx(clip_fraction)


@BOTH
@SEEDS
def test_equals_a_plain_loop(ratio: Ratio, seed: int) -> None:
    inputs = random_inputs(seed)
    found, expected = loss_of(inputs, ratio), reference(inputs, ratio)
    assert [float(x) for x in found] == pytest.approx([float(x) for x in expected], rel=1e-12)
    assert 0 < float(found.clip_fraction) < 1  # both sides of the bound were met


@BOTH
@SEEDS
def test_gradients_equal_those_of_the_plain_loop(ratio: Ratio, seed: int) -> None:
    inputs, leaves = learnable(random_inputs(seed))
    found = torch.autograd.grad(loss_of(inputs, ratio).total, leaves)
    expected = torch.autograd.grad(reference(inputs, ratio)[0], leaves)
    torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-15)


@BOTH
def test_gradients_equal_finite_differences(ratio: Ratio) -> None:
    inputs, leaves = learnable(random_inputs())
    assert torch.autograd.gradcheck(
        lambda log_probs, value, entropy: (
            loss_of(inputs._replace(head_log_probs=log_probs, value=value, entropy=entropy), ratio).total
        ),
        leaves,
    )


@BOTH
def test_where_nothing_has_moved_the_gradient_is_that_of_policy_gradient(ratio: Ratio) -> None:
    inputs = random_inputs()
    inputs, leaves = learnable(inputs._replace(old_head_log_probs=inputs.head_log_probs))
    (found,) = torch.autograd.grad(loss_of(inputs, ratio).actor, leaves[:1])
    free_steps = inputs.free_heads.any(-1).sum()
    log_prob = torch.where(inputs.free_heads, leaves[0], 0.0).sum(-1)
    (expected,) = torch.autograd.grad(-(inputs.advantage * log_prob).sum() / free_steps, leaves[:1])
    torch.testing.assert_close(found, expected)


def test_a_head_that_has_moved_far_silences_the_others_only_where_the_whole_action_is_clipped() -> None:
    inputs = random_inputs()
    moved = torch.zeros_like(inputs.head_log_probs)
    moved[..., 0] = 1.0
    both_free = torch.zeros_like(inputs.free_heads)
    both_free[..., :2] = True
    inputs = inputs._replace(
        head_log_probs=inputs.old_head_log_probs + moved,
        advantage=torch.ones(SHAPE, dtype=torch.float64),
        free_heads=both_free,
    )
    inputs, leaves = learnable(inputs)
    (by_head,) = torch.autograd.grad(loss_of(inputs, Ratio.HEAD).actor, leaves[:1])
    assert not by_head[..., 0].any()
    assert by_head[..., 1].all()
    (joint,) = torch.autograd.grad(loss_of(inputs, Ratio.JOINT).actor, leaves[:1])
    assert not joint.any()


@BOTH
def test_forced_steps_teach_the_critic_only(ratio: Ratio) -> None:
    inputs, leaves = learnable(random_inputs())
    log_probs, value, entropy = torch.autograd.grad(loss_of(inputs, ratio).total, leaves)
    free = inputs.free_heads.any(-1)
    assert not log_probs[~inputs.free_heads].any()
    assert log_probs[inputs.free_heads].any()
    assert not entropy[~free].any()
    assert entropy[free].all()
    assert value.all()


@BOTH
def test_what_is_said_of_forced_steps_makes_no_difference(ratio: Ratio) -> None:
    inputs = random_inputs()
    forced = ~inputs.free_heads.any(-1)
    changed = inputs._replace(
        advantage=torch.where(forced, 99.0, inputs.advantage),
        entropy=torch.where(forced, 99.0, inputs.entropy),
        head_log_probs=torch.where(inputs.free_heads, inputs.head_log_probs, -9.0),
    )
    assert forced.any()
    assert loss_of(changed, ratio) == loss_of(inputs, ratio)


@BOTH
def test_no_free_step_leaves_the_critic_alone(ratio: Ratio) -> None:
    inputs = random_inputs()
    loss = loss_of(inputs._replace(free_heads=torch.zeros_like(inputs.free_heads)), ratio)
    assert float(loss.actor) == float(loss.entropy) == float(loss.approx_kl) == float(loss.clip_fraction) == 0
    assert float(loss.total) == pytest.approx(VALUE_WEIGHT * float(loss.critic))
