"""From what a model foresees to what to do: confidence, thresholds, weights, and a reason for every abstention."""

from backtester_model_core.signals.fitting import FittedPolicy, fit_policy
from backtester_model_core.signals.frames import follow_side, neutral_signals, sides_after, signal_records
from backtester_model_core.signals.policy import SignalPolicy
from backtester_model_core.signals.probability import rise_share, rose
from backtester_model_core.signals.residuals import Residuals
from backtester_model_core.signals.scored import ScoredRows
from backtester_model_core.signals.sizing import Sizing
from backtester_model_core.signals.thresholds import Levels, Odds
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
    "FittedPolicy",
    "Levels",
    "ModelSignal",
    "ModelSignalType",
    "Odds",
    "Reason",
    "Residuals",
    "ScoredRows",
    "SignalFrame",
    "SignalPolicy",
    "Sizing",
    "fit_policy",
    "follow_side",
    "neutral_signals",
    "rise_share",
    "rose",
    "sides_after",
    "signal_records",
]
