"""Which hosts are drawn: by a seed alone, in groups that share what was drawn, and apart from those to judge on."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from kasmina_hosts import DigitsFamily
from simic_training.growth.config import GrowthConfig
from simic_training.growth.draws import draw_groups, every_member


def test_groups_fill_up_and_the_last_is_smaller() -> None:
    groups = draw_groups(GrowthConfig(group_size=4), 10, 0)
    assert [len(group.host_seeds) for group in groups] == [4, 4, 2]
    assert len({seed for group in groups for seed in group.host_seeds}) == 10


def test_replicas_share_their_seed() -> None:
    first, second = draw_groups(GrowthConfig(group_size=4, replicas=2), 7, 0)
    assert [first.host_seeds.count(seed) for seed in first.host_seeds] == [2, 2, 2, 2]
    assert [second.host_seeds.count(seed) for seed in second.host_seeds] == [2, 2, 1]


def test_a_whole_group_may_be_replicas() -> None:
    first, second = draw_groups(GrowthConfig(group_size=4, replicas=0), 7, 0)
    assert [len(set(group.host_seeds)) for group in (first, second)] == [1, 1]
    assert first.host_seeds[0] != second.host_seeds[0]


def test_a_seed_says_it_all() -> None:
    config = GrowthConfig()
    one, same, other = (draw_groups(config, 20, seed) for seed in (5, 5, 6))
    assert [group.describe() for group in one] == [group.describe() for group in same]
    assert [group.host_seeds for group in one] == [group.host_seeds for group in same]
    assert [group.host_seeds for group in one] != [group.host_seeds for group in other]


def test_hosts_to_judge_on_are_never_trained_on() -> None:
    config = GrowthConfig()
    trained = {
        seed for number in range(50) for group in draw_groups(config, 16, number) for seed in group.host_seeds
    }
    judged = {
        seed
        for number in range(50)
        for group in draw_groups(config, 16, number, held_out=True)
        for seed in group.host_seeds
    }
    assert {seed % 2 for seed in trained} == {0}
    assert {seed % 2 for seed in judged} == {1}


def test_the_whole_family_is_drawn() -> None:
    config = GrowthConfig(group_size=1)
    found = {
        (group.task.num_classes, "noise" in group.task.name, group.config.width, group.config.learning_rate)
        for group in draw_groups(config, 200, 0)
    }
    assert len(found) == 24


def test_every_member_is_each_combination_once() -> None:
    members = list(every_member(GrowthConfig(), 0))
    found = {
        (task.num_classes, "noise" in task.name, host.width, host.learning_rate) for task, host in members
    }
    assert len(members) == len(found) == 24


def test_own_data_is_taken_whole(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    path = tmp_path / "mine.npz"
    np.savez(path, x=rng.random((60, 1, 6, 6), dtype=np.float32), y=np.arange(60) % 3)
    config = GrowthConfig(data=str(path), group_size=2)
    groups = draw_groups(config, 6, 0)
    assert {group.task.name for group in groups} == {"mine"}
    assert {group.config.width for group in groups} <= {4, 6}
    assert len(list(every_member(config, 0))) == 4
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
        ({"rent_rate": -1.0}, "`rent_rate` must be at least 0 and finite, not -1.0"),
        ({"rent_rate": float("nan")}, "`rent_rate` must be at least 0 and finite, not nan"),
    ],
)
def test_settings_outside_their_range_are_refused(settings: dict[str, int], reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        GrowthConfig(**settings)  # type: ignore[arg-type]


def test_family_decides_what_is_drawn() -> None:
    family = DigitsFamily(class_counts=(3,), widths=(5,), label_noises=(0.25,), learning_rates=(0.15,))
    (group,) = draw_groups(GrowthConfig(family=family), 1, 0)
    assert (group.task.num_classes, group.config.width, group.config.learning_rate) == (3, 5, 0.15)
    assert "noise 0.25" in group.task.name
