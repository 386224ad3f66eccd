"""Networks of the policy's size that do not grow."""

from collections.abc import Mapping
from dataclasses import replace

import pytest
import torch
from made_up import tiny_groups

from kasmina_hosts import DigitsTask, GrownSeed, HostConfig, HostPopulation
from leyline_types import AlphaAlgorithm, BlueprintAction, LegalityRules, SeedStage
from simic_training.evaluation.outcomes import check_paired, outcomes_of
from simic_training.evaluation.play import Played, play
from simic_training.evaluation.static import (
    nearest_width,
    of_width,
    play_static_seeds,
    play_static_wide,
    widened,
)
from simic_training.growth.draws import HostGroup
from tamiyo_policies import WaitController

RULES = LegalityRules()
DIGIT = (1, 8, 8)


def by_hand(width: int, classes: int) -> int:
    """Three 3 x 3 convolutions with biases, each normalised, then a norm and a linear layer."""
    return (9 * width + 3 * width) + 2 * (9 * width**2 + 3 * width) + 2 * width + (width + 1) * classes


def plain_groups(hosts: int) -> list[HostGroup]:
    """Two held-out groups of hosts whose parameters are those `by_hand`."""
    plain = HostConfig(width=4, max_epochs=4, interactions=False)
    return [group._replace(config=plain) for group in tiny_groups(2, hosts)]


def bare_params(config: HostConfig, classes: int) -> int:
    return HostPopulation(DigitsTask(range(classes)), config).task_config.host_params


@pytest.mark.parametrize(
    ("params", "width"),
    [(418, 4), (419, 4), (514, 4), (515, 5), (610, 5), (1, 1), (100_000, 74)],
)
def test_nearest_width(params: int, width: int) -> None:
    assert by_hand(4, 10) == 418
    assert by_hand(5, 10) == 610
    assert nearest_width(params, HostConfig(width=9), DIGIT, 10) == width


def test_every_other_width_is_further_off() -> None:
    for params in range(300, 2000, 37):
        width = nearest_width(params, HostConfig(), DIGIT, 10)
        distances = {other: abs(by_hand(other, 10) - params) for other in range(1, 20)}
        assert distances[width] == min(distances.values())


def test_a_wider_host_keeps_its_build() -> None:
    config = HostConfig(width=4, kernels=(1, 3, 3), inner_widths=(0, 1, 6), norms=(False, True, True))
    assert of_width(config, 4) == config
    wide = of_width(config, 10)
    assert wide == replace(config, width=10, inner_widths=(0, 2, 15))
    assert of_width(config, 1).inner_widths == (0, 1, 2)
    assert nearest_width(bare_params(wide, 5), config, DIGIT, 5) == 10


def test_hosts_of_equal_width_stay_together_in_their_order() -> None:
    first, second = plain_groups(4)
    first = first._replace(host_seeds=(1, 3, 5, 7), prices=(0.1, 0.2, 0.3, 0.4))
    groups = [first, second._replace(host_seeds=(9, 11), prices=(0.5, 0.6))]
    small, large = by_hand(5, 2), by_hand(6, 2)
    wide = widened(groups, [small, small, large, small, large, large])
    assert [(group.config.width, group.host_seeds, group.prices) for group in wide] == [
        (5, (1, 3), (0.1, 0.2)),
        (6, (5,), (0.3,)),
        (5, (7,), (0.4,)),
        (6, (9, 11), (0.5, 0.6)),
    ]
    assert [group.task for group in wide] == [first.task] * 3 + [second.task]


@pytest.fixture(scope="module")
def grown() -> Played:
    """Two members, one host of each without a seed."""
    seed = GrownSeed(BlueprintAction.CONV_LIGHT, AlphaAlgorithm.ADD, 1.0)
    started: list[Mapping[str, GrownSeed]] = [{"r0c0": seed, "r0c2": seed}, {}, {"r0c1": seed}, {}]
    return play(WaitController(), plain_groups(2), rules=RULES, grown=started)


def test_static_seeds_are_in_place_from_the_start(grown: Played) -> None:
    static = play_static_seeds(grown, rules=RULES).episodes
    assert static.grown == grown.episodes.grown
    assert torch.equal(static.total_params, grown.episodes.total_params)
    fossil, dormant = int(SeedStage.FOSSILIZED), int(SeedStage.DORMANT)
    assert static.stage[:, 0].tolist() == [
        [fossil, dormant, fossil],
        [dormant] * 3,
        [dormant, fossil, dormant],
        [dormant] * 3,
    ]
    assert torch.equal(static.stage[:, 0], static.stage[:, -1])
    assert not static.reward.rent.any()


def test_static_wide_has_the_size_and_no_seeds(grown: Played) -> None:
    wide = play_static_wide(grown, rules=RULES)
    episodes = wide.episodes
    assert episodes.grown == ({}, {}, {}, {})
    assert torch.equal(episodes.total_params[:, -1], episodes.host_params)
    sizes = grown.episodes.total_params[:, -1]
    widths = [group.config.width for group in episodes.groups for _ in group.host_seeds]
    assert widths[1] == widths[3] == 4
    assert widths[0] > widths[2] > 4
    assert episodes.host_params.tolist() == [by_hand(width, 2) for width in widths]
    assert ((episodes.host_params - sizes).abs() <= sizes * 0.2).all()
    check_paired("static-wide", outcomes_of(wide), outcomes_of(grown))
    # Where nothing grew it is the same network, so it must come to the same.
    torch.testing.assert_close(wide.test_accuracy[[1, 3]], grown.test_accuracy[[1, 3]], rtol=0, atol=0.01)
