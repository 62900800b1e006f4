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
from backtester_model_core.labels.weights import (
    average_uniqueness,
    class_balance,
    return_attribution,
    span_prices,
    time_decay,
)

__all__ = [
    "LABELS",
    "Label",
    "LabelKind",
    "average_uniqueness",
    "class_balance",
    "compute_label",
    "direction",
    "forward_return",
    "label_kind",
    "primary_side",
    "return_attribution",
    "span_prices",
    "three_way",
    "time_decay",
    "trend_scanning",
    "triple_barrier",
    "volatility",
]
