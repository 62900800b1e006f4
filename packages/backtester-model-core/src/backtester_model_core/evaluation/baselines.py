"""What stands beside every model: forecasts and positions that need no model."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike

from backtester_model_core.config import CostsConfig
from backtester_model_core.evaluation.returns import ReturnPath, after_cost_return
from backtester_model_core.evaluation.rows import (
    NOT_YET,
    check_lengths,
    float_columns,
    instants,
    known_rows,
)
from backtester_model_core.exceptions import EvaluationError
from backtester_model_core.typing import FloatArray


def training_mean(outcome: ArrayLike) -> float:
    """Return the mean of a training window's known outcomes: the b of the verdict.

    For classes it is Σ priorₖ·classₖ, what the class prior expects.

    Raises:
        EvaluationError: When no outcome is known.
    """
    (y,) = float_columns(outcome=outcome)
    known = y[known_rows(y)]
    if len(known) == 0:
        raise EvaluationError(
            f"None of the {len(y)} outcomes is known. Use a later or longer training window."
        )
    return float(known.mean())


def class_prior(outcome: ArrayLike, *, classes: Sequence[float]) -> FloatArray:
    """Return the share of each class among a training window's known outcomes, in the order of ``classes``.

    Raises:
        EvaluationError: When no outcome is one of the classes.
    """
    (y,) = float_columns(outcome=outcome)
    counts = np.array([np.sum(y == one_class) for one_class in classes], dtype=np.float64)
    if counts.sum() == 0:
        raise EvaluationError(f"None of the {len(y)} outcomes is one of the classes {list(classes)}.")
    return np.asarray(counts / counts.sum(), dtype=np.float64)


def last_known_outcome(
    outcome: ArrayLike, *, known_at: ArrayLike, label_end: ArrayLike, symbol: ArrayLike
) -> FloatArray:
    """Return for each row the outcome of its symbol's latest row whose label had ended by then.

    It is reported beside a model and never judged against.

    Args:
        outcome: (n,) what happened; NaN rows are passed over.
        known_at: (n,) instant at which each row is decided on.
        label_end: (n,) instant at which each outcome became known; NaT where it has not.
        symbol: (n,) code of each row's symbol.

    Returns:
        (n,) the outcomes; NaN where a symbol has none yet.
    """
    (y,) = float_columns(outcome=outcome)
    decided, ends, codes = instants(known_at), instants(label_end), np.asarray(symbol, dtype=np.int64)
    check_lengths(outcome=y, known_at=decided, label_end=ends, symbol=codes)
    forecast = np.full(len(y), np.nan)
    for code in np.unique(codes):
        rows = np.flatnonzero(codes == code)
        rows = rows[np.argsort(decided[rows], kind="stable")]
        over = np.flatnonzero(known_rows(y[rows]) & (ends[rows] != NOT_YET))
        # Labels end in another order than their rows are decided: of those that have ended, the latest row counts.
        by_end = over[np.argsort(ends[rows][over], kind="stable")]
        n_ended = np.searchsorted(ends[rows][by_end], decided[rows], side="right")
        latest = np.maximum.accumulate(by_end)
        some = n_ended > 0
        forecast[rows[some]] = y[rows[latest[n_ended[some] - 1]]]
    return forecast


def always_long(eligible: ArrayLike) -> FloatArray:
    """Return the weights 1/N of the N eligible symbols of each session; NaN, no decision, for the others.

    Args:
        eligible: (n_sessions, n_symbols) whether a decision was due, such as where a model has a forecast.
    """
    rows = np.asarray(eligible, dtype=np.bool_)
    counts = np.maximum(rows.sum(axis=1, keepdims=True), 1)
    return np.where(rows, 1 / counts, np.nan)


def buy_and_hold(eligible: ArrayLike) -> FloatArray:
    """Return weights that buy the symbols of the first session with any, 1/N each, and decide nothing more."""
    weights = always_long(eligible)
    first = int(np.argmax(np.asarray(eligible, dtype=np.bool_).any(axis=1))) if len(weights) else 0
    weights[first + 1 :] = np.nan
    return weights


def baseline_returns(
    eligible: ArrayLike,
    *,
    open_price: ArrayLike,
    close_price: ArrayLike,
    costs: CostsConfig,
    delisting_return: float = 0.0,
    delisted_after: int = 5,
    day: ArrayLike | None = None,
) -> dict[str, ReturnPath]:
    """Return the after-cost paths of ``always_long`` and ``buy_and_hold`` on the rows that a model decided on.

    Always long is rebalanced as ``costs`` says. Buy-and-hold never trades after its purchase, and keeps the
    proceeds of a delisted symbol as cash. Neither is held in tranches.
    """
    kept = costs.model_copy(update={"rebalance": "on_change"})
    return {
        name: after_cost_return(
            weights,
            open_price=open_price,
            close_price=close_price,
            costs=rule,
            delisting_return=delisting_return,
            delisted_after=delisted_after,
            day=day,
        )
        for name, weights, rule in (
            ("always_long", always_long(eligible), costs),
            ("buy_and_hold", buy_and_hold(eligible), kept),
        )
    }
