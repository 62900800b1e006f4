"""Sixteen checks against look-ahead, each a function that returns what it found; nothing for what is clean.

A check says in its docstring what it finds, what it cannot find, and how long it takes. None is enough alone.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from backtester_model_core.testing.checks.features import (
    feature_values,
    find_order_leaks,
    find_stream_leaks,
    find_symbol_leaks,
    find_warm_up_leaks,
    memory_of,
)
from backtester_model_core.testing.checks.fitting import (
    find_fit_leaks,
    find_fit_time_leaks,
    fit_model,
    recording_fits,
)
from backtester_model_core.testing.checks.labels import find_label_leaks, label_values
from backtester_model_core.testing.checks.splits import find_fold_leaks, find_window_leaks
from backtester_model_core.testing.checks.statistics import (
    coin_toss_score,
    find_blind_checks,
    find_missed_edge,
    find_skill_on_noise,
    random_walk_score,
)
from backtester_model_core.testing.checks.target import find_target_leaks
from backtester_model_core.testing.checks.trading import (
    find_early_fills,
    find_monitoring_leaks,
    follow_weights,
)
from backtester_model_core.testing.checks.universe import find_survivorship
from backtester_model_core.testing.leak import Leak
from backtester_model_core.testing.lookahead import (
    find_future_leaks,
    find_truncation_leaks,
    find_walk_forward_leaks,
)

CHECKS: Mapping[str, tuple[Callable[..., Any], ...]] = {
    "T1": (find_truncation_leaks,),
    "T2": (find_future_leaks,),
    "T3": (find_warm_up_leaks,),
    "T4": (find_label_leaks,),
    "T5": (find_fold_leaks, find_window_leaks),
    "T6": (find_fit_leaks,),
    "T7": (find_walk_forward_leaks,),
    "T8": (find_stream_leaks, find_order_leaks),
    "T9": (find_target_leaks,),
    "T10": (find_skill_on_noise,),
    "T11": (find_missed_edge, find_blind_checks),
    "T12": (find_early_fills,),
    "T13": (find_fit_time_leaks,),
    "T14": (find_symbol_leaks,),
    "T15": (find_survivorship,),
    "T16": (find_monitoring_leaks,),
}
"""The functions of each check, by its number; ``docs/look-ahead.md`` explains them."""

__all__ = [
    "CHECKS",
    "Leak",
    "coin_toss_score",
    "feature_values",
    "find_blind_checks",
    "find_early_fills",
    "find_fit_leaks",
    "find_fit_time_leaks",
    "find_fold_leaks",
    "find_future_leaks",
    "find_label_leaks",
    "find_missed_edge",
    "find_monitoring_leaks",
    "find_order_leaks",
    "find_skill_on_noise",
    "find_stream_leaks",
    "find_survivorship",
    "find_symbol_leaks",
    "find_target_leaks",
    "find_truncation_leaks",
    "find_walk_forward_leaks",
    "find_warm_up_leaks",
    "find_window_leaks",
    "fit_model",
    "follow_weights",
    "label_values",
    "memory_of",
    "random_walk_score",
    "recording_fits",
]
