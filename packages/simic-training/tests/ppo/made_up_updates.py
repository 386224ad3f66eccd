"""Updates from a world of chance: the same for equal settings."""

import torch
from chance_world import ChanceWorld
from torch import Tensor
from toy_training import make_policy, sharpen

from simic_training.ppo.collect import collect, first_carry
from simic_training.ppo.config import PPOConfig
from simic_training.ppo.losses import PPOLoss, ppo_loss
from simic_training.ppo.returns import normalize_advantages
from simic_training.ppo.trajectory import Trajectory, in_chunks
from simic_training.ppo.update import UpdateStats, evaluate, make_optimizer, trajectory_targets, update_policy
from tamiyo_policies import PolicyBundle

ENVS, STEPS, LENGTH = 8, 12, 4
CHUNKS = ENVS * STEPS // LENGTH


def fresh_policy() -> PolicyBundle:
    return sharpen(make_policy("lstm", slots=3))


def rollout(policy: PolicyBundle, config: PPOConfig) -> Trajectory:
    """Episodes that end, and are cut off, inside chunks."""
    world = ChanceWorld(ENVS)
    trajectory, _ = collect(
        world,
        policy,
        first_carry(world, policy),
        STEPS,
        generator=torch.Generator().manual_seed(0),
        chunk_length=LENGTH,
        floors=config.floors,
    )
    return trajectory


def update(
    policy: PolicyBundle,
    trajectory: Trajectory,
    config: PPOConfig,
    *,
    entropy_weight: float = 0.0,
    seed: int = 0,
    replicas: int = 1,
    optimizer: torch.optim.Optimizer | None = None,
) -> UpdateStats:
    return update_policy(
        policy,
        make_optimizer(policy, config) if optimizer is None else optimizer,
        trajectory,
        config,
        entropy_weight=entropy_weight,
        generator=torch.Generator().manual_seed(seed),
        replicas=replicas,
    )


def weights(policy: PolicyBundle) -> dict[str, Tensor]:
    """A copy of them."""
    return {name: weight.clone() for name, weight in policy.state_dict().items()}


def same_weights(one: dict[str, Tensor], other: dict[str, Tensor]) -> bool:
    return all(torch.equal(weight, other[name]) for name, weight in one.items())


def whole_loss(policy: PolicyBundle, trajectory: Trajectory, config: PPOConfig) -> PPOLoss:
    """The loss over all of a trajectory at the policy's present weights."""
    chunks, targets = in_chunks(trajectory), trajectory_targets(trajectory, config)
    advantage = normalize_advantages(targets.advantage, trajectory.steps.free, least_std=config.least_std)
    evaluated = evaluate(policy, chunks, config)
    return ppo_loss(
        evaluated.head_log_probs,
        chunks.steps.head_log_probs,
        advantage.reshape(CHUNKS, LENGTH),
        evaluated.value,
        targets.value_target.reshape(CHUNKS, LENGTH),
        evaluated.entropy,
        chunks.steps.free_heads,
        ratio=config.ratio,
        clip=config.clip,
        value_weight=config.value_weight,
        entropy_weight=0.0,
    )
