"""Which rows a model may learn from and which it serves: windows, folds, and the purging between them.

A label's information interval is ``(known_at, label_end]``. A training row conflicts with a test row when
their intervals overlap; purging removes exactly the rows that conflict (López de Prado 2018, ch. 7).
"""

from backtester_model_core.splits.bound import BoundSplitter, Splitter
from backtester_model_core.splits.chronological import ChronologicalSplit, purged_tail
from backtester_model_core.splits.combinatorial import CombinatorialPurgedCV
from backtester_model_core.splits.folds import PurgedKFold
from backtester_model_core.splits.spans import LabelSpans
from backtester_model_core.splits.windows import (
    WalkForwardSplit,
    Window,
    resolve_train_size,
    walk_forward_windows,
)

__all__ = [
    "BoundSplitter",
    "ChronologicalSplit",
    "CombinatorialPurgedCV",
    "LabelSpans",
    "PurgedKFold",
    "Splitter",
    "WalkForwardSplit",
    "Window",
    "purged_tail",
    "resolve_train_size",
    "walk_forward_windows",
]
