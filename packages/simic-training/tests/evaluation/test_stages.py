"""The paired hosts: the same for all, of every lack, and never trained on; and what else is played."""

from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from made_up import TINY

from kasmina_hosts import Lack
from simic_training.evaluation.controllers import RIVALS
from simic_training.evaluation.options import EvaluationOptions
from simic_training.evaluation.stages import controllers_of, paired_hosts, stages_of
from simic_training.growth.config import GrowthConfig
from simic_training.growth.draws import HostGroup, draw_groups

OPTIONS = EvaluationOptions(members_per_lack=4, hosts_per_member=2)


def describe(groups: tuple[HostGroup, ...]) -> list[tuple[object, ...]]:
    return [(group.describe(), group.host_seeds) for group in groups]


@pytest.fixture
def own(tmp_path: Path) -> Path:
    """60 samples, three classes."""
    path = tmp_path / "mine.npz"
    np.savez(path, x=np.random.default_rng(0).normal(size=(60, 6, 6)), y=np.arange(60) % 3)
    return path


def test_every_lack_has_as_many_members() -> None:
    groups = paired_hosts(GrowthConfig(), OPTIONS)
    lacks = Counter(group.lack for group in groups)
    assert lacks == dict.fromkeys((Lack.NOTHING, Lack.KERNELS, Lack.SQUEEZE, Lack.NORM, Lack.WIDTH), 4)
    assert all(len(group.host_seeds) == len(group.prices) == 2 for group in groups)
    assert len({seed for group in groups for seed in group.host_seeds}) == 40
    assert len({id(group.task) for group in groups}) == len(groups)


def test_prices_and_lengths_differ_as_in_training() -> None:
    config = GrowthConfig()
    groups = paired_hosts(config, OPTIONS)
    prices = [price for group in groups for price in group.prices]
    assert len(set(prices)) == 40
    assert config.prices[0] <= min(prices) < 0.2
    assert 0.6 < max(prices) <= config.prices[1]
    lengths = {group.config.max_epochs for group in groups}
    assert len(lengths) > 5
    assert lengths <= set(range(15, 41))


def test_a_function_of_its_arguments() -> None:
    groups = paired_hosts(TINY, OPTIONS)
    assert describe(paired_hosts(TINY, OPTIONS)) == describe(groups)
    assert describe(paired_hosts(TINY, replace(OPTIONS, seed=4))) != describe(groups)
    assert describe(paired_hosts(replace(TINY, group_size=2, replicas=2), OPTIONS)) == describe(groups)


def test_hosts_are_those_that_training_never_draws() -> None:
    seeds = {seed for group in paired_hosts(TINY, OPTIONS) for seed in group.host_seeds}
    trained = {seed for run in range(20) for group in draw_groups(TINY, 8, run) for seed in group.host_seeds}
    assert not seeds & trained
    assert all(seed % 2 == 1 for seed in seeds)
    assert all(seed % 2 == 0 for seed in trained)


def test_too_few_hosts_are_refused() -> None:
    few = EvaluationOptions(members_per_lack=3, hosts_per_member=2)
    with pytest.raises(ValueError, match=r"6 members .* \(3 for each lack\) with 2 hosts each make 12 hosts"):
        paired_hosts(TINY, few)
    with pytest.raises(ValueError, match="set `members_per_lack` to 8 or more"):
        paired_hosts(TINY, EvaluationOptions(members_per_lack=7, hosts_per_member=1))
    assert len(paired_hosts(TINY, EvaluationOptions(members_per_lack=8, hosts_per_member=1))) == 16


def test_own_data(own: Path) -> None:
    groups = paired_hosts(replace(TINY, data=str(own)), OPTIONS)
    assert all(group.task.train.images.shape[1:] == (1, 6, 6) for group in groups)
    with pytest.raises(FileNotFoundError):
        paired_hosts(replace(TINY, data=str(own.with_name("none.npz"))), OPTIONS)


def test_other_lengths_and_data_are_played_by_those_who_need_no_sweep(own: Path) -> None:
    config = replace(TINY, family=replace(TINY.family, max_epochs=(10, 20)))
    family, shorter, longer, mine = stages_of(config, replace(OPTIONS, transfer=True, data=(own,)))
    titles = ["Unseen length: 6 epochs", "Unseen length: 32 epochs", "Unseen data: mine"]
    assert [stage.title for stage in (shorter, longer, mine)] == titles
    assert {group.config.max_epochs for group in shorter.groups} == {6}
    assert {group.config.max_epochs for group in longer.groups} == {32}
    assert {group.config.max_epochs for group in mine.groups} <= set(range(10, 21))
    assert all(group.task.train.images.shape[1:] == (1, 6, 6) for group in mine.groups)
    assert list(controllers_of(mine, config, OPTIONS, b"", 0)) == list(RIVALS)
    assert len(controllers_of(family, config, OPTIONS, b"", 0)) > len(RIVALS)
    with pytest.raises(FileNotFoundError):
        stages_of(config, replace(OPTIONS, transfer=True, data=(own.with_name("none.npz"),)))


def test_schedules_start_alike_on_hosts_of_all_lengths() -> None:
    """Their names stand for one thing in a table that joins hosts of different lengths."""
    config = replace(TINY, family=replace(TINY.family, max_epochs=(10, 20)))
    options = replace(OPTIONS, schedules="all")
    (family,) = stages_of(config, options)
    assert len({group.config.max_epochs for group in family.groups}) > 1
    names = {
        tuple(controllers_of(family, config, options, b"", group)) for group in range(len(family.groups))
    }
    (only,) = names
    assert {name.rpartition("@")[2] for name in only if "@" in name} == {"0", "2", "4"}
