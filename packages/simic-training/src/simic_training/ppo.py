"""One update of a recurrent policy from a batch of whole episodes."""

from typing import NamedTuple

import torch
from torch import Tensor

from simic_training.config import PPOConfig
from simic_training.losses import PPOLoss, ppo_loss
from simic_training.returns import Advantages, against_replicas, generalized_advantages, normalize_advantages
from simic_training.trajectory import Trajectory
from tamiyo_policies import PolicyBundle


class NonFiniteLossError(ArithmeticError):
    """An input or the value of the loss is NaN or infinite; the step that it would have spoilt was not taken."""


class UpdateStats(NamedTuple):
    """Means over the gradient steps of an update, and how much of the return the value function explained.

    `gradient_norm` is None where no step was taken, `explained_variance` where the returns do not vary.
    """

    actor_loss: float
    critic_loss: float
    entropy: float
    approx_kl: float
    clip_fraction: float
    gradient_norm: float | None
    explained_variance: float | None
    gradient_steps: int


def update_policy(
    policy: PolicyBundle,
    optimizer: torch.optim.Optimizer,
    episodes: Trajectory,
    config: PPOConfig,
    *,
    replicas: int,
    entropy_weight: float,
    generator: torch.Generator,
) -> UpdateStats:
    """Proximal policy optimisation with backpropagation through whole episodes.

    Each minibatch holds whole episodes, so that the hidden state is recomputed from its start with the weights of now;
    the masks are those the actions were drawn under.

    Args:
        policy: updated in place through `optimizer`.
        episodes: [env, time, ...], collected with the policy's present weights.
        config: see `PPOConfig`.
        replicas: episodes on the same host, next to each other in the batch.
        entropy_weight: weight of the entropy bonus in this update.
        generator: the source of the minibatches' order.

    Raises:
        NonFiniteLossError: before the step that it would have spoilt.
    """
    targets = episode_targets(episodes, config)
    check_finite(
        features=episodes.features,
        log_prob=episodes.log_prob,
        advantage=targets.advantage,
        value_target=targets.value_target,
    )
    advantage = normalize_advantages(against_replicas(targets.advantage, replicas), episodes.free)
    num_envs = episodes.features.shape[0]
    losses: list[PPOLoss] = []
    norms: list[Tensor] = []
    for _ in range(config.epochs):
        order = torch.randperm(num_envs, generator=generator)
        for envs in order.tensor_split(min(config.minibatches, num_envs)):
            part = episodes.select(envs)
            evaluated = policy.evaluate_actions(part.features, part.actions, part.masks)
            loss = ppo_loss(
                evaluated.log_prob,
                part.log_prob,
                advantage[envs],
                evaluated.value,
                targets.value_target[envs],
                evaluated.entropy,
                part.free,
                clip=config.clip,
                value_weight=config.value_weight,
                entropy_weight=entropy_weight,
            )
            check_finite(loss=loss.total)
            if loss.approx_kl > config.target_kl:
                return _summary(losses or [loss], norms, episodes, targets)
            optimizer.zero_grad(set_to_none=True)
            loss.total.backward()
            norms.append(torch.nn.utils.clip_grad_norm_(policy.network.parameters(), config.grad_clip))
            check_finite(gradient=norms[-1])
            optimizer.step()
            losses.append(loss)
    return _summary(losses, norms, episodes, targets)


def episode_targets(episodes: Trajectory, config: PPOConfig) -> Advantages:
    """Advantages and value targets of whole episodes, the last step of each being terminal."""
    terminated = torch.zeros_like(episodes.free)
    terminated[:, -1] = True
    return generalized_advantages(
        episodes.rewards.total,
        episodes.value,
        terminated,
        torch.zeros_like(episodes.value[:, 0]),
        gamma=config.gamma,
        lam=config.lam,
    )


def check_finite(**tensors: Tensor) -> None:
    """Check what a gradient step is about to use.

    Raises:
        NonFiniteLossError: naming every tensor with a NaN or infinite entry, and how many it has.
    """
    bad = {name: int((~tensor.isfinite()).sum()) for name, tensor in tensors.items()}
    found = [f"{name} ({count} of {tensors[name].numel()} entries)" for name, count in bad.items() if count]
    if found:
        raise NonFiniteLossError(f"not finite: {', '.join(found)}")


def explained_variance(prediction: Tensor, target: Tensor) -> float | None:
    """1 - Var(target - prediction) / Var(target); None where the target does not vary."""
    variance = target.var(correction=0)
    return float(1 - (target - prediction).var(correction=0) / variance) if variance > 0 else None


def _summary(
    losses: list[PPOLoss], norms: list[Tensor], episodes: Trajectory, targets: Advantages
) -> UpdateStats:
    def mean(values: list[Tensor]) -> float:
        return float(torch.stack(values).detach().mean())

    return UpdateStats(
        actor_loss=mean([loss.actor for loss in losses]),
        critic_loss=mean([loss.critic for loss in losses]),
        entropy=mean([loss.entropy for loss in losses]),
        approx_kl=mean([loss.approx_kl for loss in losses]),
        clip_fraction=mean([loss.clip_fraction for loss in losses]),
        gradient_norm=mean(norms) if norms else None,
        explained_variance=explained_variance(episodes.value, targets.value_target),
        gradient_steps=len(norms),
    )
