"""Maximum likelihood of a logistic curve, by Newton's method with backtracking."""

from __future__ import annotations

import numpy as np

from backtester_model_core.typing import FloatArray

MAX_STEPS = 100
SMALLEST_STEP = 1e-10
RIDGE = 1e-12
FLAT = 1e-7
"""Slope a row below which the minimum is reached."""


def smoothed_targets(rose: FloatArray) -> FloatArray:
    """Return (n,) targets a little inside 0 and 1: (n₊ + 1)/(n₊ + 2) and 1/(n₋ + 2) (Platt 1999, section 2.2)."""
    n_rose = float(rose.sum())
    n_fell = len(rose) - n_rose
    return np.where(rose > 0, (n_rose + 1) / (n_rose + 2), 1 / (n_fell + 2))


def fit_logistic(design: FloatArray, target: FloatArray) -> FloatArray:
    """Return (k,) coefficients w that minimise -Σ t·ln q + (1 - t)·ln(1 - q), with q = 1/(1 + exp(-Xw)).

    Newton's method with a backtracking line search, as in Lin, Lin & Weng (2007), algorithm 1, for any number of
    columns; with targets strictly between 0 and 1 the minimum exists.

    Args:
        design: (n, k) columns; a column of ones is the intercept.
        target: (n,) between 0 and 1.
    """
    weights = np.zeros(design.shape[1])
    for _ in range(MAX_STEPS):
        probability = 1 / (1 + np.exp(-np.clip(design @ weights, -500, 500)))
        gradient = design.T @ (probability - target)
        if np.abs(gradient).max() < FLAT * len(target):
            break
        curvature = (design.T * (probability * (1 - probability))) @ design
        curvature += RIDGE * (1 + np.trace(curvature)) * np.eye(len(weights))
        direction = -np.linalg.solve(curvature, gradient)
        value, slope, step = _negative_likelihood(design, weights, target), float(gradient @ direction), 1.0
        while (
            step > SMALLEST_STEP
            and _negative_likelihood(design, weights + step * direction, target) > value + 1e-4 * step * slope
        ):
            step /= 2
        weights = weights + step * direction
    return weights


def _negative_likelihood(design: FloatArray, weights: FloatArray, target: FloatArray) -> float:
    score = design @ weights
    return float(np.sum(np.logaddexp(0, score) - target * score))
