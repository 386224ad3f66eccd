"""What trying several times buys: the best of k episodes on a host, and what it costs beside a trained policy."""

from collections.abc import Sequence
from math import comb
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from simic_training.evaluation.outcomes import Outcomes


class Cost(NamedTuple):
    """Epochs of host training that a way to grow networks costs: once, and for each network."""

    once: int
    per_network: int

    def of(self, networks: int) -> int:
        """For so many networks."""
        return self.once + networks * self.per_network


def pays_from(policy: Cost, rival: Cost) -> int | None:
    """The number of networks from which on the policy has cost no more than the rival; None if that never comes.

    once + n per_network <= once' + n per_network'

    Args:
        policy, rival: their costs; a network costs the policy no more than the rival.
    """
    saved = rival.per_network - policy.per_network
    ahead = policy.once - rival.once
    if ahead <= 0:
        return 1
    return -(-ahead // saved) if saved > 0 else None


def best_of(
    returns: Float[Tensor, "host attempt"], values: Float[Tensor, "host attempt"], k: int
) -> Float[Tensor, " host"]:
    """What the attempt with the best return among k is worth: its mean over all ways to choose k of the n attempts.

    Of the attempts in order of return, the best first, the i-th (from 0) is the best of C(n - 1 - i, k - 1) of the
    C(n, k) sets, as in pass@k (M. Chen et al., https://arxiv.org/abs/2107.03374). No luck in which k came first.

    Args:
        returns: what is chosen by.
        values: what the chosen one is worth.
        k: 1 to the number of attempts.

    Raises:
        ValueError: `k` outside that range.
    """
    attempts = returns.shape[1]
    if not 1 <= k <= attempts:
        raise ValueError(f"`k` must lie in 1 to {attempts}, the attempts on each host, not {k}")
    chances = [comb(attempts - 1 - place, k - 1) / comb(attempts, k) for place in range(attempts)]
    order = returns.argsort(dim=1, descending=True, stable=True)
    return (values.double().gather(1, order) * torch.tensor(chances, dtype=torch.float64)).sum(1)


def search(attempts: Sequence[Outcomes], k: int) -> Outcomes:
    """Of each host the expected outcome when k of the attempts are made and the one with the best return is kept.

    Args:
        attempts: several on the same hosts.
        k: 1 to their number.
    """
    stacked = [
        torch.stack(values, dim=1).double() for values in zip(*(each[1:] for each in attempts), strict=True)
    ]
    returns = torch.stack([each.episode_return for each in attempts], dim=1).double()
    return Outcomes(attempts[0].hosts, *(best_of(returns, values, k) for values in stacked))


def chosen_elsewhere(schedules: Sequence[Outcomes]) -> Outcomes:
    """What the schedule with the best mean return reaches where it was not chosen.

    For the hosts of each member of the family it is the best on the hosts of all other members.

    Args:
        schedules: outcomes on the same hosts.
    """
    hosts = schedules[0].hosts
    returns = torch.stack([each.episode_return for each in schedules])  # [schedule, host]
    members = torch.tensor([host.cluster for host in hosts])
    places = torch.arange(len(hosts))
    if len(members.unique()) == 1:
        members = places
    elsewhere = members[:, None] != members  # [host, host]
    best = torch.stack([returns[:, other].mean(1).argmax() for other in elsewhere])
    stacked = [torch.stack(values) for values in zip(*(each[1:] for each in schedules), strict=True)]
    return Outcomes(hosts, *(values[best, places] for values in stacked))
