"""Networks that do not grow, of the size that the policy's ended with: what growing, rather than size, is worth."""

from collections.abc import Sequence
from dataclasses import replace
from itertools import count, groupby
from operator import itemgetter
from typing import Final

from kasmina_hosts import HostConfig, host_size
from leyline_types import LegalityRules
from simic_training.evaluation.play import Played, play
from simic_training.growth.draws import HostGroup
from tamiyo_policies import WaitController

STATIC_SEEDS: Final = "static-seeds"
STATIC_WIDE: Final = "static-wide"
STATIC: Final = (STATIC_SEEDS, STATIC_WIDE)


def play_static_seeds(grown: Played, *, rules: LegalityRules) -> Played:
    """The seeds that alter each host's output in the end, in place and fossilized from the first epoch on.

    Seeds that are still in training when the episode ends alter nothing and are left out, although the grown network
    pays rent for them.
    """
    episodes = grown.episodes
    return play(WaitController(), episodes.groups, rules=rules, grown=episodes.grown)


def play_static_wide(grown: Played, *, rules: LegalityRules) -> Played:
    """Each host without seeds, but so wide that it has as many parameters as it ended with, as near as widths allow."""
    groups = widened(grown.episodes.groups, grown.episodes.total_params[:, -1].tolist())
    return play(WaitController(), groups, rules=rules)


def widened(groups: Sequence[HostGroup], params: Sequence[int]) -> list[HostGroup]:
    """The same hosts, in order, each of the width that comes nearest to its number of parameters.

    Args:
        groups: the hosts.
        params: of each host, the parameters that it shall have; at least those of width 1.
    """
    wanted, wide = iter(params), []
    for group in groups:
        channels, rows, columns = group.task.train.images.shape[1:]
        shape = (channels, rows, columns)
        widths = [
            nearest_width(next(wanted), group.config, shape, group.task.num_classes) for _ in group.host_seeds
        ]
        for width, hosts in groupby(
            zip(widths, group.host_seeds, group.prices, strict=True), key=itemgetter(0)
        ):
            _, seeds, prices = zip(*hosts, strict=True)
            config = of_width(group.config, width)
            wide.append(group._replace(config=config, host_seeds=seeds, prices=prices))
    return wide


def nearest_width(
    params: int, config: HostConfig, image_shape: tuple[int, int, int], num_classes: int
) -> int:
    """The width of the bare host whose parameters are nearest in number; of two equally near the smaller."""
    for width in count(1):
        above = host_size(of_width(config, width), image_shape, num_classes)
        if above >= params:
            break
    if width == 1:
        return 1
    below = host_size(of_width(config, width - 1), image_shape, num_classes)
    return width if above - params < params - below else width - 1


def of_width(config: HostConfig, width: int) -> HostConfig:
    """The host with so many channels or features, and inner widths in proportion: a wide host is no narrower inside."""
    inner = tuple(max(1, round(each * width / config.width)) if each else 0 for each in config.inner_widths)
    return replace(config, width=width, inner_widths=inner)
