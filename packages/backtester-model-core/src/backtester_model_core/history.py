"""What came before each row, for models that look back over rows and not only at one."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Self

import numpy as np
import pandas as pd

from backtester_model_core.typing import BoolArray, FloatArray, IntArray

NOWHERE = -1


@dataclass(frozen=True, eq=False)
class History:
    """Complete rows symbol by symbol, and where in them each row of a dataset stands.

    The ``n_context`` rows before an end are of the same symbol, complete, and follow each other without a gap, so
    a window is a slice: ``values[end - n_context : end + 1]``.

    Attributes:
        values: (N, p) features, C-contiguous, symbol-major, each symbol's in order of time.
        index: Their index, symbol-major too.
        ends: (n,) position in ``values`` of each row; -1 where the row or one that it looks back on is incomplete
            or missing.
        n_context: Rows that each row looks back on, itself not counted.
    """

    values: FloatArray
    index: pd.Index
    ends: IntArray
    n_context: int

    @classmethod
    def of(cls, values: FloatArray, index: pd.Index, symbol_codes: IntArray, *, n_context: int) -> Self:
        """Lay rows out, given in order of time: (n, p) features, their index and the code of each row's symbol."""
        order = np.argsort(symbol_codes, kind="stable")
        complete: BoolArray = np.asarray(np.isfinite(values).all(axis=1))[order]
        place = np.cumsum(complete) - 1
        before = np.arange(len(order)) - n_context
        first = np.maximum(before, 0)
        codes = symbol_codes[order]
        unbroken = (before >= 0) & (codes[first] == codes) & complete[first]
        unbroken &= complete & (place - place[first] == n_context)
        ends = np.full(len(order), NOWHERE)
        ends[order] = np.where(unbroken, place, NOWHERE)
        kept = order[complete]
        return cls(np.ascontiguousarray(values[kept]), index[kept], ends, n_context)

    @property
    def is_known(self) -> BoolArray:
        """(n,) whether a row has all that it looks back on."""
        return np.asarray(self.ends != NOWHERE)

    def take(self, rows: IntArray | BoolArray) -> Self:
        """Return the history of the given rows, as positions or as a mask; values are shared."""
        return replace(self, ends=self.ends[rows])

    def needed(self) -> Self:
        """Leave out the values that no row looks back on, later ones among them."""
        ends = self.ends[self.is_known]
        size = len(self.values) + 1
        opened = np.bincount(ends - self.n_context, minlength=size)
        closed = np.bincount(ends + 1, minlength=size)
        used = np.cumsum(opened - closed)[:-1] > 0
        place = np.append(np.cumsum(used) - 1, NOWHERE)
        return replace(self, values=self.values[used], index=self.index[used], ends=place[self.ends])
