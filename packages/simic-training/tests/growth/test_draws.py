"""Which hosts are drawn: by a seed alone, in groups that share what was drawn, and apart from those to judge on."""

import itertools
import json
from dataclasses import replace
from math import log
from pathlib import Path

import numpy as np
import pytest
import torch

from kasmina_hosts import LACKS, FamilyMember, HostConfig, HostFamily, Lack, Task
from leyline_types import Topology
from simic_training.growth.config import GrowthConfig
from simic_training.growth.draws import (
    HostGroup,
    draw_groups,
    draw_member,
    draw_prices,
    family_member,
    lacks_of,
)

CNN, TRANSFORMER = LACKS[Topology.CNN], LACKS[Topology.TRANSFORMER]


def seeds_of(groups: tuple[HostGroup, ...]) -> list[int]:
    return [seed for group in groups for seed in group.host_seeds]


def prices_of(groups: tuple[HostGroup, ...]) -> list[float]:
    return [price for group in groups for price in group.prices]


def same_data(one: Task, other: Task) -> bool:
    return all(
        torch.equal(*pair)
        for part in ("train", "validation", "test")
        for pair in zip(getattr(one, part), getattr(other, part), strict=True)
    )


def test_groups_fill_up_and_the_last_is_smaller() -> None:
    groups = draw_groups(GrowthConfig(group_size=4), 10, 0)
    assert [len(group.host_seeds) for group in groups] == [4, 4, 2]
    assert [len(group.prices) for group in groups] == [4, 4, 2]
    assert len(set(seeds_of(groups))) == len(set(prices_of(groups))) == 10


def test_replicas_share_seed_and_price() -> None:
    groups = draw_groups(GrowthConfig(group_size=4, replicas=2), 7, 0)
    for shared in ("host_seeds", "prices"):
        first, second = (getattr(group, shared) for group in groups)
        assert [first.count(each) for each in first] == [2, 2, 2, 2]
        assert [second.count(each) for each in second] == [2, 2, 1]
        assert first[0] == first[1] != first[2] == first[3]


def test_a_whole_group_may_be_replicas() -> None:
    groups = draw_groups(GrowthConfig(group_size=4, replicas=0), 7, 0)
    for shared in ("host_seeds", "prices"):
        first, second = (set(getattr(group, shared)) for group in groups)
        assert [len(first), len(second)] == [1, 1]
        assert first != second


def test_a_seed_says_it_all() -> None:
    config = GrowthConfig()
    one, same, other = (draw_groups(config, 20, seed) for seed in (5, 5, 6))
    assert [group.describe() for group in one] == [group.describe() for group in same]
    assert [group.config for group in one] == [group.config for group in same]
    assert all(same_data(mine.task, again.task) for mine, again in zip(one, same, strict=True))
    assert seeds_of(one) == seeds_of(same)
    assert not set(seeds_of(one)) & set(seeds_of(other))
    assert not set(prices_of(one)) & set(prices_of(other))


def test_hosts_to_judge_on_are_never_trained_on() -> None:
    config = GrowthConfig(group_size=16)
    trained, judged = (
        [group for number in range(20) for group in draw_groups(config, 16, number, held_out=held_out)]
        for held_out in (False, True)
    )
    assert {seed % 2 for seed in seeds_of(tuple(trained))} == {0}
    assert {seed % 2 for seed in seeds_of(tuple(judged))} == {1}
    assert not set(prices_of(tuple(trained))) & set(prices_of(tuple(judged)))
    assert not any(
        same_data(one.task, other.task) for one, other in itertools.product(trained[:5], judged[:5])
    )


@pytest.mark.parametrize(("topology", "lacks"), [(Topology.CNN, CNN), (Topology.TRANSFORMER, TRANSFORMER)])
def test_the_whole_family_is_drawn(topology: Topology, lacks: tuple[Lack, ...]) -> None:
    config = GrowthConfig(group_size=1, host=HostConfig(topology=topology))
    groups = draw_groups(config, 60, 0)
    assert {group.lack for group in groups} == set(lacks)
    assert len({group.task.num_classes for group in groups}) > 5
    assert len({group.config.width for group in groups if group.lack is not Lack.WIDTH}) == 5


