"""How far a regression's earlier forecasts were off: what its probabilities are made of."""

from __future__ import annotations

from bisect import bisect_left
from dataclasses import dataclass
from functools import cached_property
from math import ceil, inf

import numpy as np

from backtester_model_core.typing import FloatArray

MAX_RESIDUALS = 1_000
MIN_RESIDUALS = 200
NAN = float("nan")


@dataclass(frozen=True, eq=False)
class Residuals:
    """How far a regression's earlier out-of-sample forecasts were off, in units of volatility.

    Attributes:
        shrinkage: Slope ``beta`` of outcomes on forecasts, both less the baseline, in [0, 1].
        sorted_sizes: Ascending sizes of the standardised residuals.
    """

    shrinkage: float
    sorted_sizes: FloatArray

    @classmethod
    def measure(
        cls, forecast: FloatArray, outcome: FloatArray, baseline: FloatArray, scale: FloatArray
    ) -> Residuals | None:
        """Measure earlier out-of-sample rows in order of time; ``None`` when fewer than 200 can be used.

        Args:
            forecast: (n,) what was foreseen.
            outcome: (n,) what happened.
            baseline: (n,) training mean of the model that foresaw.
            scale: (n,) volatility known at the row.
        """
        usable = np.isfinite(forecast - baseline) & np.isfinite(outcome) & np.isfinite(scale) & (scale > 0)
        lean, excess = (forecast - baseline)[usable], (outcome - baseline)[usable]
        if len(lean) < MIN_RESIDUALS:
            return None
        variance = float(lean @ lean)
        shrinkage = float(np.clip((lean @ excess) / variance, 0.0, 1.0)) if variance > 0 else 0.0
        middle = baseline[usable] + shrinkage * lean
        sizes = np.abs(outcome[usable] - middle) / scale[usable]
        return cls(shrinkage, np.sort(sizes[-MAX_RESIDUALS:]))

    def probability_up(
        self, expected: FloatArray, baseline: float | FloatArray, scale: FloatArray
    ) -> FloatArray:
        """Return (n,) the probability of a rise from the share of residuals smaller than the forecast.

        ``1/2 + sign(m)/2 * share(|u| < |m|/sigma)`` with the shrunken forecast ``m = b + beta (f - b)``; NaN where
        no volatility is known.
        """
        middle = self.middle(expected, baseline)
        with np.errstate(invalid="ignore", divide="ignore", over="ignore"):
            distance = np.abs(middle) / scale
        share = np.searchsorted(self.sorted_sizes, distance, side="left") / len(self.sorted_sizes)
        known = np.isfinite(distance) & (scale > 0)
        return np.where(known, 0.5 + 0.5 * np.sign(middle) * share, np.nan)

    def probability_up_of_one(self, expected: float, baseline: float, scale: float) -> float:
        """Return :meth:`probability_up` of one row."""
        if not scale > 0:
            return NAN
        middle = baseline + self.shrinkage * (expected - baseline)
        distance = abs(middle) / scale
        if not distance < inf:
            return NAN
        share = bisect_left(self._sizes, distance) / len(self._sizes)
        return 0.5 + 0.5 * share if middle > 0 else 0.5 - 0.5 * share if middle < 0 else 0.5

    def half_width(self, coverage: float) -> float:
        """Return how many volatilities from the shrunken forecast the share ``coverage`` of outcomes stays within.

        Split conformal (Lei et al. 2018, section 2.2): the ``ceil((n + 1) coverage)``-th smallest residual; NaN where
        there are too few for that coverage.
        """
        rank = ceil((len(self.sorted_sizes) + 1) * coverage)
        return float(self.sorted_sizes[rank - 1]) if rank <= len(self.sorted_sizes) else NAN

    def middle(self, expected: FloatArray, baseline: float | FloatArray) -> FloatArray:
        """Return (n,) forecasts shrunken towards the baseline."""
        return np.asarray(baseline + self.shrinkage * (expected - baseline), dtype=np.float64)

    @cached_property
    def _sizes(self) -> list[float]:
        """The sizes as Python has them: a single look-up in an array costs ten times as much."""
        return [float(size) for size in self.sorted_sizes]
