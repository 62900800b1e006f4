"""From what a model sees in a series to the label: a small regression on training rows."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from scipy import linalg

from backtester_model_core.typing import FloatArray
from backtester_model_scipy.models.logistic import softmax_of, softmax_problem
from backtester_model_scipy.models.model import Fitted, Rows, design_of
from backtester_model_scipy.optimization import Search, solve

PENALTY = 1e-3
"""Quadratic penalty on the standardised coefficients of a classification, so that separable rows have an optimum."""


def fit_link(signals: FloatArray, rows: Rows, *, model: str) -> Fitted:
    """Regress the label on (m, k) signals: by least squares, or by a logistic regression of the classes."""
    center, scale = signals.mean(axis=0), signals.std(axis=0)
    scale = np.where(scale > 1e-12 * np.abs(center), scale, np.inf)  # what does not vary says nothing
    away = (signals - center) / scale
    arrays = {"link_center": center, "link_scale": scale}
    if rows.n_classes is None:
        design, root = design_of(away), np.sqrt(rows.weight)
        coefficients = linalg.lstsq(design * root[:, None], rows.target * root)[0][None]
        explained = 1 - np.average(
            (rows.target - design @ coefficients[0]) ** 2, weights=rows.weight
        ) / np.cov(rows.target, aweights=rows.weight, ddof=0)
        note = f"Link to the label by least squares: R squared in training {explained:.4f}."
        return Fitted({**arrays, "link": coefficients}, (note,))
    names = tuple(f"signal_{at}" for at in range(signals.shape[1]))
    problem = softmax_problem(
        away,
        np.asarray(rows.target, dtype=np.int64),
        rows.weight,
        n_classes=rows.n_classes,
        alpha=PENALTY,
        names=names,
    )
    found = solve(problem, Search(), "L-BFGS-B", model=f"the link of {model}")
    z_score = np.abs(found.values / found.errors)[1 :: len(names) + 1].max()
    note = f"Link to the label by logistic regression: largest |z| of a coefficient {z_score:.2f}."
    return Fitted({**arrays, "link": found.values.reshape(rows.n_classes - 1, -1)}, (note,))


def apply_link(arrays: Mapping[str, FloatArray], signals: FloatArray, *, is_classifier: bool) -> FloatArray:
    """Return (m,) values or (m, n_classes) probabilities, each row by itself to the last bit."""
    away = (signals - arrays["link_center"]) / arrays["link_scale"]
    link = arrays["link"]
    score = np.broadcast_to(link[:, 0], (len(away), len(link))).copy()
    for at in range(away.shape[1]):
        score += away[:, at, None] * link[:, 1 + at]
    return softmax_of(score) if is_classifier else score[:, 0]
