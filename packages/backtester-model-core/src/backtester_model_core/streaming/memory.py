"""What a stream remembers of one symbol: where it stands, and the rows that a model looks back on."""

from __future__ import annotations

from collections.abc import Sequence
from math import nan
from typing import Any

import numpy as np
import pandas as pd

from backtester_model_core.signals import ModelSignal, ModelSignalType
from backtester_model_core.streaming.incoming import OHLCV, Incoming
from backtester_model_core.typing import FloatArray


class RowWindow:
    """The latest complete rows, as one contiguous array, oldest first.

    Each row is written twice, a window apart, so that the window is always a slice.

    Args:
        n_rows: Rows in the window.
        n_columns: Features of a row.
    """

    def __init__(self, n_rows: int, n_columns: int) -> None:
        self._rows = np.full((2 * n_rows, n_columns), np.nan)
        self._size = n_rows
        self._place = 0
        self.n_unbroken = 0

    def add(self, row: Sequence[float]) -> FloatArray | None:
        """Take a complete row; return the window, (n_rows, n_columns), once it is full."""
        place = self._place
        self._rows[place] = self._rows[place + self._size] = row
        self._place = place = (place + 1) % self._size
        self.n_unbroken += 1
        return self._rows[place : place + self._size] if self.n_unbroken >= self._size else None

    def interrupt(self) -> None:
        """Begin again: an incomplete row breaks the window."""
        self.n_unbroken = 0

    def snapshot(self) -> list[list[float]]:
        """Return the rows there are, oldest first."""
        n = min(self.n_unbroken, self._size)
        rows: list[list[float]] = self._rows[self._place + self._size - n : self._place + self._size].tolist()
        return rows


class SymbolMemory:
    """Where one symbol's stream stands.

    Attributes:
        n_bars: Bars taken.
        at: Stamp of the latest in UTC nanoseconds.
        bar: Its five columns.
        signal: The signal that stands.
        held: Side that it left: 1 long, -1 short, 0 none.
        window: The rows that the model looks back on, if it does.
        features: The latest row of features.
        expected: What was foreseen for it; NaN for nothing.
    """

    __slots__ = ("at", "bar", "expected", "features", "held", "n_bars", "signal", "window")

    def __init__(self, window: RowWindow | None) -> None:
        self.n_bars = 0
        self.at = -(2**63)
        self.bar: tuple[float, ...] = ()
        self.signal: ModelSignal | None = None
        self.held = 0
        self.window = window
        self.features: Sequence[float] = ()
        self.expected = nan

    def stand_aside(self) -> None:
        """Take note that no signal is given, so that none stands and no side is held."""
        self.expected, self.held, self.signal = nan, 0, None

    def why_ignored(self, incoming: Incoming) -> str:
        """Say what is wrong with a bar that is not later than the latest."""
        if incoming.at < self.at:
            return f"a bar of {incoming.stamp} came late and was left out"
        if tuple([incoming.values[name] for name in OHLCV]) == self.bar:
            return f"the bar of {incoming.stamp} came again"
        return f"the bar of {incoming.stamp} came again with other values; the first stands"

    def snapshot(self) -> dict[str, Any]:
        """Return the state as plain data."""
        signal = self.signal
        return {
            "n_bars": self.n_bars,
            "at": self.at,
            "bar": list(self.bar),
            "held": self.held,
            "window": None if self.window is None else self.window.snapshot(),
            "signal": None
            if signal is None
            else [
                signal.timestamp.isoformat(),
                signal.symbol,
                signal.signal.value,
                signal.confidence,
                signal.score,
                signal.target_weight,
                signal.reason,
            ],
        }

    def restore(self, snapshot: dict[str, Any]) -> None:
        """Go on from a snapshot."""
        self.n_bars, self.at, self.held = snapshot["n_bars"], snapshot["at"], snapshot["held"]
        self.bar = tuple(snapshot["bar"])
        if self.window is not None:
            for row in snapshot["window"]:
                self.window.add(row)
        if snapshot["signal"] is not None:
            stamp, symbol, signal, confidence, score, weight, reason = snapshot["signal"]
            self.signal = ModelSignal(
                pd.Timestamp(stamp), symbol, ModelSignalType(signal), confidence, score, weight, reason
            )
