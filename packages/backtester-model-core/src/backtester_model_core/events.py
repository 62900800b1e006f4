"""What happens to a model while it serves, each at the instant at which it could have been known."""

from __future__ import annotations

import json
import logging
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum

import numpy as np
import pandas as pd

EVENT_COLUMNS = ("at", "window", "symbol", "kind", "message", "figures")
MAX_EVENTS = 1_000


class EventKind(StrEnum):
    """What happened."""

    TRAINED = "trained"
    REFUSED = "refused"
    GATE_OPENED = "gate_opened"
    GATE_CLOSED = "gate_closed"
    RETRAIN_SUGGESTED = "retrain_suggested"
    CALIBRATED = "calibrated"
    FEATURE_DRIFT = "feature_drift"
    PREDICTION_DRIFT = "prediction_drift"
    CONCEPT_DRIFT = "concept_drift"
    DATA_QUALITY = "data_quality"
    LIVE_METRICS = "live_metrics"
    SLOW_PREDICTION = "slow_prediction"
    RETRAIN_TRIGGERED = "retrain_triggered"
    RETRAIN_WITHHELD = "retrain_withheld"
    CHALLENGER_PROMOTED = "challenger_promoted"
    CHAMPION_KEPT = "champion_kept"
    ROLLED_BACK = "rolled_back"
    EXPIRED = "expired"
    BAR_IGNORED = "bar_ignored"
    BARS_MISSING = "bars_missing"
    MODEL_REPLACED = "model_replaced"


@dataclass(frozen=True)
class Event:
    """Something that happened, at the instant at which it could have been known.

    Attributes:
        at: UTC instant.
        kind: What happened.
        message: The same in words.
        window: Number of the walk-forward window it belongs to; ``None`` outside of one.
        symbol: The symbol it concerns; empty for all.
        figures: Its numbers, by name.
    """

    at: np.datetime64
    kind: EventKind
    message: str
    window: int | None = None
    symbol: str = ""
    figures: Mapping[str, float] = field(default_factory=dict)

    def __str__(self) -> str:
        """Say when, where and what."""
        where = "" if self.window is None else f" window {self.window}"
        return f"{self.at}{where} {self.kind}: {self.message}"


class EventLog:
    """The latest events of something that goes on for ever.

    Args:
        logger: Where events are logged as well.
    """

    def __init__(self, logger: logging.Logger) -> None:
        self._logger = logger
        self._events: list[Event] = []

    @property
    def events(self) -> tuple[Event, ...]:
        """The latest thousand, in the order in which they came."""
        return tuple(self._events)

    def say(self, event: Event) -> None:
        """Log an event and keep it."""
        self._logger.info("%s", event)
        self.keep([event])

    def keep(self, events: Sequence[Event]) -> None:
        """Keep events that are logged already; mostly there are none."""
        if not events:
            return
        self._events += events
        del self._events[:-MAX_EVENTS]

    def clear(self) -> None:
        """Forget them."""
        self._events.clear()


def event_frame(events: Iterable[Event]) -> pd.DataFrame:
    """Return events in order of time, one a row; ``figures`` is a JSON object."""
    ordered = sorted(events, key=lambda event: event.at)
    rows = [
        [
            pd.Timestamp(each.at),
            each.window,
            each.symbol,
            each.kind.value,
            each.message,
            _as_json(each.figures),
        ]
        for each in ordered
    ]
    return pd.DataFrame(rows, columns=list(EVENT_COLUMNS)).astype({"window": "Int64"})


def _as_json(figures: Mapping[str, float]) -> str:
    """Write figures as JSON, which has no NaN."""
    return json.dumps({name: None if math.isnan(value) else value for name, value in figures.items()})
