"""Means with intervals over hosts."""

from functools import cache
from math import sqrt
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float, Int
from numpy import typing as npt
from torch import Tensor

RESAMPLES = 10_000
_LEVEL = 0.95


class Estimate(NamedTuple):
    """A mean over hosts and its 95 % interval, in the unit of the values."""

    mean: float
    low: float
    high: float

    def describe(self, decimals: int) -> str:
        """Mean and interval as text: "4.50 [2.80, 6.20]"."""
        return f"{self.mean:.{decimals}f} [{self.low:.{decimals}f}, {self.high:.{decimals}f}]"


def estimate(values: Float[Tensor, " host"], clusters: Int[Tensor, " host"] | None = None) -> Estimate:
    """Mean and 95 % bootstrap interval (10,000 resamples, fixed seed: equal values, equal interval).

    Whole clusters are resampled, so that hosts which share more than chance do not count as so many independent
    proofs. Percentiles are taken a little further out than 2.5 and 97.5, as T. Hesterberg, What Teachers Should Know
    About the Bootstrap, https://arxiv.org/abs/1411.5279, section 4.2, does: of n clusters those are too narrow by what
    Student's t differs from a normal distribution and n - 1 from n. Few clusters thus give wide intervals; from
    fewer than about 5 take them as a hint.

    For differences between controllers pass the differences host by host: the interval is then paired.

    Args:
        values: finite.
        clusters: which hosts belong together, by equal numbers; None where each stands for itself.

    Raises:
        ValueError: fewer than two clusters, from which no interval can be made; a value that is not finite.
    """
    sample: npt.NDArray[np.float64] = values.double().numpy()
    if not np.isfinite(sample).all():
        raise ValueError("`values` must be finite to have a mean")
    labels = np.arange(len(sample)) if clusters is None else clusters.numpy()
    _, places, counts = np.unique(labels, return_inverse=True, return_counts=True)
    num = len(counts)
    if num < 2:
        unit = "hosts" if clusters is None else "clusters of hosts"
        raise ValueError(f"an interval needs at least 2 {unit}, not {num}")
    sums = np.bincount(places, sample)
    mean = float(sample.mean())
    if np.allclose(sums / counts, mean, rtol=1e-12, atol=1e-12):  # nothing varies; rounding is no interval
        return Estimate(mean, mean, mean)
    resampled = _scipy_stats().bootstrap(
        (sums, counts),
        _mean_of_clusters,
        paired=True,
        n_resamples=RESAMPLES,
        confidence_level=_expanded_level(num),
        method="percentile",
        rng=np.random.default_rng(0),
    )
    interval = resampled.confidence_interval
    return Estimate(mean, float(interval.low), float(interval.high))


def _mean_of_clusters(
    sums: npt.NDArray[np.float64], counts: npt.NDArray[np.int64], axis: int = -1
) -> npt.NDArray[np.float64]:
    mean: npt.NDArray[np.float64] = sums.sum(axis) / counts.sum(axis)
    return mean


def _expanded_level(num: int) -> float:
    """The percentile interval of this level covers as often as an exact 95 % one of `num` normal values."""
    stats = _scipy_stats()
    reach = sqrt(num / (num - 1)) * float(stats.t.ppf((1 + _LEVEL) / 2, num - 1))
    return min(1 - 2 * float(stats.norm.sf(reach)), 1 - 1 / RESAMPLES)


@cache
def _scipy_stats() -> Any:
    from scipy import stats  # takes seconds to import

    return stats
