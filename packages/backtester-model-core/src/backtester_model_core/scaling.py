"""Columns standardised by training rows, a chunk at a time, for frameworks that compute in single precision."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from backtester_model_core.typing import FloatArray, IntArray

CHUNK = 65_536
"""Rows that are gone through at a time, so that no copy in double precision is made of a large panel."""


@dataclass(frozen=True)
class Scaling:
    """A mean and deviation of training rows, by which others are standardised.

    Attributes:
        centre: (p,) means.
        width: (p,) standard deviations; 1 where a column is constant.
    """

    centre: FloatArray
    width: FloatArray

    @classmethod
    def of(cls, columns: FloatArray | IntArray, rows: IntArray | None = None) -> Scaling:
        """Measure (n, p) columns, all rows or those at the given positions."""
        n_rows = len(columns) if rows is None else len(rows)
        centre = sum(chunk.sum(axis=0) for chunk in _chunks(columns, rows)) / n_rows
        squares = sum(((chunk - centre) ** 2).sum(axis=0) for chunk in _chunks(columns, rows)) / n_rows
        deviation = np.sqrt(squares)
        return cls(centre, np.where(deviation > 0, deviation, 1.0))

    @classmethod
    def none(cls, n_columns: int) -> Scaling:
        """Leave columns as they are."""
        return cls(np.zeros(n_columns), np.ones(n_columns))

    def apply(self, columns: FloatArray | IntArray) -> NDArray[np.float32]:
        """Return (n, p) standardised columns in single precision."""
        scaled = np.empty(columns.shape, dtype=np.float32)
        with np.errstate(over="ignore", invalid="ignore"):  # rows of no window may hold anything
            for first in range(0, len(columns), CHUNK):
                part = slice(first, first + CHUNK)
                scaled[part] = (columns[part] - self.centre) / self.width
        return scaled


def _chunks(columns: FloatArray | IntArray, rows: IntArray | None) -> Iterator[Any]:
    n_rows = len(columns) if rows is None else len(rows)
    for first in range(0, n_rows, CHUNK):
        part = slice(first, first + CHUNK)
        yield columns[part] if rows is None else columns[rows[part]]
