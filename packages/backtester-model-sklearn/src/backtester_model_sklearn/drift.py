"""A drift measure for all features together: can a classifier tell live rows from training rows?

What no single feature shows, such as a correlation that turned, this shows. It is registered through the core's hook,
as ``domain_classifier``; scikit-learn is imported when it is first asked.
"""

from __future__ import annotations

from math import sqrt
from statistics import NormalDist
from typing import Any

import numpy as np

from backtester_model_core.hookspecs import hookimpl
from backtester_model_core.monitoring import JointMeasure
from backtester_model_core.typing import FloatArray

N_FOLDS = 4
SHRINKAGE = 0.5
"""How far each class's covariance is drawn towards a sphere: a window has few rows for many covariances."""


def domain_distance(reference: FloatArray, live: FloatArray) -> float:
    """Return by how many deviations a classifier can part the two: √2 Φ⁻¹(AUC) (Green & Swets 1966, section 3.2).

    The classifier is a regularised quadratic discriminant (Friedman 1989), its AUC out of fold. Folds are stretches of
    time of either, not shuffled rows: a row's neighbours resemble it, and would give it away. Zero stands for rows that
    cannot be told apart; chance alone lies on either side of it.

    Args:
        reference: (m, p) complete training rows in order of time.
        live: (n, p) complete live rows in order of time.
    """
    from sklearn.discriminant_analysis import QuadraticDiscriminantAnalysis
    from sklearn.metrics import roc_auc_score

    n_folds = min(N_FOLDS, len(reference) // 2, len(live) // 2)
    if n_folds < 2:
        return 0.0
    rows = np.concatenate([reference, live])
    centre, width = rows.mean(axis=0), rows.std(axis=0)
    rows = (rows - centre) / np.where(width > 0, width, 1.0)
    is_live = np.repeat([0, 1], [len(reference), len(live)])
    fold = np.concatenate([np.arange(n) * n_folds // n for n in (len(reference), len(live))])
    score = np.empty(len(rows))
    for k in range(n_folds):
        judge = QuadraticDiscriminantAnalysis(priors=[0.5, 0.5], reg_param=SHRINKAGE)
        judge.fit(rows[fold != k], is_live[fold != k])
        score[fold == k] = judge.decision_function(rows[fold == k])
    closest = 0.5 / (len(reference) * len(live))  # an AUC of 0 or 1 is not known more closely
    area = min(max(float(roc_auc_score(is_live, score)), closest), 1 - closest)
    return sqrt(2) * NormalDist().inv_cdf(area)


@hookimpl
def backtester_register(registry: Any) -> None:
    """Register the measure under its name."""
    registry.add_drift_measure("domain_classifier", JointMeasure(domain_distance))
