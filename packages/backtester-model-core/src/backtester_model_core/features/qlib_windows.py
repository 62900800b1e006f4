"""Qlib's windows that are looked through, value by value: extremes, ranks, regressions, quantiles, pairs.

As everywhere under Qlib's names, a window need not be full, and a value that is not finite is missing from it.
"""

from __future__ import annotations

import math

from backtester_model_core.features.primitives import NAN, sqrt
from backtester_model_core.features.steps import State
from backtester_model_core.features.window_steps import insert, quantile_of, remove

FLAT = 2e-5
"""The deviation below which Qlib takes a window for constant, in Corr and Rsquare."""

NEXT = 0  # the slot to overwrite, which is also the oldest value's
ROWS = 1  # bars taken, up to n
KEPT = 2  # the first of n values


def kept_state(n: int) -> State:
    """Return a window of ``n`` missing values."""
    return [0.0] * KEPT + [NAN] * n


def keep(state: State, x: float, n: int) -> int:
    """Take one value in place of the oldest; return how many there are."""
    slot = int(state[NEXT])
    state[KEPT + slot] = x if x - x == 0.0 else NAN
    state[NEXT] = float(slot + 1 if slot + 1 < n else 0)
    if state[ROWS] < n:
        state[ROWS] += 1.0
    count = 0
    for at in range(KEPT, KEPT + n):
        if state[at] - state[at] == 0.0:
            count += 1
    return count


def kept(state: State, age: int, n: int) -> float:
    """Return the value that ``age`` others came before, missing ones counted: n - 1 is the latest."""
    slot = int(state[NEXT]) + age
    return state[KEPT + (slot if slot < n else slot - n)]


def kept_mean(state: State, first: int, count: int, n: int) -> float:
    """Return the mean of what is there in n slots."""
    shift = 0.0
    for slot in range(first, first + n):
        if state[slot] - state[slot] == 0.0:
            shift = state[slot]
    total = 0.0
    for slot in range(first, first + n):
        if state[slot] - state[slot] == 0.0:
            total += state[slot] - shift
    return shift + total / count


def kept_power(state: State, mean: float, scale: float, exponent: int, n: int) -> float:
    """Return the sum of a power of the scaled deviations of what is there."""
    total = 0.0
    for slot in range(KEPT, KEPT + n):
        if state[slot] - state[slot] == 0.0:
            away = (state[slot] - mean) / scale
            product = away
            for _ in range(exponent - 1):
                product *= away
            total += product
    return total


def qlib_max(state: State, x: float, n: int) -> float:
    """Return the largest value there is among the last n."""
    keep(state, x, n)
    best = NAN
    for slot in range(KEPT, KEPT + n):
        if not state[slot] <= best and state[slot] - state[slot] == 0.0:
            best = state[slot]
    return best


def qlib_min(state: State, x: float, n: int) -> float:
    """Return the smallest value there is among the last n."""
    return -qlib_max(state, -x, n)


def qlib_idxmax(state: State, x: float, n: int) -> float:
    """Return the place of the largest of the last n values, 1 for the oldest; of a missing one, if there is any."""
    if keep(state, x, n) == 0:
        return NAN
    rows = int(state[ROWS])
    best = n - rows
    for age in range(n - rows, n):
        value = kept(state, age, n)
        if value - value != 0.0:
            best = age
            break
        if value > kept(state, best, n):
            best = age
    return best - (n - rows) + 1.0


def qlib_idxmin(state: State, x: float, n: int) -> float:
    """Return the place of the smallest of the last n values, 1 for the oldest; of a missing one, if there is any."""
    return qlib_idxmax(state, -x, n)


def qlib_rank(state: State, x: float, n: int) -> float:
    """Return the latest value's rank among those there are of the last n as a share; equal ones share theirs."""
    count = keep(state, x, n)
    if x - x != 0.0:
        return NAN
    below = 0
    equal = 0
    for slot in range(KEPT, KEPT + n):
        if state[slot] < x:
            below += 1
        elif state[slot] == x:
            equal += 1
    return (below + (equal + 1) / 2.0) / count


