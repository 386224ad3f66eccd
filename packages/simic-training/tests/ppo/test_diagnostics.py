"""Diagnostics of a trajectory: over the steps where a head was free, or mattered, and over no others."""

import pytest
import torch
from made_up_updates import ENVS, LENGTH, STEPS, fresh_policy, rollout
from torch.distributions import Categorical
from toy_training import make_policy

from leyline_types import HEAD_NAMES, HEAD_RELEVANCE, LifecycleOp, head_sizes
from simic_training.ppo.config import PPOConfig
from simic_training.ppo.diagnostics import action_counts, explained_variance, head_entropies
from simic_training.ppo.trajectory import Trajectory
from tamiyo_policies import HiddenState, PolicyBundle

CONFIG = PPOConfig(op_floor=0.5)


@pytest.fixture
def policy() -> PolicyBundle:
    return fresh_policy()


@pytest.fixture
def trajectory(policy: PolicyBundle) -> Trajectory:
    """With floors, which are not the policy's own indecision."""
    return rollout(policy, CONFIG)


def plain_entropies(policy: PolicyBundle, trajectory: Trajectory) -> dict[str, float | None]:
    """Step by step, head by head: the entropy of a categorical over the legal choices, over its largest."""
    found: dict[str, list[float]] = {name: [] for name in HEAD_NAMES}
    steps, sizes = trajectory.steps, head_sizes(policy.slot_config)
    hidden = policy.initial_hidden(ENVS).for_training()
    for time in range(STEPS):
        masks = steps.masks.at((slice(None), time))
        with torch.no_grad():
            result = policy.forward(steps.features[:, time], masks, hidden.reset(steps.starts[:, time]))
        hidden = result.hidden
        for env in range(ENVS):
            op = int(steps.actions.op[env, time])
            for name, logits in zip(HEAD_NAMES, result.logits[env].split(sizes), strict=True):
                legal = masks.slot_by_op[env, op] if name == "slot" else masks.as_dict()[name][env]
                if name in HEAD_RELEVANCE[LifecycleOp(op)] and legal.sum() > 1:
                    entropy = Categorical(logits=logits[legal]).entropy()
                    found[name].append(float(entropy / legal.sum().log()))
    return {name: sum(each) / len(each) if each else None for name, each in found.items()}


def test_entropies_equal_those_of_a_plain_loop(policy: PolicyBundle, trajectory: Trajectory) -> None:
    found = head_entropies(policy, trajectory)
    assert trajectory.chunk_length == LENGTH
    assert found == pytest.approx(plain_entropies(policy, trajectory), abs=1e-5)
    assert all(entropy is not None and 0 < entropy < 0.999 for entropy in found.values())


def test_an_even_policy_has_entropy_1_at_every_head(policy: PolicyBundle, trajectory: Trajectory) -> None:
    with torch.no_grad():
        policy.state_dict()["action_head.weight"].zero_()
    assert head_entropies(policy, trajectory) == pytest.approx(dict.fromkeys(HEAD_NAMES, 1.0))


def test_a_head_that_was_never_free_has_no_entropy(policy: PolicyBundle, trajectory: Trajectory) -> None:
    masks = trajectory.steps.masks
    one_style = torch.zeros_like(masks.style)
    one_style[..., 1] = True
    forced = trajectory.steps._replace(masks=masks._replace(style=one_style))
    found = head_entropies(policy, trajectory._replace(steps=forced))
    assert found["style"] is None
    assert {name: entropy for name, entropy in found.items() if name != "style"} == pytest.approx(
        {name: entropy for name, entropy in head_entropies(policy, trajectory).items() if name != "style"}
    )
    waits = trajectory.steps._replace(
        actions=trajectory.steps.actions._replace(op=torch.zeros_like(trajectory.steps.actions.op))
    )
    found = head_entropies(policy, trajectory._replace(steps=waits))
    assert [name for name, entropy in found.items() if entropy is not None] == ["op"]


def test_entropies_are_those_of_the_states_that_chunks_start_from(
    policy: PolicyBundle, trajectory: Trajectory
) -> None:
    forgetful = trajectory._replace(hidden=HiddenState(*map(torch.zeros_like, trajectory.hidden)))
    assert head_entropies(policy, forgetful) != head_entropies(policy, trajectory)


def test_looking_changes_nothing(policy: PolicyBundle, trajectory: Trajectory) -> None:
    first = head_entropies(policy, trajectory)
    assert head_entropies(policy, trajectory) == first
    assert all(weight.grad is None for weight in policy.network.parameters())


def test_a_policy_without_memory_has_entropies_too() -> None:
    policy = make_policy("mlp", slots=3)
    found = head_entropies(policy, rollout(policy, CONFIG))
    assert all(entropy is not None and entropy > 0.99 for entropy in found.values())


def test_counts_equal_those_of_a_plain_loop(policy: PolicyBundle, trajectory: Trajectory) -> None:
    sizes = dict(zip(HEAD_NAMES, head_sizes(policy.slot_config), strict=True))
    expected = {name: [0] * size for name, size in sizes.items()}
    actions = trajectory.steps.actions
    for env in range(ENVS):
        for time in range(STEPS):
            for name in HEAD_RELEVANCE[LifecycleOp(int(actions.op[env, time]))]:
                expected[name][int(getattr(actions, name)[env, time])] += 1
    found = action_counts(trajectory.steps)
    assert found == expected
    assert sum(found["op"]) == ENVS * STEPS
    assert sum(found["slot"]) == ENVS * STEPS - found["op"][LifecycleOp.WAIT]


def test_explained_variance() -> None:
    target = torch.tensor([1.0, 2.0, 3.0])
    assert explained_variance(target, target) == pytest.approx(1.0)
    assert explained_variance(target + 5, target) == pytest.approx(1.0)
    assert explained_variance(torch.full((3,), 2.0), target) == pytest.approx(0.0)
    assert explained_variance(-target, target) == pytest.approx(-3.0)
    assert explained_variance(target, torch.ones(3)) is None
