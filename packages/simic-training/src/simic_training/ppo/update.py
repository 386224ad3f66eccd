"""One update of a recurrent policy from a batch of trajectories."""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import torch
from jaxtyping import Int
from torch import Tensor

from simic_training.ppo.config import PPOConfig
from simic_training.ppo.diagnostics import explained_variance
from simic_training.ppo.finite import check_finite
from simic_training.ppo.losses import PPOLoss, ppo_loss
from simic_training.ppo.returns import (
    Advantages,
    against_replicas,
    generalized_advantages,
    normalize_advantages,
)
from simic_training.ppo.trajectory import Chunks, Trajectory, cut, in_chunks
from tamiyo_policies import EvalResult, PolicyBundle


class UpdateStats(NamedTuple):
    """Means over the gradient steps of an update, and how much of the return the value function explained.

    `gradient_norm` is that before clipping, and None where no step was taken; `explained_variance` is None where the
    returns do not vary. In `approx_kl` the minibatch that ended the update counts too.
    """

    actor_loss: float
    critic_loss: float
    entropy: float
    approx_kl: float
    clip_fraction: float
    gradient_norm: float | None
    explained_variance: float | None
    gradient_steps: int


def make_optimizer(policy: PolicyBundle, config: PPOConfig) -> torch.optim.Adam:
    """The optimiser of all of a policy's weights."""
    return torch.optim.Adam(policy.network.parameters(), lr=config.learning_rate)


def set_learning_rate(optimizer: torch.optim.Optimizer, learning_rate: float) -> None:
    """Go on with this learning rate, for all weights."""
    for parameters in optimizer.param_groups:
        parameters["lr"] = learning_rate


def update_policy(
    policy: PolicyBundle,
    optimizer: torch.optim.Optimizer,
    trajectory: Trajectory,
    config: PPOConfig,
    *,
    entropy_weight: float,
    generator: torch.Generator,
    replicas: int = 1,
) -> UpdateStats:
    """Proximal policy optimisation with backpropagation through the chunks of a trajectory.

    Each chunk is recomputed with the weights of now from the hidden state that it started from when it was collected;
    the masks are those the actions were drawn under, the floors those of `config`.

    Args:
        policy: updated in place through `optimizer`.
        optimizer: from `make_optimizer`; keeps its state between updates.
        trajectory: collected with the policy's present weights and the floors of `config`.
        config: see `PPOConfig`.
        entropy_weight: weight of the entropy bonus in this update, see `PPOConfig.entropy_weight`.
        generator: the source of the minibatches' order.
        replicas: environments in a row that are compared with each other, see `against_replicas`; 1 for none.

    Raises:
        NonFiniteLossError: before the step that it would have spoilt.
        ValueError: `replicas` does not divide the environments.
    """
    targets = trajectory_targets(trajectory, config)
    _check_trajectory(trajectory, targets)
    advantage = normalize_advantages(
        against_replicas(targets.advantage, replicas),
        trajectory.steps.free,
        least_std=config.least_std,
    )
    length, chunks = trajectory.chunk_length, in_chunks(trajectory)
    advantage, value_target = cut(advantage, length), cut(targets.value_target, length)
    losses: list[PPOLoss] = []
    norms: list[Tensor] = []
    divergences: list[Tensor] = []
    for rows in _minibatches(len(advantage), config, generator):
        part = chunks.select(rows)
        evaluated = evaluate(policy, part, config)
        check_finite(
            new_head_log_probs=evaluated.head_log_probs,
            new_value=evaluated.value,
            new_entropy=evaluated.entropy,
        )
        loss = ppo_loss(
            evaluated.head_log_probs,
            part.steps.head_log_probs,
            advantage[rows],
            evaluated.value,
            value_target[rows],
            evaluated.entropy,
            part.steps.free_heads,
            ratio=config.ratio,
            clip=config.clip,
            value_weight=config.value_weight,
            entropy_weight=entropy_weight,
        )
        check_finite(loss=loss.total)
        divergences.append(loss.approx_kl)
        if loss.approx_kl > config.target_kl:
            losses = losses or [loss]
            break
        optimizer.zero_grad(set_to_none=True)
        loss.total.backward()
        norm = torch.nn.utils.clip_grad_norm_(policy.network.parameters(), config.grad_clip)
        check_finite(gradient=norm)
        optimizer.step()
        losses.append(PPOLoss(*(number.detach() for number in loss)))
        norms.append(norm)
    return UpdateStats(
        actor_loss=_mean([loss.actor for loss in losses]),
        critic_loss=_mean([loss.critic for loss in losses]),
        entropy=_mean([loss.entropy for loss in losses]),
        approx_kl=_mean(divergences),
        clip_fraction=_mean([loss.clip_fraction for loss in losses]),
        gradient_norm=_mean(norms) if norms else None,
        explained_variance=explained_variance(trajectory.steps.value, targets.value_target),
        gradient_steps=len(norms),
    )


def evaluate(policy: PolicyBundle, chunks: Chunks, config: PPOConfig) -> EvalResult:
    """What the policy thinks now of what was done, with gradients, under the floors of `config`."""
    steps = chunks.steps
    return policy.evaluate_actions(
        steps.features,
        steps.actions,
        steps.masks,
        chunks.hidden.for_training(),
        episode_starts=steps.starts,
        floors=config.floors,
    )


def trajectory_targets(trajectory: Trajectory, config: PPOConfig) -> Advantages:
    """Advantages and value targets."""
    steps = trajectory.steps
    return generalized_advantages(
        steps.reward,
        steps.value,
        steps.terminated,
        steps.truncated,
        steps.cut_value,
        trajectory.last_value,
        gamma=config.gamma,
        lam=config.lam,
    )


def _check_trajectory(trajectory: Trajectory, targets: Advantages) -> None:
    """Check everything that was recorded and that the loss will use."""
    steps = trajectory.steps
    check_finite(
        features=steps.features,
        hidden_h=trajectory.hidden.h,
        hidden_c=trajectory.hidden.c,
        head_log_probs=steps.head_log_probs,
        reward=steps.reward,
        value=steps.value,
        cut_value=steps.cut_value,
        last_value=trajectory.last_value,
        advantage=targets.advantage,
        value_target=targets.value_target,
    )


def _minibatches(
    num_chunks: int, config: PPOConfig, generator: torch.Generator
) -> Iterator[Int[Tensor, " row"]]:
    """The chunks of each gradient step: in a new order, and all of them once, in each epoch."""
    for _ in range(config.epochs):
        order = torch.randperm(num_chunks, generator=generator)
        yield from order.tensor_split(min(config.minibatches, num_chunks))


def _mean(values: Sequence[Tensor]) -> float:
    return float(torch.stack(list(values)).detach().mean())
