"""What a model learns to foresee, each label with the instant at which it becomes known.

A row is known at its bar's close, a position is entered at the next bar's open by default, and an unknown
label is NaN with no label end: never a class.
"""

from backtester_model_core.labels.barrier import triple_barrier
from backtester_model_core.labels.forward import direction, forward_return, three_way
from backtester_model_core.labels.kinds import LABELS, Label, LabelKind, compute_label, label_kind
from backtester_model_core.labels.lives import volatility
from backtester_model_core.labels.meta import primary_side
from backtester_model_core.labels.trend import trend_scanning

__all__ = [
    "LABELS",
    "Label",
    "LabelKind",
    "compute_label",
    "direction",
    "forward_return",
    "label_kind",
    "primary_side",
    "three_way",
    "trend_scanning",
    "triple_barrier",
    "volatility",
]
