"""Bring the shapes in which people keep bars into one: a row for each bar, with its timestamp and symbol."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import UTC
from difflib import get_close_matches
from typing import Any

import numpy as np
import pandas as pd
from pandas.api.types import is_numeric_dtype

from backtester_model_core.bars.findings import BarsNote, Findings, Rows
from backtester_model_core.bars.names import (
    ADJUSTED_NAMES,
    SYMBOL_NAMES,
    TIME_NAMES,
    Label,
    is_target_like,
    is_unnamed,
    plain_name,
    read_labels,
)
from backtester_model_core.bars.times import MIXED_ZONES_HINT, factorize, read_times, unreadable
from backtester_model_core.bars.values import BARS_COLUMNS, Column, read_column
from backtester_model_core.typing import BoolArray, IntArray

MAX_NAMES_SHOWN = 10


@dataclass(frozen=True)
class LongBars:
    """One row for each bar, read but not yet checked, in the order in which the rows were given."""

    rows: Rows
    columns: Mapping[str, Column]

    def take(self, order: IntArray | BoolArray) -> LongBars:
        """Return the bars at these positions, or of this mask."""
        return LongBars(
            self.rows.take(order), {name: column.take(order) for name, column in self.columns.items()}
        )


def read_bars(data: Any, findings: Findings, *, symbol: str | None = None) -> LongBars | None:
    """Read bars of any accepted shape; ``None`` when not even their shape can be told.

    Args:
        data: A frame, or a mapping from symbols to frames.
        findings: Where faults and notes go.
        symbol: The one symbol to read, of several.
    """
    if isinstance(data, pd.DataFrame):
        return _read_frame(pd.DataFrame(data), findings, symbol)
    if isinstance(data, Mapping) and all(isinstance(value, pd.DataFrame) for value in data.values()):
        frames = {str(key): frame for key, frame in data.items()}
        if len(frames) == len(data):
            return _read_mapping(frames, findings, symbol)
        findings.refuse("duplicate_symbol", "Two keys are the same as text. Rename one.", count=len(data))
        return None
    hint = "Bars are a pandas DataFrame, or a dict from symbols to DataFrames."
    findings.refuse("not_a_frame", hint, value=type(data).__name__)
    return None


def _read_mapping(
    frames: Mapping[str, pd.DataFrame], findings: Findings, symbol: str | None
) -> LongBars | None:
    """Read one frame for each symbol."""
    chosen = _choose(frames, symbol, findings)
    if chosen is None:
        return None
    parts: dict[str, LongBars] = {}
    for key in chosen:
        own = Findings()
        part = _read_frame(pd.DataFrame(frames[key]), own, None)
        if part is not None and len(part.rows.symbols) > 1:
            hint = "The frame under this key holds several symbols; give each its own, or the frame itself."
            own.refuse("several_symbols", hint, count=len(part.rows.symbols), value=part.rows.symbols[0])
        elif part is not None:
            parts[key] = replace(part, rows=replace(part.rows, codes=None, symbols=()))
        findings.include(own, symbol=key)
    if symbol is None:
        findings.record(BarsNote("dict_of_frames", "a dict of frames read as a panel", count=len(chosen)))
    elif symbol in parts:
        return parts[symbol]
    return _join(parts, findings) if parts else None


def _read_frame(frame: pd.DataFrame, findings: Findings, symbol: str | None) -> LongBars | None:
    """Read one frame: wide (tickers in its columns), long (a symbol for each row) or one symbol's."""
    if len(frame) == 0:
        findings.refuse("empty", "There is not a single bar.", count=0)
        return None
    labels = read_labels(frame.columns, findings)
    if labels is None:
        return None
    _check_labels(labels, frame.columns, findings)
    fields: dict[Label, pd.Series] = {}
    for k, label in enumerate(labels):
        fields.setdefault(label, frame.iloc[:, k])
    if any(label.ticker for label in fields):
        return _read_wide(frame, fields, findings, symbol)
    rows, names = _read_rows(frame, fields, findings)
    if symbol is not None and rows.codes is not None:
        if _choose(rows.symbols, symbol, findings) is None:
            return None
        picked = rows.codes == rows.symbols.index(symbol)
        rows = replace(rows.take(picked), codes=None, symbols=())
        fields = {label: series.iloc[np.flatnonzero(picked)] for label, series in fields.items()}
    elif symbol is not None:
        message = f"the bars name no symbol; they are taken to be those of {symbol}"
        findings.record(BarsNote("symbol_not_named", message, symbol=symbol))
    return LongBars(rows, _read_columns(names, fields, rows, findings))


