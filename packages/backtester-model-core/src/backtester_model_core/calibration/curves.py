"""Calibration curves of few parameters: Platt's sigmoid and the beta curve, both on the scale of log-odds."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import exp, isnan, log

import numpy as np

from backtester_model_core.calibration.kinds import CALIBRATORS, SMALLEST, CalibratorKind
from backtester_model_core.calibration.logistic import fit_logistic, smoothed_targets
from backtester_model_core.exceptions import ArtifactError
from backtester_model_core.typing import FloatArray

N_NEEDED = 200
LARGEST_ODDS = log((1 - SMALLEST) / SMALLEST)
"""Log-odds are held within this, so that what is said stays as far from 0 and 1 as what it is made of."""


@dataclass(frozen=True)
class BetaCurve:
    """1/(1 + exp(-z)) of z = a·ln p - b·ln(1 - p) + c, with a, b ≥ 0 (Kull, Silva Filho & Flach 2017).

    It is Platt's sigmoid of the log-odds where a = b. With a = b = 0 it says the base rate of every row.

    Attributes:
        a: How steep it is where p is small.
        b: How steep it is where p is large.
        c: Log-odds it adds.
    """

    a: float
    b: float
    c: float

    def __call__(self, probability: FloatArray) -> FloatArray:
        """Return (n,) calibrated probabilities; NaN stays NaN."""
        p = np.clip(probability, SMALLEST, 1 - SMALLEST)
        odds = np.clip(self.a * np.log(p) - self.b * np.log(1 - p) + self.c, -LARGEST_ODDS, LARGEST_ODDS)
        return np.asarray(1 / (1 + np.exp(-odds)), dtype=np.float64)

    def of_one(self, probability: float) -> float:
        """Return one calibrated probability."""
        p = probability
        if not SMALLEST <= p <= 1 - SMALLEST:
            if isnan(p):
                return p
            p = SMALLEST if p < SMALLEST else 1 - SMALLEST
        odds = self.a * log(p) - self.b * log(1 - p) + self.c
        if not -LARGEST_ODDS < odds < LARGEST_ODDS:
            odds = LARGEST_ODDS if odds > 0 else -LARGEST_ODDS
        return 1 / (1 + exp(-odds))

    def to_arrays(self) -> Mapping[str, FloatArray]:
        """Return the three parameters."""
        return {"curve": np.array([self.a, self.b, self.c])}

    def describe(self) -> Mapping[str, float]:
        """Return slope and intercept, or the three parameters where the two slopes differ."""
        if self.a == self.b:
            return {"slope": self.a, "intercept": self.c}
        return {"a": self.a, "b": self.b, "c": self.c}


def fit_sigmoid(probability: FloatArray, rose: FloatArray) -> BetaCurve:
    """Fit the sigmoid of log-odds, a = b, to smoothed targets (Platt 1999); a slope below zero becomes zero."""
    p = np.clip(probability, SMALLEST, 1 - SMALLEST)
    target, one = smoothed_targets(rose), np.ones(len(p))
    slope, intercept = fit_logistic(np.column_stack([np.log(p) - np.log(1 - p), one]), target).tolist()
    return BetaCurve(slope, slope, intercept) if slope > 0 else _base_rate(target)


def fit_beta(probability: FloatArray, rose: FloatArray) -> BetaCurve:
    """Fit the beta curve; a slope below zero becomes zero and the others are fitted again (section 3.2 there).

    Targets are smoothed as Platt's are, so that rows which separate perfectly have a fit too.
    """
    p = np.clip(probability, SMALLEST, 1 - SMALLEST)
    target, one = smoothed_targets(rose), np.ones(len(p))
    small, large = np.log(p), -np.log(1 - p)
    a, b, c = fit_logistic(np.column_stack([small, large, one]), target).tolist()
    if a > 0 and b > 0:
        return BetaCurve(a, b, c)
    if a <= 0:
        b, c = fit_logistic(np.column_stack([large, one]), target).tolist()
        return BetaCurve(0.0, b, c) if b > 0 else _base_rate(target)
    a, c = fit_logistic(np.column_stack([small, one]), target).tolist()
    return BetaCurve(a, 0.0, c) if a > 0 else _base_rate(target)


def restore_curve(arrays: Mapping[str, FloatArray]) -> BetaCurve:
    """Read a curve back, and refuse what is none.

    Raises:
        ArtifactError: When its parameters are not three numbers, the first two from zero.
    """
    curve = arrays.get("curve")
    if set(arrays) != {"curve"} or curve is None or curve.shape != (3,) or (curve[:2] < 0).any():
        raise ArtifactError.refused("The calibrator", "it is no rising curve of three parameters")
    return BetaCurve(*curve.tolist())


def _base_rate(target: FloatArray) -> BetaCurve:
    rate = float(target.mean())
    return BetaCurve(0.0, 0.0, log(rate / (1 - rate)))


CALIBRATORS.add("sigmoid", CalibratorKind(fit_sigmoid, restore_curve, N_NEEDED))
CALIBRATORS.add("beta", CalibratorKind(fit_beta, restore_curve, N_NEEDED))
