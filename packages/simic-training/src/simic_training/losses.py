"""The loss of proximal policy optimisation, as a pure function of tensors."""

from typing import NamedTuple

import torch
from jaxtyping import Bool, Float
from torch import Tensor


class PPOLoss(NamedTuple):
    """Scalars: the loss to minimise, its parts, and two diagnostics without gradient."""

    total: Float[Tensor, ""]
    actor: Float[Tensor, ""]
    critic: Float[Tensor, ""]
    entropy: Float[Tensor, ""]
    approx_kl: Float[Tensor, ""]
    clip_fraction: Float[Tensor, ""]


def ppo_loss(
    log_prob: Float[Tensor, "env time"],
    old_log_prob: Float[Tensor, "env time"],
    advantage: Float[Tensor, "env time"],
    value: Float[Tensor, "env time"],
    value_target: Float[Tensor, "env time"],
    entropy: Float[Tensor, "env time"],
    free: Bool[Tensor, "env time"],
    *,
    clip: float,
    value_weight: float,
    entropy_weight: float,
) -> PPOLoss:
    """Clipped surrogate, squared value error and entropy bonus.

    actor = -mean(min(r A, clip(r, 1 - c, 1 + c) A)), r = exp(log_prob - old_log_prob)

    Schulman et al., Proximal Policy Optimization Algorithms, https://arxiv.org/abs/1707.06347, equations 7 and 9;
    the KL estimate mean((r - 1) - log r) is J. Schulman's k3, http://joschu.net/blog/kl-approx.html. Actor and entropy
    terms average over the free steps only: where one action alone was legal there was nothing to learn.

    Args:
        log_prob, old_log_prob: joint log-probability of the action taken, now and when it was taken.
        advantage, value_target: fixed targets. value: the value function now.
        entropy: of the policy now, per step.
        free: steps at which more than one op was legal.
        clip: c. value_weight, entropy_weight: weights of the two other terms.
    """
    count = free.sum().clamp(min=1)
    log_ratio = torch.where(free, log_prob - old_log_prob, 0.0)
    ratio = log_ratio.exp()
    clipped = ratio.clamp(1 - clip, 1 + clip)
    surrogate = torch.minimum(ratio * advantage, clipped * advantage)
    actor = -torch.where(free, surrogate, 0.0).sum() / count
    critic = 0.5 * (value - value_target).square().mean()
    mean_entropy = torch.where(free, entropy, 0.0).sum() / count
    total = actor + value_weight * critic - entropy_weight * mean_entropy
    with torch.no_grad():
        approx_kl = torch.where(free, ratio - 1 - log_ratio, 0.0).sum() / count
        clip_fraction = (free & ((ratio - 1).abs() > clip)).sum() / count
    return PPOLoss(total, actor, critic, mean_entropy, approx_kl, clip_fraction)
