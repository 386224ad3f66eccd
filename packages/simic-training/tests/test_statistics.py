"""Means with intervals."""

import pytest
import torch

from simic_training import estimate


def test_interval_holds_the_mean_and_shrinks_with_more_hosts() -> None:
    generator = torch.Generator().manual_seed(0)
    few = estimate(torch.randn(8, generator=generator))
    many = estimate(torch.randn(512, generator=generator))
    assert few.low < few.mean < few.high
    assert many.high - many.low < few.high - few.low
    assert many.low < 0.1
    assert many.high > -0.1


def test_covers_the_true_mean_about_as_often_as_it_says() -> None:
    generator = torch.Generator().manual_seed(1)
    intervals = [estimate(torch.randn(16, generator=generator)) for _ in range(60)]
    covered = sum(interval.low <= 0 <= interval.high for interval in intervals)
    assert covered >= 50


def test_equal_values_have_no_width() -> None:
    assert estimate(torch.full((4,), 80.0)) == (80.0, 80.0, 80.0)


def test_deterministic() -> None:
    values = torch.arange(10.0)
    assert estimate(values) == estimate(values.clone())
    assert estimate(values).describe(2).startswith("4.50 [")


def test_one_host_is_refused() -> None:
    with pytest.raises(ValueError, match="at least 2 hosts, not 1"):
        estimate(torch.ones(1))
