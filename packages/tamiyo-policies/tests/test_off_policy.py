"""Off-policy learning by plain loops, DQN and SAC for discrete actions: the interface carries all that they need.

The task takes two steps. At the first, ADVANCE on the slot that is shown opens a door and pays nothing; at the second,
ADVANCE on the slot after it pays 1 if the door is open. WAIT pays 0.2 at either. Two waits give 0.4, the best is 1, and
that is only found by values that travel back from the second step to the first.
"""

from typing import NamedTuple

import pytest
import torch
from torch import Tensor
from torch.utils._pytree import tree_map

from leyline_types import FactoredActions, LifecycleOp, SlotConfig, head_sizes
from tamiyo_masks import ActionMasks, FactoredMaskedCategorical
from tamiyo_policies import (
    PolicyBundle,
    PolicyConfig,
    create_policy,
    greedy_actions,
    joint_values,
)

pytestmark = pytest.mark.slow

ENVS, SLOTS = 64, 3
SIZES = head_sizes(SlotConfig.default())
CRITICS = PolicyConfig(policy="mlp-q", hidden_dim=32)
TEMPERATURE = 0.2


class Transitions(NamedTuple):
    """[row, ...]. After the second step nothing follows."""

    features: Tensor
    actions: FactoredActions[Tensor]
    reward: Tensor
    next_features: Tensor
    goes_on: Tensor


def masks_of(rows: int) -> ActionMasks:
    """WAIT, or ADVANCE on any slot."""
    op = torch.zeros(rows, len(LifecycleOp), dtype=torch.bool)
    op[:, [LifecycleOp.WAIT, LifecycleOp.ADVANCE]] = True
    heads = [torch.ones(rows, size, dtype=torch.bool) for size in SIZES[:-1]]
    return ActionMasks(*[*heads, op, torch.ones(rows, len(LifecycleOp), SLOTS, dtype=torch.bool)])


def features_of(shown: Tensor, width: int, opened: Tensor | None = None) -> Tensor:
    """The slot shown; at the second step also that it is the second, and whether the door is open."""
    features = torch.zeros(len(shown), width)
    features[torch.arange(len(shown)), shown] = 1.0
    if opened is not None:
        features[:, SLOTS] = 1.0
        features[:, SLOTS + 1] = opened.float()
    return features


def play(
    policy: PolicyBundle, generator: torch.Generator, *, greedy: bool, explore: float = 0.0
) -> Transitions:
    """An episode of each environment; a share of the actions is random."""
    shown = torch.randint(SLOTS, (ENVS,), generator=generator)
    steps, masks, opened = [], masks_of(ENVS), None
    for step in range(2):
        features = features_of(shown, policy.feature_dim, opened)
        hidden = policy.initial_hidden(ENVS)
        result = policy.get_action(features, masks, hidden, deterministic=greedy, generator=generator)
        by_chance = FactoredMaskedCategorical(torch.zeros(ENVS, sum(SIZES)), masks).sample(generator)
        lots = torch.rand(ENVS, generator=generator) < explore
        both = zip(by_chance, result.actions, strict=True)
        actions = FactoredActions(*(torch.where(lots, one, other) for one, other in both))
        right = (actions.op == LifecycleOp.ADVANCE) & (actions.slot == (shown + step) % SLOTS)
        pay = right & opened if opened is not None else torch.zeros_like(right)
        reward = pay.float() + 0.2 * (actions.op == LifecycleOp.WAIT)
        opened = right
        following = features_of(shown, policy.feature_dim, opened)
        steps.append(Transitions(features, actions, reward, following, torch.full((ENVS,), 1.0 - step)))
    return joined(steps)


def joined(parts: list[Transitions]) -> Transitions:
    whole: Transitions = tree_map(lambda *columns: torch.cat(columns), *parts)
    return whole


def pays(policy: PolicyBundle, *, greedy: bool = True) -> float:
    """Mean return of fresh episodes."""
    return float(play(policy, torch.Generator().manual_seed(99), greedy=greedy).reward.sum()) / ENVS