def _check_labels(labels: list[Label], columns: pd.Index, findings: Findings) -> None:
    """Refuse a column that is there twice, and record the names that change."""
    hint = (
        "Keep one. Names are compared in lower case; two tickers' columns side by side need the ticker "
        "as a second column level."
    )
    for (name, ticker), count in Counter(labels).items():
        if count > 1:
            findings.refuse("duplicate_column", hint, column=name, symbol=ticker, count=count)
    renamed = sum(old != new.name for old, new in zip(columns, labels, strict=True))
    if renamed and not any(label.ticker for label in labels):
        message = "column names in lower case, with underscores for blanks"
        findings.record(BarsNote("renamed", message, count=renamed))


def _read_wide(
    frame: pd.DataFrame, fields: dict[Label, pd.Series], findings: Findings, symbol: str | None
) -> LongBars | None:
    """Read a frame that keeps tickers in its columns; a column without one belongs to all of them."""
    tickers = sorted({label.ticker for label in fields if label.ticker})
    chosen = _choose(tickers, symbol, findings)
    if chosen is None:
        return None
    shared = {label: series for label, series in fields.items() if label.ticker is None}
    rows, shared_names = _read_rows(frame, shared, findings)
    if rows.codes is not None:
        hint = "Symbols are named both in the columns and in the rows; keep one of the two."
        findings.refuse("symbols_twice", hint, count=len(tickers))
        return None
    parts: dict[str, LongBars] = {}
    for ticker in chosen:
        own = Findings()
        names = {label.name: label for label in fields if label.ticker == ticker}
        columns = _read_columns({**shared_names, **names}, fields, rows, own)
        findings.include(own, symbol=ticker)
        parts[ticker] = LongBars(rows, columns)
    if len(tickers) > 1:
        parts = {ticker: _drop_absent(part, ticker, findings) for ticker, part in parts.items()}
    if len(chosen) == 1:
        message = f"the columns of the ticker {chosen[0]} read as one symbol's plain frame"
        findings.record(BarsNote("wide_columns", message, symbol=chosen[0]))
        return parts[chosen[0]]
    message = "tickers in the columns read as a panel"
    findings.record(BarsNote("wide_columns", message, count=len(chosen)))
    return _join(parts, findings)


def _drop_absent(part: LongBars, ticker: str, findings: Findings) -> LongBars:
    """Drop the rows that are wholly NaN: a wide frame's way to say that the ticker had no bar then."""
    required = [part.columns[name] for name in BARS_COLUMNS if name in part.columns]
    if not required:
        return part
    absent = np.logical_and.reduce([np.isnan(column.values) for column in required])
    for column in required:
        if column.refused is not None:
            absent &= ~column.refused
    if not absent.any():
        return part
    everywhere = bool(absent.all())
    code, message = (
        ("no_bars", "the ticker has no bar at all and is left out")
        if everywhere
        else ("absent_bars", "wholly NaN rows of a wide frame dropped: the ticker had no bar then")
    )
    first = part.rows.text(int(np.argmax(absent)))
    findings.record(BarsNote(code, message, symbol=ticker, count=int(absent.sum()), first=first))
    return part.take(~absent)


