"""The look-ahead verdict for features, functions, configurations and what is installed, by all checks that apply."""

from backtester_model_core.testing.verdict.answer import Check, Finding, LookAheadVerdict, Outcome, run_checks
from backtester_model_core.testing.verdict.expressions import check_expressions, one_symbol
from backtester_model_core.testing.verdict.functions import check_function, forgetting
from backtester_model_core.testing.verdict.installed import check_extension, check_framework
from backtester_model_core.testing.verdict.models import check_config

__all__ = [
    "Check",
    "Finding",
    "LookAheadVerdict",
    "Outcome",
    "check_config",
    "check_expressions",
    "check_extension",
    "check_framework",
    "check_function",
    "forgetting",
    "one_symbol",
    "run_checks",
]
