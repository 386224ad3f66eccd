"""The paired hosts: the same for all, of every kind, and never trained on."""

from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from made_up import TINY

from kasmina_hosts import DigitsFamily, DigitsTask
from simic_training.evaluation.hosts import clusters, hosts_on, kind_of, paired_hosts
from simic_training.growth.config import GrowthConfig
from simic_training.growth.draws import HostGroup, draw_groups


def describe(groups: tuple[HostGroup, ...]) -> list[tuple[object, ...]]:
    return [(*group.describe().values(), *group.host_seeds) for group in groups]


def test_every_member_of_the_default_family_is_there_once() -> None:
    groups = paired_hosts(GrowthConfig(), 2, 0)
    assert len(groups) == 24
    assert all(len(set(group.host_seeds)) == 2 for group in groups)
    kinds = Counter((kind_of(group.task), group.config.width, group.config.learning_rate) for group in groups)
    assert len(kinds) == 24
    assert len({seed for group in groups for seed in group.host_seeds}) == 48


def test_a_function_of_its_arguments() -> None:
    groups = paired_hosts(TINY, 8, 3)
    assert describe(paired_hosts(TINY, 8, 3)) == describe(groups)
    assert describe(paired_hosts(TINY, 8, 4)) != describe(groups)
    assert describe(paired_hosts(replace(TINY, group_size=2, rent_rate=0.0), 8, 3)) == describe(groups)


def test_hosts_are_those_that_training_never_draws() -> None:
    seeds = {seed for group in paired_hosts(TINY, 8, 0) for seed in group.host_seeds}
    trained = {seed for run in range(20) for group in draw_groups(TINY, 8, run) for seed in group.host_seeds}
    assert not seeds & trained
    assert all(seed % 2 == 1 for seed in seeds)
    assert all(seed % 2 == 0 for seed in trained)


def test_too_few_hosts_are_refused() -> None:
    with pytest.raises(ValueError, match=r"2 members .* with 7 hosts each make 14 hosts, but at least 16"):
        paired_hosts(TINY, 7, 0)
    with pytest.raises(ValueError, match="set `hosts_per_member` to 8 or more"):
        paired_hosts(TINY, 1, 0)
    assert sum(len(group.host_seeds) for group in paired_hosts(TINY, 8, 0)) == 16


@pytest.mark.parametrize(("hosts", "seed"), [(0, 0), (-1, 0), (8, -1)])
def test_numbers_out_of_range_are_named(hosts: int, seed: int) -> None:
    with pytest.raises(ValueError, match=f"not {hosts} and {seed}"):
        paired_hosts(TINY, hosts, seed)


def test_one_task_is_met_by_every_width_and_rate() -> None:
    task, family = DigitsTask([1, 2]), DigitsFamily(widths=(4, 6), learning_rates=(0.1, 0.2))
    groups = hosts_on(task, replace(TINY, family=family), 1, 0)
    assert [(group.config.width, group.config.learning_rate) for group in groups] == [
        (4, 0.1),
        (4, 0.2),
        (6, 0.1),
        (6, 0.2),
    ]
    assert [len(group.host_seeds) for group in groups] == [4] * 4
    assert all(group.task is task for group in groups)
    assert [len(group.host_seeds) for group in hosts_on(task, TINY, 9, 0)] == [9, 9]


def test_members_are_resampled_and_on_one_task_hosts() -> None:
    drawn = paired_hosts(TINY, 8, 0)
    assert clusters(drawn).tolist() == [0] * 8 + [1] * 8
    assert clusters(hosts_on(DigitsTask([1, 2]), TINY, 8, 0)).tolist() == list(range(16))
    # A member whose hosts were parted, as for widths of their own, stays one.
    first, second = drawn
    parted = [first._replace(host_seeds=(1,)), first._replace(host_seeds=(3, 5)), second]
    assert clusters(parted).tolist() == [0, 0, 0] + [1] * 8


def test_kinds() -> None:
    groups = paired_hosts(GrowthConfig(), 1, 0)
    assert list(dict.fromkeys(kind_of(group.task) for group in groups)) == [
        "2 classes",
        "2 classes, noise 0.5",
        "5 classes",
        "5 classes, noise 0.5",
        "10 classes",
        "10 classes, noise 0.5",
    ]


def test_own_data(tmp_path: Path) -> None:
    path = tmp_path / "own.npz"
    rng = np.random.default_rng(0)
    np.savez(path, x=rng.normal(size=(60, 6, 6)), y=np.arange(60) % 3)
    groups = paired_hosts(replace(TINY, data=str(path)), 8, 0)
    assert [group.task.name for group in groups] == ["own", "own"]
    assert clusters(groups).tolist() == list(range(16))
    with pytest.raises(FileNotFoundError):
        paired_hosts(replace(TINY, data=str(tmp_path / "none.npz")), 8, 0)
