"""The hosts that are played on: the same for all, of every lack, to choose on and to judge on."""

from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from made_up import TINY

from kasmina_hosts import Lack
from simic_training.evaluation.stages import (
    EvaluationOptions,
    held_out_stage,
    training_stage,
    unseen_stages,
)
from simic_training.growth.config import GrowthConfig
from simic_training.growth.draws import HostGroup, draw_groups

OPTIONS = EvaluationOptions(members_per_lack=4, hosts_per_member=2)


def held_out_groups(env: GrowthConfig, options: EvaluationOptions) -> tuple[HostGroup, ...]:
    return held_out_stage(env, options).groups


def describe(groups: tuple[HostGroup, ...]) -> list[tuple[object, ...]]:
    return [(group.describe(), group.host_seeds) for group in groups]


@pytest.fixture
def own(tmp_path: Path) -> Path:
    """60 samples, three classes."""
    path = tmp_path / "mine.npz"
    np.savez(path, x=np.random.default_rng(0).normal(size=(60, 6, 6)), y=np.arange(60) % 3)
    return path


def test_every_lack_has_as_many_members() -> None:
    groups = held_out_groups(GrowthConfig(), OPTIONS)
    lacks = Counter(group.lack for group in groups)
    assert lacks == dict.fromkeys((Lack.NOTHING, Lack.KERNELS, Lack.SQUEEZE, Lack.NORM, Lack.WIDTH), 4)
    assert all(len(group.host_seeds) == len(group.prices) == 2 for group in groups)
    assert len({seed for group in groups for seed in group.host_seeds}) == 40
    assert len({id(group.task) for group in groups}) == len(groups)


def test_prices_and_lengths_differ_as_in_training() -> None:
    config = GrowthConfig()
    groups = held_out_groups(config, OPTIONS)
    prices = [price for group in groups for price in group.prices]
    assert len(set(prices)) == 40
    assert config.prices[0] <= min(prices) < 0.2
    assert 0.6 < max(prices) <= config.prices[1]
    lengths = {group.config.max_epochs for group in groups}
    assert len(lengths) > 5
    assert lengths <= set(range(15, 41))


def test_a_function_of_its_arguments() -> None:
    groups = held_out_groups(TINY, OPTIONS)
    assert describe(held_out_groups(TINY, OPTIONS)) == describe(groups)
    assert describe(held_out_groups(TINY, replace(OPTIONS, seed=4))) != describe(groups)
    assert describe(held_out_groups(replace(TINY, group_size=2, replicas=2), OPTIONS)) == describe(groups)


def test_hosts_are_those_that_training_never_draws() -> None:
    seeds = {seed for group in held_out_groups(TINY, OPTIONS) for seed in group.host_seeds}
    trained = {seed for run in range(20) for group in draw_groups(TINY, 8, run) for seed in group.host_seeds}
    assert not seeds & trained
    assert all(seed % 2 == 1 for seed in seeds)
    assert all(seed % 2 == 0 for seed in trained)


def test_too_few_hosts_are_refused() -> None:
    few = EvaluationOptions(members_per_lack=3, hosts_per_member=2)
    with pytest.raises(ValueError, match=r"6 members .* \(3 for each lack\) with 2 hosts each make 12 hosts"):
        held_out_groups(TINY, few)
    with pytest.raises(ValueError, match="set `members_per_lack` to 8 or more"):
        held_out_groups(TINY, EvaluationOptions(members_per_lack=7, hosts_per_member=1))
    assert len(held_out_groups(TINY, EvaluationOptions(members_per_lack=8, hosts_per_member=1))) == 16


def test_own_data(own: Path) -> None:
    groups = held_out_groups(replace(TINY, data=str(own)), OPTIONS)
    assert all(group.task.train.images.shape[1:] == (1, 6, 6) for group in groups)
    with pytest.raises(FileNotFoundError):
        held_out_groups(replace(TINY, data=str(own.with_name("none.npz"))), OPTIONS)


def test_hosts_to_choose_on_are_others_than_those_to_judge_on() -> None:
    groups = training_stage(TINY, OPTIONS).groups
    assert len(groups) == 4  # two of each lack
    assert Counter(group.lack for group in groups) == {Lack.NOTHING: 2, Lack.SQUEEZE: 2}
    chosen_on = {seed for group in groups for seed in group.host_seeds}
    assert all(seed % 2 == 0 for seed in chosen_on)
    judged_on = held_out_groups(TINY, OPTIONS)
    assert not chosen_on & {seed for group in judged_on for seed in group.host_seeds}
    assert len({price for group in (*groups, *judged_on) for price in group.prices}) == 4 + 16


def test_more_members_begin_with_the_same_ones() -> None:
    """So that what was played on fewer need not be played again."""
    few = held_out_groups(TINY, OPTIONS)
    many = held_out_groups(TINY, replace(OPTIONS, members_per_lack=6))
    assert describe(many[: len(few)]) == describe(few)
    assert len(many) == 12


def test_other_lengths_belong_to_a_full_evaluation(own: Path) -> None:
    config = replace(TINY, family=replace(TINY.family, max_epochs=(10, 20)))
    shorter, longer = unseen_stages(config, replace(OPTIONS, full=True))
    assert (shorter.title, longer.title) == ("Unseen length: 6 epochs", "Unseen length: 32 epochs")
    assert {group.config.max_epochs for group in shorter.groups} == {6}
    assert {group.config.max_epochs for group in longer.groups} == {32}
    assert list(unseen_stages(config, OPTIONS)) == []
    (mine,) = unseen_stages(config, replace(OPTIONS, data=(own,)))
    assert mine.title == "Unseen data: mine"
    assert {group.config.max_epochs for group in mine.groups} <= set(range(10, 21))
    assert all(group.task.train.images.shape[1:] == (1, 6, 6) for group in mine.groups)
    with pytest.raises(FileNotFoundError):
        list(unseen_stages(config, replace(OPTIONS, data=(own.with_name("none.npz"),))))


def test_units_name_the_data_by_what_is_in_them(own: Path) -> None:
    """Parts of an evaluation on a file that was replaced would be those of other data."""
    options = replace(OPTIONS, data=(own,))
    (before,) = unseen_stages(TINY, options)
    np.savez(own, x=np.random.default_rng(1).normal(size=(60, 6, 6)), y=np.arange(60) % 3)
    (after,) = unseen_stages(TINY, options)
    assert before.draw.env.data_digest != after.draw.env.data_digest
