"""Step functions that look at every value of a full window: orders, regressions, higher moments.

As with the other windows, a value that is not finite empties the window, and the result is NaN until it holds
``n`` finite values in a row. Each result is computed from the window alone, so no rounding is carried along.
"""

from __future__ import annotations

import math

from backtester_model_core.features.primitives import NAN, sqrt
from backtester_model_core.features.steps import State

SEEN = 0  # values taken: 0 … n-1 while filling, then n … 2n-1 over and over; less n it is the oldest's slot
HELD = 1  # the first of n values


def window_state(n: int) -> State:
    """Return an empty window of ``n`` values."""
    return [0.0] * (HELD + n)


def hold(state: State, x: float, n: int) -> bool:
    """Take one value into the window in place of the oldest; tell whether it is full."""
    if x - x != 0.0:
        state[SEEN] = 0.0
        return False
    seen = int(state[SEEN])
    state[HELD + (seen if seen < n else seen - n)] = x
    seen += 1
    state[SEEN] = float(seen if seen < n + n else n)
    return seen >= n


def aged(state: State, age: int, n: int) -> float:
    """Return the value that ``age`` others of a full window came before: 0 is the oldest."""
    slot = int(state[SEEN]) - n + age
    return state[HELD + (slot if slot < n else slot - n)]


def mean_of(state: State, shift: float, n: int) -> float:
    """Return the mean of a full window, summed as differences from a value inside it."""
    total = 0.0
    for slot in range(HELD, HELD + n):
        total += state[slot] - shift
    return shift + total / n


def spread_of(state: State, mean: float, n: int) -> float:
    """Return the sum of squared deviations from the mean."""
    total = 0.0
    for slot in range(HELD, HELD + n):
        away = state[slot] - mean
        total += away * away
    return total


# A regression on the bar's number: its slope is the sum of (number - middle) times value, over that of squares,
# which for 0 … n-1 is n (n² - 1) / 12. Values are taken relative to the latest, which changes no slope.


def slope_of(state: State, x: float, n: int) -> float:
    """Return the least-squares slope of a full window."""
    middle = (n - 1) / 2.0
    total = 0.0
    for age in range(n):
        total += (age - middle) * (aged(state, age, n) - x)
    return total / (n * (n * n - 1.0) / 12.0)


def rolling_slope(state: State, x: float, n: int) -> float:
    """Return the least-squares slope, for one bar, of the last n values."""
    return slope_of(state, x, n) if hold(state, x, n) else NAN


def rolling_rsquare(state: State, x: float, n: int) -> float:
    """Return the share of the last n values' variance that a straight line explains; 0 when all are equal."""
    if not hold(state, x, n):
        return NAN
    spread = spread_of(state, mean_of(state, x, n), n)
    if spread == 0.0:
        return 0.0
    slope = slope_of(state, x, n)
    return slope * slope * (n * (n * n - 1.0) / 12.0) / spread


def rolling_residual(state: State, x: float, n: int) -> float:
    """Return the latest value less its value on the straight line fitted to the last n."""
    if not hold(state, x, n):
        return NAN
    return x - mean_of(state, x, n) - slope_of(state, x, n) * (n - 1) / 2.0


def rolling_wma(state: State, x: float, n: int) -> float:
    """Return the mean of the last n values with weights 1 … n, the latest the heaviest."""
    if not hold(state, x, n):
        return NAN
    total = 0.0
    for age in range(n):
        total += (age + 1.0) * (aged(state, age, n) - x)
    return x + total / (n * (n + 1.0) / 2.0)


def rolling_mad(state: State, x: float, n: int) -> float:
    """Return the mean absolute deviation of the last n values from their mean."""
    if not hold(state, x, n):
        return NAN
    mean = mean_of(state, x, n)
    total = 0.0
    for slot in range(HELD, HELD + n):
        total += math.fabs(state[slot] - mean)
    return total / n


def rolling_skew(state: State, x: float, n: int) -> float:
    """Return the adjusted skewness (Fisher-Pearson G1) of the last n values; 0 when all are equal."""
    if not hold(state, x, n):
        return NAN
    mean = mean_of(state, x, n)
    deviation = sqrt(spread_of(state, mean, n) / (n - 1))
    if deviation == 0.0:
        return 0.0
    total = 0.0
    for slot in range(HELD, HELD + n):
        away = (state[slot] - mean) / deviation
        total += away * away * away
    return total * n / ((n - 1.0) * (n - 2.0))


def rolling_kurt(state: State, x: float, n: int) -> float:
    """Return the adjusted excess kurtosis (G2) of the last n values; 0 when all are equal."""
    if not hold(state, x, n):
        return NAN
    mean = mean_of(state, x, n)
    deviation = sqrt(spread_of(state, mean, n) / (n - 1))
    if deviation == 0.0:
        return 0.0
    total = 0.0
    for slot in range(HELD, HELD + n):
        away = (state[slot] - mean) / deviation
        total += away * away * away * away
    scale = n * (n + 1.0) / ((n - 1.0) * (n - 2.0) * (n - 3.0))
    return total * scale - 3.0 * (n - 1.0) * (n - 1.0) / ((n - 2.0) * (n - 3.0))


def rolling_rank(state: State, x: float, n: int) -> float:
    """Return the latest value's rank among the last n as a share, 1 / n to 1; equal values share theirs."""
    if not hold(state, x, n):
        return NAN
    below = 0
    equal = 0
    for slot in range(HELD, HELD + n):
        if state[slot] < x:
            below += 1
        elif state[slot] == x:
            equal += 1
    return (below + (equal + 1) / 2.0) / n