def _read_rows(
    frame: pd.DataFrame, fields: Mapping[Label, pd.Series], findings: Findings
) -> tuple[Rows, dict[str, Label]]:
    """Read the timestamp and the symbol of each row; also return the columns that neither was taken from."""
    names = {label.name: label for label in fields}
    index = frame.index
    if isinstance(index, pd.MultiIndex):
        return _read_panel_index(index, findings), names
    symbols: pd.Index | None = index if plain_name(index.name) in SYMBOL_NAMES else None
    for name in SYMBOL_NAMES:
        if symbols is None and name in names:
            symbols = pd.Index(fields[names.pop(name)])
            findings.record(BarsNote("symbol_column", "a column of symbols read as a panel", name))
    rows = _read_times(index, names, fields, findings)
    if symbols is None:
        return rows, names
    found, distinct = factorize(symbols)
    codes, known = _read_symbols(distinct, found, findings)
    return replace(rows, codes=codes, symbols=known), names


def _read_times(
    index: pd.Index, names: dict[str, Label], fields: Mapping[Label, pd.Series], findings: Findings
) -> Rows:
    """Read timestamps from the index, or from a time column, which is then taken out of the names."""
    if index.dtype.kind == "M" or isinstance(index, pd.PeriodIndex):
        return read_times(index, findings)
    unnamed = [name for name in names if is_unnamed(name) and not is_numeric_dtype(fields[names[name]])]
    candidates = [name for name in TIME_NAMES if name in names] or unnamed
    if candidates == ["date", "time"]:
        hint = "Join them into one column: pd.to_datetime(frame['date'] + ' ' + frame['time'])."
        findings.refuse("two_time_columns", hint, column="date, time", count=2)
        return unreadable(len(index))
    if candidates:
        findings.record(BarsNote("time_column", "timestamps read from this column", candidates[0]))
        return read_times(pd.Index(fields[names.pop(candidates[0])]), findings)
    if isinstance(index, pd.RangeIndex):
        hint = (
            f"Bars need a DatetimeIndex, or a column named {', '.join(TIME_NAMES[:-1])} or {TIME_NAMES[-1]}."
        )
        findings.refuse("no_timestamps", hint, count=len(index), value="RangeIndex")
        return unreadable(len(index))
    return read_times(index, findings)


def _read_panel_index(index: pd.MultiIndex, findings: Findings) -> Rows:
    """Read an index of (timestamp, symbol) or (symbol, timestamp)."""
    named = [plain_name(name) in TIME_NAMES for name in index.names]
    dated = [level.dtype.kind == "M" or isinstance(level, pd.PeriodIndex) for level in index.levels]
    votes = dated if any(dated) else named
    if index.nlevels != 2 or sum(votes) != 1:
        hint = "A panel's index has two levels: timestamps and symbols."
        findings.refuse("unreadable_index", hint, count=len(index), value=index[0])
        return unreadable(len(index))
    time_level = votes.index(True)
    if time_level == 1:
        findings.record(BarsNote("index_levels", "index levels put in the order (timestamp, symbol)"))
    rows = read_times(index.levels[time_level], findings, codes=index.codes[time_level].astype(np.int64))
    codes, symbols = _read_symbols(
        index.levels[1 - time_level], index.codes[1 - time_level].astype(np.int64), findings
    )
    return replace(rows, codes=codes, symbols=symbols)


def _read_symbols(
    distinct: pd.Index, codes: IntArray, findings: Findings
) -> tuple[IntArray, tuple[str, ...]]:
    """Return each row's position among the sorted symbol names that occur, -1 where there is none."""
    used = np.bincount(codes[codes >= 0], minlength=len(distinct)) > 0
    texts = [str(value) for value in distinct]
    names = sorted({text for text, there in zip(texts, used, strict=True) if there and text.strip()})
    position = {name: k for k, name in enumerate(names)}
    moved = np.array([*(position.get(text, -1) for text in texts), -1], dtype=np.int64)[codes]
    if (moved < 0).any():
        hint = "Every row of a panel names its symbol."
        findings.refuse("missing_symbol", hint, count=int((moved < 0).sum()))
    if not all(isinstance(value, str) for value in distinct):
        findings.record(BarsNote("symbols_as_text", "symbols that are not text read as text"))
    return moved, tuple(names)


