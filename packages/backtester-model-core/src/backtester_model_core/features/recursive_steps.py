"""Step functions whose memory never ends: cumulative ones, which depend on the first bar, and adaptive ones."""

from __future__ import annotations

import math

from backtester_model_core.features.primitives import NAN
from backtester_model_core.features.steps import State

STARTED = 0
SO_FAR = 1


def cumulative_state() -> State:
    """Return the state before the first bar."""
    return [0.0, 0.0]


def cumulative_sum(state: State, x: float) -> float:
    """Return the sum of all values since the first bar; one that is not finite costs its own row only."""
    if x - x != 0.0:
        return NAN
    state[SO_FAR] += x
    return state[SO_FAR]


def cumulative_max(state: State, x: float) -> float:
    """Return the largest value since the first bar; one that is not finite costs its own row only."""
    if x - x != 0.0:
        return NAN
    if state[STARTED] == 0.0 or x > state[SO_FAR]:
        state[STARTED] = 1.0
        state[SO_FAR] = x
    return state[SO_FAR]


def cumulative_min(state: State, x: float) -> float:
    """Return the smallest value since the first bar; one that is not finite costs its own row only."""
    return -cumulative_max(state, -x)


# Kaufman (1995), Smarter Trading: the efficiency ratio is the net change over the sum of changes; the average
# moves by the square of a weight between those of exponential averages of 2 and 30 bars.
FAST = 2.0 / 3.0
SLOW = 2.0 / 31.0
TAKEN = 0  # values taken: 0 … n while filling, then n+1 … 2n+1 over and over; modulo n+1 it is the next slot
ADAPTED = 1  # the average
PRICES = 2  # the first of n + 1 values


def adaptive_state(n: int) -> State:
    """Return an adaptive average of nothing yet."""
    return [0.0] * (PRICES + n + 1)


def kama(state: State, x: float, n: int) -> float:
    """Return Kaufman's adaptive average (1995) with the efficiency of the last n changes."""
    size = n + 1
    if x - x != 0.0:
        state[TAKEN] = 0.0
        return NAN
    taken = int(state[TAKEN])
    slot = taken if taken < size else taken - size
    before = state[PRICES + (slot - 1 if slot > 0 else n)]
    state[PRICES + slot] = x
    state[TAKEN] = float(taken + 1 if taken + 1 < size + size else size)
    if taken + 1 < size:
        return NAN
    oldest = slot + 1 if slot < n else 0
    changes = 0.0
    at = oldest
    for _ in range(n):
        later = at + 1 if at < n else 0
        changes += math.fabs(state[PRICES + later] - state[PRICES + at])
        at = later
    net = math.fabs(x - state[PRICES + oldest])
    efficiency = net / changes if changes > net else 1.0
    weight = efficiency * (FAST - SLOW) + SLOW
    average = before if taken + 1 == size else state[ADAPTED]
    state[ADAPTED] = average + weight * weight * (x - average)
    return state[ADAPTED]


# Wilder (1978), New Concepts in Technical Trading Systems, section II. The stop moves towards the extreme of the
# trade by a factor that grows with each new extreme, never into the range of the last two bars, and turns when it
# is touched. The first trade is short when the low has moved further down than the high up.
RISING = 1  # 1 in a long trade, -1 in a short one, 0 at the first bar
STOP = 2
EXTREME = 3
FACTOR = 4
LAST_HIGH = 5
LAST_LOW = 6
FACTOR_STEP = 0.02
LARGEST_FACTOR = 0.2


def parabolic_state() -> State:
    """Return the state before the first bar."""
    return [0.0] * 7


def parabolic_sar(state: State, high: float, low: float) -> float:
    """Return Wilder's parabolic stop-and-reverse (1978), factor 0.02 to 0.2; an unknown bar is left out."""
    if high - high != 0.0 or low - low != 0.0:
        return NAN
    last_high = state[LAST_HIGH]
    last_low = state[LAST_LOW]
    state[LAST_HIGH] = high
    state[LAST_LOW] = low
    if state[STARTED] == 0.0:
        state[STARTED] = 1.0
        return NAN
    if state[RISING] == 0.0:
        down = last_low - low
        short = down > 0.0 and down > high - last_high
        state[RISING] = -1.0 if short else 1.0
        state[STOP] = last_high if short else last_low
        state[EXTREME] = low if short else high
        state[FACTOR] = FACTOR_STEP
        last_high = high  # as published implementations have it, the first bar limits nothing
        last_low = low
    # A short trade is a long one on prices of the other sign.
    rising = state[RISING]
    top = high if rising > 0.0 else -low
    bottom = low if rising > 0.0 else -high
    last_bottom = last_low if rising > 0.0 else -last_high
    last_top = last_high if rising > 0.0 else -last_low
    stop = state[STOP] * rising
    extreme = state[EXTREME] * rising
    if bottom <= stop:  # touched: turn, with the stop at the extreme and above both bars
        turned = extreme
        turned = max(turned, last_top)
        turned = max(turned, top)
        state[RISING] = -rising
        state[FACTOR] = FACTOR_STEP
        state[EXTREME] = bottom * rising
        following = turned + FACTOR_STEP * (bottom - turned)
        following = max(following, last_top)
        following = max(following, top)
        state[STOP] = following * rising
        return turned * rising
    if top > extreme:
        extreme = top
        factor = state[FACTOR] + FACTOR_STEP
        state[FACTOR] = min(LARGEST_FACTOR, factor)
    following = stop + state[FACTOR] * (extreme - stop)
    following = min(following, last_bottom)
    following = min(following, bottom)
    state[STOP] = following * rising
    state[EXTREME] = extreme * rising
    return stop * rising
