"""Fast answers to one row: weighted sums in plain Python, trees by a compiled walk; nothing else has such a form."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from sklearn.decomposition import PCA
from sklearn.feature_selection import SelectorMixin
from sklearn.impute import SimpleImputer
from sklearn.preprocessing import MinMaxScaler, RobustScaler, StandardScaler

from backtester_model_core.row_steps import (
    Link,
    among_all_classes_step,
    expit,
    exponential_link,
    linear_step,
    logistic_link,
    softmax_link,
    value_link,
)
from backtester_model_core.typing import FloatArray, RowStep
from backtester_model_sklearn.model import SklearnModel
from backtester_model_sklearn.tree_steps import has_trees, keeps_complete_rows, no_form, tree_step

VALUES: Mapping[str, Link] = {
    **dict.fromkeys(
        (
            *("ARDRegression", "BayesianRidge", "ElasticNet", "HuberRegressor", "Lars", "Lasso", "LassoLars"),
            *("LassoLarsIC", "LinearRegression", "LinearSVR", "OrthogonalMatchingPursuit"),
            *(
                "PassiveAggressiveRegressor",
                "QuantileRegressor",
                "Ridge",
                "SGDRegressor",
                "TheilSenRegressor",
            ),
        ),
        value_link,
    ),
    **dict.fromkeys(("GammaRegressor", "PoissonRegressor"), exponential_link),
}
"""Regressors whose forecast is a weighted sum, and what becomes of it."""

SCORERS = (
    *("LinearDiscriminantAnalysis", "LinearSVC", "LogisticRegression", "PassiveAggressiveClassifier"),
    *("Perceptron", "RidgeClassifier", "SGDClassifier"),
)
"""Classifiers whose scores are weighted sums."""


def row_step(model: SklearnModel, *, compiled: bool) -> RowStep:
    """Return what answers one row as ``predict`` does, preprocessing included.

    Args:
        model: A trained model.
        compiled: Whether trees are walked by compiled code, which needs the core's extra ``fast``.

    Raises:
        ModelError: When the estimator, or a step before it, has no such form.
    """
    step = tree_step(model, compiled=compiled) if has_trees(model.estimator) else _linear_step(model)
    if model.n_classes is None:
        return step
    return among_all_classes_step(step, seen=model.estimator.classes_, n_classes=model.n_classes)


def _linear_step(model: SklearnModel) -> RowStep:
    """Fold the preprocessing into the weights of a linear estimator."""
    estimator = model.estimator
    coefficients = np.atleast_2d(np.asarray(getattr(estimator, "coef_", 0.0), dtype=np.float64))
    link = _link_of(estimator, len(coefficients))
    matrix, centre = _folded(model.transformers, model.pipeline[0].n_features_in_)
    middle = model.transform(centre[np.newaxis]) @ coefficients.T + estimator.intercept_
    return linear_step((matrix @ coefficients.T).T, np.ravel(middle), link, centre=centre)


def _link_of(estimator: Any, n_scores: int) -> Link:
    """Return what an estimator's ``predict`` or ``predict_proba``, or the adapter, makes of its scores."""
    name = type(estimator).__name__
    if name in VALUES:
        return VALUES[name]
    is_told = getattr(estimator, "multi_class", "auto") not in ("auto", "deprecated")  # scikit-learn 1.7
    if (
        name not in SCORERS
        or getattr(estimator, "loss", None) == "modified_huber"
        or (name == "LogisticRegression" and is_told)
    ):
        raise no_form(f"{name}, as it is configured, is neither linear nor made of trees")
    if n_scores == 1:
        return logistic_link
    is_one_vs_rest = getattr(estimator, "solver", None) == "liblinear" or (
        name == "SGDClassifier" and estimator.loss == "log_loss"
    )
    return one_vs_rest_link if is_one_vs_rest else softmax_link


def one_vs_rest_link(scores: list[float]) -> list[float]:
    """Return each class's probability against the rest, brought to a sum of one."""
    probability = [expit(score) for score in scores]
    total = sum(probability)
    if total == 0.0:
        return [1.0 / len(scores)] * len(scores)
    return [one / total for one in probability]


# -- preprocessing that is linear --------------------------------------------------------------------------------


def _folded(transformers: Sequence[Any], n_features: int) -> tuple[FloatArray, FloatArray]:
    """Return the (p, q) linear part of some steps together, and a (p,) row in the middle of the training rows."""
    matrix, centre = np.eye(n_features), np.zeros(n_features)
    is_selection = True
    for transformer in transformers:
        linear, origin = _linear_part(transformer, matrix.shape[1])
        if is_selection and origin.any():
            centre, is_selection = matrix @ origin, False
        matrix = matrix @ linear
    return matrix, centre


def _linear_part(transformer: Any, n_columns: int) -> tuple[FloatArray, FloatArray]:
    """Return the (q, r) matrix that a fitted step multiplies by, and the (q,) row that it brings to zero."""
    nowhere = np.zeros(n_columns)
    match transformer:
        case StandardScaler():
            width = np.ones(n_columns) if transformer.scale_ is None else transformer.scale_
            return np.diag(1.0 / width), transformer.mean_ if transformer.with_mean else nowhere
        case RobustScaler():
            width = transformer.scale_ if transformer.with_scaling else np.ones(n_columns)
            return np.diag(1.0 / width), transformer.center_ if transformer.with_centering else nowhere
        case MinMaxScaler(clip=False):
            return np.diag(transformer.scale_), -transformer.min_ / transformer.scale_
        case PCA():
            width = np.sqrt(transformer.explained_variance_) if transformer.whiten else np.ones(1)
            return transformer.components_.T / np.maximum(width, np.finfo(np.float64).eps), transformer.mean_
        case SelectorMixin():
            return np.eye(n_columns)[:, transformer.get_support()], nowhere
        case SimpleImputer() if keeps_complete_rows(transformer):
            return np.eye(n_columns), nowhere
    raise no_form(f"{type(transformer).__name__}, as it is configured, is no linear map")
