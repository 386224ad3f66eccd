"""Ticks, places and numbers as text."""

from math import inf, nan

import pytest
from hypothesis import given
from hypothesis import strategies as st

from simic_training.report.scales import (
    MINUS,
    Scale,
    buckets,
    end_to_end,
    make_axis,
    mean_of,
    short,
    spread,
    tick_step,
    written,
)

FLOATS = st.floats(-1e9, 1e9)


def test_axis_worked_by_hand() -> None:
    axis = make_axis([0.3, 7.4])
    assert axis.ticks == (0.0, 2.0, 4.0, 6.0, 8.0)
    assert (axis.low, axis.high) == (0.0, 8.0)
    assert axis.labels() == ("0", "2", "4", "6", "8")


def test_axis_of_small_values_has_decimals_enough_to_tell_ticks_apart() -> None:
    axis = make_axis([0.0012, 0.0148])
    assert axis.labels() == ("0.000", "0.005", "0.010", "0.015")


@pytest.mark.parametrize("value", [0.0, 5.0, -3.0, 1e-12, 1e9])
def test_axis_of_one_value_has_room_around_it(value: float) -> None:
    axis = make_axis([value, value])
    assert axis.low < value < axis.high
    assert len(axis.ticks) >= 2


def test_constant_at_a_bound_stays_within_it() -> None:
    axis = make_axis([100.0, 100.0], bounds=(0.0, 100.0))
    assert axis.high == 100.0
    assert axis.low < 100.0


def test_missing_values_do_not_count() -> None:
    assert make_axis([None, 2.0, nan, 4.0, inf]) == make_axis([2.0, 4.0])


def test_axis_without_values_runs_from_0_to_1() -> None:
    axis = make_axis([None, nan])
    assert (axis.low, axis.high) == (0.0, 1.0)


def test_bounds_hold_against_wild_values() -> None:
    axis = make_axis([-30.0, 0.8], include=[1.0], bounds=(-1.0, 1.0))
    assert (axis.low, axis.high) == (-1.0, 1.0)


@given(st.lists(FLOATS, min_size=1, max_size=20))
def test_axis_holds_every_value_and_its_ticks_are_in_order_and_apart(values: list[float]) -> None:
    axis = make_axis(values)
    assert axis.low <= min(values)
    assert axis.high >= max(values)
    assert axis.low < axis.high
    assert list(axis.ticks) == sorted(set(axis.ticks))
    assert 2 <= len(axis.ticks) <= 12


@given(st.floats(1e-9, 1e9))
def test_steps_are_1_2_or_5_times_a_power_of_ten(least: float) -> None:
    step = tick_step(least)
    assert least * (1 - 1e-6) <= step <= least * 2.5 * (1 + 1e-6)
    assert f"{step:e}"[0] in "125"


def test_time_ends_where_the_values_do() -> None:
    axis = end_to_end(0, 25)
    assert (axis.low, axis.high, axis.ticks) == (0, 25, (0, 5, 10, 15, 20, 25))
    assert end_to_end(1, 1).low < 1 < end_to_end(1, 1).high
    assert end_to_end(1, 1).ticks == (1,)


def test_scale_maps_ends_to_ends_either_way_round() -> None:
    down = Scale(0.0, 10.0, 100.0, 20.0)
    assert [down(value) for value in (0.0, 5.0, 10.0)] == [100.0, 60.0, 20.0]


def test_numbers_as_text() -> None:
    assert written(-0.95, 2) == f"{MINUS}0.95"
    assert written(-0.001, 2) == "0.00"
    assert written(0.5, 1, sign=True) == "+0.5"
    assert written(0.0, 1, sign=True) == "0.0"
    assert written(None, 2) == written(nan, 2) == "none"
    assert [short(value, 0) for value in (1500.0, 20_000.0, 2_500_000.0, -0.0)] == [
        "1500",
        "20k",
        "2.5M",
        "0",
    ]


@given(st.integers(0, 1000), st.integers(1, 200))
def test_buckets_cover_everything_once_in_order(count: int, most: int) -> None:
    found = buckets(count, most)
    assert [index for part in found for index in part] == list(range(count))
    assert len(found) == min(count, most)
    lengths = {len(part) for part in found}
    assert not lengths or max(lengths) - min(lengths) <= 1


def test_mean_of_what_is_there() -> None:
    assert mean_of([1.0, None, 5.0, nan], range(4)) == 3.0
    assert mean_of([None, nan], range(2)) is None


@given(st.integers(0, 500), st.integers(0, 30))
def test_spread_takes_both_ends_and_no_index_twice(count: int, chosen: int) -> None:
    found = spread(count, chosen)
    assert found == sorted(set(found))
    assert len(found) == min(count, chosen)
    if count and chosen > 1:
        assert (found[0], found[-1]) == (0, count - 1)