def drawn(replay: list[Transitions], generator: torch.Generator) -> Transitions:
    """A batch of what happened lately."""
    memory = joined(replay[-100:])
    rows = torch.randint(len(memory.reward), (256,), generator=generator)
    batch: Transitions = tree_map(lambda column: column[rows], memory)
    return batch


def values_of(critics: PolicyBundle, batch: Transitions) -> Tensor:
    """[critic, row]"""
    q_values = critics.get_q_values(batch.features, masks_of(len(batch.reward)))
    return joint_values(q_values, batch.actions, SIZES)


def train_dqn(updates: int, *, tau: float, every: int) -> PolicyBundle:
    """Double DQN with twin critics (van Hasselt et al., 2016; Fujimoto et al., 2018)."""
    online, target = create_policy(CRITICS), create_policy(CRITICS)
    target.sync_from(online)
    optimizer = torch.optim.Adam(online.network.parameters(), lr=1e-2)
    generator, replay = torch.Generator().manual_seed(0), list[Transitions]()
    for update in range(updates):
        replay.append(play(online, generator, greedy=True, explore=1.0))
        batch = drawn(replay, generator)
        masks = masks_of(len(batch.reward))
        with torch.no_grad():
            best, _ = greedy_actions(online.get_q_values(batch.next_features, masks).mean(0), masks)
            following = joint_values(target.get_q_values(batch.next_features, masks), best, SIZES).amin(0)
        goal = batch.reward + batch.goes_on * following
        loss = (values_of(online, batch) - goal).square().mean()
        optimizer.zero_grad()
        torch.autograd.backward(loss)
        optimizer.step()
        if update % every == every - 1:
            target.sync_from(online, tau=tau)
    return online


def train_sac(updates: int) -> PolicyBundle:
    """SAC for discrete actions (Christodoulou, 2019): "mlp" acts, "mlp-q" judges, a second "mlp-q" follows slowly."""
    actor = create_policy(PolicyConfig(policy="mlp", hidden_dim=32))
    critics, target = create_policy(CRITICS), create_policy(CRITICS)
    target.sync_from(critics)
    rates = ((actor, 3e-3), (critics, 1e-2))
    optimizer = torch.optim.Adam({"params": each.network.parameters(), "lr": rate} for each, rate in rates)
    generator, replay = torch.Generator().manual_seed(0), list[Transitions]()
    for _ in range(updates):
        replay.append(play(actor, generator, greedy=False))
        batch = drawn(replay, generator)
        masks = masks_of(len(batch.reward))
        with torch.no_grad():
            ahead = actor.forward(batch.next_features, masks).distribution
            after = ahead.sample(generator)
            values = joint_values(target.get_q_values(batch.next_features, masks), after, SIZES).amin(0)
            goal = batch.reward + batch.goes_on * (values - TEMPERATURE * ahead.log_prob(after))
        loss = (values_of(critics, batch) - goal).square().mean()
        distribution = actor.forward(batch.features, masks).distribution
        actions = distribution.sample(generator)
        log_probs = distribution.log_prob(actions)
        with torch.no_grad():
            values = joint_values(critics.get_q_values(batch.features, masks), actions, SIZES).amin(0)
            gain = values - TEMPERATURE * log_probs
        loss = loss - ((gain - gain.mean()) * log_probs).mean()
        optimizer.zero_grad()
        torch.autograd.backward(loss)
        optimizer.step()
        target.sync_from(critics, tau=0.05)
    return actor


@pytest.mark.parametrize(("tau", "every"), [(1.0, 20), (0.1, 1)], ids=["hard", "soft"])
def test_dqn(tau: float, every: int) -> None:
    assert pays(train_dqn(250, tau=tau, every=every)) > 0.95


def test_dqn_whose_target_never_follows_finds_what_pays_at_once_and_no_more() -> None:
    assert pays(train_dqn(250, tau=0.0, every=1)) < 0.5


def test_sac() -> None:
    assert pays(train_sac(200)) > 0.95
