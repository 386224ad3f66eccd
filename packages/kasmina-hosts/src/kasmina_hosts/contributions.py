"""What seeds add to their host's accuracy, alone and in pairs, from its accuracy without them."""

import itertools
from collections.abc import Callable
from typing import NamedTuple

import torch
from jaxtyping import Bool, Float
from torch import Tensor

Without = Callable[[int, int | None], Float[Tensor, " host"]]
"""Accuracy (percent) of every host without the seed in one slot, and without that of a second, if any."""


class Contributions(NamedTuple):
    """Points of accuracy; NaN where they were not measured.

    Args:
        contribution: accuracy with the seed minus without it (its alpha forced to 0).
        interaction_sum, boost_received: sum and largest of the seed's interactions with the host's other seeds. The
            interaction of two seeds is what they add together beyond what each adds where the other is missing:
            accuracy - without one - without the other + without both.
    """

    contribution: Float[Tensor, "host slot"]
    interaction_sum: Float[Tensor, "host slot"]
    boost_received: Float[Tensor, "host slot"]


def measure_contributions(
    accuracy: Float[Tensor, " host"],
    measured: Bool[Tensor, "host slot"],
    accuracy_without: Without,
    *,
    interactions: bool,
) -> Contributions:
    """Of the seeds under `measured`.

    Args:
        accuracy: of the hosts as they are, percent.
        accuracy_without: called once per slot and, for `interactions`, once per pair that some host holds.
    """
    num_hosts, num_slots = measured.shape
    without = {slot: accuracy_without(slot, None) for slot in range(num_slots) if measured[:, slot].any()}
    contribution = torch.full((num_hosts, num_slots), torch.nan)
    for slot, reduced in without.items():
        contribution[:, slot] = torch.where(measured[:, slot], accuracy - reduced, torch.nan)
    pairs = torch.full((num_hosts, num_slots, num_slots), torch.nan)
    for first, second in itertools.combinations(without, 2) if interactions else ():
        both = measured[:, first] & measured[:, second]
        if both.any():
            found = accuracy - without[first] - without[second] + accuracy_without(first, second)
            pairs[both, first, second] = pairs[both, second, first] = found[both]
    paired = ~pairs.isnan()
    boost = torch.where(paired, pairs, -torch.inf).amax(-1)
    return Contributions(
        contribution,
        interaction_sum=torch.where(paired.any(-1), pairs.nansum(-1), torch.nan),
        boost_received=torch.where(paired.any(-1), boost, torch.nan),
    )
