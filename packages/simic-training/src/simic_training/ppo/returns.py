"""Returns and advantages over trajectories."""

from typing import NamedTuple

import torch
from jaxtyping import Bool, Float
from torch import Tensor


class Advantages(NamedTuple):
    """Targets of an update, [env, time] each."""

    advantage: Float[Tensor, "env time"]
    value_target: Float[Tensor, "env time"]


def generalized_advantages(
    rewards: Float[Tensor, "env time"],
    values: Float[Tensor, "env time"],
    terminated: Bool[Tensor, "env time"],
    truncated: Bool[Tensor, "env time"],
    cut_value: Float[Tensor, "env time"],
    last_value: Float[Tensor, " env"],
    *,
    gamma: float,
    lam: float,
) -> Advantages:
    """Generalised advantage estimation.

    delta_t = r_t + gamma V'_t - V_t;  A_t = delta_t + gamma lam A_{t+1} within an episode

    where V' is the value of the next state: 0 where the episode terminated, else `cut_value` where it was cut off.
    Schulman et al., High-Dimensional Continuous Control Using Generalized Advantage Estimation,
    https://arxiv.org/abs/1506.02438, equation 16.

    Args:
        rewards, values: of the steps taken.
        terminated: whether the step ended its episode for good. truncated: whether it was cut off there; of no
            account where it ended for good.
        cut_value: value of the state in which it was cut off.
        last_value: value of the state after the last step.
        gamma: discount, 0 to 1. lam: trace decay, 0 to 1.

    Returns:
        Advantages, and the targets A + V for the value function.
    """
    continues = ~(terminated | truncated)
    next_values = torch.cat([values[:, 1:], last_value[:, None]], dim=1)
    next_values = torch.where(terminated, 0.0, torch.where(truncated, cut_value, next_values))
    deltas = rewards + gamma * next_values - values
    carried = torch.zeros_like(last_value)
    backwards = []
    for step in reversed(range(rewards.shape[1])):
        carried = deltas[:, step] + gamma * lam * torch.where(continues[:, step], carried, 0.0)
        backwards.append(carried)
    advantage = torch.stack(backwards[::-1], dim=1)
    return Advantages(advantage, advantage + values)


def against_replicas(advantage: Float[Tensor, "env time"], replicas: int) -> Float[Tensor, "env time"]:
    """Each advantage minus the mean, at the same time, of the other episodes on the same host.

    Hosts differ by far more than actions do: what a host owes to its own first weights and data is common to its
    replicas and cancels. The baseline does not depend on the episode's own actions, so the gradient stays unbiased
    (leave-one-out, Kool et al., Buy 4 REINFORCE Samples, Get a Baseline for Free!, https://openreview.net/forum?id=r1lgTGL5DE).

    Args:
        advantage: replicas of one host stand next to each other.
        replicas: episodes per host; 1 changes nothing.

    Raises:
        ValueError: the environments cannot be divided among groups of so many.
    """
    if replicas < 1 or len(advantage) % replicas:
        raise ValueError(
            f"`replicas` must be at least 1 and divide the {len(advantage)} environments, not {replicas}"
        )
    if replicas == 1:
        return advantage
    grouped = advantage.reshape(-1, replicas, advantage.shape[1])
    others = (grouped.sum(1, keepdim=True) - grouped) / (replicas - 1)
    return (grouped - others).reshape(advantage.shape)


def normalize_advantages(
    advantage: Float[Tensor, "env time"], counted: Bool[Tensor, "env time"], *, least_std: float
) -> Float[Tensor, "env time"]:
    """Advantages with mean 0 and standard deviation 1 over the counted steps, and 0 elsewhere.

    Args:
        advantage: of every step.
        counted: the steps that will be learnt from.
        least_std: floor of the deviation divided by, so that a batch without differences is not blown up into noise.
    """
    count = counted.sum().clamp(min=1)
    centred = torch.where(counted, advantage - torch.where(counted, advantage, 0.0).sum() / count, 0.0)
    std = (centred.square().sum() / count).sqrt().clamp(min=least_std)
    return centred / std
