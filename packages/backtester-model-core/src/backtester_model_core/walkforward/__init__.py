"""Many windows: a walk-forward that can be resumed, and run in parallel."""

from backtester_model_core.walkforward.comparison import compare_retraining
from backtester_model_core.walkforward.composed import MetaResult, walk_forward_meta
from backtester_model_core.walkforward.engine import (
    Walked,
    plan_windows,
    resolve_config,
    walk_forward,
    walk_windows,
)
from backtester_model_core.walkforward.kept_bars import read_bars
from backtester_model_core.walkforward.result import WalkForwardResult

__all__ = [
    "MetaResult",
    "WalkForwardResult",
    "Walked",
    "compare_retraining",
    "plan_windows",
    "read_bars",
    "resolve_config",
    "walk_forward",
    "walk_forward_meta",
    "walk_windows",
]
