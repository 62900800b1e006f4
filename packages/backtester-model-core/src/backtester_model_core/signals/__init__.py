"""From what a model foresees to what to do: confidence, thresholds, weights, and a reason for every abstention."""

from backtester_model_core.signals.frames import follow_side, neutral_signals, sides_after, signal_records
from backtester_model_core.signals.policy import SignalPolicy
from backtester_model_core.signals.residuals import Residuals
from backtester_model_core.signals.types import (
    SIGNAL_COLUMNS,
    Decision,
    ModelSignal,
    ModelSignalType,
    Reason,
    SignalFrame,
)

__all__ = [
    "SIGNAL_COLUMNS",
    "Decision",
    "ModelSignal",
    "ModelSignalType",
    "Reason",
    "Residuals",
    "SignalFrame",
    "SignalPolicy",
    "follow_side",
    "neutral_signals",
    "sides_after",
    "signal_records",
]
