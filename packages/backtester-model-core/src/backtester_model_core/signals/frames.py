"""Signals as frames, and as records for those who take one at a time."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from backtester_model_core.bars.panel import decision_index, symbol_codes
from backtester_model_core.config import DataConfig
from backtester_model_core.signals.types import (
    SIGNAL_COLUMNS,
    ModelSignal,
    ModelSignalType,
    Reason,
    SignalFrame,
)
from backtester_model_core.typing import BoolArray, FloatArray


def neutral_signals(index: pd.Index, reason: Reason) -> SignalFrame:
    """Return one NEUTRAL signal a row, all for the same reason."""
    nothing = np.full(len(index), np.nan)
    return pd.DataFrame(
        {
            "signal": np.full(len(index), ModelSignalType.NEUTRAL.value, dtype=object),
            "confidence": nothing,
            "score": nothing,
            "target_weight": np.zeros(len(index)),
            "reason": np.full(len(index), reason.value, dtype=object),
        },
        index=index,
    )


def follow_side(signals: SignalFrame, side: FloatArray) -> SignalFrame:
    """Turn signals on a gain of acting into signals on the primary side that is acted on.

    Where a gain is likely enough the signal takes the primary side; where a loss is, it says nothing, since the
    other side was not judged. The score becomes the probability of a rise.

    Args:
        signals: What a policy made of a meta-model's predictions.
        side: (n,) primary side of each row: 1 long, -1 short, NaN none.
    """
    gain = signals["score"].to_numpy(dtype=np.float64)
    weight = signals["target_weight"].to_numpy(dtype=np.float64)
    strong = signals["signal"].isin([ModelSignalType.STRONG_BUY.value, ModelSignalType.STRONG_SELL.value])
    acts, has_side = weight > 0, ~np.isnan(side)
    taken = np.where(acts & has_side, side, 0.0)
    reason = np.where(weight < 0, Reason.BELOW_CONFIDENCE.value, signals["reason"])
    return pd.DataFrame(
        {
            "signal": signal_names(taken, strong.to_numpy(dtype=np.bool_)),
            "confidence": signals["confidence"],
            "score": np.where(side < 0, 1.0 - gain, gain),
            "target_weight": taken * np.abs(weight),
            "reason": np.where(acts & ~has_side, Reason.NO_SIDE.value, reason),
        },
        index=signals.index,
    )


def sides_after(signals: SignalFrame) -> dict[str, int]:
    """Return the side that each symbol is left with after the last of its rows, where it is left with one.

    This is what a policy that keeps sides wants to know as the ``held`` of a later prediction. A symbol whose side
    was taken by the policy but not by the selection among symbols goes on holding it.

    Args:
        signals: Signals of a policy on the bars' index, in order of time.
    """
    codes, symbols = symbol_codes(signals.index)
    reason = signals["reason"].to_numpy()
    acted = (reason == Reason.ACTED.value) | (reason == Reason.NOT_SELECTED.value)
    lean = np.sign(signals["score"].to_numpy(dtype=np.float64) - 0.5)
    last = dict(zip(codes.tolist(), range(len(codes)), strict=True))
    return {symbols[code]: int(lean[row]) for code, row in last.items() if acted[row]}


def signal_records(
    signals: SignalFrame,
    *,
    data_config: DataConfig | None = None,
    metadata: Mapping[str, Any] | None = None,
) -> list[ModelSignal]:
    """Return a signal frame's rows as :class:`ModelSignal` values, in the frame's order.

    Args:
        signals: Signals on the bars' index.
        data_config: How the bars are stamped; at their close when not given. Bars stamped at their open need it,
            with a ``frequency`` where the frame is too short to show one.
        metadata: What each record carries along.
    """
    index = signals.index
    if data_config is not None:
        index = decision_index(index, bar_stamp=data_config.bar_stamp, frequency=data_config.frequency)
    is_panel = isinstance(index, pd.MultiIndex)
    stamps = index.get_level_values("timestamp") if is_panel else index
    symbols = index.get_level_values("symbol") if is_panel else [""] * len(signals)
    columns = [signals[name] for name in SIGNAL_COLUMNS]
    return [
        ModelSignal(
            stamp,
            str(symbol),
            ModelSignalType(signal),
            float(confidence),
            float(score),
            float(weight),
            str(reason),
            dict(metadata or {}),
        )
        for stamp, symbol, signal, confidence, score, weight, reason in zip(
            stamps, symbols, *columns, strict=True
        )
    ]


def signal_names(side: FloatArray, strong: BoolArray) -> Any:
    """Name each row's signal type."""
    return np.select(
        [strong & (side > 0), strong & (side < 0), side > 0, side < 0],
        [
            ModelSignalType.STRONG_BUY.value,
            ModelSignalType.STRONG_SELL.value,
            ModelSignalType.LONG.value,
            ModelSignalType.SHORT.value,
        ],
        default=ModelSignalType.NEUTRAL.value,
    ).astype(object)