def qlib_mad(state: State, x: float, n: int) -> float:
    """Return the mean absolute deviation of the values there are among the last n from their mean."""
    count = keep(state, x, n)
    if count == 0:
        return NAN
    mean = kept_mean(state, KEPT, count, n)
    total = 0.0
    for slot in range(KEPT, KEPT + n):
        if state[slot] - state[slot] == 0.0:
            total += math.fabs(state[slot] - mean)
    return total / count


def qlib_skew(state: State, x: float, n: int) -> float:
    """Return the adjusted skewness of the values there are among the last n, of at least three."""
    count = keep(state, x, n)
    if count < 3:
        return NAN
    mean = kept_mean(state, KEPT, count, n)
    deviation = sqrt(kept_power(state, mean, 1.0, 2, n) / (count - 1))
    if deviation == 0.0:
        return 0.0
    return kept_power(state, mean, deviation, 3, n) * count / ((count - 1.0) * (count - 2.0))


def qlib_kurt(state: State, x: float, n: int) -> float:
    """Return the adjusted excess kurtosis of the values there are among the last n, of at least four."""
    count = keep(state, x, n)
    if count < 4:
        return NAN
    mean = kept_mean(state, KEPT, count, n)
    deviation = sqrt(kept_power(state, mean, 1.0, 2, n) / (count - 1))
    if deviation == 0.0:
        return -3.0
    scale = count * (count + 1.0) / ((count - 1.0) * (count - 2.0) * (count - 3.0))
    base = 3.0 * (count - 1.0) * (count - 1.0) / ((count - 2.0) * (count - 3.0))
    return kept_power(state, mean, deviation, 4, n) * scale - base


def qlib_wma(state: State, x: float, n: int) -> float:
    """Return the mean of the last n values times weights 1 … n that sum to one: Qlib divides by n once more."""
    count = keep(state, x, n)
    if count == 0:
        return NAN
    rows = int(state[ROWS])
    total = 0.0
    for age in range(n - rows, n):
        value = kept(state, age, n)
        if value - value == 0.0:
            total += (age - (n - rows) + 1.0) * value
    return total / (rows * (rows + 1.0) / 2.0) / count


# -- regressions on the place in the window ---------------------------------------------------------------------------


def kept_slope(state: State, mean: float, count: int, n: int) -> float:
    """Return the least-squares slope of what is there; NaN for fewer than two."""
    middle = kept_middle(state, count, n)
    total = 0.0
    squares = 0.0
    for age in range(n):
        value = kept(state, age, n)
        if value - value == 0.0:
            total += (age - middle) * (value - mean)
            squares += (age - middle) * (age - middle)
    return total / squares if squares > 0.0 else NAN


def kept_middle(state: State, count: int, n: int) -> float:
    """Return the mean place of what is there."""
    places = 0.0
    for age in range(n):
        value = kept(state, age, n)
        if value - value == 0.0:
            places += age
    return places / count


def qlib_slope(state: State, x: float, n: int) -> float:
    """Return the least-squares slope, for one bar, of the values there are among the last n, of at least two."""
    count = keep(state, x, n)
    return kept_slope(state, kept_mean(state, KEPT, count, n), count, n) if count > 1 else NAN


def qlib_resi(state: State, x: float, n: int) -> float:
    """Return the latest value less its value on the line through those there are among the last n."""
    count = keep(state, x, n)
    if count < 2 or x - x != 0.0:
        return NAN
    mean = kept_mean(state, KEPT, count, n)
    return x - mean - kept_slope(state, mean, count, n) * (n - 1 - kept_middle(state, count, n))


def qlib_rsquare(state: State, x: float, n: int) -> float:
    """Return the share of variance that a straight line explains; NaN where the deviation is below 2e-5."""
    count = keep(state, x, n)
    if count < 2:
        return NAN
    mean = kept_mean(state, KEPT, count, n)
    spread = kept_power(state, mean, 1.0, 2, n)
    if sqrt(spread / (count - 1)) <= FLAT:
        return NAN
    middle = kept_middle(state, count, n)
    squares = 0.0
    for age in range(n):
        value = kept(state, age, n)
        if value - value == 0.0:
            squares += (age - middle) * (age - middle)
    slope = kept_slope(state, mean, count, n)
    return slope * slope * squares / spread