def test_groups_side_by_side_have_one_length_and_calls_many() -> None:
    config = GrowthConfig(group_size=1, family=HostFamily(max_epochs=(5, 9)))
    lengths = [{group.config.max_epochs for group in draw_groups(config, 3, seed)} for seed in range(40)]
    assert {len(each) for each in lengths} == {1}
    assert set.union(*lengths) == {5, 6, 7, 8, 9}


def test_prices_are_log_uniform_within_their_bounds() -> None:
    config = GrowthConfig(prices=(0.1, 10.0), group_size=500, family=HostFamily(class_counts=(2, 2)))
    prices = np.sort(prices_of(draw_groups(config, 2000, 0)))
    assert 0.1 <= prices[0] < 0.11
    assert 9.0 < prices[-1] <= 10.0
    expected = np.log(prices / 0.1) / log(100)
    distance = np.abs(expected - (np.arange(2000) + 0.5) / 2000).max()
    assert distance < 1.63 / np.sqrt(2000)  # Kolmogorov-Smirnov at 1 %


@pytest.mark.parametrize("bounds", [(0.3, 0.3), (0.1, np.nextafter(0.1, 1)), (1e-300, 1e30)])
def test_no_price_leaves_its_bounds(bounds: tuple[float, float]) -> None:
    prices = draw_prices(GrowthConfig(prices=bounds), np.random.default_rng(0), 1000)
    assert bounds[0] <= min(prices) <= max(prices) <= bounds[1]


def members_of(config: GrowthConfig, count: int, seed: int, *, held_out: bool = True) -> list[FamilyMember]:
    return [family_member(config, number, seed, held_out=held_out) for number in range(count)]


def test_members_to_judge_on_are_of_each_kind_in_turn() -> None:
    config = GrowthConfig()
    members = members_of(config, 12, 0)
    assert [member.lack for member in members] == [*CNN, *CNN, *CNN[:2]]
    assert len({member.config.max_epochs for member in members}) > 3
    least, greatest = config.family.max_epochs
    assert all(least <= member.config.max_epochs <= greatest for member in members)
    fewer = members_of(config, 7, 0)
    assert [member.config for member in fewer] == [member.config for member in members[:7]]
    assert all(same_data(one.task, other.task) for one, other in zip(fewer, members[:7], strict=True))
    others = members_of(config, 12, 1)
    assert not any(same_data(one.task, other.task) for one, other in zip(members, others, strict=True))


def test_members_to_choose_on_are_never_those_to_judge_on() -> None:
    config = GrowthConfig()
    members = members_of(config, 7, 0, held_out=False)
    assert [member.lack for member in members] == [*CNN, *CNN[:2]]
    judged = members_of(config, 7, 0)
    assert not any(same_data(one.task, other.task) for one in members for other in judged)
    again = family_member(config, 5, 0, held_out=False)
    assert again.config == members[5].config
    assert same_data(again.task, members[5].task)


def test_a_family_may_have_few_kinds() -> None:
    family = HostFamily(lacks=(Lack.WIDTH, Lack.NOTHING, Lack.ATTENTION))
    config = GrowthConfig(group_size=1, family=family)
    assert lacks_of(config) == (Lack.NOTHING, Lack.WIDTH)
    assert {group.lack for group in draw_groups(config, 20, 0)} == {Lack.NOTHING, Lack.WIDTH}
    transformers = replace(config, host=HostConfig(topology=Topology.TRANSFORMER))
    assert lacks_of(transformers) == (Lack.NOTHING, Lack.ATTENTION, Lack.WIDTH)


def test_the_kind_of_a_member_can_be_said() -> None:
    for lack in CNN:
        assert draw_member(GrowthConfig(), 3, lack=lack).lack is lack


