"""Features against the plain loop of `loop_reference`, to two units in the last place of the largest."""

import random

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from loop_reference import list_loop, loop
from observation_maker import LARGEST, Maker

from leyline_types import BlueprintAction, SeedStage, SlotConfig
from tamiyo_features import (
    batch_obs_to_features,
    check_features,
    get_feature_size,
    obs_to_multislot_features,
)

SLOT_CONFIGS = (SlotConfig(("r2c1",)), SlotConfig.default(), SlotConfig(("r0c1", "r0c0")))

# Features go up to 12, and torch's vectorised logarithm is not Python's to the last bit.
TOLERANCES = {torch.float64: 4e-15, torch.float32: 2e-6}

randomness = st.randoms(use_true_random=False)  # drawn by hypothesis, which shrinks what it finds


@given(randomness, st.sampled_from(SLOT_CONFIGS), st.integers(1, 3), st.booleans())
def test_equal_to_the_loop(
    make: Maker, rng: random.Random, slots: SlotConfig, num_envs: int, telemetry: bool
) -> None:
    signals, reports = make.batch(rng, num_envs, slots, telemetry=telemetry)
    tasks = [rng.choice([make.task, make.other_task]) for _ in signals]
    empty = torch.full(
        (num_envs, get_feature_size(slots, telemetry=telemetry)), torch.nan, dtype=torch.float64
    )
    expected = loop(signals, reports, slots, tasks, telemetry=telemetry, out=empty)
    for dtype, tolerance in TOLERANCES.items():
        found = batch_obs_to_features(signals, reports, slots, task=tasks, telemetry=telemetry, dtype=dtype)
        assert found.dtype == dtype
        assert (found.to(torch.float64) - expected).abs().max() <= tolerance


@pytest.mark.parametrize("telemetry", [False, True])
def test_equal_to_the_loop_at_many_slots(make: Maker, telemetry: bool) -> None:
    for slots in (SlotConfig.for_grid(5, 5), SlotConfig.for_grid(6, 7)):
        signals, reports = make.batch(3, 4, slots, telemetry=telemetry)
        tasks = [make.task] * 4
        found = batch_obs_to_features(
            signals, reports, slots, task=make.task, telemetry=telemetry, dtype=torch.float64
        )
        expected = list_loop(signals, reports, slots, tasks, telemetry=telemetry, dtype=torch.float64)
        torch.testing.assert_close(found, expected, atol=TOLERANCES[torch.float64], rtol=0.0)


def test_the_observations_cover_what_there_is(make: Maker) -> None:
    """What the comparisons above are worth: the maker makes every stage, blueprint, length and extreme."""
    signals, slot_reports = make.batch(0, 100, SlotConfig.default(), telemetry=True)
    reports = [report for reports in slot_reports for report in reports.values()]
    seeds = [report for report in reports if report is not None]
    assert {seed.stage for seed in seeds} == set(SeedStage)
    assert {seed.blueprint_id for seed in seeds} == {each.blueprint_id for each in BlueprintAction}
    assert {len(each.loss_history) for each in signals} == set(range(11))
    assert None in reports
    assert {seed.telemetry is None for seed in seeds} == {True, False}
    assert {seed.metrics.counterfactual_contribution is None for seed in seeds} == {True, False}
    assert max(each.metrics.train_loss for each in signals) == LARGEST
    assert min(seed.metrics.improvement_since_stage_start for seed in seeds) == -LARGEST
    assert any(each.metrics.best_val_loss == float("inf") for each in signals)
    named = [tuple(each.slot_id for each in one.slot_diagnostics) for one in signals]
    assert {(), ("r0c0", "r0c1", "r0c2"), ("r0c2", "r0c0")} <= set(named)
    assert {each.activation_rank is None for one in signals for each in one.slot_diagnostics} == {True, False}


@given(randomness)
def test_every_feature_lies_in_its_declared_range(make: Maker, rng: random.Random) -> None:
    slots = SlotConfig.default()
    signals, reports = make.batch(rng, 2, slots, telemetry=True)
    for dtype in (torch.float64, torch.float32, torch.bfloat16, torch.float16):
        features = batch_obs_to_features(signals, reports, slots, task=make.task, telemetry=True, dtype=dtype)
        check_features(features, slots, telemetry=True)


def test_one_environment_is_a_row_of_the_batch(make: Maker) -> None:
    slots = SlotConfig.default()
    signals, reports = make.batch(0, 3, slots, telemetry=True)
    batch = batch_obs_to_features(signals, reports, slots, task=make.task, telemetry=True)
    for env in range(3):
        row = obs_to_multislot_features(signals[env], reports[env], slots, task=make.task, telemetry=True)
        assert torch.equal(row, batch[env])
    assert batch.shape == (3, get_feature_size(slots, telemetry=True))
