"""The probability of a rise that a classifier's classes add up to, of many rows or of one."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import NamedTuple

import numpy as np

from backtester_model_core.typing import BoolArray, FloatArray


class ClassColumns(NamedTuple):
    """Which columns of a classifier's probabilities stand for what.

    Attributes:
        rises: Those of the classes above zero.
        falls: Those of the classes below zero; with the classes {0, 1}, that of zero.
        flat: That of zero where there are classes on both sides of it; ``None`` elsewhere.
    """

    rises: tuple[int, ...]
    falls: tuple[int, ...]
    flat: int | None


@lru_cache(maxsize=64)
def class_columns(classes: tuple[float, ...]) -> ClassColumns:
    """Say which columns stand for a rise, a fall, or neither."""
    rises = tuple(position for position, value in enumerate(classes) if value > 0)
    falls = tuple(position for position, value in enumerate(classes) if value < 0)
    zero = classes.index(0) if 0 in classes else None
    return ClassColumns(rises, falls, zero) if falls or zero is None else ClassColumns(rises, (zero,), None)


def rise_share(probability: FloatArray, classes: tuple[float, ...]) -> FloatArray:
    """Return (n,) the probability of the classes above zero against those below, one half where neither has any.

    Args:
        probability: (n, k) probability of each class.
        classes: The classes in their fixed order.
    """
    columns = class_columns(classes)
    up = probability[:, list(columns.rises)].sum(axis=1)
    either = up + probability[:, list(columns.falls)].sum(axis=1)
    return np.asarray(np.where(either == 0, 0.5, up / np.where(either == 0, 1.0, either)), dtype=np.float64)


def rise_share_of_one(columns: ClassColumns) -> Callable[[Sequence[float]], float]:
    """Return what computes :func:`rise_share` of one row."""
    if len(columns.rises) == len(columns.falls) == 1:
        rise, fall = columns.rises[0], columns.falls[0]

        def share_of_two(probability: Sequence[float]) -> float:
            up = probability[rise]
            either = up + probability[fall]
            return up / either if either else 0.5

        return share_of_two

    def share(probability: Sequence[float]) -> float:
        up, down = 0.0, 0.0
        for position in columns.rises:
            up += probability[position]
        for position in columns.falls:
            down += probability[position]
        return up / (up + down) if up + down else 0.5

    return share


def is_flat_likeliest(probability: FloatArray, classes: tuple[float, ...]) -> BoolArray:
    """Return (n,) whether the middle class of a three-way label is the likeliest."""
    flat = class_columns(classes).flat
    if flat is None:
        return np.zeros(len(probability), dtype=np.bool_)
    return np.asarray(probability[:, flat] >= probability.max(axis=1), dtype=np.bool_)


def rose(outcome: FloatArray, classes: tuple[float, ...]) -> FloatArray:
    """Return (n,) 1 where the outcome is a class of a rise, 0 where of a fall, NaN for a middle class or none."""
    falls = outcome < 0 if classes[0] < 0 else outcome == 0
    return np.where(outcome > 0, 1.0, np.where(falls, 0.0, np.nan))
