"""Information coefficients: how forecast and outcome move together, and how surely that is known."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from math import atanh, tanh

import numpy as np
from numpy.typing import ArrayLike

from backtester_model_core.evaluation.long_run import mean_interval
from backtester_model_core.evaluation.rows import check_lengths, float_columns, instants, known_rows
from backtester_model_core.exceptions import EvaluationError
from backtester_model_core.typing import FloatArray, IntArray

NAN = float("nan")

ROUNDING = 1e-12
"""A correlation this close to one leaves nothing to estimate."""

COEFFICIENTS = ("ic", "rank_ic", "ic_across", "rank_ic_across")
"""The coefficients by name: over all rows together, and across the symbols of one time."""


@dataclass(frozen=True)
class _Pairs:
    """Known pairs of outcome and forecast in time order.

    Attributes:
        outcome: (n,) what happened.
        forecast: (n,) what was foreseen.
        size: (n_times,) number of rows at each decision time.
    """

    outcome: FloatArray
    forecast: FloatArray
    size: IntArray

    @classmethod
    def of(cls, outcome: ArrayLike, forecast: ArrayLike, decision_time: ArrayLike) -> _Pairs:
        y, f = float_columns(outcome=outcome, forecast=forecast)
        times = instants(decision_time)
        check_lengths(outcome=y, decision_time=times)
        known = known_rows(y, f)
        order = np.argsort(times[known], kind="stable")
        times = times[known][order]
        first = np.flatnonzero(np.diff(times, prepend=times[:1] - 1))
        return cls(y[known][order], f[known][order], np.diff(np.append(first, len(times))))

    def ranked(self) -> _Pairs:
        """Return the pairs with ranks over all rows in place of values."""
        one = np.zeros(len(self.outcome), dtype=np.int64)
        return _Pairs(midranks(self.outcome, group=one), midranks(self.forecast, group=one), self.size)

    def correlation(self) -> float:
        """Return the correlation over all rows; NaN where one of both does not vary."""
        found = _correlations(self.outcome, self.forecast, np.array([len(self.outcome)]))
        return float(found[0]) if len(found) else NAN

    def correlations_across(self, *, min_symbols: int) -> tuple[FloatArray, FloatArray]:
        """Return Pearson's and Spearman's correlation across symbols, for each time with enough of them."""
        wide = np.repeat(self.size >= min_symbols, self.size)
        size = self.size[self.size >= min_symbols]
        y, f, group = self.outcome[wide], self.forecast[wide], np.repeat(np.arange(len(size)), size)
        ranks = midranks(y, group=group), midranks(f, group=group)
        return _correlations(y, f, size), _correlations(*ranks, size)


def information_coefficients(
    outcome: ArrayLike, *, forecast: ArrayLike, decision_time: ArrayLike, min_symbols: int = 5
) -> dict[str, float]:
    """Return the correlations of forecast and outcome, over all rows and across symbols.

    ``ic`` (Pearson) and ``rank_ic`` (Spearman, ties at their middle rank) take all rows together: what one
    symbol allows. ``ic_across`` and ``rank_ic_across`` are means over the decision times with at least
    ``min_symbols`` symbols of the correlation across those symbols; ``n_across`` counts these times. A time at
    which forecast or outcome is the same for every symbol has no correlation and is not counted.
    """
    pairs = _Pairs.of(outcome, forecast, decision_time)
    across, rank_across = pairs.correlations_across(min_symbols=min_symbols)
    return {
        "n": len(pairs.outcome),
        "ic": pairs.correlation(),
        "rank_ic": pairs.ranked().correlation(),
        "ic_across": float(across.mean()) if len(across) else NAN,
        "rank_ic_across": float(rank_across.mean()) if len(rank_across) else NAN,
        "n_across": len(across),
    }


def information_intervals(
    outcome: ArrayLike,
    *,
    forecast: ArrayLike,
    decision_time: ArrayLike,
    horizon: int,
    min_symbols: int = 5,
) -> dict[str, tuple[float, float]]:
    """Return a 95 % interval for each information coefficient, by its name.

    Across symbols the coefficient is a mean over times, with the long-run variance of Newey & West (1987) and
    fixed-b critical values (Kiefer & Vogelsang 2005). Over all rows it is a mean to first order as well, of what
    each row adds to it (its influence function: Devlin, Gnanadesikan & Kettenring 1975; for ranks Croux & Dehon
    2010): rows of one time are added up, so that symbols that move together count once, and the same variance
    allows for overlapping outcomes. Bounds are taken on the scale of Fisher's atanh and so stay within one.

    Args:
        outcome: (n,) what happened; NaN rows are left out.
        forecast: (n,) what was foreseen; NaN rows are left out.
        decision_time: (n,) instant of each row.
        horizon: Bars from entry to exit.
        min_symbols: Symbols that a time needs to count for the coefficients across symbols.

    Returns:
        (lower, upper) by name; NaN where the rows do not define them.

    Raises:
        EvaluationError: When the columns differ in length or the horizon is below one.
    """
    if horizon < 1:
        raise EvaluationError(f"A horizon is at least one bar; given {horizon}.")
    pairs = _Pairs.of(outcome, forecast, decision_time)
    across, rank_across = pairs.correlations_across(min_symbols=min_symbols)
    intervals = (
        _interval(pairs, _moment_influence, horizon),
        _interval(pairs.ranked(), _rank_influence, horizon),
        mean_interval(across, horizon=horizon),
        mean_interval(rank_across, horizon=horizon),
    )
    return dict(zip(COEFFICIENTS, intervals, strict=True))


def midranks(values: FloatArray, *, group: IntArray) -> FloatArray:
    """Rank the values from 1 in the order of (group, value); equal values of a group share their middle rank."""
    order = np.lexsort((values, group))
    sorted_values, sorted_group = values[order], group[order]
    starts = np.ones(len(values), dtype=np.bool_)
    starts[1:] = (np.diff(sorted_values) != 0) | (np.diff(sorted_group) != 0)
    first = np.flatnonzero(starts)
    size = np.diff(np.append(first, len(values)))
    ranks = np.empty(len(values))
    ranks[order] = np.repeat(first + (size + 1) / 2, size)
    return ranks


def _correlations(x: FloatArray, y: FloatArray, size: IntArray) -> FloatArray:
    """Return the Pearson correlation within each run of ``size`` rows; runs in which one does not vary drop out."""
    size = size[size > 0]
    first = np.cumsum(size) - size
    if len(first) == 0:
        return np.empty(0)
    varies = (np.minimum.reduceat(x, first) < np.maximum.reduceat(x, first)) & (
        np.minimum.reduceat(y, first) < np.maximum.reduceat(y, first)
    )
    dx = x - np.repeat(np.add.reduceat(x, first) / size, size)
    dy = y - np.repeat(np.add.reduceat(y, first) / size, size)
    xx, yy, xy = (np.add.reduceat(product, first)[varies] for product in (dx * dx, dy * dy, dx * dy))
    return np.asarray(xy / np.sqrt(xx * yy), dtype=np.float64)


def _interval(
    pairs: _Pairs, influence: Callable[[FloatArray, FloatArray], FloatArray], horizon: int
) -> tuple[float, float]:
    """Return the interval of the correlation over all rows, from what each row adds to it."""
    correlation = pairs.correlation()
    if not abs(correlation) < 1 - ROUNDING:
        return NAN, NAN
    first = np.cumsum(pairs.size) - pairs.size
    of_time = np.add.reduceat(influence(pairs.outcome, pairs.forecast), first) * len(first) / pairs.size.sum()
    low, high = mean_interval(atanh(correlation) + of_time / (1 - correlation**2), horizon=horizon)
    return tanh(low), tanh(high)


def _moment_influence(y: FloatArray, f: FloatArray) -> FloatArray:
    """Return z_y z_f - r (z_y² + z_f²)/2 of each row (Devlin, Gnanadesikan & Kettenring 1975)."""
    zy, zf = (y - y.mean()) / y.std(), (f - f.mean()) / f.std()
    return np.asarray(zy * zf - (zy @ zf) / len(zy) * (zy**2 + zf**2) / 2, dtype=np.float64)


def _rank_influence(y_rank: FloatArray, f_rank: FloatArray) -> FloatArray:
    """Return what each row adds to the correlation of ranks: by its own, and by raising those above it.

    Without ties this is the influence function of Croux & Dehon (2010). With ties the variance of middle
    ranks is estimated as well, and has an influence of its own.
    """
    n = len(y_rank)
    u, v = (y_rank - 0.5) / n, (f_rank - 0.5) / n
    covariance = u * v + _mean_above(u, v) + _mean_above(v, u) - 3 * np.mean(u * v)
    of_u = u * u + 2 * _mean_above(u, u) - 3 * np.mean(u * u)
    of_v = v * v + 2 * _mean_above(v, v) - 3 * np.mean(v * v)
    scale = u.std() * v.std()
    correlation = (np.mean(u * v) - 0.25) / scale
    relative = of_u / u.var() + of_v / v.var()
    return np.asarray(covariance / scale - correlation * relative / 2, dtype=np.float64)


def _mean_above(values: FloatArray, weight: FloatArray) -> FloatArray:
    """Return for each row the mean over all rows of their weight where their value is higher, half where equal."""
    _, group = np.unique(values, return_inverse=True)
    total = np.bincount(group, weights=weight)
    above = np.cumsum(total[::-1])[::-1] - total / 2
    return np.asarray(above[group] / len(values), dtype=np.float64)
