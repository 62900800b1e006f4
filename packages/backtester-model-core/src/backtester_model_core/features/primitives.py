"""Arithmetic on single numbers that never raises: the elementwise steps, and the parts that other steps use.

Python raises, or turns complex, where IEEE 754 and compiled code give an infinity or NaN. These functions give
the IEEE answer in both. They are written so that numba compiles them unchanged, and they call nothing whose
result differs there: no NumPy ufunc, no builtin ``sum``, no ``**``.
"""

from __future__ import annotations

import math

NAN = math.nan
INF = math.inf

LARGEST_EXPONENT = 709.782712893384
"""The largest double whose exponential is finite."""

LARGEST_POWER_EXPONENT = 709.0
"""The natural logarithm beyond which a power counts as infinite, short of where ``math.pow`` would raise."""


def add(a: float, b: float) -> float:
    """Return the sum."""
    return a + b


def subtract(a: float, b: float) -> float:
    """Return the first less the second."""
    return a - b


def multiply(a: float, b: float) -> float:
    """Return the product."""
    return a * b


def divide(a: float, b: float) -> float:
    """Return the quotient as IEEE 754 has it: a signed infinity for a / 0, NaN for 0 / 0."""
    if b != 0.0:
        return a / b
    if a == 0.0 or math.isnan(a):
        return NAN
    return math.copysign(INF, a) * math.copysign(1.0, b)


def ratio(a: float, b: float) -> float:
    """Return the quotient, with 0 for 0 / 0: nothing moved, and the neutral value is zero."""
    quotient = divide(a, b)
    return 0.0 if a == 0.0 and b == 0.0 else quotient  # in this order a loop of it is vectorised


def absolute(x: float) -> float:
    """Return the absolute value."""
    return math.fabs(x)


def sign(x: float) -> float:
    """Return -1, 0 or 1."""
    if x > 0.0:
        return 1.0
    if x < 0.0:
        return -1.0
    return 0.0 if x == 0.0 else NAN


def sqrt(x: float) -> float:
    """Return the square root; NaN below zero."""
    return math.sqrt(x) if x >= 0.0 else NAN


def log(x: float) -> float:
    """Return the natural logarithm; minus infinity at zero, NaN below."""
    if x > 0.0:
        return math.log(x)
    return -INF if x == 0.0 else NAN


def exp(x: float) -> float:
    """Return the exponential; infinity beyond the largest double."""
    return INF if x > LARGEST_EXPONENT else math.exp(x)


def power(x: float, y: float) -> float:
    """Return x to the power y; NaN for a fractional power below zero and unless both are finite.

    A result beyond exp(709), about 8e307, is infinite.
    """
    if x - x != 0.0 or y - y != 0.0:
        return NAN
    if x == 0.0:
        if y < 0.0:
            return INF
        return 1.0 if y == 0.0 else 0.0
    if x < 0.0 and y % 1.0 != 0.0:
        return NAN
    if y * math.log(math.fabs(x)) > LARGEST_POWER_EXPONENT:
        return INF if x > 0.0 or y % 2.0 == 0.0 else -INF
    return math.pow(x, y)


def maximum(a: float, b: float) -> float:
    """Return the larger; NaN when either is."""
    return a if a > b or math.isnan(a) else b


def minimum(a: float, b: float) -> float:
    """Return the smaller; NaN when either is."""
    return a if a < b or math.isnan(a) else b


def greater(a: float, b: float) -> float:
    """Return 1 where the first is larger, else 0; NaN when either is."""
    if a > b:
        return 1.0
    return 0.0 if a <= b else NAN


def greater_equal(a: float, b: float) -> float:
    """Return 1 where the first is not smaller, else 0; NaN when either is."""
    if a >= b:
        return 1.0
    return 0.0 if a < b else NAN


def equal(a: float, b: float) -> float:
    """Return 1 where both are equal, else 0; NaN when either is."""
    if a == b:
        return 1.0
    return NAN if math.isnan(a) or math.isnan(b) else 0.0


def logical_and(a: float, b: float) -> float:
    """Return 1 where neither is 0, else 0; NaN when either is."""
    if math.isnan(a) or math.isnan(b):
        return NAN
    return 1.0 if a != 0.0 and b != 0.0 else 0.0


def logical_or(a: float, b: float) -> float:
    """Return 1 where either is not 0, else 0; NaN when either is."""
    if math.isnan(a) or math.isnan(b):
        return NAN
    return 1.0 if a != 0.0 or b != 0.0 else 0.0


def logical_not(x: float) -> float:
    """Return 1 where it is 0, else 0; NaN for NaN."""
    if x == 0.0:
        return 1.0
    return NAN if math.isnan(x) else 0.0


def where(condition: float, a: float, b: float) -> float:
    """Return the first where the condition is not 0, else the second; NaN where the condition is."""
    if math.isnan(condition):
        return NAN
    return a if condition != 0.0 else b
