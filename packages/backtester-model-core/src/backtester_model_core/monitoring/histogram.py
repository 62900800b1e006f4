"""Rows as counts between quantiles of the training rows: small, additive, and enough for every distance."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Self

import numpy as np

from backtester_model_core.typing import BoolArray, FloatArray, IntArray

N_BINS = 20
"""Bins of equal share in the training rows; a multiple of the ten that the stability index asks for."""

FEW_ROWS = 100


@dataclass(frozen=True, eq=False)
class Bins:
    """The edges between bins: quantiles of the training rows.

    Attributes:
        edges: (K - 1, p) ascending; a value equal to an edge lies below it.
        low: (p,) least value of the training rows.
        high: (p,) greatest one.
    """

    edges: FloatArray
    low: FloatArray
    high: FloatArray

    @classmethod
    def of(cls, values: FloatArray) -> Self:
        """Part (n, p) values into bins of equal share; a feature that is never known gets edges of zero."""
        ordered = np.sort(np.where(np.isfinite(values), values, np.nan), axis=0)  # the unknown come last
        n_known = np.isfinite(ordered).sum(axis=0)
        places = -(-(np.arange(1, N_BINS)[:, None] * n_known) // N_BINS) - 1
        highest = np.maximum(n_known - 1, 0)[None, :]
        picked = (np.clip(places, 0, highest), np.zeros_like(highest), highest)
        edges, low, high = (
            np.where(n_known > 0, np.take_along_axis(ordered, each, axis=0), 0.0) for each in picked
        )
        return cls(edges, low[0], high[0])

    @cached_property
    def varies(self) -> BoolArray:
        """(p,) whether the bins can tell values apart."""
        return np.asarray(self.edges[0] < self.edges[-1])

    @cached_property
    def width(self) -> FloatArray:
        """(p,) interquartile range, or the range between the outer edges where the middle half is one value."""
        quarter = N_BINS // 4
        middle = self.edges[3 * quarter - 1] - self.edges[quarter - 1]
        return np.asarray(np.where(middle > 0, middle, self.edges[-1] - self.edges[0]))

    def count(
        self, values: FloatArray, *, stretch: IntArray | None = None, n_stretches: int = 1
    ) -> Histogram:
        """Count (n, p) values; with the number of each row's ``stretch``, ascending, each stretch by itself."""
        n, p = values.shape
        bins = self._place(values)
        place = np.zeros(n, dtype=np.int64) if stretch is None else stretch
        codes = (place[:, None] * p + np.arange(p)) * N_BINS + bins
        known = np.isfinite(values)
        above, below = np.maximum(values - self.edges[-1], 0.0), np.maximum(self.edges[0] - values, 0.0)
        if not known.all():
            codes, above, below = codes[known], np.where(known, above, 0.0), np.where(known, below, 0.0)
        counts = np.bincount(codes.ravel(), minlength=n_stretches * p * N_BINS)
        beyond = np.zeros((n_stretches, 2, p))
        starts = np.searchsorted(place, np.arange(n_stretches))
        filled = np.flatnonzero(np.diff(np.append(starts, n)))
        if len(filled):
            beyond[filled, 0] = np.add.reduceat(below, starts[filled], axis=0)
            beyond[filled, 1] = np.add.reduceat(above, starts[filled], axis=0)
        by_bin = counts.reshape(n_stretches, p, N_BINS).swapaxes(1, 2).astype(np.float64)
        if stretch is None:
            return Histogram(self, by_bin[0], beyond[0])
        return Histogram(self, by_bin, beyond)

    def _place(self, values: FloatArray) -> IntArray:
        """Return (n, p) the bin of each value; a few rows are compared with all edges at once."""
        if len(values) <= FEW_ROWS:
            return np.asarray((values[:, None, :] > self.edges).sum(axis=1))
        bins = [np.searchsorted(edges, column) for edges, column in zip(self.edges.T, values.T, strict=True)]
        return np.stack(bins, axis=1)


@dataclass(frozen=True, eq=False)
class Histogram:
    """How many values of each feature lie in each bin, and how far they go beyond the outer edges.

    Leading axes may count further rows, such as stretches of time.

    Attributes:
        bins: The bins.
        counts: (..., K, p) values in each bin; unknown ones are not counted.
        beyond: (..., 2, p) sum of what lies below the first edge, and of what lies above the last.
    """

    bins: Bins
    counts: FloatArray
    beyond: FloatArray

    @cached_property
    def n(self) -> FloatArray:
        """(..., p) known values."""
        return np.asarray(self.counts.sum(axis=-2))

    @cached_property
    def shares(self) -> FloatArray:
        """(..., K, p) share of the known values in each bin; NaN where none is known."""
        with np.errstate(invalid="ignore"):
            return np.asarray(self.counts / self.n[..., None, :])

    @cached_property
    def cumulative(self) -> FloatArray:
        """(..., K - 1, p) share of the known values up to and including each edge."""
        return np.asarray(self.shares.cumsum(axis=-2)[..., :-1, :])

    @cached_property
    def mean_beyond(self) -> FloatArray:
        """(..., 2, p) mean distance beyond the outer edges, over all known values."""
        with np.errstate(invalid="ignore"):
            return np.asarray(self.beyond / self.n[..., None, :])

    def rolled(self, n_stretches: int) -> Self:
        """Join every so many stretches that follow each other; the first axis counts stretches."""
        windows = np.lib.stride_tricks.sliding_window_view
        return type(self)(
            self.bins,
            windows(self.counts, n_stretches, axis=0).sum(axis=-1),
            windows(self.beyond, n_stretches, axis=0).sum(axis=-1),
        )

    @classmethod
    def joined(cls, parts: Sequence[Histogram]) -> Self:
        """Add parts up that were counted in the same bins."""
        counts, beyond = (
            np.sum([getattr(part, name) for part in parts], axis=0) for name in ("counts", "beyond")
        )
        return cls(parts[0].bins, counts, beyond)
