"""Qlib's windows that are looked through, value by value: extremes, ranks, regressions, quantiles.

As everywhere under Qlib's names, a window need not be full, and a value that is not finite is missing from it.
"""

from __future__ import annotations

import math

from backtester_model_core.features.primitives import INF, NAN, sqrt
from backtester_model_core.features.qlib_steps import (
    COUNT,
    FLAT,
    NEXT,
    SHIFT,
    SPREAD,
    SUMMED,
    TOTAL,
    gather,
    sums_state,
)
from backtester_model_core.features.steps import State, largest
from backtester_model_core.features.window_steps import exchange, insert, quantile_of, remove

ROWS = 1  # bars taken, up to n
KNOWN = 2  # how many values there are
PLACE = 3  # the age, as kept counts it, of the extreme
KEPT = 4  # the first of n values


def kept_state(n: int) -> State:
    """Return a window of ``n`` missing values."""
    return [0.0] * KEPT + [NAN] * n


def keep(state: State, x: float, n: int) -> int:
    """Take one value in place of the oldest; return how many there are."""
    slot = int(state[NEXT])
    old = state[KEPT + slot]
    state[KEPT + slot] = x if x - x == 0.0 else NAN
    state[NEXT] = float(slot + 1 if slot + 1 < n else 0)
    if state[ROWS] < n:
        state[ROWS] += 1.0
    if old - old == 0.0:
        state[KNOWN] -= 1.0
    if x - x == 0.0:
        state[KNOWN] += 1.0
    return int(state[KNOWN])


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


def reached_state(n: int) -> State:
    """Return a full window of ``n`` values below all others, which stand for missing ones."""
    return [float(n), -INF] + [-INF] * n


def qlib_max(state: State, x: float, n: int) -> float:
    """Return the largest value there is among the last n."""
    best = largest(state, x if x - x == 0.0 else -INF, n)
    return best if best > -INF else NAN


def qlib_min(state: State, x: float, n: int) -> float:
    """Return the smallest value there is among the last n."""
    return -qlib_max(state, -x, n)


def qlib_idxmax(state: State, x: float, n: int) -> float:
    """Return the place of the largest of the last n values, 1 for the oldest; of a missing one, if there is any."""
    count = keep(state, x, n)
    rows = int(state[ROWS])
    best = int(state[PLACE]) - 1
    if best < n - rows:  # it has left
        best = look_for_max(state, n - rows, n)
    else:
        value = kept(state, best, n)
        if value - value == 0.0 and not (x - x == 0.0 and x <= value):
            best = n - 1
    state[PLACE] = float(best)
    return best - (n - rows) + 1.0 if count > 0 else NAN


def look_for_max(state: State, first: int, n: int) -> int:
    """Return the age of the first missing value from an age on, or else that of the first of the largest."""
    best = first
    for age in range(first, n):
        value = kept(state, age, n)
        if value - value != 0.0:
            return age
        if value > kept(state, best, n):
            best = age
    return best


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


# Sums over what is there, as for Mean and Std, and behind the ring those of places: 0 for the oldest, n - 1 for the
# latest. From one bar to the next every place is one less, so the sums follow from the last ones.

WEIGHTED = 0  # sum of place times (value - shift)
PLACES = 1  # sum of places
PLACES_SQUARED = 2


def line_state(n: int) -> State:
    """Return a window of ``n`` missing values with its sums and those of places."""
    return [*sums_state(n), 0.0, 0.0, 0.0]


def follow(state: State, x: float, n: int) -> int:
    """Take one value into the window and bring all sums up to date; return how many values there are."""
    line = SUMMED + n
    if gather(state, x, n):
        follow_afresh(state, n)
    else:
        known = 1.0 if x - x == 0.0 else 0.0
        away = x - state[SHIFT] if x - x == 0.0 else 0.0
        before = state[COUNT] - known
        state[line + WEIGHTED] += n * away - state[TOTAL]
        state[line + PLACES_SQUARED] += before - 2.0 * state[line + PLACES] + known * (n - 1.0) * (n - 1.0)
        state[line + PLACES] += known * (n - 1.0) - before
    return int(state[COUNT])


def follow_afresh(state: State, n: int) -> None:
    """Make the sums of places afresh from the ring."""
    oldest = int(state[NEXT])
    weighted = 0.0
    places = 0.0
    squares = 0.0
    for slot in range(n):
        value = state[SUMMED + slot]
        if value - value == 0.0:
            place = float(slot - oldest if slot >= oldest else slot - oldest + n)
            weighted += place * (value - state[SHIFT])
            places += place
            squares += place * place
    state[SUMMED + n + WEIGHTED] = weighted
    state[SUMMED + n + PLACES] = places
    state[SUMMED + n + PLACES_SQUARED] = squares


def middle_of(state: State, n: int) -> float:
    """Return the mean place of what is there."""
    return state[SUMMED + n + PLACES] / state[COUNT]


def squares_of(state: State, n: int) -> float:
    """Return the sum of squared distances from the mean place."""
    line = SUMMED + n
    return state[line + PLACES_SQUARED] - state[line + PLACES] * middle_of(state, n)


def line_slope(state: State, n: int) -> float:
    """Return the least-squares slope of what is there, two values or more."""
    return (state[SUMMED + n + WEIGHTED] - middle_of(state, n) * state[TOTAL]) / squares_of(state, n)


def qlib_slope(state: State, x: float, n: int) -> float:
    """Return the least-squares slope, for one bar, of the values there are among the last n, of at least two."""
    return line_slope(state, n) if follow(state, x, n) > 1 else NAN


def qlib_resi(state: State, x: float, n: int) -> float:
    """Return the latest value less its value on the line through those there are among the last n."""
    count = follow(state, x, n)
    if count < 2 or x - x != 0.0:
        return NAN
    mean = state[SHIFT] + state[TOTAL] / count
    return x - mean - line_slope(state, n) * (n - 1 - middle_of(state, n))


def qlib_rsquare(state: State, x: float, n: int) -> float:
    """Return the share of variance that a straight line explains; NaN where the deviation is below 2e-5."""
    count = follow(state, x, n)
    if count < 2 or sqrt(state[SPREAD] / (count - 1)) <= FLAT:
        return NAN
    slope = line_slope(state, n)
    return slope * slope * squares_of(state, n) / state[SPREAD]


# -- in order ---------------------------------------------------------------------------------------------------------


def ordered_state(n: int, *_level: float) -> State:
    """Return a window of ``n`` missing values with room to keep what is there in order."""
    return [0.0] * KEPT + [NAN] * n + [0.0] * n


def qlib_quantile(state: State, x: float, n: int, level: float) -> float:
    """Return the quantile at a level of the values there are among the last n, linear between two of them."""
    slot = int(state[NEXT])
    old = state[KEPT + slot]
    count = int(state[KNOWN])
    if old - old == 0.0 and x - x == 0.0:
        exchange(state, old, x, KEPT + n, count)
    elif old - old == 0.0:
        remove(state, old, KEPT + n, count)
        count -= 1
    elif x - x == 0.0:
        insert(state, x, KEPT + n, count)
        count += 1
    state[KEPT + slot] = x if x - x == 0.0 else NAN
    state[NEXT] = float(slot + 1 if slot + 1 < n else 0)
    state[KNOWN] = float(count)
    return quantile_of(state, level, KEPT + n, count) if count > 0 else NAN


def qlib_med(state: State, x: float, n: int) -> float:
    """Return the median of the values there are among the last n."""
    return qlib_quantile(state, x, n, 0.5)
