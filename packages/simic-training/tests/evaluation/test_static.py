"""Networks of the policy's size that do not grow."""

from collections.abc import Mapping
from dataclasses import replace

import pytest
import torch
from made_up import tiny_groups

from kasmina_hosts import DigitsTask, GrownSeed, HostConfig, HostPopulation
from leyline_types import AlphaAlgorithm, BlueprintAction, LegalityRules, SeedStage
from simic_training.evaluation.outcomes import Grown, check_paired, grown_of, outcomes_of
from simic_training.evaluation.play import Played, play
from simic_training.evaluation.static import (
    nearest_width,
    of_width,
    play_static_long,
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


def plain_group(hosts: int) -> HostGroup:
    """A held-out group of hosts whose parameters are those `by_hand`."""
    (group,) = tiny_groups(1, hosts)
    return group._replace(config=HostConfig(width=4, max_epochs=4, interactions=False))


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
    group = plain_group(4)._replace(host_seeds=(1, 3, 5, 7), prices=(0.1, 0.2, 0.3, 0.4))
    small, large = by_hand(5, 2), by_hand(6, 2)
    wide = widened(group, [small, small, large, small])
    assert [(each.config.width, each.host_seeds, each.prices) for each in wide] == [
        (5, (1, 3), (0.1, 0.2)),
        (6, (5,), (0.3,)),
        (5, (7,), (0.4,)),
    ]
    assert [each.task for each in wide] == [group.task] * 3


@pytest.fixture(scope="module")
def group() -> HostGroup:
    return plain_group(4)


@pytest.fixture(scope="module")
def played(group: HostGroup) -> Played:
    """Two of the hosts hold no seed."""
    seed = GrownSeed(BlueprintAction.CONV_LIGHT, AlphaAlgorithm.ADD, 1.0)
    started: list[Mapping[str, GrownSeed]] = [{"r0c0": seed, "r0c2": seed}, {}, {"r0c1": seed}, {}]
    return play(WaitController(), [group], rules=RULES, grown=started)


@pytest.fixture(scope="module")
def grown(played: Played) -> list[Grown]:
    return grown_of(played)


def test_what_has_grown(played: Played, grown: list[Grown]) -> None:
    sizes = played.episodes.size.tolist()
    assert [dict(each.seeds) for each in grown] == list(played.episodes.grown)
    assert [each.params for each in grown] == played.episodes.total_params[:, -1].tolist()
    assert [each.host_epochs for each in grown] == [
        round(4 * size) for size in sizes
    ]  # of one size throughout
    assert grown[0].host_epochs > grown[2].host_epochs > grown[1].host_epochs == 4


def test_epochs_count_by_the_parameters_that_they_had(played: Played) -> None:
    """Worked by hand: 100 % for two epochs, then 250 % for two, cost 7 epochs of the bare host."""
    bare = int(played.episodes.host_params[0])
    params = torch.tensor([[bare, bare, bare, bare * 5 // 2, bare * 5 // 2]] * 4)
    found = grown_of(played._replace(episodes=played.episodes._replace(total_params=params)))
    assert [each.host_epochs for each in found] == [7] * 4


def test_static_seeds_are_in_place_from_the_start(
    group: HostGroup, played: Played, grown: list[Grown]
) -> None:
    static = play_static_seeds(group, grown, rules=RULES).episodes
    assert static.grown == played.episodes.grown
    assert torch.equal(static.total_params, played.episodes.total_params)
    fossil, dormant = int(SeedStage.FOSSILIZED), int(SeedStage.DORMANT)
    assert static.stage[:, 0].tolist() == [
        [fossil, dormant, fossil],
        [dormant] * 3,
        [dormant, fossil, dormant],
        [dormant] * 3,
    ]
    assert torch.equal(static.stage[:, 0], static.stage[:, -1])
    assert not static.reward.rent.any()


def test_static_wide_has_the_size_and_no_seeds(group: HostGroup, played: Played, grown: list[Grown]) -> None:
    wide = play_static_wide(group, grown, rules=RULES)
    episodes = wide.episodes
    assert episodes.grown == ({}, {}, {}, {})
    assert torch.equal(episodes.total_params[:, -1], episodes.host_params)
    sizes = played.episodes.total_params[:, -1]
    widths = [each.config.width for each in episodes.groups for _ in each.host_seeds]
    assert widths[1] == widths[3] == 4
    assert widths[0] > widths[2] > 4
    assert episodes.host_params.tolist() == [by_hand(width, 2) for width in widths]
    assert ((episodes.host_params - sizes).abs() <= sizes * 0.2).all()
    check_paired("static-wide", outcomes_of(wide), outcomes_of(played))
    # Where nothing grew it is the same network, so it must come to the same.
    torch.testing.assert_close(wide.test_accuracy[[1, 3]], played.test_accuracy[[1, 3]], rtol=0, atol=0.01)


def test_static_long_trains_the_bare_host_for_as_long_as_growing_took(
    group: HostGroup, played: Played, grown: list[Grown]
) -> None:
    long = play_static_long(group, grown, rules=RULES, member=3)
    check_paired("static-long", long, outcomes_of(played))
    assert [host.epochs for host in long.hosts] == [each.host_epochs for each in grown]
    assert {host.member for host in long.hosts} == {3}
    assert (long.size == 1).all()
    # Each host is what it would come to alone, in its own place.
    for place, each in enumerate(grown):
        alone = group._replace(
            config=replace(group.config, max_epochs=each.host_epochs),
            host_seeds=group.host_seeds[place : place + 1],
            prices=group.prices[place : place + 1],
        )
        found = play(WaitController(), [alone], rules=RULES)
        torch.testing.assert_close(
            long.test_accuracy[place : place + 1], found.test_accuracy, rtol=0, atol=0.01
        )
