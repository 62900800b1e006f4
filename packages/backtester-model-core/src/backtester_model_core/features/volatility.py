"""The one measure of volatility that rooms share: labels scale barriers by it, signals scale residuals."""

from __future__ import annotations

from backtester_model_core.features.expression import Expression, col
from backtester_model_core.features.functions import ref, rolling_std

VOLATILITY_WINDOW = 20
"""Bars over which volatility is measured."""


def return_volatility(column: str = "close") -> Expression:
    """Return the sample deviation of one-bar returns over the last :data:`VOLATILITY_WINDOW` bars.

    Example:
        >>> str(return_volatility())
        'rolling_std(close / ref(close, 1) - 1, 20)'
    """
    price = col(column)
    return rolling_std(price / ref(price, 1) - 1, VOLATILITY_WINDOW)
