"""Settings of runs: what is refused, and what follows from them."""

import itertools
from dataclasses import replace

import pytest

from kasmina_hosts import HostFamily
from leyline_types import LifecycleOp
from simic_training.growth.config import GrowthConfig
from simic_training.runs.config import TrainConfig
from simic_training.runs.units import hosts_of, units_of


@pytest.mark.parametrize(
    ("settings", "reason"),
    [
        ({"episodes": 0}, "`episodes` must be at least 1, not 0"),
        ({"groups": 0}, "`groups` must be at least 1, not 0"),
        ({"hidden_dim": -1}, "`hidden_dim` must be at least 1, not -1"),
        ({"seed": -1}, "`seed` must lie in"),
        ({"seed": 1_000_000}, "`seed` must lie in"),
        ({"prune_from": 1.5}, r"`prune_from` must lie in \[0, 1\], not 1.5"),
    ],
)
def test_settings_outside_their_range_are_refused(settings: dict[str, int], reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        TrainConfig(**settings)  # type: ignore[arg-type]


def test_episodes_fill_whole_batches() -> None:
    env = GrowthConfig(group_size=4)
    assert TrainConfig(episodes=17, groups=2, env=env).updates == 3
    assert TrainConfig(episodes=16, groups=2, env=env).updates == 2


def test_pruning_opens_at_its_time() -> None:
    config = TrainConfig(episodes=40, groups=1, env=GrowthConfig(group_size=4), prune_from=0.6)
    assert [config.held_back(update) for update in range(10)] == [(LifecycleOp.PRUNE,)] * 6 + [()] * 4
    assert TrainConfig(prune_from=0.0).held_back(0) == ()


def test_all_episodes_of_an_update_have_one_length() -> None:
    family = HostFamily(max_epochs=(5, 9))
    config = TrainConfig(episodes=3200, groups=2, env=GrowthConfig(group_size=2, family=family))
    lengths = [config.epochs_of(update) for update in range(60)]
    assert set(lengths) == {5, 6, 7, 8, 9}
    assert lengths == [config.epochs_of(update) for update in range(60)]
    assert lengths != [replace(config, seed=1).epochs_of(update) for update in range(60)]
    for update in range(4):
        groups = [group for unit in units_of(config, update) for group in hosts_of(*unit.arguments)]
        assert [group.config.max_epochs for group in groups] == [lengths[update]] * 2
    assert [config.steps_until(update) for update in range(4)] == [
        4 * sum(lengths[:each]) for each in range(4)
    ]


def test_every_rollout_of_every_run_has_a_seed_of_its_own() -> None:
    seeds = [
        TrainConfig(seed=run, groups=3).rollout_seed(update, group)
        for run, update, group in itertools.product((0, 1, 999_999), range(20), range(3))
    ]
    assert len(set(seeds)) == len(seeds)
