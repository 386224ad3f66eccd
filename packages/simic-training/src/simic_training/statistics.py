"""Means with intervals over hosts."""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float
from scipy import stats
from torch import Tensor


class Estimate(NamedTuple):
    """A mean over hosts and its 95 % interval, in the unit of the values."""

    mean: float
    low: float
    high: float

    def describe(self, decimals: int) -> str:
        """Mean and interval as text: "4.50 [2.80, 6.20]"."""
        return f"{self.mean:.{decimals}f} [{self.low:.{decimals}f}, {self.high:.{decimals}f}]"


def estimate(values: Float[Tensor, " host"]) -> Estimate:
    """Mean and 95 % percentile bootstrap interval (10,000 resamples, fixed seed: equal values, equal interval).

    Efron and Tibshirani, An Introduction to the Bootstrap, chapter 13. For differences between controllers pass the
    differences host by host: the interval is then paired.

    Raises:
        ValueError: fewer than two values, from which no interval can be made.
    """
    if values.numel() < 2:
        raise ValueError(f"an interval needs at least 2 hosts, not {values.numel()}")
    sample = values.double().numpy()
    resampled = stats.bootstrap(
        (sample,), np.mean, n_resamples=10_000, method="percentile", rng=np.random.default_rng(0)
    )
    interval = resampled.confidence_interval
    return Estimate(float(sample.mean()), float(interval.low), float(interval.high))
