"""Networks of the policy's size that do not grow."""

from collections.abc import Mapping

import pytest
import torch
from made_up import TINY

from kasmina_hosts import DigitsTask, GrownSeed, HostConfig, HostPopulation
from leyline_types import AlphaAlgorithm, BlueprintAction, LegalityRules, SeedStage, Topology
from simic_training.evaluation.hosts import paired_hosts
from simic_training.evaluation.outcomes import check_paired, outcomes_of
from simic_training.evaluation.play import Played, play
from simic_training.evaluation.static import (
    bare_params,
    nearest_width,
    play_static_seeds,
    play_static_wide,
    widened,
)
from tamiyo_policies import WaitController

RULES = LegalityRules()
DIGIT = (1, 8, 8)


def by_hand(width: int, classes: int) -> int:
    """Three 3 x 3 convolutions with biases, then a linear layer."""
    return (9 * width + width) + 2 * (9 * width**2 + width) + (width + 1) * classes


@pytest.mark.parametrize(("width", "classes"), [(1, 2), (4, 10), (7, 5)])
def test_parameters_of_a_bare_host(width: int, classes: int) -> None:
    assert bare_params(HostConfig(width=width), DIGIT, classes) == by_hand(width, classes)
    task = DigitsTask(range(classes))
    population = HostPopulation(task, HostConfig(width=width))
    assert population.task_config.host_params == by_hand(width, classes)


def test_counting_draws_nothing_from_torchs_random_numbers() -> None:
    before = torch.get_rng_state()
    for topology in Topology:
        bare_params(HostConfig(topology=topology, width=11), DIGIT, 3)
    assert torch.equal(before, torch.get_rng_state())


@pytest.mark.parametrize(
    ("params", "width"),
    [(386, 4), (387, 4), (478, 4), (479, 5), (570, 5), (1, 1), (100_000, 74)],  # 4: 386, 5: 570, 1: 50 + ...
)
def test_nearest_width(params: int, width: int) -> None:
    assert by_hand(4, 10) == 386
    assert by_hand(5, 10) == 570
    assert nearest_width(params, HostConfig(width=9), DIGIT, 10) == width


def test_every_other_width_is_further_off() -> None:
    for params in range(300, 2000, 37):
        width = nearest_width(params, HostConfig(), DIGIT, 10)
        distances = {other: abs(by_hand(other, 10) - params) for other in range(1, 20)}
        assert distances[width] == min(distances.values())


def test_hosts_of_equal_width_stay_together_in_their_order() -> None:
    first, second = paired_hosts(TINY, 8, 0)
    groups = [first._replace(host_seeds=(1, 3, 5, 7)), second._replace(host_seeds=(9, 11))]
    small, large = by_hand(5, 2), by_hand(6, 2)
    wide = widened(groups, [small, small, large, small, large, large])
    assert [(group.config.width, group.host_seeds) for group in wide] == [
        (5, (1, 3)),
        (6, (5,)),
        (5, (7,)),
        (6, (9, 11)),
    ]
    assert [group.task for group in wide] == [first.task] * 3 + [second.task]
    assert [group.config.learning_rate for group in wide] == [0.1, 0.1, 0.1, 0.2]


@pytest.fixture(scope="module")
def grown() -> Played:
    """Two members, one host of each without a seed."""
    seed = GrownSeed(BlueprintAction.CONV_LIGHT, AlphaAlgorithm.ADD, 1.0)
    started: list[Mapping[str, GrownSeed]] = [{"r0c0": seed, "r0c2": seed}, {}, {"r0c1": seed}, {}]
    groups = [group._replace(host_seeds=group.host_seeds[:2]) for group in paired_hosts(TINY, 8, 0)]
    return play(WaitController(), groups, rent_rate=0.3, rules=RULES, grown=started)


def test_static_seeds_are_in_place_from_the_start(grown: Played) -> None:
    static = play_static_seeds(grown, rent_rate=0.3, rules=RULES).episodes
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
    wide = play_static_wide(grown, rent_rate=0.3, rules=RULES)
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
    assert [host.cluster for host in outcomes_of(wide).hosts] == [0, 0, 1, 1]
    # Where nothing grew it is the same network, so it must come to the same.
    torch.testing.assert_close(wide.test_accuracy[[1, 3]], grown.test_accuracy[[1, 3]], rtol=0, atol=0.01)