# -- in order ---------------------------------------------------------------------------------------------------------


def ordered_state(n: int, *_level: float) -> State:
    """Return a window of ``n`` missing values with room to keep what is there in order."""
    return [0.0] * KEPT + [NAN] * n + [0.0] * n


def qlib_quantile(state: State, x: float, n: int, level: float) -> float:
    """Return the quantile at a level of the values there are among the last n, linear between two of them."""
    slot = int(state[NEXT])
    old = state[KEPT + slot]
    count = int(state[ROWS])  # here of the values that are there
    if old - old == 0.0:
        remove(state, old, KEPT + n, count)
        count -= 1
    if x - x == 0.0:
        insert(state, x, KEPT + n, count)
        count += 1
    state[KEPT + slot] = x if x - x == 0.0 else NAN
    state[NEXT] = float(slot + 1 if slot + 1 < n else 0)
    state[ROWS] = float(count)
    return quantile_of(state, level, KEPT + n, count) if count > 0 else NAN


def qlib_med(state: State, x: float, n: int) -> float:
    """Return the median of the values there are among the last n."""
    return qlib_quantile(state, x, n, 0.5)


# -- pairs ------------------------------------------------------------------------------------------------------------


def pairs_state(n: int) -> State:
    """Return two windows of ``n`` missing values each."""
    return [0.0] * KEPT + [NAN] * (n + n)


def keep_pair(state: State, x: float, y: float, n: int) -> None:
    """Take one pair in place of the oldest."""
    slot = int(state[NEXT])
    state[KEPT + slot] = x if x - x == 0.0 else NAN
    state[KEPT + n + slot] = y if y - y == 0.0 else NAN
    state[NEXT] = float(slot + 1 if slot + 1 < n else 0)


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


def pair_moment(state: State, n: int, correlation: bool) -> float:
    """Return the sample covariance, or the correlation, of the pairs of which both values are there."""
    count = 0
    x_shift = 0.0
    y_shift = 0.0
    for slot in range(KEPT, KEPT + n):
        if state[slot] - state[slot] == 0.0 and state[slot + n] - state[slot + n] == 0.0:
            count += 1
            x_shift = state[slot]
            y_shift = state[slot + n]
    if count < 2:
        return NAN
    x_total = 0.0
    y_total = 0.0
    for slot in range(KEPT, KEPT + n):
        if state[slot] - state[slot] == 0.0 and state[slot + n] - state[slot + n] == 0.0:
            x_total += state[slot] - x_shift
            y_total += state[slot + n] - y_shift
    x_mean = x_shift + x_total / count
    y_mean = y_shift + y_total / count
    both = 0.0
    x_spread = 0.0
    y_spread = 0.0
    for slot in range(KEPT, KEPT + n):
        if state[slot] - state[slot] == 0.0 and state[slot + n] - state[slot + n] == 0.0:
            x_away = state[slot] - x_mean
            y_away = state[slot + n] - y_mean
            both += x_away * y_away
            x_spread += x_away * x_away
            y_spread += y_away * y_away
    if not correlation:
        return both / (count - 1)
    scale = sqrt(x_spread) * sqrt(y_spread)
    return both / scale if scale > 0.0 else NAN


def qlib_cov(state: State, x: float, y: float, n: int) -> float:
    """Return the sample covariance of the pairs there are among the last n, of at least two."""
    keep_pair(state, x, y, n)
    return pair_moment(state, n, False)


def qlib_corr(state: State, x: float, y: float, n: int) -> float:
    """Return the correlation of the pairs there are among the last n; NaN where a deviation is below 2e-5."""
    keep_pair(state, x, y, n)
    if is_flat(state, KEPT, n) or is_flat(state, KEPT + n, n):
        return NAN
    return pair_moment(state, n, True)
