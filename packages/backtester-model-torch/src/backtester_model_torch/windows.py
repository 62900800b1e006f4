"""Rows as a network takes them, in single precision, and sliding windows that are views of those rows."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

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
    def of(cls, columns: FloatArray, rows: IntArray | None = None) -> Scaling:
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

    def apply(self, columns: FloatArray) -> Tensor:
        """Return (n, p) standardised columns in single precision."""
        scaled = np.empty(columns.shape, dtype=np.float32)
        with np.errstate(over="ignore", invalid="ignore"):  # rows of no window may hold anything
            for first in range(0, len(columns), CHUNK):
                part = slice(first, first + CHUNK)
                scaled[part] = (columns[part] - self.centre) / self.width
        return torch.from_numpy(scaled)


def _chunks(columns: FloatArray, rows: IntArray | None) -> Iterator[FloatArray]:
    n_rows = len(columns) if rows is None else len(rows)
    for first in range(0, n_rows, CHUNK):
        part = slice(first, first + CHUNK)
        yield columns[part] if rows is None else columns[rows[part]]


@dataclass(frozen=True)
class Inputs:
    """What a network is given, without a copy of any window until a batch asks for it.

    Attributes:
        windows: (n, p) rows, or (n - steps + 1, steps, p) overlapping windows that share the rows' memory.
        starts: (m,) position of each input in ``windows``.
    """

    windows: Tensor
    starts: Tensor

    @classmethod
    def of(cls, rows: Tensor, *, steps: int | None, ends: IntArray | None) -> Inputs:
        """Take rows one by one, or for each end the ``steps`` rows up to and with it.

        Args:
            rows: (n, p) rows.
            steps: Rows of a window; ``None`` for rows one by one.
            ends: (m,) positions of each input's last row; ``None`` for every row.
        """
        last = torch.arange(len(rows)) if ends is None else torch.from_numpy(np.array(ends, dtype=np.int64))
        last = last.to(rows.device)
        if steps is None:
            return cls(rows, last)
        return cls(rows.unfold(0, steps, 1).transpose(1, 2), last - (steps - 1))

    def __len__(self) -> int:
        return len(self.starts)

    def batch(self, chosen: Tensor) -> Tensor:
        """Return the inputs at some positions, (b, p) or (b, steps, p): the only copy."""
        return self.windows.index_select(0, self.starts[chosen])
