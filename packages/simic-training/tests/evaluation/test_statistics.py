"""Means with intervals."""

from itertools import pairwise

import numpy as np
import pytest
import torch
from scipy import stats

from simic_training.statistics import RESAMPLES, Estimate, estimate


def test_interval_holds_the_mean_and_shrinks_with_more_hosts() -> None:
    generator = torch.Generator().manual_seed(0)
    few = estimate(torch.randn(8, generator=generator))
    many = estimate(torch.randn(512, generator=generator))
    assert few.low < few.mean < few.high
    assert many.high - many.low < few.high - few.low
    assert many.low < 0.1
    assert many.high > -0.1


def test_every_resample_of_two_values() -> None:
    # Means 0, 1/2 and 1 with chances 1/4, 1/2, 1/4: all of them lie in the interval.
    assert estimate(torch.tensor([0.0, 1.0])) == (0.5, 0.0, 1.0)


def test_agrees_with_a_loop_over_resamples() -> None:
    values = torch.tensor([3.0, -1.0, 4.0, 1.0, -5.0, 9.0, 2.0, 6.0, 0.0, 0.5])
    clusters = torch.tensor([0, 0, 0, 1, 1, 2, 3, 3, 4, 4])
    rng = np.random.default_rng(7)
    by_cluster = [values[clusters == cluster].tolist() for cluster in range(5)]
    means = []
    for _ in range(RESAMPLES):
        drawn = [value for cluster in rng.integers(5, size=5) for value in by_cluster[cluster]]
        means.append(sum(drawn) / len(drawn))
    tail = stats.norm.sf((5 / 4) ** 0.5 * stats.t.ppf(0.975, 4))
    low, high = np.quantile(means, [tail, 1 - tail])
    found = estimate(values, clusters)
    assert found.mean == pytest.approx(1.95)
    assert found.low == pytest.approx(low, abs=0.2)
    assert found.high == pytest.approx(high, abs=0.2)


@pytest.mark.parametrize("hosts", [6, 16])
def test_covers_the_true_mean_about_as_often_as_it_says(hosts: int) -> None:
    generator = torch.Generator().manual_seed(1)
    intervals = [estimate(torch.randn(hosts, generator=generator)) for _ in range(100)]
    covered = sum(interval.low <= 0 <= interval.high for interval in intervals)
    assert 90 <= covered <= 99


def test_hosts_that_share_all_are_one_proof() -> None:
    values = torch.randn(8, generator=torch.Generator().manual_seed(2))
    repeated, clusters = values.repeat_interleave(50), torch.arange(8).repeat_interleave(50)
    assert estimate(repeated, clusters) == pytest.approx(estimate(values))
    naive = estimate(repeated)
    assert naive.high - naive.low < 0.3 * (estimate(values).high - estimate(values).low)


def test_clusters_of_unequal_size_count_by_their_hosts() -> None:
    values, clusters = torch.tensor([1.0, 1.0, 1.0, 0.0]), torch.tensor([5, 5, 5, 2])
    assert estimate(values, clusters) == (0.75, 0.0, 1.0)


def test_few_clusters_give_wide_intervals() -> None:
    spreads = []
    for number in (6, 12, 96):
        values = torch.from_numpy(stats.norm.ppf((np.arange(number) + 0.5) / number))
        interval = estimate(values)
        spreads.append((interval.high - interval.low) * number**0.5 / float(values.std()))
    assert all(fewer > more for fewer, more in pairwise(spreads))


@pytest.mark.parametrize("value", [80.0, 0.1, -3.7])
def test_equal_values_have_no_width(value: float) -> None:
    found = estimate(torch.full((6,), value, dtype=torch.float64))
    assert found.low == found.mean == found.high == pytest.approx(value)
    clustered = estimate(torch.full((6,), value, dtype=torch.float64), torch.tensor([0, 0, 0, 1, 1, 2]))
    assert clustered.low == clustered.high == pytest.approx(value)


def test_deterministic() -> None:
    values = torch.arange(10.0)
    assert estimate(values) == estimate(values.clone())
    assert estimate(values).describe(2).startswith("4.50 [")
    assert Estimate(84.24, 80.96, 87.0).describe(1) == "84.2 [81.0, 87.0]"


def test_shifting_shifts_and_scaling_scales() -> None:
    values = torch.randn(12, generator=torch.Generator().manual_seed(3), dtype=torch.float64)
    base = estimate(values)
    assert estimate(values + 10) == pytest.approx([bound + 10 for bound in base])
    assert estimate(values * 3) == pytest.approx([bound * 3 for bound in base])


def test_one_host_is_refused() -> None:
    with pytest.raises(ValueError, match="at least 2 hosts, not 1"):
        estimate(torch.ones(1))
    with pytest.raises(ValueError, match="at least 2 clusters of hosts, not 1"):
        estimate(torch.arange(3.0), torch.zeros(3, dtype=torch.long))


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_what_is_not_finite_is_refused(bad: float) -> None:
    with pytest.raises(ValueError, match="must be finite"):
        estimate(torch.tensor([1.0, bad]))
