"""Networks that do not grow, of the size or for the time of the policy's: what growing itself is worth."""

from collections.abc import Sequence
from dataclasses import replace
from itertools import count, groupby
from operator import itemgetter
from typing import Final

import torch

from kasmina_hosts import HostConfig, host_size
from leyline_types import LegalityRules
from simic_training.evaluation.outcomes import Grown, Outcomes, join_outcomes, outcomes_of
from simic_training.evaluation.play import Played, play
from simic_training.growth.draws import HostGroup
from tamiyo_policies import WaitController

STATIC_SEEDS: Final = "static-seeds"
STATIC_WIDE: Final = "static-wide"
STATIC_LONG: Final = "static-long"
STATIC: Final = (STATIC_SEEDS, STATIC_WIDE, STATIC_LONG)


def static_outcomes(
    group: HostGroup, grown: Sequence[Grown], *, rules: LegalityRules, member: int = 0
) -> dict[str, Outcomes]:
    """What each of `STATIC` reaches.

    Args:
        group: the hosts.
        grown: what a policy had made of each.
        rules: see `GrowthWorld`.
        member: number of the member of the family that the hosts are.
    """
    return {
        STATIC_SEEDS: outcomes_of(play_static_seeds(group, grown, rules=rules), member),
        STATIC_WIDE: outcomes_of(play_static_wide(group, grown, rules=rules), member),
        STATIC_LONG: play_static_long(group, grown, rules=rules, member=member),
    }


def play_static_seeds(group: HostGroup, grown: Sequence[Grown], *, rules: LegalityRules) -> Played:
    """The seeds that alter each host's output in the end, in place and fossilized from the first epoch on.

    Seeds that are still in training when the episode ends alter nothing and are left out, although the grown network
    pays rent for them.
    """
    return play(WaitController(), [group], rules=rules, grown=[dict(each.seeds) for each in grown])


def play_static_wide(group: HostGroup, grown: Sequence[Grown], *, rules: LegalityRules) -> Played:
    """Each host without seeds, but so wide that it has as many parameters as it ended with, as near as widths allow."""
    return play(WaitController(), widened(group, [each.params for each in grown]), rules=rules)


def play_static_long(
    group: HostGroup, grown: Sequence[Grown], *, rules: LegalityRules, member: int = 0
) -> Outcomes:
    """Each bare host trained for as many more epochs as growing cost: parameters times epochs are equal.

    Seconds would be no measure, for they differ from run to run.
    """
    by_length: dict[int, list[int]] = {}
    for place, each in enumerate(grown):
        by_length.setdefault(each.host_epochs, []).append(place)
    found, places = [], []
    for epochs, here in by_length.items():
        longer = group._replace(
            config=replace(group.config, max_epochs=epochs),
            host_seeds=tuple(group.host_seeds[place] for place in here),
            prices=tuple(group.prices[place] for place in here),
        )
        found.append(outcomes_of(play(WaitController(), [longer], rules=rules), member))
        places += here
    return join_outcomes(found).take(torch.tensor(places).argsort().tolist())


def widened(group: HostGroup, params: Sequence[int]) -> list[HostGroup]:
    """The same hosts, in order, each of the width that comes nearest to its number of parameters.

    Args:
        group: the hosts.
        params: of each host, the parameters that it shall have; at least those of width 1.
    """
    channels, rows, columns = group.task.train.images.shape[1:]
    shape = (channels, rows, columns)
    widths = [nearest_width(each, group.config, shape, group.task.num_classes) for each in params]
    wide = []
    for width, hosts in groupby(zip(widths, group.host_seeds, group.prices, strict=True), key=itemgetter(0)):
        _, seeds, prices = zip(*hosts, strict=True)
        wide.append(group._replace(config=of_width(group.config, width), host_seeds=seeds, prices=prices))
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
