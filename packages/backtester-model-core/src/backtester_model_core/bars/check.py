"""Check bars once, at the door; everything behind it may trust them.

What is done with the things that people ask about:

- **NaN rows** are refused. Nothing is filled in or dropped silently: drop or fill them yourself, knowingly.
  Only in a frame that keeps several tickers in its columns, a row that is wholly NaN for one of them says
  that this ticker had no bar then; it is dropped and recorded.
- **Zero volume** is accepted (holidays, indices, foreign exchange). A missing volume column is refused: add
  zeros.
- **Gaps** are left as they are, and a long one is recorded. Bars are never resampled.
- **Adjusted close**: ``close`` is the price that is used; ``adj close`` becomes the extra column
  ``adj_close``, and that is recorded.
- **Bars stamped at their open** look like any others here: say ``data_config.bar_stamp = "open"`` in the
  model's configuration, and each row counts as known one spacing later, at its close.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, tzinfo
from typing import Any

import numpy as np
import pandas as pd

from backtester_model_core.bars.faults import order_rows, refuse_times, refuse_values
from backtester_model_core.bars.findings import BarsNote, Findings, Rows
from backtester_model_core.bars.notes import attach_notes, bars_notes
from backtester_model_core.bars.shapes import LongBars, read_bars
from backtester_model_core.bars.suspicions import SUSPICIONS, record_suspicions
from backtester_model_core.exceptions import BarsError, BarsFault
from backtester_model_core.typing import IntArray


@dataclass(frozen=True)
class BarsReport:
    """What an examination of bars has found.

    Attributes:
        frame: The checked bars, or ``None`` when there is a fault.
        faults: Everything that must be refused.
        notes: Everything that was normalised or looks suspicious.
    """

    frame: pd.DataFrame | None
    faults: tuple[BarsFault, ...]
    notes: tuple[BarsNote, ...]


def check_bars(
    data: pd.DataFrame | Mapping[str, pd.DataFrame],
    *,
    symbol: str | None = None,
    allow_unsorted: bool = False,
    allow_negative_prices: bool = False,
    allow_mixed_spacing: bool = False,
    now: datetime | str | None = None,
) -> pd.DataFrame:
    """Return bars in the one shape that everything else works on, or refuse them with every fault.

    The result is a new frame of float64: ``open high low close volume`` first, then the extra numeric columns;
    indexed by ``timestamp`` for one symbol, or by ``(timestamp, symbol)``, time by time. The caller's frame
    stays as it is. Checking a checked frame again changes nothing.

    Args:
        data: A frame of one symbol; a frame with a symbol column, with tickers in its columns or with an
            index of timestamps and symbols; or a dict from symbols to frames.
        symbol: The one symbol to return, of several, as a plain frame.
        allow_unsorted: Put rows in time order instead of refusing them.
        allow_negative_prices: Accept prices at and below zero, as spreads have them.
        allow_mixed_spacing: Accept stretches of bars with another spacing than the rest.
        now: The clock that no bar may be ahead of; naive times stand for UTC.

    Raises:
        BarsError: With all faults at once.

    Example:
        >>> days = pd.DatetimeIndex(["2024-01-02", "2024-01-03"])
        >>> prices = {"Open": [10, 11], "High": [12, 12], "Low": [9, 10], "Close": [11, 10], "Volume": [5, 0]}
        >>> bars = check_bars(pd.DataFrame(prices, index=days))
        >>> list(bars.columns)
        ['open', 'high', 'low', 'close', 'volume']
        >>> [note.code for note in bars_notes(bars)]
        ['renamed']
    """
    report = examine_bars(
        data,
        symbol=symbol,
        allow_unsorted=allow_unsorted,
        allow_negative_prices=allow_negative_prices,
        allow_mixed_spacing=allow_mixed_spacing,
        now=now,
    )
    if report.frame is None:
        raise BarsError.of(report.faults)
    return report.frame


def examine_bars(
    data: pd.DataFrame | Mapping[str, pd.DataFrame],
    *,
    symbol: str | None = None,
    allow_unsorted: bool = False,
    allow_negative_prices: bool = False,
    allow_mixed_spacing: bool = False,
    now: datetime | str | None = None,
) -> BarsReport:
    """Check bars as :func:`check_bars` does, and report faults instead of raising them."""
    findings = Findings()
    bars = read_bars(data, findings, symbol=symbol)
    if bars is not None:
        bars = order_rows(bars, findings, allow_unsorted=allow_unsorted)
        refuse_times(bars, findings, allow_mixed_spacing=allow_mixed_spacing, now=now)
        refuse_values(bars, findings, allow_negative_prices=allow_negative_prices)
        if bars.rows.n == 0 and not findings.faults:
            findings.refuse("empty", "There is not a single bar.", count=0)
    _recall(data, findings)
    if bars is None or findings.faults:
        return BarsReport(None, tuple(findings.faults), findings.notes)
    record_suspicions(bars, findings)
    frame = _build(bars)
    attach_notes(frame, findings.notes)
    return BarsReport(frame, (), findings.notes)


def _recall(data: object, findings: Findings) -> None:
    """Keep what an earlier check of the same frame has normalised."""
    if not isinstance(data, pd.DataFrame):
        return
    try:
        earlier = bars_notes(data)
    except BarsError as error:
        findings.faults.extend(error.faults)
    else:
        findings.recall(note for note in earlier if note.code not in SUSPICIONS)


def _build(bars: LongBars) -> pd.DataFrame:
    """Lay out checked bars, which come symbol by symbol, time by time."""
    rows = bars.rows
    if rows.codes is not None:
        bars = bars.take(np.argsort(rows.nanos, kind="stable"))
    block = np.empty((len(bars.columns), rows.n))
    for k, column in enumerate(bars.columns.values()):
        block[k] = column.values
    return pd.DataFrame(block.T, index=_build_index(bars.rows), columns=list(bars.columns))


def _build_index(rows: Rows) -> pd.Index:
    if rows.codes is None:
        return _to_stamps(rows.nanos, rows.tz)
    new = np.concatenate([[True], np.diff(rows.nanos) > 0])
    levels: Any = [_to_stamps(rows.nanos[new], rows.tz), pd.Index(rows.symbols)]
    codes: Any = [np.cumsum(new) - 1, rows.codes]
    return pd.MultiIndex(levels=levels, codes=codes, names=["timestamp", "symbol"], verify_integrity=False)


def _to_stamps(nanos: IntArray, tz: tzinfo | None) -> pd.DatetimeIndex:
    stamps = pd.DatetimeIndex(nanos.view("datetime64[ns]"), name="timestamp", copy=True)
    return stamps if tz is None else stamps.tz_localize("UTC").tz_convert(tz)
