"""Two models in a row: the first says which side, the second whether to act on it (López de Prado 2018, 3.6)."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from backtester_model_core.bars import check_bars
from backtester_model_core.config import ModelConfig
from backtester_model_core.exceptions import LabelError
from backtester_model_core.factory import create_model, load_config
from backtester_model_core.labels import label_kind
from backtester_model_core.runs import RunFolder
from backtester_model_core.signals import ModelSignalType, Reason, SignalFrame
from backtester_model_core.typing import FloatArray
from backtester_model_core.walkforward.engine import Progress, walk_forward
from backtester_model_core.walkforward.result import WalkForwardResult
from backtester_model_core.walkforward.trials import record_trial

PRIMARY, META = "primary", "meta"
"""Folders of the two walk-forwards within a run folder of both."""


@dataclass(frozen=True, eq=False)
class MetaResult:
    """What two walk-forwards found, of which the second judged the first.

    Attributes:
        primary: Sides, and what they were worth by themselves.
        meta: What came of acting on those of them that were likely enough to pay; its signals are the signals.
    """

    primary: WalkForwardResult
    meta: WalkForwardResult

    @property
    def signals(self) -> SignalFrame:
        """One signal for every bar: the primary side where the second model acts on it."""
        return self.meta.signals


def walk_forward_meta(
    primary: ModelConfig | Mapping[str, Any] | str | Path,
    meta: ModelConfig | Mapping[str, Any] | str | Path,
    bars: pd.DataFrame,
    *,
    out: str | Path | None = None,
    n_jobs: int = 1,
    progress: Progress | None = None,
    logger: logging.Logger | None = None,
    n_trials: int | None = None,
) -> MetaResult:
    """Walk forward with a first model, and again with a second that learns when acting on the first one's side pays.

    The second learns from the first one's out-of-sample signals alone: they become the bars column that its
    ``label.side_column`` names, 1 and -1 where the first acted, 0 where it was silent, NaN where it did not serve.
    Its first training window must reach beyond the first one's. Other arguments are those of :func:`walk_forward`;
    ``out`` keeps the two in the folders ``primary`` and ``meta``, and counts the pairs as the second one's trials:
    other sides to act on are another trial of what comes of them.

    Raises:
        LabelError: When the second model's label judges no side, or its column is among the bars already.
        BacktesterModelError: Whatever either walk-forward is refused with.
    """
    second = meta if isinstance(meta, ModelConfig) else load_config(meta)
    checked = check_bars(bars)
    column = _side_column(second, checked)
    folders = {name: None if out is None else Path(out) / name for name in (PRIMARY, META)}
    options: dict[str, Any] = {"n_jobs": n_jobs, "progress": progress, "logger": logger}
    first = walk_forward(primary, checked, out=folders[PRIMARY], n_trials=n_trials, **options)
    if n_trials is None and out is not None:
        given = primary if isinstance(primary, ModelConfig) else load_config(primary)
        record_trial(out, create_model(given), create_model(second))
        n_trials = len(RunFolder(out).runs())
    judged = checked.assign(**{column: primary_sides(first.signals)})
    return MetaResult(first, walk_forward(second, judged, out=folders[META], n_trials=n_trials, **options))


def primary_sides(signals: SignalFrame) -> FloatArray:
    """Return (n,) the side that each signal takes: 1, -1, 0 for none, NaN where no model served."""
    side = signals["signal"].map({kind.value: float(kind.side) for kind in ModelSignalType})
    is_served = signals["reason"] != Reason.NOT_SERVED.value
    return np.asarray(side.where(is_served), dtype=np.float64)


def _side_column(config: ModelConfig, bars: pd.DataFrame) -> str:
    column = config.label.side_column
    if not label_kind(config).is_meta or column is None:
        raise LabelError(
            f"The second model's label {config.label_kind!r} with side_column {column!r} judges no side. Give it a "
            "label.kind such as 'meta', and in label.side_column a name for the first model's sides."
        )
    if column in bars:
        raise LabelError(
            f"label.side_column {column!r} is among the bars' columns already. Choose another name for the sides, or "
            "give the second model alone to walk_forward, to judge the sides in that column."
        )
    return column
