"""Qlib's covariance and correlation, of the pairs in a window of which both values are there."""

# ruff: noqa: PLR1730 - comparisons are spelt out: max of a NaN is not the same in compiled code

from __future__ import annotations

from backtester_model_core.features.primitives import NAN, sqrt
from backtester_model_core.features.qlib_steps import FLAT, NEXT, SMALL
from backtester_model_core.features.qlib_windows import kept_mean
from backtester_model_core.features.steps import State

# Sums as for Mean and Std, of the pairs of which both values are there.
PAIRS = 1  # how many there are
LONE = 2  # how many values have no partner
X_SHIFT = 3
Y_SHIFT = 4
X_TOTAL = 5  # sum of (x - shift)
Y_TOTAL = 6
X_SQUARES = 7  # sum of (x - shift) squared
Y_SQUARES = 8
PRODUCTS = 9  # sum of (x - shift) (y - shift)
X_SPREAD = 10  # sum of squared deviations from the mean
Y_SPREAD = 11
X_FRESH = 12  # X_SPREAD when the sums were made afresh
Y_FRESH = 13
PAIRED = 14  # the first of n values of x; n of y follow


def pairs_state(n: int) -> State:
    """Return two windows of ``n`` missing values each, with their sums."""
    return [0.0] * PAIRED + [NAN] * (n + n)


def gather_pair(state: State, x: float, y: float, n: int) -> None:
    """Take one pair in place of the oldest and bring the sums up to date."""
    slot = int(state[NEXT])
    old_x = state[PAIRED + slot]
    old_y = state[PAIRED + n + slot]
    state[PAIRED + slot] = x if x - x == 0.0 else NAN
    state[PAIRED + n + slot] = y if y - y == 0.0 else NAN
    state[NEXT] = float(slot + 1 if slot + 1 < n else 0)
    started = state[PAIRS] > 0.0
    count_pair(state, x, y, 1.0)
    count_pair(state, old_x, old_y, -1.0)
    if not started or slot + 1 == n:
        gather_pairs_afresh(state, n)
        return
    spread_pairs(state)
    if not (state[X_SPREAD] >= SMALL * state[X_FRESH] and state[Y_SPREAD] >= SMALL * state[Y_FRESH]):
        gather_pairs_afresh(state, n)


def count_pair(state: State, x: float, y: float, sense: float) -> None:
    """Add a pair to the sums, or take it from them when the sense is -1."""
    if x - x == 0.0 and y - y == 0.0:
        x_away = x - state[X_SHIFT]
        y_away = y - state[Y_SHIFT]
        state[PAIRS] += sense
        state[X_TOTAL] += sense * x_away
        state[Y_TOTAL] += sense * y_away
        state[X_SQUARES] += sense * x_away * x_away
        state[Y_SQUARES] += sense * y_away * y_away
        state[PRODUCTS] += sense * x_away * y_away
    elif x - x == 0.0 or y - y == 0.0:
        state[LONE] += sense


def spread_pairs(state: State) -> None:
    """Bring both sums of squared deviations up to date with the other sums."""
    share = 1.0 / state[PAIRS] if state[PAIRS] > 0.0 else 0.0
    state[X_SPREAD] = state[X_SQUARES] - state[X_TOTAL] * state[X_TOTAL] * share
    state[Y_SPREAD] = state[Y_SQUARES] - state[Y_TOTAL] * state[Y_TOTAL] * share


def gather_pairs_afresh(state: State, n: int) -> None:
    """Make the sums afresh from the two rings."""
    for at in range(X_TOTAL, PAIRED):
        state[at] = 0.0
    for slot in range(PAIRED, PAIRED + n):
        if state[slot] - state[slot] == 0.0 and state[slot + n] - state[slot + n] == 0.0:
            state[X_SHIFT] = state[slot]
            state[Y_SHIFT] = state[slot + n]
    state[PAIRS] = 0.0
    state[LONE] = 0.0
    for slot in range(PAIRED, PAIRED + n):
        count_pair(state, state[slot], state[slot + n], 1.0)
    spread_pairs(state)
    if state[X_SPREAD] < 0.0:
        state[X_SPREAD] = 0.0
    if state[Y_SPREAD] < 0.0:
        state[Y_SPREAD] = 0.0
    state[X_FRESH] = state[X_SPREAD]
    state[Y_FRESH] = state[Y_SPREAD]


def covariation(state: State) -> float:
    """Return the sum of products of the deviations from the means, of one pair or more."""
    return state[PRODUCTS] - state[X_TOTAL] * state[Y_TOTAL] / state[PAIRS]


def is_flat(state: State, first: int, n: int) -> bool:
    """Tell whether what is there in n slots, two values or more, hardly deviates."""
    count = 0
    for slot in range(first, first + n):
        if state[slot] - state[slot] == 0.0:
            count += 1
    if count < 2:
        return False
    mean = kept_mean(state, first, count, n)
    spread = 0.0
    for slot in range(first, first + n):
        if state[slot] - state[slot] == 0.0:
            spread += (state[slot] - mean) * (state[slot] - mean)
    return sqrt(spread / (count - 1)) <= FLAT


def qlib_cov(state: State, x: float, y: float, n: int) -> float:
    """Return the sample covariance of the pairs there are among the last n, of at least two."""
    gather_pair(state, x, y, n)
    return covariation(state) / (state[PAIRS] - 1.0) if state[PAIRS] > 1.0 else NAN


def qlib_corr(state: State, x: float, y: float, n: int) -> float:
    """Return the correlation of the pairs there are among the last n; NaN where a deviation is below 2e-5."""
    gather_pair(state, x, y, n)
    if state[PAIRS] < 2.0:
        return NAN
    if state[LONE] > 0.0:  # Qlib asks of each side with the values that have no partner
        if is_flat(state, PAIRED, n) or is_flat(state, PAIRED + n, n):
            return NAN
    else:
        limit = FLAT * FLAT * (state[PAIRS] - 1.0)
        if state[X_SPREAD] <= limit or state[Y_SPREAD] <= limit:
            return NAN
    scale = sqrt(state[X_SPREAD]) * sqrt(state[Y_SPREAD])
    return covariation(state) / scale if scale > 0.0 else NAN
