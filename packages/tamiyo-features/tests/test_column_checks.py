"""Observations that are not finite are refused by environment, slot and feature, whatever their features look like."""

import re
from typing import Final

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from observation_maker import Maker
from torch import Tensor

from leyline_types import HISTORY_LENGTH, Observation, SignalColumns, SlotColumns, SlotConfig
from tamiyo_features import (
    NonFiniteValueError,
    ObservationShapeError,
    check_finite_features,
    check_observation,
    extract_features,
    get_feature_size,
    pack_observations,
)

SLOTS = SlotConfig.default()
ENVS = 4

# As the docstrings of `leyline_types.columns` have it.
MAY_BE_UNKNOWN: Final = {
    "signals": {
        *("loss_delta", "accuracy_delta", "best_val_accuracy", "best_val_loss", "grad_norm_host"),
        *("grad_norm_seed", "loss_history", "accuracy_history", "last_op", "last_op_took_effect"),
    },
    "slots": {
        *("contribution", "contribution_velocity", "interaction_sum", "boost_received", "gradient_ratio"),
        *("host_gradient_share", "activation_rank", "within_map_variance"),
    },
    "telemetry": set(),
}
CALLED: Final = {
    ("signals", "baseline_loss"): "column 'baseline_loss'",
    ("signals", "max_epochs"): "column 'max_epochs'",
    ("signals", "max_steps"): "column 'max_steps'",
    ("signals", "host_params"): "column 'host_params'",
    ("signals", "seed_capacity"): "column 'seed_capacity'",
    ("signals", "global_step"): "feature 'step' (column 'global_step')",
    ("signals", "live_seeds"): "feature 'seed_utilisation' (column 'live_seeds')",
    ("slots", "occupied"): "feature 'is_active' (column 'occupied')",
    ("slots", "blend_tempo_epochs"): "feature 'blend_tempo' (column 'blend_tempo_epochs')",
    ("slots", "age_epochs"): "feature 'age' (column 'age_epochs')",
    ("telemetry", "known"): "feature 'telemetry_known' (column 'known')",
    ("telemetry", "accuracy"): "feature 'seed_accuracy' (column 'accuracy')",
    ("telemetry", "accuracy_delta"): "feature 'seed_accuracy_delta' (column 'accuracy_delta')",
}
"""What an error calls a column that is not named as its feature is; no feature is made of divisors."""


def packed(make: Maker, *, seed: int = 3) -> Observation[Tensor]:
    signals, reports = make.batch(seed, ENVS, SLOTS, telemetry=True)
    return pack_observations(signals, reports, SLOTS, task=make.task)


def every_place() -> list[tuple[str, str, tuple[int, ...]]]:
    """Block, column and index of every value of an observation."""
    observation = packed(Maker())
    return [
        (block, name, tuple(place))
        for block, columns in observation._asdict().items()
        for name, column in columns._asdict().items()
        for place in torch.ones(column.shape).nonzero().tolist()
    ]


def with_value(
    observation: Observation[Tensor], block: str, name: str, place: tuple[int, ...], value: float
) -> Observation[Tensor]:
    """The observation with one value replaced; integer and boolean columns become floating ones."""
    columns = getattr(observation, block)
    column = getattr(columns, name)
    column = column.clone() if column.is_floating_point() else column.float()
    column[place] = value
    return observation._replace(**{block: columns._replace(**{name: column})})


def named(block: str, name: str, place: tuple[int, ...]) -> str:
    """How an error must begin."""
    point = f"[{place[-1] - HISTORY_LENGTH}]" if name.endswith("history") else ""
    slot = "" if block == "signals" else f", slot {SLOTS.slot_ids[place[1]]}"
    called = CALLED.get((block, name), f"feature {name + point!r}")
    return f"environment {place[0]}{slot}: {called} is "


@given(st.sampled_from(every_place()), st.sampled_from([torch.nan, torch.inf, -torch.inf]), st.integers(0, 5))
def test_every_value_is_finite_or_refused_by_name(
    make: Maker, at: tuple[str, str, tuple[int, ...]], value: float, seed: int
) -> None:
    block, name, place = at
    sound = packed(make, seed=seed)
    check_observation(sound, SLOTS)
    broken = with_value(sound, block, name, place, value)
    if value != value and name in MAY_BE_UNKNOWN[block]:
        check_observation(broken, SLOTS)
        return
    with pytest.raises(NonFiniteValueError) as caught:
        check_observation(broken, SLOTS)
    assert str(caught.value).startswith(f"{named(block, name, place)}{value:g}, expected a finite number")
    assert "\n" not in str(caught.value)


def test_what_features_hide_is_refused(make: Maker) -> None:
    """Clamped, or taken for unknown: without the check nobody sees it."""
    sound = packed(make)
    for name, value in (("train_loss", torch.inf), ("val_loss", torch.nan)):
        broken = with_value(sound, "signals", name, (2,), value)
        assert extract_features(broken, SLOTS).isfinite().all()
        with pytest.raises(
            NonFiniteValueError, match=f"environment 2: feature '{name}' is {value}, expected"
        ):
            check_observation(broken, SLOTS)