def bars_since_max(state: State, x: float, n: int) -> float:
    """Return how many bars ago the largest of the last n values was, the latest of equal ones."""
    if not hold(state, x, n):
        return NAN
    best = 0
    for age in range(1, n):
        if aged(state, age, n) >= aged(state, best, n):
            best = age
    return float(n - 1 - best)


def bars_since_min(state: State, x: float, n: int) -> float:
    """Return how many bars ago the smallest of the last n values was, the latest of equal ones."""
    return bars_since_max(state, -x, n)


# Quantiles keep the window's values in order as well, in n slots behind the ring.


def sorted_state(n: int, *_level: float) -> State:
    """Return an empty window of ``n`` values that are kept in order as well."""
    return [0.0] * (HELD + n + n)


def insert(state: State, x: float, first: int, count: int) -> None:
    """Insert a value into ``count`` ordered slots; there is room for one more."""
    slot = first + count
    while slot > first and state[slot - 1] > x:
        state[slot] = state[slot - 1]
        slot -= 1
    state[slot] = x


def find(state: State, x: float, first: int, count: int) -> int:
    """Return the slot of a value, which is there, among ``count`` ordered slots."""
    low = first
    high = first + count - 1
    while low < high:
        middle = (low + high) // 2
        if state[middle] < x:
            low = middle + 1
        else:
            high = middle
    return low


def remove(state: State, x: float, first: int, count: int) -> None:
    """Remove one value, which is there, from ``count`` ordered slots."""
    for slot in range(find(state, x, first, count), first + count - 1):
        state[slot] = state[slot + 1]


def exchange(state: State, old: float, new: float, first: int, count: int) -> None:
    """Insert a value in place of one that is there, in ``count`` ordered slots."""
    slot = find(state, old, first, count)
    while slot + 1 < first + count and state[slot + 1] < new:
        state[slot] = state[slot + 1]
        slot += 1
    while slot > first and state[slot - 1] > new:
        state[slot] = state[slot - 1]
        slot -= 1
    state[slot] = new


def quantile_of(state: State, level: float, first: int, count: int) -> float:
    """Return a quantile of ordered slots, linear between two of them (Hyndman and Fan 1996, type 7)."""
    place = level * (count - 1)
    below = int(place)
    share = place - below
    low = state[first + below]
    if share == 0.0:
        return low
    return low + share * (state[first + below + 1] - low)


def rolling_quantile(state: State, x: float, n: int, level: float) -> float:
    """Return the quantile of the last n values at a level, linear between two of them."""
    seen = int(state[SEEN])
    if x - x == 0.0 and seen >= n:
        exchange(state, state[HELD + seen - n], x, HELD + n, n)
    elif x - x == 0.0:
        insert(state, x, HELD + n, seen)
    return quantile_of(state, level, HELD + n, n) if hold(state, x, n) else NAN


def rolling_median(state: State, x: float, n: int) -> float:
    """Return the median of the last n values."""
    return rolling_quantile(state, x, n, 0.5)


# Two inputs are held in two windows, one behind the other, that are emptied together.


def pair_state(n: int) -> State:
    """Return two empty windows of ``n`` values each."""
    return [0.0] * (HELD + n + n)


def hold_pair(state: State, x: float, y: float, n: int) -> bool:
    """Take one pair of values in place of the oldest; tell whether the windows are full."""
    if y - y == 0.0 and x - x == 0.0:
        seen = int(state[SEEN])
        state[HELD + n + (seen if seen < n else seen - n)] = y
        return hold(state, x, n)
    return hold(state, NAN, n)


def rolling_cov(state: State, x: float, y: float, n: int) -> float:
    """Return the sample covariance (divisor n - 1) of the last n pairs of values."""
    if not hold_pair(state, x, y, n):
        return NAN
    mean = mean_of(state, x, n)
    total = 0.0
    for slot in range(HELD, HELD + n):
        total += (state[slot] - mean) * (state[slot + n] - y)
    return total / (n - 1)


def rolling_corr(state: State, x: float, y: float, n: int) -> float:
    """Return the correlation of the last n pairs of values; 0 when all of either are equal."""
    if not hold_pair(state, x, y, n):
        return NAN
    x_mean = mean_of(state, x, n)
    total = 0.0
    for slot in range(HELD, HELD + n):
        total += state[slot + n] - y
    y_mean = y + total / n
    x_spread = 0.0
    y_spread = 0.0
    both = 0.0
    for slot in range(HELD, HELD + n):
        x_away = state[slot] - x_mean
        y_away = state[slot + n] - y_mean
        x_spread += x_away * x_away
        y_spread += y_away * y_away
        both += x_away * y_away
    scale = sqrt(x_spread) * sqrt(y_spread)
    return both / scale if scale != 0.0 else 0.0 * both


def count_state(n: int) -> State:
    """Return a count over ``n`` bars, none of them known."""
    return [0.0] * (HELD + n + 1)


def rolling_count(state: State, x: float, n: int) -> float:
    """Return how many of the last n values are finite; an unknown one counts as none and empties nothing."""
    seen = int(state[SEEN])
    slot = HELD + (seen if seen < n else seen - n)
    known = 1.0 if x - x == 0.0 else 0.0
    state[HELD + n] += known - state[slot]
    state[slot] = known
    seen += 1
    state[SEEN] = float(seen if seen < n + n else n)
    return state[HELD + n] if seen >= n else NAN
