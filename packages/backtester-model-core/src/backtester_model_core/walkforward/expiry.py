"""Models that are too old to be followed: their signals are silenced, and it is said when that began."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from backtester_model_core.config import ModelConfig
from backtester_model_core.dataset import Dataset
from backtester_model_core.events import Event, EventKind
from backtester_model_core.retraining import Spell
from backtester_model_core.signals import ModelSignalType, Reason, SignalFrame
from backtester_model_core.splits import Window
from backtester_model_core.typing import BoolArray


def stale_rows(config: ModelConfig, dataset: Dataset, window: Window) -> BoolArray:
    """Return which of a window's rows are decided on by a model older than ``retraining.expires_after``."""
    limit = config.retraining.expires_after
    if limit is None:
        return np.zeros(len(window.test_rows), dtype=bool)
    spell, sessions = Spell.of(limit), np.unique(dataset.known_at)
    at = dataset.known_at[window.test_rows]
    ages = np.searchsorted(sessions, at) - np.searchsorted(sessions, window.model_from)
    times = at - window.model_from
    return np.array([spell.is_exceeded(age, time) for age, time in zip(ages, times, strict=True)], dtype=bool)


def silence(signals: SignalFrame, stale: BoolArray) -> None:
    """Make signals of a stale model NEUTRAL, with that as their reason, where there was a forecast at all."""
    silent = stale & ~signals["score"].isna().to_numpy()
    signals.loc[silent, "signal"] = ModelSignalType.NEUTRAL.value
    signals.loc[silent, "target_weight"] = 0.0
    signals.loc[silent, "reason"] = Reason.STALE_MODEL.value


def expiry_events(
    config: ModelConfig, dataset: Dataset, windows: Sequence[Window], stale: Sequence[BoolArray]
) -> list[Event]:
    """Say for each model at which decision it was first too old."""
    events: list[Event] = []
    said: np.datetime64 | None = None
    for window, rows in zip(windows, stale, strict=True):
        if not rows.any() or said == window.model_from:
            continue
        said = window.model_from
        at = dataset.known_at[window.test_rows][rows].min()
        message = f"the model of {said} is older than {config.retraining.expires_after}: its signals are not followed"
        days = float((at - said) / np.timedelta64(1, "D"))
        events.append(Event(at, EventKind.EXPIRED, message, window.number, figures={"age_days": days}))
    return events
