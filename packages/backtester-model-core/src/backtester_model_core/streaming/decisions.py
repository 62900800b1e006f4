"""Decisions: on one symbol by itself, fast, and on symbols that share a time, by the hook of a whole backtest."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields, replace
from math import isnan
from typing import NamedTuple

import numpy as np
import pandas as pd

from backtester_model_core.config import DataConfig
from backtester_model_core.dataset import Prediction
from backtester_model_core.exceptions import ModelError
from backtester_model_core.signals import (
    ModelSignal,
    ModelSignalType,
    Reason,
    SignalFrame,
    SignalPolicy,
    neutral_signals,
    sides_after,
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


def decide_alone(
    memory: SymbolMemory,
    answers: Answers,
    foreseen: Foreseen,
    stamp: pd.Timestamp,
    symbol: str,
    is_stale: bool,
) -> ModelSignal:
    """Decide on one symbol by itself, and remember what was decided; by position, as it is called at every bar."""
    expected, probability, scale = foreseen
    kind, confidence, score, weight, reason = answers.policy.decide(
        expected, probability, scale, held=memory.held
    )
    signal = ModelSignal(stamp, symbol, kind, confidence, score, weight, reason)
    if is_stale:
        signal = silenced(signal)
        weight = signal.target_weight
    memory.held = 1 if weight > 0 else -1 if weight < 0 else 0
    memory.signal = signal
    return signal


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
    blank = neutral_signals(index, Reason.NO_MODEL)
    columns_of = {str(name): blank[name].to_numpy(dtype=object, copy=True) for name in blank}
    groups = _groups(undecided)
    n_foreseen = sum(not isnan(each.foreseen.expected) for each in undecided)
    for places in groups:
        group = [undecided[place] for place in places]
        answer = _ask_policy(group, index[places], columns)
        if len(groups) > 1:  # each was sized as if it were the whole portfolio
            n_own = sum(not isnan(each.foreseen.expected) for each in group)
            answer["target_weight"] *= max(n_own, 1) / max(n_foreseen, 1)
        for name, column in columns_of.items():
            column[places] = answer[name].to_numpy()
    frame = pd.DataFrame(columns_of, index=index)
    signals = signal_records(frame, data_config=data_config)
    held = sides_after(frame)
    for place, each in enumerate(undecided):
        each.memory.signal = silenced(signals[place]) if is_stale else signals[place]
        each.memory.held = 0 if is_stale else held.get(each.incoming.symbol, 0)
    return [silenced(signal) for signal in signals] if is_stale else signals


def _groups(undecided: Sequence[Undecided]) -> list[list[int]]:
    """Return the places of the symbols whose policies differ by their baseline at most; those without a model apart.

    Raises:
        ModelError: When symbols are to be selected among, whose scores come from different policies.
    """
    groups: list[list[int]] = []
    for place, each in enumerate(undecided):
        if each.answers is None:
            continue
        for group in groups:
            first = undecided[group[0]].answers
            if first is not None and _are_alike(first.policy, each.answers.policy):
                group.append(place)
                break
        else:
            groups.append([place])
    if len(groups) > 1 and any(
        each.answers.policy.sizing.n_selected is not None for each in undecided if each.answers is not None
    ):
        raise ModelError(
            "sizing.selection ranks symbols by their scores, and these come from policies that differ. Fit the models "
            "together (pooling), or give replace_model one policy."
        )
    return groups


def _are_alike(one: SignalPolicy, other: SignalPolicy) -> bool:
    """Say whether two policies differ by their baseline at most."""
    if one is other:
        return True
    names = [field.name for field in fields(one) if field.name != "baseline"]
    return all(
        getattr(one, name) is getattr(other, name) or getattr(one, name) == getattr(other, name)
        for name in names
    )


def silenced(signal: ModelSignal) -> ModelSignal:
    """Return the signal of a model that is too old to be followed: NEUTRAL, where it had said anything at all."""
    if isnan(signal.score):
        return signal
    return replace(signal, signal=ModelSignalType.NEUTRAL, target_weight=0.0, reason=Reason.STALE_MODEL.value)


def _ask_policy(undecided: Sequence[Undecided], index: pd.Index, columns: Sequence[str]) -> SignalFrame:
    """Ask the signal hook about symbols with a model, whose policies differ by their baseline at most."""
    answering = [each.answers for each in undecided if each.answers is not None]
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
        policy = replace(policy, baseline=np.array([each.baseline for each in answering]))
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
