"""Whether probabilities mean what they say: reliability curves, proper scores, calibration errors."""

from __future__ import annotations

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike

from backtester_model_core.evaluation.metrics import NAN, SMALLEST_PROBABILITY
from backtester_model_core.evaluation.rows import float_columns, known_rows
from backtester_model_core.exceptions import EvaluationError
from backtester_model_core.typing import FloatArray, IntArray

N_BINS = 10
N_DRAWS = 100
RELIABILITY_COLUMNS = ("n", "said", "came", "low", "high")


def reliability_curve(outcome: ArrayLike, *, probability: ArrayLike, n_bins: int = N_BINS) -> pd.DataFrame:
    """Return one row for each bin of equally many probabilities, from the lowest: what was said, and what came.

    Columns: ``n`` rows; ``said``, their mean probability; ``came``, the share that came true; and the bounds ``low``
    and ``high`` within which that share lies in 95 % of cases when what is said is true (a normal approximation).

    Args:
        outcome: (n,) 1 where it came true, 0 where not, NaN where unknown.
        probability: (n,) what was said; NaN where nothing was.
        n_bins: Bins of which equal probabilities may leave fewer.

    Raises:
        EvaluationError: When the lengths differ, an outcome is neither 0 nor 1, or a probability is outside 0 to 1.
    """
    y, p = _known(outcome, probability)
    bin_of = _bins(p, n_bins)
    n = np.bincount(bin_of, minlength=1).astype(np.float64)
    kept = n > 0
    with np.errstate(invalid="ignore"):
        said, came = (np.bincount(bin_of, weights=values, minlength=1) / n for values in (p, y))
        reach = 1.96 * np.sqrt(np.bincount(bin_of, weights=p * (1 - p), minlength=1)) / n
    columns = (n.astype(np.int64), said, came, np.maximum(said - reach, 0.0), np.minimum(said + reach, 1.0))
    frame = pd.DataFrame(dict(zip(RELIABILITY_COLUMNS, columns, strict=True)))
    return frame[kept].reset_index(drop=True).rename_axis("bin")


def calibration_metrics(outcome: ArrayLike, *, probability: ArrayLike, seed: int = 0) -> dict[str, float]:
    """Return n, Brier score, log loss, calibration error and what that error would be of a perfect forecaster.

    The calibration error is the mean over ten bins of equally many rows, weighed by them, of how far the share that
    came true is from what was said (Naeini, Cooper & Hauskrecht 2015). It is above zero however true the
    probabilities are, by chance: ``ece_if_perfect`` is its mean over a hundred draws in which they are. Arguments as
    for :func:`reliability_curve`.
    """
    y, p = _known(outcome, probability)
    if len(p) == 0:
        return {"n": 0, "brier": NAN, "log_loss": NAN, "ece": NAN, "ece_if_perfect": NAN}
    bin_of = _bins(p, N_BINS)
    rng = np.random.default_rng(seed)
    drawn = [
        _calibration_error((rng.random(len(p)) < p).astype(np.float64), p, bin_of) for _ in range(N_DRAWS)
    ]
    inside = np.clip(p, SMALLEST_PROBABILITY, 1 - SMALLEST_PROBABILITY)
    return {
        "n": len(p),
        "brier": float(np.mean((p - y) ** 2)),
        "log_loss": float(-np.mean(np.log(np.where(y == 1, inside, 1 - inside)))),
        "ece": _calibration_error(y, p, bin_of),
        "ece_if_perfect": float(np.mean(drawn)),
    }


def interval_metrics(outcome: ArrayLike, *, low: ArrayLike, high: ArrayLike) -> dict[str, float]:
    """Return ``interval_n``, the share of outcomes within their intervals, and the intervals' mean width."""
    y, lower, upper = float_columns(outcome=outcome, low=low, high=high)
    known = known_rows(y, lower, upper)
    y, lower, upper = y[known], lower[known], upper[known]
    if len(y) == 0:
        return {"interval_n": 0, "interval_coverage": NAN, "interval_width": NAN}
    return {
        "interval_n": len(y),
        "interval_coverage": float(np.mean((lower <= y) & (y <= upper))),
        "interval_width": float(np.mean(upper - lower)),
    }


def _known(outcome: ArrayLike, probability: ArrayLike) -> tuple[FloatArray, FloatArray]:
    y, p = float_columns(outcome=outcome, probability=probability)
    known = known_rows(y, p)
    y, p = y[known], p[known]
    if not np.isin(y, (0.0, 1.0)).all():
        raise EvaluationError(
            "An outcome is neither 0 nor 1. Pass 1 where it came true, and NaN where unknown."
        )
    if ((p < 0) | (p > 1)).any():
        raise EvaluationError(f"A probability is {p[(p < 0) | (p > 1)][0]:g}. Pass numbers from 0 to 1.")
    return y, p


def _bins(probability: FloatArray, n_bins: int) -> IntArray:
    """Return (n,) the bin of each row: equally many rows each, where equal probabilities allow it."""
    if len(probability) == 0:
        return np.zeros(0, dtype=np.int64)
    edges = np.quantile(probability, np.linspace(0, 1, n_bins + 1)[1:-1])
    return np.searchsorted(edges, probability, side="left")


def _calibration_error(outcome: FloatArray, probability: FloatArray, bin_of: IntArray) -> float:
    off = np.bincount(bin_of, weights=outcome - probability)
    return float(np.abs(off).sum()) / len(outcome)
