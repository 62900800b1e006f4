"""Rows that are to be judged: columns of one length, and instants that compare as numbers."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from backtester_model_core.exceptions import EvaluationError
from backtester_model_core.typing import BoolArray, FloatArray, IntArray

NOT_YET = np.iinfo(np.int64).min
"""What NaT becomes as an integer."""


def float_columns(**columns: ArrayLike) -> tuple[FloatArray, ...]:
    """Return the named columns as (n,) floats, n being the first's length; one number stands for a column.

    Raises:
        EvaluationError: When the columns differ in length, or hold an infinite value.
    """
    arrays = {name: np.asarray(values, dtype=np.float64) for name, values in columns.items()}
    rows = next(iter(arrays.values())).shape
    if len(rows) != 1 or any(array.shape not in {(), rows} for array in arrays.values()):
        raise EvaluationError.lengths({name: array.shape for name, array in arrays.items()})
    for name, array in arrays.items():
        if np.isinf(array).any():
            raise EvaluationError(f"{name} holds an infinite value. Pass NaN where a value is unknown.")
    return tuple(np.broadcast_to(array, rows) for array in arrays.values())


def known_rows(*columns: FloatArray) -> BoolArray:
    """Return the rows on which no column is NaN."""
    known = ~np.isnan(columns[0])
    for column in columns[1:]:
        known &= ~np.isnan(column)
    return known


def instants(values: ArrayLike) -> IntArray:
    """Return instants as integers: ``datetime64`` in nanoseconds, integers as they are."""
    array = np.asarray(values)
    if array.dtype.kind == "M":
        return array.astype("datetime64[ns]").astype(np.int64)
    if array.dtype.kind not in "iu":
        raise EvaluationError(f"Instants are datetime64 or integers, not {array.dtype}. Convert them first.")
    return array.astype(np.int64)


def check_lengths(**columns: FloatArray | IntArray | BoolArray) -> None:
    """Refuse columns that differ in length.

    Raises:
        EvaluationError: Naming each column with its length.
    """
    lengths = {name: len(column) for name, column in columns.items()}
    if len(set(lengths.values())) > 1:
        raise EvaluationError.lengths(lengths)
