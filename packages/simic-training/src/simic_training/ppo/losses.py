"""The loss of proximal policy optimisation, as a pure function of tensors."""

from typing import NamedTuple

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from simic_training.ppo.config import Ratio


class PPOLoss(NamedTuple):
    """Scalars: the loss to minimise, its parts, and two diagnostics without gradient."""

    total: Float[Tensor, ""]
    actor: Float[Tensor, ""]
    critic: Float[Tensor, ""]
    entropy: Float[Tensor, ""]
    approx_kl: Float[Tensor, ""]
    clip_fraction: Float[Tensor, ""]


def ppo_loss(
    head_log_probs: Float[Tensor, "env time head"],
    old_head_log_probs: Float[Tensor, "env time head"],
    advantage: Float[Tensor, "env time"],
    value: Float[Tensor, "env time"],
    value_target: Float[Tensor, "env time"],
    entropy: Float[Tensor, "env time"],
    free_heads: Bool[Tensor, "env time head"],
    *,
    ratio: Ratio,
    clip: float,
    value_weight: float,
    entropy_weight: float,
) -> PPOLoss:
    """Clipped surrogate, squared value error and entropy bonus.

    total = actor + value_weight critic - entropy_weight entropy
    actor = -mean_t sum_k min(r_k A, clip(r_k, 1 - c, 1 + c) A), r_k = exp(log p_k - old log p_k)
    critic = mean_t (V - target)^2 / 2

    where k runs over the heads that had a choice (`Ratio.HEAD`), or over the whole action alone, whose log-probability
    is the sum of its heads' (`Ratio.JOINT`). At r = 1 both have the gradient of A log p. Clipped head by head, one
    head that has moved far does not silence the others.

    Schulman et al., Proximal Policy Optimization Algorithms, https://arxiv.org/abs/1707.06347, equations 7 and 9; there
    is one ratio there. The KL estimate mean((r - 1) - log r) of the whole action is J. Schulman's k3,
    http://joschu.net/blog/kl-approx.html. Actor, entropy and KL average over the steps where some head had a choice,
    the critic over all steps; `clip_fraction` is the share of ratios further than c from 1.

    Args:
        head_log_probs, old_head_log_probs: of the action taken, now and when it was taken; their sum is its own.
        advantage, value_target: fixed targets. value: the value function now.
        entropy: of the policy now, per step.
        free_heads: heads that mattered and had more than one legal choice.
        ratio: what is clipped.
        clip: c. value_weight, entropy_weight: weights of the two other terms.
    """
    free = free_heads.any(-1)
    count = free.sum().clamp(min=1)
    moved = torch.where(free_heads, head_log_probs - old_head_log_probs, 0.0)
    log_ratio = moved.sum(-1)
    if ratio == Ratio.HEAD:
        ratios, clippable, gains = moved.exp(), free_heads, advantage[..., None]
    else:
        ratios, clippable, gains = log_ratio.exp(), free, advantage
    clipped = ratios.clamp(1 - clip, 1 + clip)
    surrogate = torch.minimum(ratios * gains, clipped * gains)
    actor = -torch.where(clippable, surrogate, 0.0).sum() / count
    critic = 0.5 * (value - value_target).square().mean()
    mean_entropy = torch.where(free, entropy, 0.0).sum() / count
    total = actor + value_weight * critic - entropy_weight * mean_entropy
    with torch.no_grad():
        approx_kl = torch.where(free, log_ratio.exp() - 1 - log_ratio, 0.0).sum() / count
        far = clippable & ((ratios - 1).abs() > clip)
        clip_fraction = far.sum() / clippable.sum().clamp(min=1)
    return PPOLoss(total, actor, critic, mean_entropy, approx_kl, clip_fraction)
