"""Probabilities that mean what they say: maps from what a model said to how often that came true."""

from backtester_model_core.calibration.curves import BetaCurve, fit_beta, fit_sigmoid
from backtester_model_core.calibration.isotonic import Isotonic, fit_isotonic
from backtester_model_core.calibration.kinds import (
    CALIBRATORS,
    Calibration,
    Calibrator,
    CalibratorKind,
    calibrate,
    calibrator_kind,
)

__all__ = [
    "CALIBRATORS",
    "BetaCurve",
    "Calibration",
    "Calibrator",
    "CalibratorKind",
    "Isotonic",
    "calibrate",
    "calibrator_kind",
    "fit_beta",
    "fit_isotonic",
    "fit_sigmoid",
]
