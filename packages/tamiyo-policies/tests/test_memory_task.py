"""Policies learn what cannot be learnt without memory: to act on the slot whose cue they saw some steps ago."""

from dataclasses import replace

import pytest
import torch
from torch import Tensor

from leyline_types import FactoredActions, LifecycleOp, SlotConfig, head_sizes
from tamiyo_masks import ActionMasks
from tamiyo_policies import EvalResult, PolicyBundle, PolicyConfig, create_policy

BATCH, TIME, SLOTS = 64, 5, 3


def masks_of_the_task() -> ActionMasks:
    """WAIT until the last step, which allows ADVANCE alone, on any slot."""
    op = torch.zeros(BATCH, TIME, len(LifecycleOp), dtype=torch.bool)
    op[:, :-1, LifecycleOp.WAIT] = True
    op[:, -1, LifecycleOp.ADVANCE] = True
    sizes = head_sizes(SlotConfig.default())
    heads = [torch.ones(BATCH, TIME, size, dtype=torch.bool) for size in sizes[:-1]]
    every_slot = torch.ones(BATCH, TIME, len(LifecycleOp), SLOTS, dtype=torch.bool)
    return ActionMasks(*[*heads, op, every_slot])


def play(
    policy: PolicyBundle, cue: Tensor, masks: ActionMasks, generator: torch.Generator, *, forgetful: bool
) -> tuple[Tensor, FactoredActions[Tensor]]:
    """Episodes in which the first step alone shows the cue: features and actions, [batch, time]."""
    features = torch.zeros(BATCH, TIME, policy.feature_dim)
    features[torch.arange(BATCH), 0, cue] = 3.0
    hidden, actions = policy.initial_hidden(BATCH), []
    for time in range(TIME):
        result = policy.get_action(
            features[:, time], ActionMasks(*(mask[:, time] for mask in masks)), hidden, generator=generator
        )
        hidden = policy.initial_hidden(BATCH) if forgetful else result.hidden
        actions.append(result.actions)
    return features, FactoredActions(*(torch.stack(head, dim=1) for head in zip(*actions, strict=True)))


def train(config: PolicyConfig, *, forgetful: bool = False, updates: int) -> float:
    """Share of cues remembered over the last ten updates of plain policy gradient with a learnt baseline."""
    policy = create_policy(config)
    optimizer = torch.optim.Adam(policy.network.parameters(), lr=3e-3)
    generator, masks = torch.Generator().manual_seed(0), masks_of_the_task()
    starts = torch.ones(BATCH, TIME, dtype=torch.bool) if forgetful else None
    shares = []
    for _ in range(updates):
        cue = torch.randint(SLOTS, (BATCH,), generator=generator)
        features, actions = play(policy, cue, masks, generator, forgetful=forgetful)
        reward = (actions.slot[:, -1] == cue).float()
        evaluated: EvalResult = policy.evaluate_actions(features, actions, masks, episode_starts=starts)
        advantage = reward - evaluated.value[:, -1]
        loss = -(advantage.detach() * evaluated.log_prob.sum(-1)).mean() + 0.5 * advantage.square().mean()
        optimizer.zero_grad()
        torch.autograd.backward(loss)
        optimizer.step()
        shares.append(float(reward.mean()))
    return sum(shares[-10:]) / 10


LSTM = PolicyConfig(policy="lstm", hidden_dim=32)
FRAMES = PolicyConfig(policy="mlp", hidden_dim=32, frame_stack=TIME)


@pytest.mark.parametrize("config", [LSTM, FRAMES], ids=["lstm", "mlp of all frames"])
def test_memory_is_learnt(config: PolicyConfig) -> None:
    assert train(config, updates=120) > 0.95


@pytest.mark.parametrize(
    ("config", "forgetful"),
    [(LSTM, True), (FRAMES, True), (replace(FRAMES, frame_stack=TIME - 1), False)],
    ids=["lstm", "mlp of all frames", "mlp of a frame less"],
)
def test_without_memory_it_stays_a_guess(config: PolicyConfig, forgetful: bool) -> None:
    assert train(config, forgetful=forgetful, updates=60) < 0.5
