"""How far live rows have moved from the training rows, for every feature at once.

A distance says little by itself: sixty bars of a twenty-bar mean hold about three independent values, and such a
window is far from the training rows by chance. How far is far is therefore learned from windows of the training rows
themselves, see :class:`Yardstick`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from math import sqrt
from statistics import NormalDist
from typing import Self, TypeAlias

import numpy as np

from backtester_model_core.catalog import Catalog
from backtester_model_core.monitoring.histogram import N_BINS, Histogram
from backtester_model_core.typing import FloatArray

# -- measures ------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class FeatureMeasure:
    """A distance for each feature, from counts.

    Attributes:
        distance: From the histogram of the training rows and one of other rows, with any leading axes, to (..., p)
            distances, zero where both are alike.
        power: How a distance grows with a small shift: 2 for one that grows with its square.
    """

    distance: Callable[[Histogram, Histogram], FloatArray]
    power: int = 1


@dataclass(frozen=True)
class JointMeasure:
    """One distance for all features together, from rows.

    Attributes:
        distance: From (m, p) training rows and (n, p) other rows, complete and each in order of time, to a number;
            about zero where both are alike.
        power: How a distance grows with a small shift.
    """

    distance: Callable[[FloatArray, FloatArray], float]
    power: int = 1


DriftMeasure: TypeAlias = FeatureMeasure | JointMeasure

MEASURES: Catalog[DriftMeasure] = Catalog("drift measure")
"""Distances between live rows and training rows, by name."""

N_STABILITY_BINS = 10


def stability_index(reference: Histogram, live: Histogram) -> FloatArray:
    """Return PSI = Σ (aᵢ - eᵢ) ln(aᵢ/eᵢ) over ten bins (Siddiqi 2006, section 12; Jeffreys 1946).

    Half a value is added to each bin of both, so that an empty one is not infinite; both then have ``n`` live values.
    """

    def tenths(histogram: Histogram) -> FloatArray:
        of_bins = histogram.shares
        return np.asarray(
            of_bins.reshape(*of_bins.shape[:-2], N_STABILITY_BINS, N_BINS // N_STABILITY_BINS, -1).sum(
                axis=-2
            )
        )

    extra = 0.5 / np.maximum(live.n[..., None, :], 1)
    actual, expected = tenths(live) + extra, tenths(reference) + extra
    return np.asarray(((actual - expected) * np.log(actual / expected)).sum(axis=-2))


def kolmogorov_smirnov(reference: Histogram, live: Histogram) -> FloatArray:
    """Return D = max |F - G| over the edges (Smirnov 1939)."""
    return np.asarray(np.abs(live.cumulative - reference.cumulative).max(axis=-2))


def wasserstein(reference: Histogram, live: Histogram) -> FloatArray:
    """Return W₁ = ∫ |F - G| dx in interquartile ranges of the training rows (Vallender 1974).

    Between the edges by the trapezium rule; beyond them by the difference of the mean excesses, which is exact where
    F and G do not cross out there.
    """
    apart = np.abs(live.cumulative - reference.cumulative)
    within = ((apart[..., 1:, :] + apart[..., :-1, :]) / 2 * np.diff(reference.bins.edges, axis=0)).sum(
        axis=-2
    )
    outside = np.abs(live.mean_beyond - reference.mean_beyond).sum(axis=-2)
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.asarray((within + outside) / reference.bins.width)


MEASURES.add("psi", FeatureMeasure(stability_index, power=2))
MEASURES.add("ks", FeatureMeasure(kolmogorov_smirnov))
MEASURES.add("wasserstein", FeatureMeasure(wasserstein))


# -- what is far ---------------------------------------------------------------------------------------------------

MIN_DEGREES, MAX_DEGREES = 0.5, 30.0


@dataclass(frozen=True, eq=False)
class Yardstick:
    """What distances windows of the training rows show by themselves, by one measure.

    Whatever makes windows differ without drift is in them: bars that resemble their neighbours, symbols that move
    together, volatility that clusters, few rows. With r² a distance that grows with the square of a shift (or the
    square of one that grows with it), r² is taken for a multiple of a chi-squared number, whose mean and degrees of
    freedom d = 2 mean²/variance are measured on overlapping windows of the training rows (Satterthwaite 1946). A live
    window was not part of what it is compared with, so for W of T decision times the mean is multiplied by
    (1 + W/T)/(1 - W/T).

    Attributes:
        mean_square: (p,) or (1,) mean of r²; NaN for features that do not vary.
        degrees: (p,) or (1,) d.
        n_windows: T/W, the windows that do not overlap.
        power: Of the measure: 2 where distances are r², else 1.
    """

    mean_square: FloatArray
    degrees: FloatArray
    n_windows: float
    power: int

    @classmethod
    def of(cls, distances: FloatArray, *, power: int, n_windows: float) -> Self:
        """Measure (windows, p) distances of the training rows' own windows."""
        squares = np.maximum(distances, 0.0) ** (2 / power)
        mean = squares.mean(axis=0)
        with np.errstate(invalid="ignore", divide="ignore"):
            degrees = np.clip(2 * mean**2 / squares.var(axis=0), MIN_DEGREES, MAX_DEGREES)
        degrees = np.minimum(degrees, np.nanmedian(degrees)) if np.isfinite(degrees).any() else degrees
        widened = mean * (1 + 1 / n_windows) / (1 - 1 / n_windows)
        return cls(np.where(mean > 0, widened, np.nan), degrees, n_windows, power)

    def limits(self, level: float, *, n_claims: int) -> FloatArray:
        """Return the distances that stationary features exceed at one look with at most a chance, all together.

        A live r² over the mean of those measured is a ratio of two chi-squared numbers: F distributed with d and d
        times the number of independent windows degrees of freedom. Overlapping windows are worth half as many again
        as those that do not overlap (Meketon & Schmeiser 1984). The level is shared by all claims (Bonferroni).
        """
        ratio = [upper_f(level / n_claims, nu, nu * 1.5 * self.n_windows) for nu in self.degrees.tolist()]
        return np.asarray((self.mean_square * np.array(ratio)) ** (self.power / 2))


def upper_f(chance: float, degrees: float, further: float) -> float:
    """Return what an F distributed number exceeds with a small chance, by the normal approximation of Paulson (1942).

    Cube roots of chi-squared numbers are nearly normal (Wilson & Hilferty 1931), so with a = 2/(9d₁), b = 2/(9d₂) the
    root x of F solves ``(1 - b) x - (1 - a) = z √(b x² + a)``. NaN where a number of degrees is.
    """
    z = NormalDist().inv_cdf(1 - chance)
    a, b = 2 / (9 * degrees), 2 / (9 * further)
    square = (1 - b) ** 2 - b * z**2
    if not square > 0:
        return float("inf") if square <= 0 else float("nan")
    half = (1 - a) * (1 - b)
    return float((half + sqrt(half**2 - square * ((1 - a) ** 2 - a * z**2))) / square) ** 3