@pytest.mark.parametrize("name", ["max_epochs", "max_steps", "host_params", "seed_capacity", "baseline_loss"])
@pytest.mark.parametrize("value", [0, -1])
def test_divisors_are_above_0(make: Maker, name: str, value: int) -> None:
    sound = packed(make)
    column = getattr(sound.signals, name).clone()
    column[1] = value
    broken = sound._replace(signals=sound.signals._replace(**{name: column}))
    expected = f"environment 1: column '{name}' is {value}, expected a finite number above 0"
    with pytest.raises(NonFiniteValueError, match=re.escape(expected)):
        check_observation(broken, SLOTS)


def test_batches_of_any_shape_and_without_telemetry(make: Maker) -> None:
    broken = with_value(packed(make), "slots", "alpha", (3, 1), torch.nan)
    signals, slots, _ = broken
    several = Observation(
        SignalColumns(*(column.unflatten(0, (2, 2)) for column in signals)),
        SlotColumns(*(column.unflatten(0, (2, 2)) for column in slots)),
    )
    with pytest.raises(NonFiniteValueError, match=r"environment \[1, 1\], slot r0c1: feature 'alpha' is nan"):
        check_observation(several, SLOTS)
    single = Observation(SignalColumns(*(c[3] for c in signals)), SlotColumns(*(c[3] for c in slots)))
    with pytest.raises(NonFiniteValueError, match="the environment, slot r0c1: feature 'alpha' is nan"):
        check_observation(single, SLOTS)


def test_several_faults_are_counted(make: Maker) -> None:
    broken = with_value(packed(make), "signals", "train_loss", (0,), torch.inf)
    broken = with_value(broken, "slots", "alpha", (1, 2), torch.nan)
    broken = with_value(broken, "telemetry", "gradient_norm", (0, 0), -torch.inf)
    with pytest.raises(
        NonFiniteValueError, match=r"^environment 0: feature 'train_loss' is inf.*\(and 2 more\)$"
    ):
        check_observation(broken, SLOTS)


def test_large_numbers_are_finite(make: Maker) -> None:
    """Their sum is not, by which a batch is looked at first."""
    sound = packed(make)
    largest = torch.full((ENVS,), torch.finfo(torch.float32).max)
    signals = sound.signals._replace(train_loss=largest, val_loss=largest, grad_norm_host=largest)
    check_observation(sound._replace(signals=signals._replace(grad_norm_seed=largest)), SLOTS)


def test_columns_that_do_not_fit_are_an_error_of_their_own(make: Maker) -> None:
    broken = with_value(packed(make), "slots", "alpha", (3, 1), torch.nan)
    with pytest.raises(ObservationShapeError, match=r"`observation.slots.occupied` has shape \(4, 3\)"):
        check_observation(broken, SlotConfig.for_grid(1, 2))


@given(
    st.integers(0, ENVS - 1),
    st.integers(0, get_feature_size(SLOTS, telemetry=True) - 1),
    st.sampled_from([torch.nan, torch.inf, -torch.inf]),
)
def test_every_feature_is_finite_or_refused_by_name(make: Maker, env: int, index: int, value: float) -> None:
    features = extract_features(packed(make), SLOTS, telemetry=True)
    check_finite_features(features, SLOTS, telemetry=True)
    features[env, index] = value
    base, slot, closer = 53, 59, 8  # OBSERVATION.md
    where = f"environment {env}"
    if index >= base:
        place = (index - base) // slot if index < base + 3 * slot else (index - base - 3 * slot) // closer
        where += f", slot {SLOTS.slot_ids[place]}"
    with pytest.raises(NonFiniteValueError) as caught:
        check_finite_features(features, SLOTS, telemetry=True)
    assert re.fullmatch(
        rf"{where}: feature '\w+(\[-\d\]|=\w+)?' is {value:g}, expected a finite number", str(caught.value)
    )


def test_features_are_named_as_the_schema_names_them() -> None:
    features = torch.zeros(2, get_feature_size(SLOTS))
    for index, name in (
        (2, "'train_loss'"),
        (19, r"'loss_history\[-1\]'"),
        (53 + 59 + 4, "'stage=TRAINING'"),
    ):
        broken = features.clone()
        broken[1, index] = torch.nan
        broken[1, -1] = torch.inf
        with pytest.raises(
            NonFiniteValueError, match=rf"environment 1.*: feature {name} is nan.* \(and 1 more\)"
        ):
            check_finite_features(broken, SLOTS)
    with pytest.raises(ObservationShapeError, match=r"\(2, 230\).* has 254 features"):
        check_finite_features(features, SLOTS, telemetry=True)