def _choose(symbols: Iterable[str], symbol: str | None, findings: Findings) -> list[str] | None:
    """Return the symbols to read: all, or the one asked for when it is there."""
    known = list(symbols)
    if not known:
        findings.refuse("empty", "There is not a single symbol.", count=0)
        return None
    if symbol is None or symbol in known:
        return known if symbol is None else [symbol]
    near = "".join(f" Did you mean {name!r}?" for name in get_close_matches(symbol, known, n=1))
    findings.refuse("unknown_symbol", f"There is: {_listing(known)}.{near}", symbol=symbol)
    return None


def _listing(names: list[str]) -> str:
    """Join names, the first ten of them."""
    more = f" and {len(names) - MAX_NAMES_SHOWN} more" if len(names) > MAX_NAMES_SHOWN else ""
    return ", ".join(names[:MAX_NAMES_SHOWN]) + more


def _read_columns(
    names: Mapping[str, Label], fields: Mapping[Label, pd.Series], rows: Rows, findings: Findings
) -> dict[str, Column]:
    """Read the bars' own columns first, then the extra numeric ones."""
    for name in BARS_COLUMNS:
        if name not in names:
            zeros = " Add a column of zeros where there is none (indices, FX)." if name == "volume" else ""
            hint = f"There is: {_listing(list(names)) or 'no column'}.{zeros}"
            findings.refuse("missing_column", hint, column=name)
    columns: dict[str, Column] = {}
    for name in sorted(names, key=lambda name: (*BARS_COLUMNS, name).index(name)):
        left_out = _reason_to_leave_out(name)
        if left_out is not None:
            findings.record(left_out)
        elif (column := read_column(fields[names[name]], name, rows, findings)) is not None:
            columns[name] = column
    for name in ADJUSTED_NAMES.intersection(columns):
        message = "kept as an extra column; close, unadjusted, is the price that is used"
        findings.record(BarsNote("adjusted_close", message, name))
    return columns


def _reason_to_leave_out(name: str) -> BarsNote | None:
    """Return the note on an extra column whose name rules it out, or ``None``."""
    if is_target_like(name):
        message = "named like a target, so left out: never a feature; rename it if it is known at its bar"
        return BarsNote("dropped_target", message, name)
    if name in TIME_NAMES or name in SYMBOL_NAMES or is_unnamed(name):
        return BarsNote("dropped", "a second time, symbol or row number column is left out", name)
    return None


def _join(parts: Mapping[str, LongBars], findings: Findings) -> LongBars:
    """Put several symbols' bars one after the other; a symbol without a bar is none."""
    names = sorted(name for name in parts if parts[name].rows.n) or sorted(parts)
    bars = [parts[name] for name in names]
    rows = _join_rows([part.rows for part in bars], tuple(names), findings)
    columns: dict[str, Column] = {}
    for name in dict.fromkeys(name for part in bars for name in part.columns):
        there = [name in part.columns for part in bars]
        if name in BARS_COLUMNS and not all(there):
            continue
        filled = [part.columns.get(name) or Column(np.full(part.rows.n, np.nan)) for part in bars]
        columns[name] = Column.join(filled)
        if not all(there):
            message = "an extra column that some symbols lack is NaN for them"
            findings.record(BarsNote("filled_extra", message, name, count=there.count(False)))
    return LongBars(rows, columns)


def _join_rows(parts: list[Rows], symbols: tuple[str, ...], findings: Findings) -> Rows:
    """Put several symbols' rows one after the other; those of several time zones are shown in UTC."""
    zones = {str(part.tz): part.tz for part in parts if part.readable}
    mixed = len(zones) > 1 and None in zones.values()
    if mixed:
        findings.refuse("mixed_timezones", MIXED_ZONES_HINT, count=len(zones), value=", ".join(sorted(zones)))
    elif len(zones) > 1:
        message = "symbols of several time zones shown in UTC"
        findings.record(BarsNote("timezones_merged", message, count=len(zones)))
    return Rows(
        np.concatenate([part.nanos for part in parts]),
        next(iter(zones.values())) if len(zones) == 1 else UTC,
        np.repeat(np.arange(len(parts)), [part.n for part in parts]),
        symbols,
        readable=all(part.readable for part in parts) and not mixed,
    )
