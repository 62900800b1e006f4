"""Whether forecasts are worth anything: metrics, baselines, the verdict, and returns after costs."""

from backtester_model_core.evaluation.baselines import (
    always_long,
    baseline_returns,
    buy_and_hold,
    class_prior,
    last_known_outcome,
    training_mean,
)
from backtester_model_core.evaluation.coefficients import information_coefficients, information_intervals
from backtester_model_core.evaluation.evidence import EVIDENCE_WANTED, SkillEvidence
from backtester_model_core.evaluation.fills import Fills
from backtester_model_core.evaluation.gate import gate_opens, gate_statistic, gate_threshold
from backtester_model_core.evaluation.holm import holm_adjusted
from backtester_model_core.evaluation.long_run import mean_with_bound
from backtester_model_core.evaluation.metrics import (
    classification_metrics,
    decision_turnover,
    regression_metrics,
    signal_metrics,
)
from backtester_model_core.evaluation.overfitting import Overfitting, probability_of_overfitting
from backtester_model_core.evaluation.reliability import (
    calibration_metrics,
    interval_metrics,
    reliability_curve,
)
from backtester_model_core.evaluation.returns import ReturnPath, after_cost_return, return_metrics
from backtester_model_core.evaluation.session_tables import SessionTables
from backtester_model_core.evaluation.sharpe import (
    deflated_sharpe_ratio,
    expected_maximum_sharpe,
    minimum_track_record_length,
    probabilistic_sharpe_ratio,
)
from backtester_model_core.evaluation.verdict import (
    SkillOutcome,
    SkillSeries,
    SkillTest,
    Verdict,
    judge_skill,
    judge_symbols,
    skill_series,
)

__all__ = [
    "EVIDENCE_WANTED",
    "Fills",
    "Overfitting",
    "ReturnPath",
    "SessionTables",
    "SkillEvidence",
    "SkillOutcome",
    "SkillSeries",
    "SkillTest",
    "Verdict",
    "after_cost_return",
    "always_long",
    "baseline_returns",
    "buy_and_hold",
    "calibration_metrics",
    "class_prior",
    "classification_metrics",
    "decision_turnover",
    "deflated_sharpe_ratio",
    "expected_maximum_sharpe",
    "gate_opens",
    "gate_statistic",
    "gate_threshold",
    "holm_adjusted",
    "information_coefficients",
    "information_intervals",
    "interval_metrics",
    "judge_skill",
    "judge_symbols",
    "last_known_outcome",
    "mean_with_bound",
    "minimum_track_record_length",
    "probabilistic_sharpe_ratio",
    "probability_of_overfitting",
    "regression_metrics",
    "reliability_curve",
    "return_metrics",
    "signal_metrics",
    "skill_series",
    "training_mean",
]
