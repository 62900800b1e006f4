"""Step functions with a memory: each takes its state, one bar's value and its window, and returns one value.

A step is never handed a later bar, so it cannot look ahead. The state is a flat sequence of floats that the
step changes in place: a list in plain Python, a float64 array in compiled code, which numba makes from these
very functions. ``x - x == 0.0`` holds exactly for finite numbers and compiles to one subtraction.

Windows give NaN until they hold ``n`` finite values in a row: while they fill, and after a NaN or an infinity
until it has left. So a value that is not finite empties the window, and nothing before it is needed again.
"""

# ruff: noqa: FURB136, PLR1730 - comparisons are spelt out: a call of max costs a tenth of a step

from __future__ import annotations

from typing import TypeAlias

from backtester_model_core.features.primitives import NAN, sqrt

State: TypeAlias = list[float]

# Sums over a window are kept of differences from a shift: shifted data, Chan, Golub and LeVeque (1983), The
# American Statistician 37(3), 242-247. Rounding errors grow with the sums, so the sums are made afresh at each
# turn of the ring, and as soon as the window's spread is small against what it was then: a spike has left, or
# the last value of an old level. The shift is a value that stays inside until the next turn, so the sums never
# dwarf the spread; and a constant window has a spread of exactly zero.
SEEN = 0  # values taken: 0 … n-1 while filling, then n … 2n-1 over and over; modulo n it is the next slot
SHIFT = 1
TOTAL = 2  # sum of (value - shift)
SQUARES = 3  # sum of (value - shift) squared
SPREAD = 4  # sum of squared deviations from the window's mean
FRESH = 5  # SPREAD when the sums were made afresh
RING = 6  # the first of n values

SMALL = 1.0 / 64.0


def moments_state(n: int) -> State:
    """Return an empty window of ``n`` values with its sums."""
    return [0.0] * (RING + n)


def push(state: State, x: float, n: int) -> bool:
    """Take one value into the window and bring its sums up to date; tell whether the window is full."""
    if x - x != 0.0:
        state[SEEN] = 0.0
        return False
    seen = int(state[SEEN])
    if seen < n:
        state[RING + seen] = x
        state[SEEN] = seen + 1.0
        if seen + 1 < n:
            return False
        sum_afresh(state, x, n)
        return True
    slot = RING + seen - n
    new = x - state[SHIFT]
    old = state[slot] - state[SHIFT]
    state[slot] = x
    if seen + 1 == n + n:
        state[SEEN] = float(n)
        sum_afresh(state, x, n)
        return True
    state[SEEN] = seen + 1.0
    total = state[TOTAL] + (new - old)
    squares = state[SQUARES] + (new - old) * (new + old)
    spread = squares - total * total * (1.0 / n)
    if spread >= SMALL * state[FRESH]:
        state[TOTAL] = total
        state[SQUARES] = squares
        state[SPREAD] = spread
    else:  # also where an overflow made the spread NaN
        sum_afresh(state, x, n)
    return True


def sum_afresh(state: State, shift: float, n: int) -> None:
    """Make the sums afresh from the ring."""
    total = 0.0
    squares = 0.0
    for slot in range(RING, RING + n):
        away = state[slot] - shift
        total += away
        squares += away * away
    state[SHIFT] = shift
    state[TOTAL] = total
    state[SQUARES] = squares
    spread = squares - total * total / n
    if spread < 0.0:  # by squares that underflow
        spread = 0.0
    state[SPREAD] = spread
    state[FRESH] = spread


ANSWERED_FROM = (SHIFT, TOTAL, SPREAD)
"""Places of what the window's mean, sum, deviation and score follow from, in the order in which they are given."""


def window_mean(_x: float, n: int, shift: float, total: float, _spread: float) -> float:
    """Answer with the mean."""
    return shift + total / n


def window_sum(_x: float, n: int, shift: float, total: float, _spread: float) -> float:
    """Answer with the sum."""
    return shift * n + total


def window_var(_x: float, n: int, _shift: float, _total: float, spread: float) -> float:
    """Answer with the sample variance."""
    return spread / (n - 1)


def window_std(_x: float, n: int, _shift: float, _total: float, spread: float) -> float:
    """Answer with the sample standard deviation."""
    return sqrt(spread / (n - 1))


def window_zscore(x: float, n: int, shift: float, total: float, spread: float) -> float:
    """Answer with the distance from the mean in sample deviations."""
    deviation = sqrt(spread * (1.0 / (n - 1)))
    if deviation == 0.0:
        return 0.0
    return (x - shift - total * (1.0 / n)) / deviation


