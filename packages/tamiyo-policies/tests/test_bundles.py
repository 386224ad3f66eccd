"""Every policy: acting, evaluating and valuing agree with each other, and training reaches every weight."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import NamedTuple

import pytest
import torch
from torch import Tensor

from leyline_types import HEAD_NAMES, HEAD_RELEVANCE, FactoredActions, LifecycleOp, SlotConfig, head_sizes
from tamiyo_masks import ActionMasks, FactoredMaskedCategorical
from tamiyo_policies import (
    ActionResult,
    InferenceHiddenStateError,
    OffPolicyUnsupportedError,
    PolicyBundle,
    PolicyConfig,
    create_policy,
    greedy_actions,
)

MakeMasks = Callable[..., ActionMasks]
Sharpened = Callable[[PolicyConfig], PolicyBundle]

CONFIGS = {
    "lstm": PolicyConfig(policy="lstm", hidden_dim=16),
    "mlp": PolicyConfig(policy="mlp", hidden_dim=16),
    "mlp of 3 frames": PolicyConfig(policy="mlp", hidden_dim=16, frame_stack=3),
    "mlp-q": PolicyConfig(policy="mlp-q", hidden_dim=16),
    "mlp-q of 3 frames": PolicyConfig(policy="mlp-q", hidden_dim=16, frame_stack=3),
}

FLOORS = {"op": 0.2, "slot": 0.1, "blueprint": 0.3}
NEARLY_ONE = dict.fromkeys(HEAD_NAMES, 1 - 1e-7)


@pytest.fixture(params=CONFIGS)
def policy(request: pytest.FixtureRequest, sharpened: Sharpened) -> PolicyBundle:
    """Every built-in policy."""
    return sharpened(CONFIGS[request.param])


class Rollout(NamedTuple):
    """What a policy met and did: [batch, time, ...]."""

    features: Tensor
    masks: ActionMasks
    actions: FactoredActions[Tensor]
    steps: list[ActionResult]

    def stacked(self, name: str) -> Tensor:
        """A field of the results, [batch, time, ...]."""
        return torch.stack([getattr(step, name) for step in self.steps], dim=1)


def at(masks: ActionMasks, time: int | slice) -> ActionMasks:
    return ActionMasks(*(mask[:, time] for mask in masks))


def roll(
    policy: PolicyBundle,
    make_masks: MakeMasks,
    generator: torch.Generator,
    *,
    batch: int = 5,
    time: int = 8,
    starts: Tensor | None = None,
    floors: Mapping[str, float] | None = None,
) -> Rollout:
    """Random features and masks, acted on step by step."""
    features = torch.randn(batch, time, policy.feature_dim, generator=generator).to(policy.dtype)
    masks = make_masks(batch, time, generator=generator, slots=len(policy.slot_config))
    hidden, steps = policy.initial_hidden(batch), []
    for now in range(time):
        if starts is not None:
            hidden = hidden.reset(starts[:, now])
        steps.append(
            policy.get_action(features[:, now], at(masks, now), hidden, generator=generator, floors=floors)
        )
        hidden = steps[-1].hidden
    actions = FactoredActions(
        *(torch.stack(head, dim=1) for head in zip(*(s.actions for s in steps), strict=True))
    )
    return Rollout(features, masks, actions, steps)


def test_what_acting_returns(policy: PolicyBundle, make_masks: MakeMasks, generator: torch.Generator) -> None:
    result = roll(policy, make_masks, generator, batch=5, time=1).steps[0]
    assert all(index.shape == (5,) and index.dtype == torch.int64 for index in result.actions)
    assert result.log_prob.shape == result.value.shape == (5,)
    assert result.head_log_probs.shape == (5, len(HEAD_NAMES))
    assert result.op_logits.shape == (5, len(LifecycleOp))
    assert result.hidden.h.shape == policy.initial_hidden(5).h.shape
    assert result.log_prob.is_inference()
    torch.testing.assert_close(result.head_log_probs.sum(-1), result.log_prob)


def test_actions_are_legal_and_irrelevant_heads_canonical(
    policy: PolicyBundle, make_masks: MakeMasks, generator: torch.Generator
) -> None:
    rollout = roll(policy, make_masks, generator, batch=64, time=4)
    for env, time in torch.cartesian_prod(torch.arange(64), torch.arange(4)).tolist():
        op = LifecycleOp(int(rollout.actions.op[env, time]))
        assert rollout.masks.op[env, time, op]
        for position, (name, head) in enumerate(zip(HEAD_NAMES, rollout.actions, strict=True)):
            index = int(head[env, time])
            if name not in HEAD_RELEVANCE[op]:
                assert index == 0
                assert rollout.steps[time].head_log_probs[env, position] == 0
            elif name == "slot":
                assert rollout.masks.slot_by_op[env, time, op, index]
            else:
                assert getattr(rollout.masks, name)[env, time, index]


@pytest.mark.parametrize("floors", [None, FLOORS])
@pytest.mark.parametrize("batch", [1, 2, 3, 5, 127, 128, 129])
def test_log_probabilities_agree_bit_for_bit_in_step_form(
    policy: PolicyBundle,
    make_masks: MakeMasks,
    generator: torch.Generator,
    batch: int,
    floors: dict[str, float] | None,
) -> None:
    rollout = roll(policy, make_masks, generator, batch=batch, floors=floors)
    hidden = policy.initial_hidden(batch)
    for time, step in enumerate(rollout.steps):
        one = slice(time, time + 1)
        evaluated = policy.evaluate_actions(
            rollout.features[:, one],
            FactoredActions(*(head[:, one] for head in rollout.actions)),
            at(rollout.masks, one),
            hidden.for_training(),
            floors=floors,
        )
        assert torch.equal(evaluated.log_prob[:, 0], step.log_prob)
        assert torch.equal(evaluated.head_log_probs[:, 0], step.head_log_probs)
        assert torch.equal(evaluated.value[:, 0], step.value)
        assert torch.equal(evaluated.hidden.c, step.hidden.c)
        value = policy.get_value(rollout.features[:, time], hidden, at(rollout.masks, time))
        assert torch.equal(value, step.value)
        hidden = step.hidden


@pytest.mark.parametrize("floors", [None, FLOORS])
@pytest.mark.parametrize("share", [None, 0.3])
def test_log_probabilities_agree_in_sequence_form(
    policy: PolicyBundle,
    make_masks: MakeMasks,
    generator: torch.Generator,
    share: float | None,
    floors: dict[str, float] | None,
) -> None:
    starts = None if share is None else torch.rand(5, 30, generator=generator) < share
    rollout = roll(policy, make_masks, generator, time=30, starts=starts, floors=floors)
    evaluated = policy.evaluate_actions(
        rollout.features, rollout.actions, rollout.masks, episode_starts=starts, floors=floors
    )
    for name in ("log_prob", "head_log_probs", "value"):
        expected = rollout.stacked(name)
        torch.testing.assert_close(getattr(evaluated, name), expected, atol=1e-5, rtol=0.0)
    torch.testing.assert_close(evaluated.hidden.h, rollout.steps[-1].hidden.h, atol=1e-5, rtol=0.0)
    assert (evaluated.entropy >= 0).all()
    assert evaluated.entropy.shape == (5, 30)


def mixed(logits: Tensor, mask: Tensor, floor: float) -> Tensor:
    """(1 - floor) softmax + floor uniform over the legal choices of one row, choice by choice."""
    legal = [choice for choice in range(len(mask)) if mask[choice]]
    total = sum(logits[choice].double().exp() for choice in legal)
    probs = torch.zeros(len(mask), dtype=torch.float64)
    for choice in legal:
        probs[choice] = (1 - floor) * logits[choice].double().exp() / total + floor / len(legal)
    return probs


def test_floors_are_spread_over_the_legal_choices(
    policy: PolicyBundle, make_masks: MakeMasks, generator: torch.Generator
) -> None:
    rollout = roll(policy, make_masks, generator, batch=20, time=1, floors=FLOORS)
    with torch.no_grad():
        logits = policy.forward(rollout.features[:, 0], at(rollout.masks, 0)).logits
    sizes = head_sizes(policy.slot_config)
    for env in range(20):
        op = int(rollout.actions.op[env, 0])
        found = rollout.steps[0].head_log_probs[env].exp()
        heads = zip(HEAD_NAMES, logits[env].split(sizes), rollout.actions, found, strict=True)
        for name, of_head, chosen, prob in heads:
            if name not in HEAD_RELEVANCE[LifecycleOp(op)] and name != "op":
                assert prob == 1
                continue
            legal = (
                rollout.masks.slot_by_op[env, 0, op]
                if name == "slot"
                else getattr(rollout.masks, name)[env, 0]
            )
            expected = mixed(of_head, legal, FLOORS.get(name, 0.0))[chosen[env, 0]]
            assert float(prob) == pytest.approx(float(expected), abs=1e-6), name


def test_samples_follow_the_floors(
    policy: PolicyBundle, make_masks: MakeMasks, generator: torch.Generator
) -> None:
    count, floor = 4000, 0.5
    one = roll(policy, make_masks, generator, batch=1, time=1)
    features = one.features[:, 0].expand(count, -1)
    masks = ActionMasks(*(mask[:, 0].expand(count, *mask.shape[2:]) for mask in one.masks))
    masks = masks._replace(op=torch.ones_like(masks.op))
    hidden = policy.initial_hidden(count)
    acted = policy.get_action(features, masks, hidden, generator=generator, floors={"op": floor})
    frequency = acted.actions.op.bincount(minlength=len(LifecycleOp)) / count
    expected = mixed(acted.op_logits[0], masks.op[0], floor)
    torch.testing.assert_close(frequency.double(), expected, atol=0.03, rtol=0.0)


def test_the_entropy_is_that_of_the_distribution_with_floors(
    policy: PolicyBundle, make_masks: MakeMasks, generator: torch.Generator
) -> None:
    rollout = roll(policy, make_masks, generator)
    given = (rollout.features, rollout.actions, rollout.masks)
    for floors in (None, FLOORS, NEARLY_ONE):
        entropy = policy.evaluate_actions(*given, floors=floors).entropy
        logits = policy.forward(rollout.features, rollout.masks).logits
        expected = FactoredMaskedCategorical(logits, rollout.masks, floors=floors).regularizer_entropy()
        torch.testing.assert_close(entropy, expected)
    undecided = FactoredMaskedCategorical(torch.zeros_like(logits), rollout.masks).regularizer_entropy()
    torch.testing.assert_close(entropy.detach(), undecided)  # of the floors next to 1


def test_floors_leave_the_deterministic_action_and_the_value_as_they_are(
    policy: PolicyBundle, make_masks: MakeMasks, generator: torch.Generator
) -> None:
    rollout = roll(policy, make_masks, generator, batch=200, time=1)
    given = rollout.features[:, 0], at(rollout.masks, 0), policy.initial_hidden(200)
    bare = policy.get_action(*given, deterministic=True)
    for floors in (FLOORS, NEARLY_ONE):
        acted = policy.get_action(*given, deterministic=True, floors=floors)
        assert all(torch.equal(one, other) for one, other in zip(acted.actions, bare.actions, strict=True))
        assert torch.equal(acted.value, bare.value)
        actions = FactoredActions(*(head[:, None] for head in acted.actions))
        evaluated = policy.evaluate_actions(rollout.features, actions, rollout.masks, floors=floors)
        assert torch.equal(evaluated.head_log_probs[:, 0], acted.head_log_probs)
        assert not torch.equal(acted.log_prob, bare.log_prob)


@pytest.mark.parametrize("floors", [{}, dict.fromkeys(HEAD_NAMES, 0.0)])
@pytest.mark.parametrize("batch", [5, 129])
def test_floors_of_zero_are_none(
    policy: PolicyBundle, make_masks: MakeMasks, batch: int, floors: dict[str, float]
) -> None:
    bare, mixed = (
        roll(policy, make_masks, torch.Generator().manual_seed(0), batch=batch, time=2, floors=each)
        for each in (None, floors)
    )
    assert all(torch.equal(one, other) for one, other in zip(mixed.actions, bare.actions, strict=True))
    assert torch.equal(mixed.stacked("head_log_probs"), bare.stacked("head_log_probs"))
    given = (bare.features, bare.actions, bare.masks)
    ours, theirs = policy.evaluate_actions(*given, floors=floors), policy.evaluate_actions(*given)
    assert torch.equal(ours.log_prob, theirs.log_prob)
    torch.testing.assert_close(ours.entropy, theirs.entropy)  # sums of numbers that lie otherwise in memory


def test_forward_gives_the_distribution_that_acts(
    policy: PolicyBundle, make_masks: MakeMasks, generator: torch.Generator
) -> None:
    rollout = roll(policy, make_masks, generator, time=6)
    whole = policy.forward(rollout.features, rollout.masks)
    assert whole.logits.shape == (5, 6, sum(head_sizes(policy.slot_config)))
    assert whole.logits.requires_grad
    torch.testing.assert_close(whole.value, rollout.stacked("value"), atol=1e-5, rtol=0.0)
    first = policy.forward(rollout.features[:, 0], at(rollout.masks, 0))
    assert torch.equal(first.logits[:, -len(LifecycleOp) :], rollout.steps[0].op_logits)
    greedy = policy.get_action(
        rollout.features[:, 0], at(rollout.masks, 0), policy.initial_hidden(5), deterministic=True
    )
    best = first.distribution.mode()
    if policy.supports_off_policy:
        with torch.no_grad():
            values = policy.get_q_values(rollout.features[:, 0], at(rollout.masks, 0))
        best = greedy_actions(values.mean(0), at(rollout.masks, 0))[0]
    assert all(torch.equal(a, b) for a, b in zip(greedy.actions, best, strict=True))


def test_forward_resets_in_both_forms(
    policy: PolicyBundle, make_masks: MakeMasks, generator: torch.Generator
) -> None:
    rollout = roll(policy, make_masks, generator, time=3)
    starts = torch.tensor([[False, True, False]]).expand(5, 3)
    whole = policy.forward(rollout.features, rollout.masks, episode_starts=starts)
    hidden = policy.forward(rollout.features[:, 0], at(rollout.masks, 0)).hidden
    middle = policy.forward(
        rollout.features[:, 1], at(rollout.masks, 1), hidden, episode_starts=torch.ones(5, dtype=torch.bool)
    )
    torch.testing.assert_close(whole.value[:, 1], middle.value, atol=1e-5, rtol=0.0)


def test_a_time_axis_of_one_is_dropped(
    policy: PolicyBundle, make_masks: MakeMasks, generator: torch.Generator
) -> None:
    features = torch.randn(5, 1, policy.feature_dim, generator=generator)
    masks, hidden = make_masks(5, 1, generator=generator), policy.initial_hidden(5)
    with_axis = policy.get_action(features, masks, hidden, deterministic=True)
    without = policy.get_action(features[:, 0], at(masks, 0), hidden, deterministic=True)
    assert torch.equal(with_axis.log_prob, without.log_prob)
    assert with_axis.masks.op.shape == (5, len(LifecycleOp))
    assert torch.equal(policy.get_value(features, hidden, masks), without.value)


def test_equal_generators_equal_actions(policy: PolicyBundle, make_masks: MakeMasks) -> None:
    one, two, three = (
        roll(policy, make_masks, torch.Generator().manual_seed(seed)).actions for seed in (1, 1, 2)
    )
    assert all(torch.equal(a, b) for a, b in zip(one, two, strict=True))
    assert not all(torch.equal(a, b) for a, b in zip(one, three, strict=True))


@pytest.mark.parametrize("floors", [None, FLOORS])
def test_gradients_reach_every_weight(
    policy: PolicyBundle,
    make_masks: MakeMasks,
    generator: torch.Generator,
    floors: dict[str, float] | None,
) -> None:
    rollout = roll(policy, make_masks, generator, floors=floors)
    start = roll(policy, make_masks, generator, time=1).steps[0].hidden.for_training()
    given = (rollout.features, rollout.actions, rollout.masks)
    evaluated = policy.evaluate_actions(*given, start, floors=floors)
    torch.autograd.backward(evaluated.log_prob.sum() + evaluated.value.sum() + evaluated.entropy.sum())
    for name, parameter in policy.network.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.isfinite().all(), name
        assert parameter.grad.any(), name


def test_a_rollouts_own_tensors_can_be_trained_on_as_they_are(
    policy: PolicyBundle, make_masks: MakeMasks, generator: torch.Generator
) -> None:
    with torch.inference_mode():
        starts = torch.rand(5, 4, generator=generator) < 0.5
        rollout = roll(policy, make_masks, generator, time=4, starts=starts)
    assert rollout.features.is_inference()
    assert starts.is_inference()
    given = (rollout.features, rollout.actions, rollout.masks)
    torch.autograd.backward(policy.evaluate_actions(*given, episode_starts=starts).log_prob.sum())
    outputs = policy.forward(rollout.features, rollout.masks, episode_starts=starts)
    torch.autograd.backward(outputs.distribution.log_prob(rollout.actions).sum() + outputs.value.sum())


def test_a_whole_evaluation_in_inference_mode(
    policy: PolicyBundle, make_masks: MakeMasks, generator: torch.Generator
) -> None:
    # Nothing trains there, so that the hidden state of a rollout will do.
    rollout = roll(policy, make_masks, generator, time=2)
    hidden = policy.initial_hidden(5)
    with torch.inference_mode():
        evaluated = policy.evaluate_actions(rollout.features, rollout.actions, rollout.masks, hidden)
    torch.testing.assert_close(evaluated.log_prob, rollout.stacked("log_prob"), atol=1e-5, rtol=0.0)


def test_inference_hidden_state_is_refused(
    policy: PolicyBundle, make_masks: MakeMasks, generator: torch.Generator
) -> None:
    rollout = roll(policy, make_masks, generator, time=2)
    arguments = (rollout.features, rollout.actions, rollout.masks)
    for hidden in (policy.initial_hidden(5), rollout.steps[-1].hidden):
        with pytest.raises(InferenceHiddenStateError, match=r"hidden\.for_training\(\)"):
            policy.evaluate_actions(*arguments, hidden)
        with pytest.raises(InferenceHiddenStateError):
            policy.forward(rollout.features, rollout.masks, hidden)
        with torch.no_grad():
            policy.forward(rollout.features, rollout.masks, hidden)
        policy.evaluate_actions(*arguments, hidden.for_training())


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float64])
@pytest.mark.parametrize("slots", [1, 25])
@pytest.mark.parametrize("name", CONFIGS)
def test_other_dtypes_and_slot_counts(
    make_masks: MakeMasks, generator: torch.Generator, dtype: torch.dtype, slots: int, name: str
) -> None:
    slot_config = SlotConfig.for_grid(1, slots)
    policy = create_policy(replace(CONFIGS[name], slot_config=slot_config, hidden_dim=8, dtype=dtype))
    rollout = roll(policy, make_masks, generator)
    evaluated = policy.evaluate_actions(rollout.features, rollout.actions, rollout.masks)
    assert evaluated.hidden.h.dtype is dtype
    for tensor in (evaluated.log_prob, evaluated.value, evaluated.entropy, evaluated.head_log_probs):
        assert tensor.dtype is torch.float32
        assert tensor.isfinite().all()
    torch.testing.assert_close(evaluated.log_prob, rollout.stacked("log_prob"), atol=0.05, rtol=0.0)


def test_moving_in_place(policy: PolicyBundle, make_masks: MakeMasks, generator: torch.Generator) -> None:
    network = policy.network
    roll(policy, make_masks, generator, time=1)
    assert policy.to(dtype=torch.float64) is policy
    assert policy.network is network
    assert policy.dtype is policy.config.dtype is torch.float64
    assert policy.initial_hidden(1).h.dtype is torch.float64
    roll(policy, make_masks, generator, time=1)


@pytest.mark.parametrize("name", ["lstm", "mlp"])
def test_off_policy_methods_say_that_there_are_none(
    make_masks: MakeMasks, generator: torch.Generator, name: str
) -> None:
    policy = create_policy(CONFIGS[name])
    assert not policy.supports_off_policy
    with pytest.raises(OffPolicyUnsupportedError, match=f"'{name}' is on-policy"):
        policy.get_q_values(torch.zeros(1, policy.feature_dim), make_masks(1, generator=generator))
    with pytest.raises(OffPolicyUnsupportedError, match=f"'{name}' is on-policy"):
        policy.sync_from(policy)


def test_checkpointing_keeps_gradients_and_drops_activations(
    policy: PolicyBundle, make_masks: MakeMasks, generator: torch.Generator
) -> None:
    rollout = roll(policy, make_masks, generator)
    given = [rollout.features, *rollout.masks, *rollout.actions, *policy.network.parameters()]
    there_anyway = {tensor.data_ptr() for tensor in given}
    gradients, activations = [], []
    for enabled in (False, True):
        policy.enable_gradient_checkpointing(enabled)
        kept: dict[int, int] = {}

        def keep(tensor: Tensor, kept: dict[int, int] = kept) -> Tensor:
            kept[tensor.data_ptr()] = tensor.nbytes
            return tensor

        with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
            evaluated = policy.evaluate_actions(rollout.features, rollout.actions, rollout.masks)
        activations.append(sum(size for place, size in kept.items() if place not in there_anyway))
        policy.network.zero_grad()
        torch.autograd.backward(evaluated.log_prob.sum() + evaluated.value.sum() + evaluated.entropy.sum())
        gradients.append([parameter.grad for parameter in policy.network.parameters()])
    torch.testing.assert_close(gradients[0], gradients[1])
    assert activations[1] < 0.6 * activations[0]  # the inputs of the network are kept
