"""Sixteen checks against look-ahead, each a function that returns what it found; nothing for what is clean.

A check says in its docstring what it finds, what it cannot find, and how long it takes. None is enough alone.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from backtester_model_core.testing import lookahead
from backtester_model_core.testing.checks import (
    features,
    fitting,
    labels,
    retraining,
    splits,
    statistics,
    target,
    trading,
    universe,
)

CHECKS: Mapping[str, tuple[Callable[..., Any], ...]] = {
    "T1": (lookahead.find_truncation_leaks,),
    "T2": (lookahead.find_future_leaks,),
    "T3": (features.find_warm_up_leaks,),
    "T4": (labels.find_label_leaks,),
    "T5": (splits.find_fold_leaks, splits.find_window_leaks),
    "T6": (fitting.find_fit_leaks,),
    "T7": (lookahead.find_walk_forward_leaks,),
    "T8": (features.find_stream_leaks, features.find_order_leaks),
    "T9": (target.find_target_leaks,),
    "T10": (statistics.find_skill_on_noise,),
    "T11": (statistics.find_missed_edge, statistics.find_blind_checks),
    "T12": (trading.find_early_fills,),
    "T13": (fitting.find_fit_time_leaks,),
    "T14": (features.find_symbol_leaks,),
    "T15": (universe.find_survivorship,),
    "T16": (trading.find_monitoring_leaks, retraining.find_retraining_leaks),
}
"""The functions of each check, by its number; ``docs/look-ahead.md`` explains them."""

__all__ = ["CHECKS"]
