"""Signals, wherever they come from: a walk-forward, a trained or saved model, a stream, or a frame of them."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import TypeAlias

import numpy as np
import pandas as pd

from backtester_model_core.bars.panel import decision_index
from backtester_model_core.config import ModelConfig
from backtester_model_core.exceptions import EngineError
from backtester_model_core.model import BaseModel
from backtester_model_core.signals import ModelSignal, SignalFrame
from backtester_model_core.store import ModelStore
from backtester_model_core.streaming import SignalStream
from backtester_model_core.streaming.answers import trained_to
from backtester_model_core.streaming.incoming import rows_of
from backtester_model_core.walkforward import MetaResult, WalkForwardResult

SignalSource: TypeAlias = (
    WalkForwardResult | MetaResult | BaseModel | ModelStore | SignalStream | pd.DataFrame | str | Path
)
"""What says what to hold at each decision time; a path is a folder that ``BaseModel.save`` wrote."""


_DEFAULTS = ModelConfig(framework="signals")
"""Whose costs and delisting rules hold for a frame of signals, which has none of its own."""


@dataclass(frozen=True, eq=False)
class Decided:
    """Signals on the index of some bars, and from when on they count.

    Attributes:
        signals: One signal for each bar.
        config: What made them, with its costs and its delisting rules.
        start: UTC instant of the first decision that counts; ``None`` for all.
    """

    signals: SignalFrame
    config: ModelConfig
    start: np.datetime64 | None


def decide(source: SignalSource, bars: pd.DataFrame) -> Decided:
    """Return the signals of a source on checked bars.

    A walk-forward counts from its first served bar, and a trained model from when its latest training label was
    known: of what it may have learned from it says nothing new. A stream is fed the bars, and moves on by them.

    Raises:
        EngineError: When the signals are of other bars, or nothing is left to decide on.
    """
    if isinstance(source, MetaResult):
        source = source.meta
    if isinstance(source, (str, Path)):
        source = BaseModel.load(source)
    if isinstance(source, ModelStore):
        source = _only_model(source)
    if isinstance(source, WalkForwardResult):
        return _of_result(source, bars)
    if isinstance(source, BaseModel):
        return Decided(source.generate_signals(bars), source.config, np.datetime64(trained_to(source), "ns"))
    if isinstance(source, SignalStream):
        return Decided(_stream_through(source, bars), source.config, None)
    if isinstance(source, pd.DataFrame):
        return Decided(_on_bars(source, bars), _DEFAULTS, None)
    raise EngineError(
        f"A {type(source).__name__} says nothing about what to hold. Pass a walk-forward's result, a trained model, "
        "the folder of a saved one, a SignalStream, or a frame of signals."
    )


def _of_result(result: WalkForwardResult, bars: pd.DataFrame) -> Decided:
    stamps = result.config.data_config
    decided = decision_index(bars.index, bar_stamp=stamps.bar_stamp, frequency=stamps.frequency)
    served = bars.index.isin(result.predictions.index)
    times = (
        decided[served].get_level_values("timestamp")
        if isinstance(decided, pd.MultiIndex)
        else decided[served]
    )
    signals = _on_bars(result.signals, bars)
    first = pd.DatetimeIndex(times).min()
    start = first.tz_convert("UTC").tz_localize(None) if first.tzinfo else first
    return Decided(signals, result.config, start.to_datetime64())


def _on_bars(signals: SignalFrame, bars: pd.DataFrame) -> SignalFrame:
    """Return signals as they are, once they are known to be of these bars.

    Raises:
        EngineError: When they are not, or say no weight.
    """
    if "target_weight" not in signals:
        raise EngineError(
            f"The frame of signals has no column 'target_weight'; it has {', '.join(map(str, signals.columns))}. "
            "Pass what generate_signals or walk_forward gives."
        )
    if not signals.index.equals(bars.index):
        raise EngineError(
            f"The {len(signals)} signals are not of these {len(bars)} bars: their indices differ. "
            "Pass the bars that the signals were made of, as check_bars gives them."
        )
    return signals


def _only_model(store: ModelStore) -> BaseModel:
    names = store.names()
    if len(names) != 1:
        raise EngineError(
            f"{store.folder} holds {len(names)} models: {', '.join(names) or 'none'}. Pass store.load(name)."
        )
    return store.load(names[0])


def _stream_through(stream: SignalStream, bars: pd.DataFrame) -> SignalFrame:
    """Feed bars to a stream, time by time, and return what it said of each.

    Raises:
        EngineError: When the stream has taken a bar of them before.
    """
    rows = rows_of(bars)
    is_panel = isinstance(bars.index, pd.MultiIndex)
    signals: list[ModelSignal] = []
    if is_panel:
        for _, together in groupby(rows, key=lambda row: row["timestamp"]):
            signals += stream.update_panel(together)
    else:
        signals = [stream.update(row) for row in rows]
    stamps = stream.config.data_config
    index = decision_index(bars.index, bar_stamp=stamps.bar_stamp, frequency=stamps.frequency)
    expected = index.get_level_values("timestamp") if is_panel else index
    given = pd.DatetimeIndex([signal.timestamp for signal in signals])
    late = np.flatnonzero(given != pd.DatetimeIndex(expected))
    if len(late):
        raise EngineError(
            f"The stream had taken the bar of {expected[late[0]]} before: it stands at {given[late[0]]}. "
            "Pass the bars that come after, or reset() the stream."
        )
    weights = [signal.target_weight for signal in signals]
    names = [signal.signal.value for signal in signals]
    return pd.DataFrame({"signal": names, "target_weight": weights}, index=bars.index)