def rolling_mean(state: State, x: float, n: int) -> float:
    """Return the mean of the last n values."""
    if push(state, x, n):
        return window_mean(x, n, state[SHIFT], state[TOTAL], state[SPREAD])
    return NAN


def rolling_sum(state: State, x: float, n: int) -> float:
    """Return the sum of the last n values."""
    if push(state, x, n):
        return window_sum(x, n, state[SHIFT], state[TOTAL], state[SPREAD])
    return NAN


def rolling_var(state: State, x: float, n: int) -> float:
    """Return the sample variance (divisor n - 1) of the last n values."""
    if push(state, x, n):
        return window_var(x, n, state[SHIFT], state[TOTAL], state[SPREAD])
    return NAN


def rolling_std(state: State, x: float, n: int) -> float:
    """Return the sample standard deviation (divisor n - 1) of the last n values."""
    if push(state, x, n):
        return window_std(x, n, state[SHIFT], state[TOTAL], state[SPREAD])
    return NAN


def zscore(state: State, x: float, n: int) -> float:
    """Return the distance from the mean of the last n values in sample deviations; 0 when all are equal."""
    if push(state, x, n):
        return window_zscore(x, n, state[SHIFT], state[TOTAL], state[SPREAD])
    return NAN


# The ring holds this turn's values, and behind them, for each slot of the turn before, the largest value from
# there to its end: van Herk (1992), Pattern Recognition Letters 13(7), 517-521. The window's largest is then
# the larger of two numbers.
BEST = 1  # the largest value of this turn
BLOCK = 2  # the first of n slots


def extreme_state(n: int) -> State:
    """Return an empty window of ``n`` values with its maximum."""
    return [0.0] * (BLOCK + n)


def rolling_max(state: State, x: float, n: int) -> float:
    """Return the largest of the last n values."""
    if x - x != 0.0:
        state[SEEN] = 0.0
        return NAN
    return largest(state, x, n)


def largest(state: State, x: float, n: int) -> float:
    """Take one value into the window and return its largest, NaN until it is full."""
    seen = int(state[SEEN])
    slot = seen if seen < n else seen - n
    best = x if slot == 0 or x > state[BEST] else state[BEST]
    state[BEST] = best
    state[BLOCK + slot] = x
    if slot + 1 < n:
        state[SEEN] = seen + 1.0
        if seen < n:
            return NAN
        older = state[BLOCK + slot + 1]
        return older if older > best else best
    state[SEEN] = float(n)
    for earlier in range(BLOCK + n - 2, BLOCK - 1, -1):
        if state[earlier + 1] > state[earlier]:
            state[earlier] = state[earlier + 1]
    return best


def rolling_min(state: State, x: float, n: int) -> float:
    """Return the smallest of the last n values."""
    return -rolling_max(state, -x, n)


NEXT = 0  # the slot to read and then overwrite
PAST = 1  # the first of n values


def lag_state(n: int) -> State:
    """Return a memory of ``n`` values, none of them known."""
    return [0.0] + [NAN] * n


def ref(state: State, x: float, n: int) -> float:
    """Return the value of n bars ago."""
    at = int(state[NEXT])
    past = state[PAST + at]
    state[PAST + at] = x
    state[NEXT] = at + 1.0 if at + 1 < n else 0.0
    return past


def delta(state: State, x: float, n: int) -> float:
    """Return the change since n bars ago."""
    return x - ref(state, x, n)


AVERAGED = 0  # values taken, up to n
AVERAGE = 1  # their sum while fewer than n, then the average


def average_state(_n: int) -> State:
    """Return an average of nothing yet."""
    return [0.0, 0.0]


def average(state: State, x: float, n: int, weight: float) -> float:
    """Move the average by ``weight`` towards a value, having started it as the mean of the first n.

    A value that is not finite gives NaN and leaves the average as it was: leading ones are skipped, and one
    in between costs its own row only.
    """
    if x - x != 0.0:
        return NAN
    if state[AVERAGED] < n:
        state[AVERAGED] += 1.0
        state[AVERAGE] += x
        if state[AVERAGED] < n:
            return NAN
        state[AVERAGE] /= n
    else:
        state[AVERAGE] += weight * (x - state[AVERAGE])
    return state[AVERAGE]


def ema(state: State, x: float, n: int) -> float:
    """Return the exponential average with weight 2 / (n + 1), started as the mean of the first n values."""
    return average(state, x, n, 2.0 / (n + 1.0))


def wilder(state: State, x: float, n: int) -> float:
    """Return Wilder's average (1978), weight 1 / n, started as the mean of the first n values."""
    return average(state, x, n, 1.0 / n)
