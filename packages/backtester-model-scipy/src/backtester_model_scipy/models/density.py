"""Classes told apart by the density of each feature in each class."""

from __future__ import annotations

from typing import ClassVar, Literal

import numpy as np
import pydantic
from scipy import special, stats

from backtester_model_core.exceptions import TrainingError
from backtester_model_core.typing import FloatArray, IntArray
from backtester_model_scipy.catalogs import register_model
from backtester_model_scipy.models.model import Fitted, Model, Rows

N_POINTS = 257
"""Points of a feature at which its densities are kept; between them their logarithm is a straight line."""

MIN_ROWS = 5
REACH = 4.0
"""Deviations beyond the training rows' range up to which densities are kept; further out they stay as they are."""

FLOOR = 1e-6
"""Share of every density that is uniform, so that no single feature can rule a class out."""


@register_model("kernel_density")
class KernelDensity(Model):
    """Naive Bayes with kernel densities: ``P(k | x)`` proportional to ``P(k) prod_j f_kj(x_j)**temper``.

    f_kj is the Gaussian kernel density of feature j in class k, by :class:`scipy.stats.gaussian_kde` with its
    weights: John and Langley (1995), UAI, section 3; bandwidths by Scott (1992), Multivariate Density Estimation,
    equation 6.42, or Silverman (1986), section 3.4.1. Features that say the same twice count twice: with many
    related ones a ``temper`` below 1 keeps probabilities honest.
    """

    name: ClassVar = "kernel_density"
    tasks: ClassVar = frozenset({"classification"})
    bandwidth: Literal["scott", "silverman"] | float = pydantic.Field(
        default="scott", description="Rule for the bandwidth, or its share of a class's deviation."
    )
    temper: float = pydantic.Field(
        default=1.0, gt=0, le=1, description="Power to which densities are raised; 1 is plain naive Bayes."
    )

    @pydantic.field_validator("bandwidth")
    @classmethod
    def _check_bandwidth(cls, value: str | float) -> str | float:
        if not isinstance(value, str) and not 0 < value <= 10:
            raise ValueError("a bandwidth in numbers is above 0 and at most 10")
        return value

    def fit(self, rows: Rows) -> Fitted:
        """Tabulate each feature's log density in each class."""
        target, n_classes = np.asarray(rows.target), rows.n_classes or 2
        counts = np.bincount(target, minlength=n_classes)
        if counts.min() < MIN_ROWS:
            raise TrainingError(
                f"kernel_density: a class has {counts.min()} training rows; a density takes at least {MIN_ROWS}."
            )
        spread = rows.features.std(axis=0)
        moving = spread > 0
        low, high = rows.features.min(axis=0) - REACH * spread, rows.features.max(axis=0) + REACH * spread
        grid = np.linspace(low, high, N_POINTS).T
        tables = np.zeros((n_classes, rows.features.shape[1], N_POINTS))
        for label in range(n_classes):
            own = target == label
            for at in np.flatnonzero(moving):
                density = stats.gaussian_kde(rows.features[own, at], self.bandwidth, rows.weight[own])(
                    grid[at]
                )
                uniform = 1 / (high[at] - low[at])
                tables[label, at] = np.log((1 - FLOOR) * density + FLOOR * uniform)
        prior = np.bincount(target, weights=rows.weight, minlength=n_classes)
        still = () if moving.all() else (f"{(~moving).sum()} features do not vary and say nothing.",)
        note = f"Densities from {', '.join(map(str, counts))} rows of the classes."
        return Fitted({"grid": grid, "tables": tables, "prior": np.log(prior / prior.sum())}, (note, *still))

    def forecast(self, fitted: Fitted, features: FloatArray, ends: IntArray | None = None) -> FloatArray:
        """Return probabilities by Bayes' rule."""
        grid, tables = fitted["grid"], fitted["tables"]
        score = np.tile(fitted["prior"], (len(features), 1))
        for label, table in enumerate(tables):
            for at in range(features.shape[1]):
                score[:, label] += self.temper * np.interp(features[:, at], grid[at], table[at])
        return np.asarray(special.softmax(score, axis=1))
