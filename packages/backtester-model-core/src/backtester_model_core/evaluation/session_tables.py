"""Rows of bars as tables of sessions by symbols."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import numpy as np
import pandas as pd

from backtester_model_core.typing import FloatArray, IntArray, TimeArray


@dataclass(frozen=True, eq=False)
class SessionTables:
    """Where rows, in any order, have their place among sessions and symbols.

    Attributes:
        sessions: (n_sessions,) distinct instants at which rows are known, ascending.
        rows: (n,) the rows that have a place: those known from the first session on.
        session: (n,) the session of each.
        symbol: (n,) the code of the symbol of each.
        n_symbols: Number of symbols.
    """

    sessions: TimeArray
    rows: IntArray
    session: IntArray
    symbol: IntArray
    n_symbols: int

    @classmethod
    def of(
        cls, known_at: TimeArray, *, symbol: IntArray, n_symbols: int, start: np.datetime64 | None = None
    ) -> Self:
        """Lay out rows, all of them or those that are known from ``start`` on."""
        kept = np.arange(len(known_at)) if start is None else np.flatnonzero(known_at >= start)
        sessions, session = np.unique(known_at[kept], return_inverse=True)
        return cls(sessions, kept, session, symbol[kept], n_symbols)

    def table(self, values: pd.Series[float] | FloatArray) -> FloatArray:
        """Return (n_sessions, n_symbols) one value for each row; NaN where a symbol has no row."""
        out = np.full((len(self.sessions), self.n_symbols), np.nan)
        out[self.session, self.symbol] = np.asarray(values, dtype=np.float64)[self.rows]
        return out
