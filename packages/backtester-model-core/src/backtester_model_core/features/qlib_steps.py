"""Step functions under Qlib's names with Qlib's definitions (Yang et al. 2020, arXiv:2009.11189).

They differ from ours where pandas' ``rolling(n, min_periods=1)`` does: a window need not be full, and a value
that is not finite is *missing*, left out of the window and not the end of it. A comparison with a missing value
is false. Windows begin as n missing values, so one that is filling up is one with holes.
"""

# ruff: noqa: PLR1730 - comparisons are spelt out: a call of max costs a tenth of a step

from __future__ import annotations

from backtester_model_core.features.primitives import NAN, sqrt
from backtester_model_core.features.steps import State

FLAT = 2e-5
"""The deviation below which Qlib takes a window for constant, in Corr and Rsquare."""

NEXT = 0  # the slot to overwrite, which is also the oldest value's
# -- sums over what is there: shifted and made afresh as in our own windows --------------------------------------

COUNT = 1
SHIFT = 2
TOTAL = 3
SQUARES = 4
SPREAD = 5
FRESH = 6
SUMMED = 7  # the first of n values

SMALL = 1.0 / 64.0


def sums_state(n: int) -> State:
    """Return a window of ``n`` missing values with its sums."""
    return [0.0] * SUMMED + [NAN] * n


def gather(state: State, x: float, n: int) -> bool:
    """Take one value into the window and bring its count and sums up to date; tell whether they were made afresh."""
    slot = int(state[NEXT])
    old = state[SUMMED + slot]
    state[SUMMED + slot] = x if x - x == 0.0 else NAN
    slot += 1
    state[NEXT] = float(slot if slot < n else 0)
    total = state[TOTAL]
    squares = state[SQUARES]
    count = state[COUNT]
    started = count > 0.0
    if x - x == 0.0:
        away = x - state[SHIFT]
        total += away
        squares += away * away
        count += 1.0
    if old - old == 0.0:
        away = old - state[SHIFT]
        total -= away
        squares -= away * away
        count -= 1.0
    state[COUNT] = count
    spread = squares - total * total / count if count > 0.0 else 0.0
    if started and slot < n and spread >= SMALL * state[FRESH]:
        state[TOTAL] = total
        state[SQUARES] = squares
        state[SPREAD] = spread
        return False
    gather_afresh(state, n)
    return True


def gather_afresh(state: State, n: int) -> None:
    """Make the sums afresh from what is in the ring."""
    shift = 0.0
    for slot in range(SUMMED, SUMMED + n):
        if state[slot] - state[slot] == 0.0:
            shift = state[slot]
    total = 0.0
    squares = 0.0
    for slot in range(SUMMED, SUMMED + n):
        if state[slot] - state[slot] == 0.0:
            away = state[slot] - shift
            total += away
            squares += away * away
    spread = squares - total * total / state[COUNT] if state[COUNT] > 0.0 else 0.0
    if spread < 0.0:
        spread = 0.0
    state[SHIFT] = shift
    state[TOTAL] = total
    state[SQUARES] = squares
    state[SPREAD] = spread
    state[FRESH] = spread


def qlib_mean(state: State, x: float, n: int) -> float:
    """Return the mean of the values there are among the last n."""
    gather(state, x, n)
    return state[SHIFT] + state[TOTAL] / state[COUNT] if state[COUNT] > 0.0 else NAN


def qlib_sum(state: State, x: float, n: int) -> float:
    """Return the sum of the values there are among the last n."""
    gather(state, x, n)
    return state[SHIFT] * state[COUNT] + state[TOTAL] if state[COUNT] > 0.0 else NAN


def qlib_var(state: State, x: float, n: int) -> float:
    """Return the sample variance of the values there are among the last n, of at least two."""
    gather(state, x, n)
    return state[SPREAD] / (state[COUNT] - 1.0) if state[COUNT] > 1.0 else NAN


def qlib_std(state: State, x: float, n: int) -> float:
    """Return the sample standard deviation of the values there are among the last n, of at least two."""
    return sqrt(qlib_var(state, x, n))


def qlib_count(state: State, x: float, n: int) -> float:
    """Return how many values there are among the last n."""
    gather(state, x, n)
    return state[COUNT]


# -- the exponential average of pandas' ewm(span=n, min_periods=1) -----------------------------------------------

VALUE = 0
WEIGHT = 1  # of all values so far; 0 before the first


def qlib_ema_state(_n: int) -> State:
    """Return an average of nothing yet."""
    return [NAN, 0.0]


def qlib_ema(state: State, x: float, n: int) -> float:
    """Return the mean of all values so far, weighted by (1 - 2 / (n + 1)) to the power of their age."""
    state[WEIGHT] *= 1.0 - 2.0 / (n + 1.0)
    if x - x == 0.0:
        if state[WEIGHT] == 0.0:
            state[VALUE] = x
        else:
            state[VALUE] = (state[WEIGHT] * state[VALUE] + x) / (state[WEIGHT] + 1.0)
        state[WEIGHT] += 1.0
    return state[VALUE]


# -- one bar -----------------------------------------------------------------------------------------------------


def qlib_gt(a: float, b: float) -> float:
    """Return 1 where the first is larger, else 0, also where either is missing."""
    return 1.0 if a > b else 0.0


def qlib_ge(a: float, b: float) -> float:
    """Return 1 where the first is not smaller, else 0, also where either is missing."""
    return 1.0 if a >= b else 0.0


def qlib_lt(a: float, b: float) -> float:
    """Return 1 where the first is smaller, else 0, also where either is missing."""
    return 1.0 if a < b else 0.0


def qlib_le(a: float, b: float) -> float:
    """Return 1 where the first is not larger, else 0, also where either is missing."""
    return 1.0 if a <= b else 0.0


def qlib_eq(a: float, b: float) -> float:
    """Return 1 where both are equal, else 0, also where either is missing."""
    return 1.0 if a == b else 0.0


def qlib_ne(a: float, b: float) -> float:
    """Return 1 where they differ or either is missing, else 0."""
    return 1.0 if a != b else 0.0


def qlib_and(a: float, b: float) -> float:
    """Return 1 where neither is 0, else 0; a missing value is not 0."""
    return 1.0 if a != 0.0 and b != 0.0 else 0.0


def qlib_or(a: float, b: float) -> float:
    """Return 1 where either is not 0, else 0; a missing value is not 0."""
    return 1.0 if a != 0.0 or b != 0.0 else 0.0


def qlib_not(x: float) -> float:
    """Return 1 where it is 0, else 0."""
    return 1.0 if x == 0.0 else 0.0


def qlib_if(condition: float, a: float, b: float) -> float:
    """Return the first where the condition is not 0, else the second; a missing condition is not 0."""
    return a if condition != 0.0 else b
