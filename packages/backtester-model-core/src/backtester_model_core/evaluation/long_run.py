"""Means of overlapping outcomes: their standard error, t statistic and bound.

Outcomes over ``h`` bars overlap, so neighbouring decision times share returns and are not independent. The
variance of a mean is therefore the long-run variance of Newey & West (1987), and its t statistic is compared
with critical values that account for that variance being estimated (Kiefer & Vogelsang 2005, "fixed b").
"""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil, exp, log1p, sqrt
from statistics import NormalDist
from typing import Self

import numpy as np
from numpy.typing import ArrayLike

from backtester_model_core.evaluation.rows import float_columns, known_rows
from backtester_model_core.typing import FloatArray

LEVEL = 0.05
"""The level at which everything is tested, on one side."""


@dataclass(frozen=True)
class MeanEstimate:
    """The mean of a time-ordered series, how well it is known, and how surely it is not zero.

    All figures but ``mean`` and ``n`` are NaN where the series does not allow them.

    Attributes:
        mean: The mean; NaN without values.
        standard_error: Standard error of the mean.
        n: Number of values.
        critical_above: What :attr:`t` must exceed for the mean to be above zero, one-sided at 5 %.
        critical_below: What :attr:`t` must fall short of, negated, for the mean to be below zero.
        p_above: Probability of a ``t`` at least as high when the true mean is zero.
        p_below: Probability of a ``t`` at least as low when the true mean is zero.
    """

    mean: float
    standard_error: float
    n: int
    critical_above: float
    critical_below: float
    p_above: float
    p_below: float

    @property
    def t(self) -> float:
        """The mean in standard errors; NaN when the values do not vary."""
        return self.mean / self.standard_error if self.standard_error > 0 else float("nan")

    @classmethod
    def undefined(cls, values: FloatArray, *, critical: float = float("nan")) -> Self:
        """Return what is known of values too few, or too much alike, to say how well their mean is known."""
        nan = float("nan")
        mean = float(values.mean()) if len(values) else nan
        error = 0.0 if len(values) > 1 else nan
        return cls(mean, error, len(values), critical, critical, nan, nan)


def newey_west_lags(n: int, *, horizon: int) -> int:
    """Return max(2h, ⌈1.3 √n⌉) lags, at most n - 1 (the rate of Lazarus, Lewis, Stock & Watson 2018)."""
    return max(0, min(max(2 * horizon, ceil(1.3 * sqrt(n))), n - 1))


def varies(values: FloatArray) -> bool:
    """Return whether the values spread by more than rounding."""
    rounding = 64 * np.finfo(np.float64).eps * np.abs(values).max()
    return bool(np.abs(values - values.mean()).max() > rounding)


def long_run_variance(values: FloatArray, *, lags: int) -> float:
    """Estimate the long-run variance with Bartlett weights 1 - j/(lags + 1) (Newey & West 1987, eq. 5)."""
    if not varies(values):
        return 0.0
    n = len(values)
    deviation = values - values.mean()
    covariance = [float(deviation[j:] @ deviation[: n - j]) / n for j in range(lags + 1)]
    weighted = sum((1 - j / (lags + 1)) * covariance[j] for j in range(1, lags + 1))
    return max(covariance[0] + 2 * weighted, 0.0)


def fixed_b_critical(b: float, *, two_sided: bool = False) -> float:
    """Return the 5 % critical value at b = M/T (Kiefer & Vogelsang 2005, table 1, Bartlett kernel).

    Their weights are 1 - j/M, so M is the number of lags plus one. At b = 0 it is the normal 1.645, or 1.96 for a
    test on both sides.
    """
    if two_sided:
        return 1.9600 + 2.9694 * b + 0.4160 * b**2 - 0.5324 * b**3
    return 1.6449 + 2.1859 * b + 0.3142 * b**2 - 0.3427 * b**3


def fixed_b_p_value(t: float, *, b: float) -> float:
    """Return the probability under fixed b of a statistic at least as high as t.

    The table of Kiefer & Vogelsang ends at 1 %, and many claims side by side need less. The limit is close to
    Student's with the kernel's 3/(2b) equivalent degrees of freedom (Lazarus, Lewis, Stock & Watson 2018), which is
    taken through the normal approximation of Wallace (1959) and scaled so that it says 5 % exactly at the critical
    value. Further out it errs on the side of doubt: at b = 0.05 what it calls 0.0005 is about 0.0004.
    """
    degrees = 1.5 / b
    shrink = (8 * degrees + 1) / (8 * degrees + 3)
    at_level = sqrt(degrees * (exp((NormalDist().inv_cdf(1 - LEVEL) / shrink) ** 2 / degrees) - 1))
    student = abs(t) * at_level / fixed_b_critical(b)
    upper = NormalDist().cdf(-shrink * sqrt(degrees * log1p(student**2 / degrees)))
    return upper if t > 0 else 1 - upper


def estimate_mean(values: FloatArray, *, horizon: int) -> MeanEstimate:
    """Estimate the mean of a series in time order whose entries overlap over ``horizon`` bars."""
    n = len(values)
    if n == 0:
        return MeanEstimate.undefined(values)
    lags = newey_west_lags(n, horizon=horizon)
    b = (lags + 1) / n
    critical = fixed_b_critical(b)
    error = sqrt(long_run_variance(values, lags=lags) / n) if n > 1 else 0.0
    if error == 0:
        return MeanEstimate.undefined(values, critical=critical)
    mean = float(values.mean())
    p_above, p_below = (fixed_b_p_value(t, b=b) for t in (mean / error, -mean / error))
    return MeanEstimate(mean, error, n, critical, critical, p_above, p_below)


def mean_interval(values: FloatArray, *, horizon: int) -> tuple[float, float]:
    """Return a 95 % interval for the mean of a series in time order; NaN where its error is not known."""
    n = len(values)
    estimate = estimate_mean(values, horizon=horizon)
    if not estimate.standard_error > 0:
        return float("nan"), float("nan")
    b = (newey_west_lags(n, horizon=horizon) + 1) / n
    half = fixed_b_critical(b, two_sided=True) * estimate.standard_error
    return estimate.mean - half, estimate.mean + half


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
    return estimate.mean, estimate.mean + estimate.critical_above * estimate.standard_error, estimate.n
