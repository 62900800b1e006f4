"""What a set of forecasts and signals was worth, as plain figures.

Rows on which the outcome or the forecast is NaN are left out, and ``n`` says how many remain. A figure that the
remaining rows do not define is NaN.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from backtester_model_core.evaluation.coefficients import midranks
from backtester_model_core.evaluation.rows import (
    float_columns,
    known_rows,
)
from backtester_model_core.exceptions import EvaluationError
from backtester_model_core.typing import BoolArray, FloatArray

NAN = float("nan")

SIGNAL_SIDES = {"STRONG_BUY": 1, "LONG": 1, "NEUTRAL": 0, "SHORT": -1, "STRONG_SELL": -1}
"""The side that each signal type takes."""

SMALLEST_PROBABILITY = 1e-15
"""Probabilities are clipped to this before their logarithm, so that one sure miss is not infinite."""


def classification_metrics(
    outcome: ArrayLike, *, probability: ArrayLike, classes: Sequence[float]
) -> dict[str, float]:
    """Return n, accuracy, balanced accuracy, ROC AUC, log loss and Brier score.

    Args:
        outcome: (n,) the class that came true.
        probability: (n, n_classes) forecast, columns in the order of ``classes``.
        classes: The classes in their fixed order; of two the second is the positive one.

    Raises:
        EvaluationError: When the shapes disagree, or an outcome is none of the classes.
    """
    (y,) = float_columns(outcome=outcome)
    p = np.asarray(probability, dtype=np.float64)
    if p.shape != (len(y), len(classes)):
        raise EvaluationError.lengths({"outcome": y.shape, "probability": p.shape, "classes": len(classes)})
    known = known_rows(y, *p.T)
    y, p = y[known], p[known]
    happened = y[:, None] == np.asarray(classes, dtype=np.float64)
    if not happened.any(axis=1).all():
        strangers = sorted(set(y.tolist()) - set(classes))
        raise EvaluationError(
            f"Outcomes hold {strangers}, but the classes are {list(classes)}. Pass every class the label has."
        )
    predicted = np.zeros_like(happened)
    predicted[np.arange(len(y)), p.argmax(axis=1) if len(y) else []] = True
    return {
        "n": len(y),
        "accuracy": _mean((happened & predicted).any(axis=1)),
        "balanced_accuracy": _balanced_accuracy(happened, predicted),
        "roc_auc": _roc_auc(happened, p),
        "log_loss": _log_loss(happened, p),
        "brier": _brier(happened, p),
    }


def regression_metrics(outcome: ArrayLike, *, forecast: ArrayLike, baseline: ArrayLike) -> dict[str, float]:
    """Return n, MAE, RMSE and the out-of-sample R².

    R² = 1 - Σ(y - f)² / Σ(y - b)², against the mean b of the training window that each row's model had
    (Campbell & Thompson 2008, eq. 1). Below zero the forecasts are further off than that mean.
    """
    y, f, b = float_columns(outcome=outcome, forecast=forecast, baseline=baseline)
    known = known_rows(y, f, b)
    y, f, b = y[known], f[known], b[known]
    of_forecast, of_baseline = float(np.sum((y - f) ** 2)), float(np.sum((y - b) ** 2))
    return {
        "n": len(y),
        "mae": _mean(np.abs(y - f)),
        "rmse": _mean((y - f) ** 2) ** 0.5,
        "r2_oos": 1 - of_forecast / of_baseline if of_baseline > 0 else NAN,
    }


def signal_metrics(signal: Sequence[str] | NDArray[np.str_], *, forward_return: ArrayLike) -> pd.DataFrame:
    """Return one row for each signal type, from STRONG_BUY to STRONG_SELL.

    Columns: ``n`` signals; ``n_known``, those whose forward return is known; ``hit_rate``, the share of these
    that moved the signal's way (no move is no hit; NaN for NEUTRAL, which has no way); and
    ``mean_forward_return``, of the symbol and not of the side, so that a good SHORT shows a negative one.

    Raises:
        EvaluationError: When a signal has another name, or the lengths differ.
    """
    names = np.asarray(signal, dtype=np.str_)
    (returns,) = float_columns(forward_return=forward_return)
    if names.shape != returns.shape:
        raise EvaluationError.lengths({"signal": names.shape, "forward_return": returns.shape})
    strangers = sorted(set(names.tolist()) - set(SIGNAL_SIDES))
    if strangers:
        raise EvaluationError(f"{strangers[0]!r} is not a signal type. Valid: {', '.join(SIGNAL_SIDES)}.")
    rows = {}
    for name, side in SIGNAL_SIDES.items():
        of_type = names == name
        known = returns[of_type & known_rows(returns)]
        rows[name] = {
            "n": int(of_type.sum()),
            "n_known": len(known),
            "hit_rate": _mean(side * known > 0) if side else NAN,
            "mean_forward_return": _mean(known),
        }
    return pd.DataFrame.from_dict(rows, orient="index").rename_axis("signal")


def decision_turnover(target_weight: ArrayLike) -> float:
    """Return the mean over sessions of Σ|wₜ - wₜ₋₁|, starting from no position.

    A NaN weight repeats its symbol's earlier one. Unlike the turnover of a return path this leaves drift out: it
    says how much the decisions themselves move.

    Args:
        target_weight: (n_sessions, n_symbols).
    """
    weights = np.asarray(target_weight, dtype=np.float64)
    decided = np.where(np.isnan(weights), 0, np.arange(len(weights))[:, None])
    latest = np.nan_to_num(np.take_along_axis(weights, np.maximum.accumulate(decided, axis=0), axis=0))
    return _mean(np.abs(np.diff(latest, axis=0, prepend=0.0)).sum(axis=1))


def _mean(values: FloatArray | BoolArray) -> float:
    return float(values.mean()) if len(values) else NAN


def _balanced_accuracy(happened: BoolArray, predicted: BoolArray) -> float:
    """Return the mean, over the classes that occur, of the share of their rows that were foreseen."""
    present = happened.any(axis=0)
    recall = (happened & predicted)[:, present].sum(axis=0) / happened[:, present].sum(axis=0)
    return _mean(recall)


def _roc_auc(happened: BoolArray, probability: FloatArray) -> float:
    """Return the AUC of the positive of two classes, or the mean of each class against the rest.

    AUC = (R₊ - n₊(n₊ + 1)/2) / (n₊ n₋), with R₊ the sum of the positive rows' ranks, ties at their middle rank
    (Hanley & McNeil 1982). With more than two classes those that occur are averaged alike.
    """
    n_rows, n_classes = happened.shape
    areas = []
    for k in [1] if n_classes == 2 else range(n_classes):
        positive = happened[:, k]
        n_positive = int(positive.sum())
        if 0 < n_positive < n_rows:
            ranks = midranks(probability[:, k], group=np.zeros(n_rows, dtype=np.int64))
            above = ranks[positive].sum() - n_positive * (n_positive + 1) / 2
            areas.append(above / (n_positive * (n_rows - n_positive)))
    return _mean(np.array(areas))


def _log_loss(happened: BoolArray, probability: FloatArray) -> float:
    """Return the mean of -ln p of the class that came true."""
    of_outcome = probability[happened]
    return _mean(-np.log(np.clip(of_outcome, SMALLEST_PROBABILITY, 1 - SMALLEST_PROBABILITY)))


def _brier(happened: BoolArray, probability: FloatArray) -> float:
    """Return the mean squared error of the probabilities (Brier 1950).

    Of two classes only the positive one is counted, between 0 and 1; of more the squares are summed over the
    classes, between 0 and 2.
    """
    square = (probability - happened) ** 2
    return _mean(square[:, 1] if happened.shape[1] == 2 else square.sum(axis=1))
