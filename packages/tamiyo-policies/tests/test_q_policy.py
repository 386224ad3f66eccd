"""The off-policy bundle's own members: action values, target networks, temperature."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor

from leyline_types import SlotConfig
from tamiyo_masks import ActionMasks
from tamiyo_policies import (
    InferenceHiddenStateError,
    MLPQPolicy,
    PolicyBundle,
    PolicyConfig,
    PolicyInputError,
    create_policy,
    greedy_actions,
    joint_values,
)

MakeMasks = Callable[..., ActionMasks]

CONFIG = PolicyConfig(policy="mlp-q", hidden_dim=16)
FRAMES = PolicyConfig(policy="mlp-q", hidden_dim=16, frame_stack=3)


def sharp(config: PolicyConfig = CONFIG) -> MLPQPolicy:
    """A policy with weights far from those of a fresh one, whose values hardly differ."""
    policy = create_policy(config)
    assert isinstance(policy, MLPQPolicy)
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in policy.network.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=generator) * 0.3)
    return policy


def features(policy: PolicyBundle, *batch: int) -> Tensor:
    return torch.randn(*batch, policy.feature_dim, generator=torch.Generator().manual_seed(2))


def test_two_critics_value_every_legal_choice(make_masks: MakeMasks, generator: torch.Generator) -> None:
    policy = sharp()
    masks = make_masks(5, 4, generator=generator)
    values = policy.get_q_values(features(policy, 5, 4), masks)
    legal = masks.flat()
    assert values.shape == (2, *legal.shape)
    assert values.dtype is torch.float32
    assert torch.equal(values.isfinite(), legal.expand_as(values))
    assert bool((values[:, ~legal] == -torch.inf).all())
    assert not torch.equal(values[0][legal], values[1][legal])
    torch.autograd.backward(values[:, legal].sum())
    assert all(parameter.grad is not None for parameter in policy.network.parameters())


def test_values_of_a_sequence_are_those_of_its_steps(
    make_masks: MakeMasks, generator: torch.Generator
) -> None:
    policy = sharp(FRAMES)
    masks, x = make_masks(3, 6, generator=generator), features(policy, 3, 6)
    starts = torch.rand(3, 6, generator=generator) < 0.3
    together = policy.get_q_values(x, masks, episode_starts=starts)
    hidden = policy.initial_hidden(3)
    with torch.no_grad():
        for time in range(6):
            now = ActionMasks(*(mask[:, time] for mask in masks))
            alone = policy.get_q_values(x[:, time], now, hidden, episode_starts=starts[:, time])
            torch.testing.assert_close(alone, together[:, :, time].detach())
            hidden = policy.get_action(x[:, time], now, hidden.reset(starts[:, time])).hidden
    ignored = policy.get_q_values(x, masks)
    assert not torch.equal(ignored, together)


def test_a_rollouts_own_tensors_give_gradients(make_masks: MakeMasks, generator: torch.Generator) -> None:
    policy = sharp()
    with torch.inference_mode():
        x, masks = features(policy, 4), make_masks(4, generator=generator)
    actions = policy.get_action(x, masks, policy.initial_hidden(4), generator=generator).actions
    values = joint_values(policy.get_q_values(x, masks), actions, masks.head_sizes)
    assert bool(values.isfinite().all())
    torch.autograd.backward(values.sum())


def test_it_acts_greedily_by_the_mean_of_its_critics(
    make_masks: MakeMasks, generator: torch.Generator
) -> None:
    policy = sharp()
    masks, x = make_masks(64, generator=generator), features(policy, 64)
    acted = policy.get_action(x, masks, policy.initial_hidden(64), deterministic=True).actions
    with torch.no_grad():
        best, _ = greedy_actions(policy.get_q_values(x, masks).mean(0), masks)
    assert all(torch.equal(one, other) for one, other in zip(acted, best, strict=True))


def test_a_low_temperature_is_greedy_and_a_high_one_indifferent(
    make_masks: MakeMasks, generator: torch.Generator
) -> None:
    policy = sharp()
    masks, x = make_masks(64, generator=generator), features(policy, 64)
    best = policy.get_action(x, masks, policy.initial_hidden(64), deterministic=True)
    entropies = []
    for temperature in (1e-4, 1.0, 1e4):
        policy.temperature = temperature
        assert policy.temperature == pytest.approx(temperature)
        drawn = policy.get_action(x, masks, policy.initial_hidden(64), generator=generator)
        entropies.append(policy.forward(x, masks).distribution.entropy().detach())
        if temperature < 1:
            assert torch.equal(drawn.actions.op, best.actions.op)
    assert bool((entropies[0] < 0.01).all())
    assert bool((entropies[1] <= entropies[2] + 1e-4).all())
    assert bool((entropies[2] > 1.0).any())


@pytest.mark.parametrize("temperature", [0.0, -1.0, 1e-46, 1e5, float("inf"), float("nan")])
def test_impossible_temperature(temperature: float) -> None:
    policy = sharp()
    with pytest.raises(ValueError, match=r"`temperature` must lie in \[0\.0001, 10000\.0\]"):
        policy.temperature = temperature
    assert policy.temperature == 1.0


def test_a_state_has_a_value_only_over_legal_actions() -> None:
    policy = sharp()
    with pytest.raises(PolicyInputError, match="`masks` is missing"):
        policy.get_value(features(policy, 2), policy.initial_hidden(2))


@pytest.mark.parametrize("tau", [1.0, 0.25, 0.0])
def test_sync_moves_weights_and_temperature(tau: float) -> None:
    target, source = create_policy(CONFIG), sharp()
    source.temperature = 3.0
    before = {name: weight.clone() for name, weight in target.state_dict().items()}
    target.sync_from(source, tau=tau)
    theirs = source.state_dict()
    for name, weight in target.state_dict().items():
        torch.testing.assert_close(weight, (1 - tau) * before[name] + tau * theirs[name])
        assert weight.data_ptr() != theirs[name].data_ptr()
    assert all(parameter.requires_grad for parameter in target.network.parameters())


def test_a_source_that_does_not_fit_changes_nothing() -> None:
    target = sharp()
    before = {name: weight.clone() for name, weight in target.state_dict().items()}
    wider, recurrent = (
        create_policy(PolicyConfig(policy="mlp-q", hidden_dim=8)),
        create_policy(PolicyConfig()),
    )
    turned = create_policy(replace(CONFIG, slot_config=SlotConfig(("r0c2", "r0c1", "r0c0"))))
    cases: tuple[tuple[PolicyBundle, Any, str], ...] = (
        (target, 1.5, r"`tau` must lie in \[0, 1\], not 1\.5"),
        (target, -0.1, r"`tau` must lie in \[0, 1\], not -0\.1"),
        (target, float("nan"), "not nan"),
        (wider, 1.0, r"critics\.0\.trunk\.weight has shape \(8, 8\) but the policy's has \(16, 16\)"),
        (recurrent, 0.5, "their `policy` is 'lstm', not 'mlp-q'"),
        (turned, 1.0, "their `slot_config` is .*r0c2.*, not "),
    )
    for source, tau, message in cases:
        with pytest.raises(PolicyInputError, match=message):
            target.sync_from(source, tau=tau)
    assert all(torch.equal(weight, before[name]) for name, weight in target.state_dict().items())


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_a_slow_target_is_kept_in_float32(dtype: torch.dtype) -> None:
    """In half precision a share of 0.005 is below half a step of most weights."""
    source = sharp().to(dtype=dtype)
    with pytest.raises(PolicyInputError, match=r"`tau` = 0\.005 is lost to rounding"):
        create_policy(replace(CONFIG, dtype=dtype)).sync_from(source, tau=0.005)
    target = create_policy(CONFIG)
    for _ in range(3000):
        target.sync_from(source, tau=0.005)
    for name, weight in target.state_dict().items():
        assert weight.dtype is torch.float32
        torch.testing.assert_close(weight, source.state_dict()[name].float(), atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_extreme_temperatures_stay_finite(
    make_masks: MakeMasks, generator: torch.Generator, dtype: torch.dtype
) -> None:
    policy = create_policy(replace(CONFIG, dtype=dtype))
    assert isinstance(policy, MLPQPolicy)
    masks, x = make_masks(8, generator=generator), features(policy, 8).to(dtype)
    for temperature in (1e-4, 1e4):
        policy.temperature = temperature
        assert policy.temperature == pytest.approx(temperature, rel=0.01)
        result = policy.get_action(x, masks, policy.initial_hidden(8), generator=generator)
        assert bool(result.log_prob.isfinite().all())
        assert bool(result.value.isfinite().all())


def test_wrong_inputs_are_refused(make_masks: MakeMasks, generator: torch.Generator, unchecked: None) -> None:
    policy, masks = sharp(FRAMES), make_masks(4, generator=generator)
    with pytest.raises(PolicyInputError, match="7 features per step"):
        policy.get_q_values(torch.zeros(4, 7), masks)
    with pytest.raises(PolicyInputError, match="mask `slot`"):
        policy.get_q_values(features(policy, 3), masks)
    with pytest.raises(PolicyInputError, match="hidden state `h` has shape"):
        policy.get_q_values(features(policy, 4), masks, policy.initial_hidden(3).for_training())
    with pytest.raises(PolicyInputError, match="`episode_starts` has shape"):
        policy.get_q_values(features(policy, 4), masks, episode_starts=torch.zeros(3, dtype=torch.bool))
    with pytest.raises(InferenceHiddenStateError, match="for_training"):
        policy.get_q_values(features(policy, 4), masks, policy.initial_hidden(4))
    with pytest.raises(PolicyInputError, match="mask `op`"):
        policy.get_value(features(policy, 4), policy.initial_hidden(4), masks._replace(op=masks.op[:2]))
