"""Small policies, and the loop that trains them on small worlds."""

from collections.abc import Iterator
from typing import NamedTuple

import torch

from leyline_types import SlotConfig
from simic_training.ppo.collect import collect, first_carry
from simic_training.ppo.config import PPOConfig
from simic_training.ppo.environments import Environments
from simic_training.ppo.trajectory import Trajectory
from simic_training.ppo.update import UpdateStats, make_optimizer, update_policy
from tamiyo_policies import PolicyBundle, PolicyConfig, create_policy, register_builtin_policies


class Update(NamedTuple):
    """What was collected for an update, and what came of it."""

    trajectory: Trajectory
    stats: UpdateStats


def make_policy(
    kind: str, *, slots: int = 1, hidden_dim: int = 16, seed: int = 0, frame_stack: int = 1
) -> PolicyBundle:
    """A fresh policy, its first choices nearly even."""
    register_builtin_policies()
    return create_policy(
        PolicyConfig(
            policy=kind,
            slot_config=SlotConfig.for_grid(1, slots),
            hidden_dim=hidden_dim,
            seed=seed,
            frame_stack=frame_stack,
        )
    )


def sharpen(policy: PolicyBundle) -> PolicyBundle:
    """The policy with its action head scaled up from nearly nothing, so that actions can be told apart."""
    with torch.no_grad():
        policy.state_dict()["action_head.weight"].mul_(100)
    return policy


def train(
    policy: PolicyBundle,
    world: Environments,
    config: PPOConfig,
    *,
    updates: int,
    steps: int,
    chunk_length: int | None = None,
    seed: int = 0,
) -> Iterator[Update]:
    """Collect and update, over and over, each rollout going on where the one before left off."""
    optimizer = make_optimizer(policy, config)
    generator = torch.Generator().manual_seed(seed)
    carry = first_carry(world, policy)
    for update in range(updates):
        trajectory, carry = collect(
            world,
            policy,
            carry,
            steps,
            generator=generator,
            chunk_length=chunk_length,
            floors=config.floors,
        )
        stats = update_policy(
            policy,
            optimizer,
            trajectory,
            config,
            entropy_weight=config.entropy_weight(update / updates),
            generator=generator,
        )
        yield Update(trajectory, stats)
