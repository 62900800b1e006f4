"""The stationary bootstrap: how a mean would vary if the same stretches of time had come in another order.

Politis & Romano (1994) glue a series together anew from blocks of random place and length. Within a block the order
is kept, and with it the dependence between neighbours; a block that reaches the end goes on at the beginning. Lengths
are geometric, which makes the new series stationary.
"""

from __future__ import annotations

from math import sqrt

import numpy as np

from backtester_model_core.evaluation.long_run import LEVEL, MeanEstimate, varies
from backtester_model_core.exceptions import EvaluationError
from backtester_model_core.typing import FloatArray, IntArray

N_RESAMPLES = 999
"""Resamples that decide at a level of 5 % to within a standard error of 0.7 %."""

DRAWS_AT_ONCE = 2**20
"""Positions filled at once: what bounds the memory however long the series is."""


def mean_block(n: int, *, horizon: int) -> float:
    """Return the mean length of a block: max(2h, n^⅓), at most n."""
    return float(min(max(2 * horizon, n ** (1 / 3)), n))


def resampled_means(
    values: FloatArray, *, block: float, n_resamples: int, rng: np.random.Generator
) -> FloatArray:
    """Return (n_resamples,) means of series drawn from blocks of mean length ``block``.

    A new block begins at each position with probability 1/block, which makes lengths geometric, and always at the
    first (Politis & Romano 1994, section 2).
    """
    n = len(values)
    before = np.concatenate([[0.0], np.cumsum(np.concatenate([values, values]))])
    means = []
    at_once = max(1, DRAWS_AT_ONCE // n)
    for done in range(0, n_resamples, at_once):
        begins = np.zeros(min(at_once, n_resamples - done) * n, dtype=np.bool_)
        begins[_beginnings(len(begins), block=block, rng=rng)] = True
        begins[::n] = True
        first = np.flatnonzero(begins)
        length = np.diff(np.append(first, len(begins)))
        start = rng.integers(n, size=len(first))
        totals = before[start + length] - before[start]
        means.append(np.add.reduceat(totals, np.flatnonzero(first % n == 0)) / n)
    return np.concatenate(means)


def _beginnings(n_positions: int, *, block: float, rng: np.random.Generator) -> IntArray:
    """Return where blocks begin along a line of positions; lengths forget, so that any may be cut short."""
    expected = n_positions / block
    found = np.zeros(1, dtype=np.int64)
    while found[-1] < n_positions:
        lengths = rng.geometric(1 / block, size=int(expected + 5 * sqrt(expected)) + 1)
        found = np.concatenate([found, found[-1] + np.cumsum(lengths)])
    return found[found < n_positions]


def bootstrap_mean(
    values: FloatArray, *, horizon: int, n_resamples: int = N_RESAMPLES, seed: int = 0
) -> MeanEstimate:
    """Estimate the mean of a series in time order whose entries overlap over ``horizon`` bars.

    The resampled means, less the mean itself, stand for what it would be around a true mean of zero. A p-value is
    (1 + those beyond the mean) / (1 + ``n_resamples``) (Davison & Hinkley 1997, eq. 4.11), so that its test keeps
    its level, and never zero; a critical value is the one that decides alike.

    Raises:
        EvaluationError: When so few resamples could never reach the level.
    """
    n_beyond = int(LEVEL * (n_resamples + 1) + 1e-9)
    if n_beyond < 1:
        raise EvaluationError(
            f"{n_resamples} resamples cannot show anything at 5 %. Draw at least {round(1 / LEVEL) - 1}."
        )
    n = len(values)
    if n < 2 or not varies(values):
        return MeanEstimate.undefined(values)
    mean = float(values.mean())
    around_zero = np.sort(
        resampled_means(
            values - mean,
            block=mean_block(n, horizon=horizon),
            n_resamples=n_resamples,
            rng=np.random.default_rng(seed),
        )
    )
    error = float(around_zero.std())
    n_above = int(np.sum(around_zero >= mean))
    n_below = int(np.sum(around_zero <= mean))
    return MeanEstimate(
        mean,
        error,
        n,
        critical_above=float(around_zero[-n_beyond]) / error,
        critical_below=-float(around_zero[n_beyond - 1]) / error,
        p_above=(1 + n_above) / (1 + n_resamples),
        p_below=(1 + n_below) / (1 + n_resamples),
    )
