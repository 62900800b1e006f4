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
