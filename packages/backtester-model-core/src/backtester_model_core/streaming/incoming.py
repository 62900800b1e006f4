"""A bar as it comes in: read whatever its spelling, and refused by the rules that hold for whole frames."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from math import inf
from numbers import Real
from typing import Any

import pandas as pd

from backtester_model_core.bars import check_bars
from backtester_model_core.exceptions import BarsError, BarsFault

OHLCV = ("open", "high", "low", "close", "volume")


@dataclass(slots=True)
class Incoming:
    """A bar that may be used; not frozen, as one is made at every bar and freezing takes as long as reading.

    Attributes:
        symbol: Its symbol; empty for the one symbol of a plain frame.
        stamp: Its timestamp as given.
        at: The same in UTC nanoseconds.
        values: Its columns by their lower-case names.
    """

    symbol: str
    stamp: pd.Timestamp
    at: int
    values: Mapping[str, Any]


def read_bar(bar: Mapping[str, Any]) -> Incoming:
    """Read one bar: a mapping with ``timestamp``, the five columns in either spelling and, of several, ``symbol``.

    Raises:
        BarsError: When ``check_bars`` would refuse it.
    """
    values = bar if "open" in bar else {str(name).lower(): value for name, value in bar.items()}
    stamp = values.get("timestamp")
    if type(stamp) is not pd.Timestamp:
        stamp = _timestamp(stamp)
    try:
        high, low, close = values["high"], values["low"], values["close"]
        is_sound = (
            0 < low <= values["open"] <= high < inf and low <= close <= high and 0 <= values["volume"] < inf
        )
    except (KeyError, TypeError):
        is_sound = False
    if not is_sound:
        _refuse(values, stamp)
    return Incoming(values.get("symbol", ""), stamp, stamp.value, values)


def extra_columns(incoming: Incoming) -> list[str]:
    """Return the names of a bar's further columns of numbers."""
    return [
        str(name)
        for name, value in incoming.values.items()
        if name not in {*OHLCV, "timestamp", "symbol"}
        and isinstance(value, Real)
        and not isinstance(value, bool)
    ]


def check_extra(incoming: Incoming, names: Iterable[str]) -> None:
    """Refuse a bar that lacks a further column that is needed.

    Raises:
        BarsError: With the columns.
    """
    missing = [name for name in names if not isinstance(incoming.values.get(name), Real)]
    if missing:
        hint = "A feature or the label needs it: give it with every bar, NaN where it is unknown."
        first = str(incoming.stamp)
        raise BarsError.of(
            [
                BarsFault("missing_column", name, incoming.symbol or None, 1, first, None, hint)
                for name in missing
            ]
        )


def read_together(bars: Iterable[Mapping[str, Any]]) -> list[Incoming]:
    """Read bars of several symbols at one time.

    Raises:
        BarsError: When ``check_bars`` would refuse one, or their times differ.
    """
    given = [read_bar(bar) for bar in bars]
    if len({incoming.at for incoming in given}) > 1:
        stamps = sorted({str(incoming.stamp) for incoming in given})
        hint = "Give the bars of one time together, and the next time's afterwards."
        raise BarsError.of(
            [BarsFault("several_times", "timestamp", None, len(stamps), stamps[0], stamps[1], hint)]
        )
    return given


def rows_after(data: pd.DataFrame, at: int) -> pd.DataFrame:
    """Return the rows of one symbol's frame that are later than a stamp in UTC nanoseconds."""
    later: pd.DataFrame = data.loc[pd.DatetimeIndex(data.index).as_unit("ns").asi8 > at]
    return later


def rows_of(data: pd.DataFrame, symbol: str = "") -> list[dict[str, Any]]:
    """Return a frame's rows as bars; a frame of several symbols, time by time, names them itself."""
    frame = data.reset_index() if isinstance(data.index, pd.MultiIndex) else data
    names = [str(name).lower() for name in frame.columns]
    rows = zip(*(frame[name].tolist() for name in frame.columns), strict=True)
    if frame is not data:
        return [dict(zip(names, row, strict=True)) for row in rows]
    return [
        {**dict(zip(names, row, strict=True)), "timestamp": stamp, "symbol": symbol}
        for stamp, row in zip(data.index, rows, strict=True)
    ]


def _timestamp(given: Any) -> pd.Timestamp:
    stamp = pd.NaT if isinstance(given, (int, float)) else pd.to_datetime(given, errors="coerce")
    if not isinstance(stamp, pd.Timestamp):
        hint = "Give each bar its time under 'timestamp', as a pandas Timestamp, a datetime or ISO text."
        raise BarsError.of([BarsFault("no_timestamp", "timestamp", None, 1, None, repr(given), hint)])
    return stamp


def _refuse(values: Mapping[str, Any], stamp: pd.Timestamp) -> None:
    """Let ``check_bars`` say what is wrong; what it accepts is accepted here."""
    columns = {name: [value] for name, value in values.items() if name not in {"timestamp", "symbol"}}
    check_bars(pd.DataFrame(columns, index=pd.DatetimeIndex([stamp], name="timestamp")))
