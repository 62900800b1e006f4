"""Many windows: a walk-forward that can be resumed, and run in parallel."""

from backtester_model_core.walkforward.composed import MetaResult, walk_forward_meta
from backtester_model_core.walkforward.engine import plan_windows, resolve_config, walk_forward
from backtester_model_core.walkforward.result import WalkForwardResult

__all__ = [
    "MetaResult",
    "WalkForwardResult",
    "plan_windows",
    "resolve_config",
    "walk_forward",
    "walk_forward_meta",
]
