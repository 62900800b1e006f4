"""Decisions on symbols that share a time, by the same policy and hook as a whole backtest's."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from math import isnan
from typing import NamedTuple

import numpy as np
import pandas as pd

from backtester_model_core.config import DataConfig
from backtester_model_core.dataset import Prediction
from backtester_model_core.signals import (
    ModelSignal,
    ModelSignalType,
    Reason,
    SignalFrame,
    neutral_signals,
    signal_records,
)
from backtester_model_core.streaming.answers import Answers, Foreseen
from backtester_model_core.streaming.incoming import Incoming
from backtester_model_core.streaming.memory import SymbolMemory


class Undecided(NamedTuple):
    """One symbol's bar, what its model foresees, and where it stands; without a model ``answers`` is ``None``."""

    memory: SymbolMemory
    incoming: Incoming
    answers: Answers | None
    foreseen: Foreseen


def decide_together(
    undecided: Sequence[Undecided], *, columns: Sequence[str], data_config: DataConfig, is_stale: bool = False
) -> list[ModelSignal]:
    """Ask the signal hook about bars of one time, and return their signals in the same order.

    Args:
        undecided: One for each symbol.
        columns: The bar columns that the hook is shown.
        data_config: How the bars are stamped.
        is_stale: Whether the model is too old to be followed.
    """
    index = _index_of([each.incoming for each in undecided])
    answering = [each.answers for each in undecided if each.answers is not None]
    if answering:
        frame = _ask_policy(undecided, answering, index, columns)
        frame.loc[[each.answers is None for each in undecided], "reason"] = Reason.NO_MODEL.value
    else:
        frame = neutral_signals(index, Reason.NO_MODEL)
    signals = signal_records(frame, data_config=data_config)
    if is_stale:
        signals = [silenced(signal) for signal in signals]
    for each, signal in zip(undecided, signals, strict=True):
        each.memory.held, each.memory.signal = signal.signal.side, signal
    return signals


def silenced(signal: ModelSignal) -> ModelSignal:
    """Return the signal of a model that is too old to be followed: NEUTRAL, where it had said anything at all."""
    if isnan(signal.score):
        return signal
    return replace(signal, signal=ModelSignalType.NEUTRAL, target_weight=0.0, reason=Reason.STALE_MODEL.value)


def _ask_policy(
    undecided: Sequence[Undecided], answering: Sequence[Answers], index: pd.Index, columns: Sequence[str]
) -> SignalFrame:
    model = answering[0].model
    probability = None
    if model.classes is not None:
        blank = [np.nan] * len(model.classes)
        given = [each.foreseen.probability for each in undecided]
        probability = np.array([blank if row is None else row for row in given], dtype=np.float64)
    prediction = Prediction(
        index,
        np.array([each.foreseen.expected for each in undecided]),
        probability,
        model.classes,
        np.array([each.foreseen.scale for each in undecided]),
        held={each.incoming.symbol: each.memory.held for each in undecided},
    )
    policy = answering[0].policy
    if any(each is not answering[0] for each in answering):
        baselines = [np.nan if each.answers is None else each.answers.baseline for each in undecided]
        policy = replace(policy, baseline=np.array(baselines))
    bars = pd.DataFrame(
        [[each.incoming.values[name] for name in columns] for each in undecided],
        index=index,
        columns=list(columns),
    )
    own, model.policy = model.policy, policy
    try:
        return model.signal(bars, prediction)
    finally:
        model.policy = own


def _index_of(bars: Sequence[Incoming]) -> pd.Index:
    """Return the index of bars of one time: timestamps where it is one symbol's plain frame."""
    stamps = pd.DatetimeIndex([incoming.stamp for incoming in bars], name="timestamp")
    symbols = [incoming.symbol for incoming in bars]
    return (
        stamps
        if symbols == [""]
        else pd.MultiIndex.from_arrays([stamps, symbols], names=["timestamp", "symbol"])
    )