def test_groups_tell_what_was_drawn() -> None:
    config = GrowthConfig(
        group_size=2,
        family=HostFamily(lacks=(Lack.KERNELS,), max_epochs=(7, 7)),
        host=HostConfig(learning_rate=0.02),
    )
    (group,) = draw_groups(config, 2, 0)
    told = group.describe()
    assert (told["task"], told["lack"], told["max_epochs"]) == (group.task.name, "kernels", 7)
    assert (told["width"], told["learning_rate"]) == (group.config.width, 0.02)
    assert told["kernels"] == list(group.config.kernels)
    assert "optimizer" not in told, "it is the default"
    assert told.pop("prices") == list(group.prices)
    assert group.describe_host(1) == {**told, "price": group.prices[1]}
    assert json.loads(json.dumps(group.describe())) == group.describe()


def test_own_data_is_drawn_from_in_the_same_way(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    path = tmp_path / "mine.npz"
    np.savez(path, x=rng.random((300, 1, 6, 6), dtype=np.float32), y=np.arange(300) % 4)
    family = HostFamily(train_samples=(50, 150), max_epochs=(3, 9))
    config = GrowthConfig(data=str(path), group_size=1, family=family)
    groups = draw_groups(config, 40, 0)
    assert {group.lack for group in groups} == set(CNN)
    assert {group.task.num_classes for group in groups} == {2, 3, 4}
    assert len({len(group.task.train.labels) for group in groups}) > 10
    assert all(group.task.train.images.shape[1:] == (1, 6, 6) for group in groups)
    assert {member.lack for member in members_of(config, 5, 0)} == set(CNN)
    with pytest.raises(FileNotFoundError, match=r"absent\.npz"):
        draw_groups(replace(config, data=str(tmp_path / "absent.npz")), 2, 0)


@pytest.mark.parametrize(("count", "seed"), [(0, 0), (1, -1)])
def test_impossible_draws_are_refused(count: int, seed: int) -> None:
    with pytest.raises(ValueError, match=f"not {count} and {seed}"):
        draw_groups(GrowthConfig(), count, seed)


@pytest.mark.parametrize(
    ("settings", "reason"),
    [
        ({"group_size": 0}, "`group_size` must be at least 1, not 0"),
        ({"replicas": -1}, "`replicas` must be at least 0, not -1"),
        ({"group_size": 4, "replicas": 3}, r"`replicas` \(3\) must divide `group_size` \(4\)"),
        (
            {"prices": (0.0, 1.0)},
            r"`prices` must be above 0 and at most .*, the least first, not \(0.0, 1.0\)",
        ),
        ({"prices": (-1.0, 1.0)}, "`prices` must be above 0"),
        ({"prices": (1.0, 0.5)}, r"`prices` must be above 0 .*, the least first, not \(1.0, 0.5\)"),
        ({"prices": (0.1, float("inf"))}, r"`prices` must be above 0 and at most .*, not \(0.1, inf\)"),
        ({"prices": (float("nan"), 1.0)}, "`prices` must be above 0"),
        ({"prices": (1.0, float("nan"))}, "`prices` must be above 0"),
        ({"prices": (0.1, 0.3, 1.0)}, r"`prices` must be a pair, .* not \(0.1, 0.3, 1.0\)"),
        ({"host": HostConfig(width=5)}, "`host.width` is drawn from `family.widths`, .* not to 5"),
        (
            {"host": HostConfig(max_epochs=9)},
            "`host.max_epochs` is drawn from `family.max_epochs`, .* not to 9",
        ),
        (
            {"host": HostConfig(kernels=(3, 1, 3))},
            r"`host.kernels` is drawn from `family.lacks`, .* not to \(3, 1, 3\)",
        ),
        (
            {"host": HostConfig(parameter_price=1.0)},
            "`host.parameter_price` is drawn from `prices`, .* not to 1.0",
        ),
        (
            {"family": HostFamily(lacks=(Lack.ATTENTION,))},
            "`family.lacks` must hold some of nothing, kernels, .* topology cnn can lack, not only attention",
        ),
    ],
)
def test_settings_outside_their_range_are_refused(settings: dict[str, int], reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        GrowthConfig(**settings)  # type: ignore[arg-type]
