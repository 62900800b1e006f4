"""The trading days of a panel: what a symbol's silence is counted in."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import numpy as np
import pandas as pd

from backtester_model_core.bars.panel import Panel, utc_stamps
from backtester_model_core.typing import BoolArray, IntArray, TimeArray


def day_numbers(instants: TimeArray, timezone: str) -> IntArray:
    """Return (n,) the days since 1970 on which bars close; one that closes at midnight ends its day."""
    within = pd.DatetimeIndex(instants - np.timedelta64(1, "ns")).tz_localize("UTC").tz_convert(timezone)
    return within.tz_localize(None).to_numpy().astype("datetime64[D]").astype(np.int64)


def timezone_of(index: pd.Index) -> str:
    """Return the time zone of bars' stamps; naive ones are taken as UTC."""
    stamps = index.levels[index.names.index("timestamp")] if isinstance(index, pd.MultiIndex) else index
    zone = pd.DatetimeIndex(stamps).tz
    return "UTC" if zone is None else str(zone)


@dataclass(frozen=True, eq=False)
class TradingDays:
    """The days on which anything in a panel has a bar, numbered from 0.

    Counting days rather than instants, a stock that is quiet at night is not silent beside a market that never
    closes.

    Attributes:
        instants: (m,) distinct instants at which bars are known, ascending.
        number: (m,) trading day of each instant.
        ends: (n_days,) midnight that ends each day.
    """

    instants: TimeArray
    number: IntArray
    ends: TimeArray

    @classmethod
    def of(cls, known_at: TimeArray, timezone: str) -> Self:
        """Number the days of some instants."""
        instants = np.unique(known_at)
        days, number = np.unique(day_numbers(instants, timezone), return_inverse=True)
        midnights = pd.DatetimeIndex((days + 1).astype("datetime64[D]").astype("datetime64[ns]"))
        # Where clocks change at midnight, the day ends with the first instant of the next.
        local = midnights.tz_localize(
            timezone, nonexistent="shift_forward", ambiguous=np.ones(len(days), dtype=bool)
        )
        return cls(instants, number, utc_stamps(local))

    @classmethod
    def of_panel(cls, panel: Panel, timezone: str | None = None) -> Self:
        """Number the days of a panel's bars, in the time zone given or that of its stamps."""
        return cls.of(panel.known_at, timezone or timezone_of(panel.index))

    def of_instants(self, instants: TimeArray) -> IntArray:
        """Return (n,) the day of instants that are among those of the panel."""
        return self.number[np.searchsorted(self.instants, instants)]

    def is_over(self, day: IntArray) -> BoolArray:
        """Say of days by number whether the panel goes on after them: a day that is not over may still bring a bar."""
        reached = day < len(self.ends)
        return np.asarray(
            reached & (self.instants[-1] >= self.ends[np.where(reached, day, 0)]), dtype=np.bool_
        )
