"""Labels that say whether acting on another model's side pays (López de Prado 2018, section 3.6)."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from backtester_model_core.bars import Panel
from backtester_model_core.config import ModelConfig
from backtester_model_core.exceptions import LabelError
from backtester_model_core.labels.barrier import triple_barrier
from backtester_model_core.labels.forward import traded_returns
from backtester_model_core.labels.kinds import LABELS, Label, LabelKind
from backtester_model_core.labels.lives import NOT_YET, bars_column
from backtester_model_core.typing import FloatArray


def meta(panel: Panel, config: ModelConfig) -> Label:
    """Label rows 1 where the traded return on the primary side is above ``pays_above``, 0 where it is not.

    A row without a side has no label: there is nothing to act on.
    """
    traded = traded_returns(panel, config)
    return _judged(panel, config, Label(traded.returns, traded.label_end, traded.returns))


def meta_triple_barrier(panel: Panel, config: ModelConfig) -> Label:
    """Label rows as :func:`meta` does, by the return at the exit of the triple barrier."""
    return _judged(panel, config, triple_barrier(panel, config))


def primary_side(panel: Panel, config: ModelConfig) -> FloatArray:
    """Return (n,) the primary side of each row: 1 long, -1 short, NaN none.

    Raises:
        LabelError: When ``side_column`` is not given or is not a column of the bars.
    """
    if config.label.side_column is None:
        raise LabelError(
            f"The label {config.label_kind!r} judges a primary side. Name its bars column in label.side_column."
        )
    side = np.sign(bars_column(panel, config.label.side_column, field="label.side_column"))
    return np.where(side == 0, np.nan, side)


LABELS.add("meta", LabelKind(meta, "classification", (0.0, 1.0), is_meta=True))
LABELS.add("meta_triple_barrier", LabelKind(meta_triple_barrier, "classification", (0.0, 1.0), is_meta=True))


def _judged(panel: Panel, config: ModelConfig, label: Label) -> Label:
    """Replace a label's target by whether its return pays on the primary side."""
    payoff = primary_side(panel, config) * label.forward_return
    known = ~np.isnan(payoff)
    pays = (payoff > config.label.pays_above).astype(np.float64)
    return replace(
        label,
        target=np.where(known, pays, np.nan),
        label_end=np.where(known, label.label_end, NOT_YET),
        settled_at=None if label.settled_at is None else np.where(known, label.settled_at, NOT_YET),
    )
