"""Means of overlapping outcomes: their standard error, t statistic and bound.

Outcomes over ``h`` bars overlap, so neighbouring decision times share returns and are not independent. The
variance of a mean is therefore the long-run variance of Newey & West (1987), and its t statistic is compared
with critical values that account for that variance being estimated (Kiefer & Vogelsang 2005, "fixed b").
"""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil, sqrt

import numpy as np
from numpy.typing import ArrayLike

from backtester_model_core.evaluation.rows import float_columns, known_rows
from backtester_model_core.typing import FloatArray


@dataclass(frozen=True)
class MeanEstimate:
    """The mean of a time-ordered series and how well it is known.

    Attributes:
        mean: The mean; NaN without values.
        standard_error: Newey-West standard error of the mean; NaN where it cannot be estimated.
        n: Number of values.
        lags: Number of autocovariances in the long-run variance.
    """

    mean: float
    standard_error: float
    n: int
    lags: int

    @property
    def t(self) -> float:
        """The mean in standard errors; NaN when the values do not vary."""
        return self.mean / self.standard_error if self.standard_error > 0 else float("nan")

    @property
    def critical(self) -> float:
        """The one-sided 5 % critical value of :attr:`t`; NaN without values."""
        return fixed_b_critical((self.lags + 1) / self.n) if self.n else float("nan")


def newey_west_lags(n: int, *, horizon: int) -> int:
    """Return max(2h, ⌈1.3 √n⌉) lags, at most n - 1 (the rate of Lazarus, Lewis, Stock & Watson 2018)."""
    return max(0, min(max(2 * horizon, ceil(1.3 * sqrt(n))), n - 1))


def long_run_variance(values: FloatArray, *, lags: int) -> float:
    """Estimate the long-run variance with Bartlett weights 1 - j/(lags + 1) (Newey & West 1987, eq. 5).

    Values whose spread is no larger than rounding have variance zero.
    """
    n = len(values)
    deviation = values - values.mean()
    rounding = 64 * np.finfo(np.float64).eps * np.abs(values).max()
    if np.abs(deviation).max() <= rounding:
        return 0.0
    covariance = [float(deviation[j:] @ deviation[: n - j]) / n for j in range(lags + 1)]
    weighted = sum((1 - j / (lags + 1)) * covariance[j] for j in range(1, lags + 1))
    return max(covariance[0] + 2 * weighted, 0.0)


def fixed_b_critical(b: float) -> float:
    """Return the one-sided 5 % critical value at b = M/T (Kiefer & Vogelsang 2005, table 1, Bartlett kernel).

    Their weights are 1 - j/M, so M is the number of lags plus one. At b = 0 it is the normal 1.645.
    """
    return 1.6449 + 2.1859 * b + 0.3142 * b**2 - 0.3427 * b**3


def estimate_mean(values: FloatArray, *, horizon: int) -> MeanEstimate:
    """Estimate the mean of a series in time order whose entries overlap over ``horizon`` bars."""
    n = len(values)
    lags = newey_west_lags(n, horizon=horizon)
    mean = float(values.mean()) if n else float("nan")
    if n < 2:
        return MeanEstimate(mean, float("nan"), n, lags)
    return MeanEstimate(mean, sqrt(long_run_variance(values, lags=lags) / n), n, lags)


def mean_with_bound(values: ArrayLike, *, horizon: int) -> tuple[float, float, int]:
    """Return the mean of a series in time order, its upper 95 % bound, and the number of values.

    NaN values are left out. The bound is one-sided and infinite below two values, where nothing is known.

    Example:
        >>> mean_with_bound([0.01, 0.01, float("nan")], horizon=1)
        (0.01, 0.01, 2)
    """
    (series,) = float_columns(values=values)
    estimate = estimate_mean(series[known_rows(series)], horizon=horizon)
    if np.isnan(estimate.standard_error):
        return estimate.mean, float("inf"), estimate.n
    return estimate.mean, estimate.mean + estimate.critical * estimate.standard_error, estimate.n
