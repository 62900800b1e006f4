"""A Python function for each operator that is not a sign, so that expressions may be written in code.

``abs`` is Python's own; ``+ - * /`` work on expressions as they are.
"""

from __future__ import annotations

from backtester_model_core.features.expression import Expression, Operand, call


def ratio(a: Operand, b: Operand) -> Expression:
    """Return the quotient, with 0 for 0 / 0."""
    return call("ratio", a, b)


def sign(x: Operand) -> Expression:
    """Return -1, 0 or 1."""
    return call("sign", x)


def sqrt(x: Operand) -> Expression:
    """Return the square root."""
    return call("sqrt", x)


def log(x: Operand) -> Expression:
    """Return the natural logarithm."""
    return call("log", x)


def exp(x: Operand) -> Expression:
    """Return the exponential."""
    return call("exp", x)


def power(x: Operand, y: Operand) -> Expression:
    """Return x to the power y."""
    return call("power", x, y)


def maximum(a: Operand, b: Operand) -> Expression:
    """Return the larger of two."""
    return call("maximum", a, b)


def minimum(a: Operand, b: Operand) -> Expression:
    """Return the smaller of two."""
    return call("minimum", a, b)


def ref(x: Operand, lag: int) -> Expression:
    """Return the value of ``lag`` bars ago."""
    return call("ref", x, parameters=(lag,))


def delta(x: Operand, lag: int) -> Expression:
    """Return the change since ``lag`` bars ago."""
    return call("delta", x, parameters=(lag,))


def rolling_mean(x: Operand, window: int) -> Expression:
    """Return the mean of the last ``window`` values."""
    return call("rolling_mean", x, parameters=(window,))


def rolling_sum(x: Operand, window: int) -> Expression:
    """Return the sum of the last ``window`` values."""
    return call("rolling_sum", x, parameters=(window,))


def rolling_var(x: Operand, window: int) -> Expression:
    """Return the sample variance of the last ``window`` values."""
    return call("rolling_var", x, parameters=(window,))


def rolling_std(x: Operand, window: int) -> Expression:
    """Return the sample standard deviation of the last ``window`` values."""
    return call("rolling_std", x, parameters=(window,))


def rolling_max(x: Operand, window: int) -> Expression:
    """Return the largest of the last ``window`` values."""
    return call("rolling_max", x, parameters=(window,))


def rolling_min(x: Operand, window: int) -> Expression:
    """Return the smallest of the last ``window`` values."""
    return call("rolling_min", x, parameters=(window,))


def zscore(x: Operand, window: int) -> Expression:
    """Return the distance from the mean of the last ``window`` values in deviations; 0 when all are equal."""
    return call("zscore", x, parameters=(window,))


def ema(x: Operand, window: int) -> Expression:
    """Return the exponential average with weight 2 / (window + 1)."""
    return call("ema", x, parameters=(window,))


def wilder(x: Operand, window: int) -> Expression:
    """Return Wilder's average, with weight 1 / window."""
    return call("wilder", x, parameters=(window,))


def equal(a: Operand, b: Operand) -> Expression:
    """Return 1 where both are equal, else 0."""
    return call("equal", a, b)


def where(condition: Operand, a: Operand, b: Operand) -> Expression:
    """Return the first where the condition is not 0, else the second."""
    return call("where", condition, a, b)


def rolling_count(x: Operand, window: int) -> Expression:
    """Return how many of the last ``window`` values are finite."""
    return call("rolling_count", x, parameters=(window,))


def rolling_median(x: Operand, window: int) -> Expression:
    """Return the median of the last ``window`` values."""
    return call("rolling_median", x, parameters=(window,))


def rolling_quantile(x: Operand, window: int, level: float) -> Expression:
    """Return the quantile of the last ``window`` values at a level from 0 to 1."""
    return call("rolling_quantile", x, parameters=(window, level))


def rolling_rank(x: Operand, window: int) -> Expression:
    """Return the latest value's rank among the last ``window`` as a share."""
    return call("rolling_rank", x, parameters=(window,))


def bars_since_max(x: Operand, window: int) -> Expression:
    """Return how many bars ago the largest of the last ``window`` values was."""
    return call("bars_since_max", x, parameters=(window,))


def bars_since_min(x: Operand, window: int) -> Expression:
    """Return how many bars ago the smallest of the last ``window`` values was."""
    return call("bars_since_min", x, parameters=(window,))


def rolling_mad(x: Operand, window: int) -> Expression:
    """Return the mean absolute deviation of the last ``window`` values."""
    return call("rolling_mad", x, parameters=(window,))


def rolling_skew(x: Operand, window: int) -> Expression:
    """Return the adjusted skewness of the last ``window`` values."""
    return call("rolling_skew", x, parameters=(window,))


def rolling_kurt(x: Operand, window: int) -> Expression:
    """Return the adjusted excess kurtosis of the last ``window`` values."""
    return call("rolling_kurt", x, parameters=(window,))


def rolling_wma(x: Operand, window: int) -> Expression:
    """Return the linearly weighted mean of the last ``window`` values."""
    return call("rolling_wma", x, parameters=(window,))


def rolling_slope(x: Operand, window: int) -> Expression:
    """Return the least-squares slope of the last ``window`` values."""
    return call("rolling_slope", x, parameters=(window,))


def rolling_rsquare(x: Operand, window: int) -> Expression:
    """Return the share of the last ``window`` values' variance that a straight line explains."""
    return call("rolling_rsquare", x, parameters=(window,))


def rolling_residual(x: Operand, window: int) -> Expression:
    """Return the latest value less that of the line fitted to the last ``window``."""
    return call("rolling_residual", x, parameters=(window,))


def rolling_cov(x: Operand, y: Operand, window: int) -> Expression:
    """Return the sample covariance of the last ``window`` pairs of values."""
    return call("rolling_cov", x, y, parameters=(window,))


def rolling_corr(x: Operand, y: Operand, window: int) -> Expression:
    """Return the correlation of the last ``window`` pairs of values."""
    return call("rolling_corr", x, y, parameters=(window,))


def kama(x: Operand, window: int) -> Expression:
    """Return Kaufman's adaptive average with the efficiency of the last ``window`` changes."""
    return call("kama", x, parameters=(window,))


def cumulative_sum(x: Operand) -> Expression:
    """Return the sum of all values since the first bar."""
    return call("cumulative_sum", x)


def cumulative_max(x: Operand) -> Expression:
    """Return the largest value since the first bar."""
    return call("cumulative_max", x)


def cumulative_min(x: Operand) -> Expression:
    """Return the smallest value since the first bar."""
    return call("cumulative_min", x)


def parabolic_sar(high: Operand, low: Operand) -> Expression:
    """Return Wilder's parabolic stop-and-reverse."""
    return call("parabolic_sar", high, low)
