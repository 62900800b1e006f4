"""How long a symbol lives, and when the end of a position is known: what every kind of label shares."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from backtester_model_core.bars import Panel
from backtester_model_core.bars.calendar import TradingDays
from backtester_model_core.config import ModelConfig
from backtester_model_core.exceptions import LabelError
from backtester_model_core.typing import BoolArray, FloatArray, IntArray, TimeArray

NOT_YET = np.datetime64("NaT", "ns")


@dataclass(frozen=True, eq=False)
class Span:
    """Where the positions of one symbol's rows are entered and left.

    Attributes:
        entry: (n,) bar of the entry, counted within the symbol; meaningful where held or sold.
        exit: (n,) bar of the exit; of a position that is sold, the last bar of the symbol's life.
        held: (n,) whether the position is held to its planned exit.
        sold: (n,) whether the symbol is delisted under it.
        settled_at: (n,) instant at which it is known what becomes of the row, a label or none ever; NaT before.
    """

    entry: IntArray
    exit: IntArray
    held: BoolArray
    sold: BoolArray
    settled_at: TimeArray

    @property
    def label_end(self) -> TimeArray:
        """(n,) instant at which the planned exit or the delisting is known; NaT where there is no position."""
        return np.where(self.held | self.sold, self.settled_at, NOT_YET)


@dataclass(frozen=True, eq=False)
class Track:
    """One symbol's bars in order of time.

    Attributes:
        rows: The symbol's rows in the panel.
        known_at: (n,) instant of each bar's close.
        last_of_life: (n,) last bar before the symbol's next long silence.
        silence_end: (n,) instant at which that silence is known to be one; NaT where the life goes on.
        day: (n,) trading day of each bar, or ``None`` when positions may span nights.
    """

    rows: slice
    known_at: TimeArray
    last_of_life: IntArray
    silence_end: TimeArray
    day: IntArray | None

    def span(self, *, entry_lag: int, exit_lag: int) -> Span:
        """Follow a position from ``entry_lag`` bars after each row to ``exit_lag`` bars after it."""
        row = np.arange(len(self.known_at))
        entry, planned = row + entry_lag, row + exit_lag
        lives_on = planned <= self.last_of_life
        exit_ = np.minimum(planned, self.last_of_life)
        settled_at = np.where(lives_on, self.known_at[exit_], self.silence_end)
        possible = ~np.isnat(settled_at) & (entry <= self.last_of_life)
        if self.day is not None:
            possible &= (self.day[np.minimum(entry, row[-1])] == self.day) & (self.day[exit_] == self.day)
        return Span(entry, exit_, possible & lives_on, possible & ~lives_on, settled_at)


def tracks(panel: Panel, config: ModelConfig) -> Iterator[Track]:
    """Yield each symbol's track, in the panel's order."""
    days = TradingDays.of_panel(panel, config.label.session_timezone)
    for segment in panel.segments():
        known_at = panel.known_at[segment]
        day = days.of_instants(known_at)
        last_of_life, silence_end = _lives(day, days, config.label.delisted_after)
        yield Track(
            segment, known_at, last_of_life, silence_end, day if config.label.session == "within" else None
        )


def volatility(panel: Panel, window: int) -> FloatArray:
    """Return (n,) the sample deviation of the last ``window`` one-bar returns of the close; NaN before.

    Sums run in the order of time for each row, so that a row's value does not depend, to the last bit, on how
    many rows follow.
    """
    closes = positive(panel, "close")
    deviation = np.full(panel.n_rows, np.nan)
    for segment in panel.segments():
        price = closes[segment]
        n = max(len(price) - window, 0)
        returns = price[1:] / price[:-1] - 1.0
        lagged = [returns[lag : lag + n] for lag in range(window)]
        mean = sum(lagged, np.zeros(n)) / window
        squares = sum(((each - mean) ** 2 for each in lagged), np.zeros(n))
        deviation[segment][window:] = np.sqrt(squares / (window - 1))
    return deviation


def positive(panel: Panel, column: str) -> FloatArray:
    """Return a column of which returns can be taken, or name the earliest value of which none can.

    Raises:
        LabelError: When there is no such column, or it holds values that are not above zero.
    """
    values = bars_column(panel, column, field="target_column")
    usable = np.isfinite(values) & (values > 0)
    if not usable.all():
        bad = np.flatnonzero(~usable)
        row = int(bad[np.argmin(panel.known_at[bad])])
        at = panel.index[panel.order[row]]
        stamp = f"{at[0]} ({at[1]})" if isinstance(at, tuple) else f"{at}"
        raise LabelError(
            f"The column {column!r} is {values[row]:g} at {stamp}, and a relative change needs values above zero. "
            "Name a column that has them, or leave these bars out."
        )
    return values


def bars_column(panel: Panel, column: str, *, field: str) -> FloatArray:
    """Return a column of the bars that a configuration's field names.

    Raises:
        LabelError: When there is no such column.
    """
    if column not in panel.columns:
        raise LabelError(
            f"{field} {column!r} is not among the bars' columns: {', '.join(panel.columns)}. Name one of them."
        )
    return panel.columns[column]


def _lives(day: IntArray, days: TradingDays, delisted_after: int) -> tuple[IntArray, TimeArray]:
    """Find, for each bar of one symbol, the last bar before its next long silence and when that is known.

    A silence of ``delisted_after`` trading days ends a life even when the symbol comes back later: whoever stood
    there could not know that it would.

    Args:
        day: (n,) trading day of each bar.
        days: The trading days of the panel.
        delisted_after: Length of a silence that ends a life.

    Returns:
        (n,) position of the life's last bar, and (n,) the instant at which its end is known (NaT: it goes on).
    """
    n = len(day)
    following = np.append(day[1:], len(days.ends))
    last_bars = np.flatnonzero((following - day > delisted_after) | (np.arange(n) == n - 1))
    last_of_life = last_bars[np.searchsorted(last_bars, np.arange(n))]
    silence = day[last_of_life] + delisted_after
    known = days.is_over(silence)
    return last_of_life, np.where(known, days.ends[np.where(known, silence, 0)], NOT_YET)
