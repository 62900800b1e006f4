"""Sides that are kept for a while: a position is entered where confidence is high and left where it is low."""

from __future__ import annotations

import numpy as np

from backtester_model_core.typing import BoolArray, FloatArray


def kept_sides(
    score: FloatArray, *, enters: BoolArray, keeps: BoolArray, held: FloatArray | float, first: BoolArray
) -> FloatArray:
    """Return (n,) the side of each row: taken where it enters, kept while the score leans its way and it keeps.

    Rows are in order of time, symbol by symbol. A side is never kept past a row that leans the other way, so each
    side is the score's own: a signal frame says which side a symbol was left with.

    Args:
        score: (n,) probability of a rise.
        enters: (n,) whether the row takes the side it leans to.
        keeps: (n,) whether the row would keep a side held until then.
        held: (n,) the side held before the symbol's first row, on that row; not read elsewhere.
        first: (n,) whether the row is its symbol's first.
    """
    lean = np.sign(score - 0.5)
    before = np.empty_like(lean)
    before[1:] = lean[:-1]
    before = np.where(first, held, before)
    goes_on = keeps & (lean == before) & ~enters
    decided_at = np.where(first | ~goes_on, np.arange(len(score)), 0)
    decided = np.where(enters, lean, np.where(goes_on, held, 0.0))
    return np.asarray(decided[np.maximum.accumulate(decided_at)], dtype=np.float64)
