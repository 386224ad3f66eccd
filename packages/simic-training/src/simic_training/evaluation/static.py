"""Networks that do not grow, of the size that the policy's ended with: what growing, rather than size, is worth."""

from collections.abc import Sequence
from dataclasses import replace
from functools import cache
from itertools import count, groupby
from typing import Final

import torch

from kasmina_hosts import HostConfig, build_host
from leyline_types import LegalityRules
from simic_training.evaluation.play import Played, play
from simic_training.growth.draws import HostGroup
from tamiyo_policies import WaitController

STATIC_SEEDS: Final = "static-seeds"
STATIC_WIDE: Final = "static-wide"
STATIC: Final = (STATIC_SEEDS, STATIC_WIDE)


def play_static_seeds(grown: Played, *, rent_rate: float, rules: LegalityRules) -> Played:
    """The seeds that alter each host's output in the end, in place and fossilized from the first epoch on.

    Seeds that are still in training when the episode ends alter nothing and are left out, although the grown network
    pays rent for them.
    """
    episodes = grown.episodes
    return play(WaitController(), episodes.groups, rent_rate=rent_rate, rules=rules, grown=episodes.grown)


def play_static_wide(grown: Played, *, rent_rate: float, rules: LegalityRules) -> Played:
    """Each host without seeds, but so wide that it has as many parameters as it ended with, as near as widths allow."""
    groups = widened(grown.episodes.groups, grown.episodes.total_params[:, -1].tolist())
    return play(WaitController(), groups, rent_rate=rent_rate, rules=rules)


def widened(groups: Sequence[HostGroup], params: Sequence[int]) -> list[HostGroup]:
    """The same hosts, in order, each of the width that comes nearest to its number of parameters.

    Args:
        groups: the hosts.
        params: of each host, the parameters that it shall have; at least those of width 1.
    """
    wanted, wide = iter(params), []
    for group in groups:
        shape = (*group.task.train.images.shape[1:],)
        widths = [
            nearest_width(next(wanted), group.config, shape, group.task.num_classes) for _ in group.host_seeds
        ]
        for width, hosts in groupby(zip(widths, group.host_seeds, strict=True), key=_width):
            seeds = tuple(seed for _, seed in hosts)
            wide.append(HostGroup(group.task, replace(group.config, width=width), seeds))
    return wide


def nearest_width(params: int, config: HostConfig, image_shape: tuple[int, ...], num_classes: int) -> int:
    """The width of the bare host whose parameters are nearest in number; of two equally near the smaller."""
    for width in count(1):
        above = bare_params(replace(config, width=width), image_shape, num_classes)
        if above >= params:
            break
    if width == 1:
        return 1
    below = bare_params(replace(config, width=width - 1), image_shape, num_classes)
    return width if above - params < params - below else width - 1


@cache
def bare_params(config: HostConfig, image_shape: tuple[int, ...], num_classes: int) -> int:
    """Parameters of a host without seeds."""
    channels, height, columns = image_shape
    with torch.device("meta"):  # shapes alone: nothing is drawn from torch's own random numbers
        parts = build_host(config, (channels, height, columns), num_classes)
    return sum(parameter.numel() for part in parts for parameter in part.parameters())


def _width(pair: tuple[int, int]) -> int:
    return pair[0]
