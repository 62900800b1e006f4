"""When a model is to be trained again, and whether its successor may take its place: pure values, no model inside."""

from backtester_model_core.retraining.contest import Contest, compare_forecasts, is_promoted, is_rolled_back
from backtester_model_core.retraining.evidence import Evidence, LiveScores, Scorebook, side_came_true
from backtester_model_core.retraining.policies import (
    MIN_HORIZONS,
    Accuracy,
    Age,
    AllDue,
    AnyDue,
    Counted,
    GuardedPolicy,
    Never,
    Policy,
    Refused,
    Schedule,
    Skill,
    Trigger,
    retraining_policy,
)
from backtester_model_core.retraining.spells import Spell

__all__ = [
    "MIN_HORIZONS",
    "Accuracy",
    "Age",
    "AllDue",
    "AnyDue",
    "Contest",
    "Counted",
    "Evidence",
    "GuardedPolicy",
    "LiveScores",
    "Never",
    "Policy",
    "Refused",
    "Schedule",
    "Scorebook",
    "Skill",
    "Spell",
    "Trigger",
    "compare_forecasts",
    "is_promoted",
    "is_rolled_back",
    "retraining_policy",
    "side_came_true",
]
