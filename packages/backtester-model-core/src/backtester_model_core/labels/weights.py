"""Sample weights for labels that overlap: how unique each is, what it earned, how old and how common it is.

Everything here is computed from the rows that are given and from nothing else, so that weights of a training
window are those of its own rows.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from backtester_model_core.bars import Panel
from backtester_model_core.labels.lives import positive
from backtester_model_core.typing import FloatArray, IntArray, TimeArray


@dataclass(frozen=True, eq=False)
class Overlap:
    """One symbol's labels on the instants at which one of them begins or ends.

    A label covers the instants after its row is known, up to and with its end. Between two neighbouring
    instants nothing begins or ends, so nothing that a sum over bars could see is lost.

    Attributes:
        instants: (m,) instants, ascending.
        first: (n,) position of the first instant that each label covers.
        stop: (n,) position after the last.
        concurrency: (m,) number of labels that cover each instant.
    """

    instants: TimeArray
    first: IntArray
    stop: IntArray
    concurrency: IntArray

    @classmethod
    def of(cls, known_at: TimeArray, label_end: TimeArray) -> Overlap:
        """Count the labels that cover each instant (López de Prado 2018, section 4.3)."""
        instants = np.unique(np.concatenate([known_at, label_end]))
        first = np.searchsorted(instants, known_at, side="right")
        stop = np.searchsorted(instants, label_end, side="right")
        size = len(instants) + 1
        begun, ended = np.bincount(first, minlength=size), np.bincount(stop, minlength=size)
        return cls(instants, first, stop, np.cumsum(begun - ended)[:-1])

    def shares(self, values: FloatArray) -> FloatArray:
        """Return, for each label, the sum over its instants of a value divided by the concurrency there."""
        shared = np.divide(values, self.concurrency, out=np.zeros(len(values)), where=self.concurrency > 0)
        total = np.concatenate([[0.0], np.cumsum(shared)])
        return np.asarray(total[self.stop] - total[self.first], dtype=np.float64)


def average_uniqueness(known_at: TimeArray, label_end: TimeArray, *, symbol: IntArray) -> FloatArray:
    """Return the mean over each label's span of one over the number of its symbol's labels that cover it.

    A label that overlaps no other has 1; of labels of h bars at every bar, each has about 1/h (López de Prado
    2018, section 4.4). The span is counted in instants at which one of the given labels begins or ends: where
    the rows follow each other bar by bar, those are the bars.

    Args:
        known_at: (n,) instant at which each row is known.
        label_end: (n,) instant at which its label ends.
        symbol: (n,) code of the row's symbol; labels of different symbols do not overlap.
    """
    uniqueness = np.ones(len(known_at))
    for code in np.unique(symbol):
        rows = np.flatnonzero(symbol == code)
        overlap = Overlap.of(known_at[rows], label_end[rows])
        length = overlap.stop - overlap.first
        mean = overlap.shares(np.ones(len(overlap.instants))) / np.maximum(length, 1)
        uniqueness[rows] = np.where(length > 0, mean, 1.0)
    return uniqueness


def return_attribution(
    known_at: TimeArray, label_end: TimeArray, *, symbol: IntArray, span_prices: FloatArray
) -> FloatArray:
    """Return the size of the log return that each label's span earned, shared among the labels that cover it.

    With the log return r of a bar and c labels over it, a label has ``|sum(r / c)|`` over its span (López de
    Prado 2018, section 4.10).

    Args:
        known_at: (n,) instant at which each row is known.
        label_end: (n,) instant at which its label ends.
        symbol: (n,) code of the row's symbol.
        span_prices: (n, 2) the symbol's close at both instants.
    """
    attributed = np.zeros(len(known_at))
    for code in np.unique(symbol):
        rows = np.flatnonzero(symbol == code)
        overlap = Overlap.of(known_at[rows], label_end[rows])
        level = np.empty(len(overlap.instants))
        for instants, prices in zip((known_at[rows], label_end[rows]), span_prices[rows].T, strict=True):
            level[np.searchsorted(overlap.instants, instants)] = np.log(prices)
        attributed[rows] = np.abs(overlap.shares(np.diff(level, prepend=level[:1])))
    return attributed


def time_decay(uniqueness: FloatArray, known_at: TimeArray, *, oldest: float) -> FloatArray:
    """Return factors that fall linearly from 1 at the latest row, by the uniqueness gathered since.

    The decay runs over cumulative uniqueness rather than time, since overlapping rows add little (López de
    Prado 2018, section 4.11). Rows of one instant share one factor.

    Args:
        uniqueness: (n,) average uniqueness of each row.
        known_at: (n,) instant at which each row is known.
        oldest: What the factor tends to at the beginning, from 0 to 1; a negative number makes it zero for that
            share of the oldest.
    """
    _, time = np.unique(known_at, return_inverse=True)
    gathered = np.cumsum(np.bincount(time, weights=uniqueness))
    whole = gathered[-1]
    slope = (1.0 - oldest) / whole if oldest >= 0 else 1.0 / ((oldest + 1.0) * whole)
    return np.asarray(np.maximum(1.0 - slope * (whole - gathered), 0.0)[time], dtype=np.float64)


def class_balance(weight: FloatArray, target: FloatArray) -> FloatArray:
    """Return factors that give every class that occurs the same total weight."""
    _, kind = np.unique(target, return_inverse=True)
    total = np.bincount(kind, weights=weight)
    mean = weight.sum() / len(total)
    return np.asarray(
        np.divide(mean, total, out=np.zeros(len(total)), where=total > 0)[kind], dtype=np.float64
    )


def span_prices(panel: Panel, label_end: TimeArray) -> FloatArray:
    """Return (n, 2) the symbol's close at each row and the last one known at the row's label end; NaN without."""
    closes = positive(panel, "close")
    prices = np.full((panel.n_rows, 2), np.nan)
    for segment in panel.segments():
        known_at, ends = panel.known_at[segment], label_end[segment]
        ended = ~np.isnat(ends)
        last = np.searchsorted(known_at, ends[ended], side="right") - 1
        prices[segment][ended, 0] = closes[segment][ended]
        prices[segment][ended, 1] = closes[segment][last]
    return prices
