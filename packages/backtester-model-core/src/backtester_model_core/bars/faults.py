"""What must be refused: timestamps and prices that no honest figure can be computed from."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from backtester_model_core.bars.findings import NO_TIME, Findings, Rows
from backtester_model_core.bars.shapes import LongBars
from backtester_model_core.bars.values import PRICE_COLUMNS, Column
from backtester_model_core.typing import BoolArray, FloatArray, IntArray

SENTINELS = (-999.0, -9999.0, -99999.0, -999999.0)
ROUNDING = 1e-9
"""By this share of the price may open or close lie outside low and high: adjusted prices are rounded."""

STRETCH = 30
"""Distances in a stretch that is asked for its spacing; a quarter of the bars where there are few."""

REGULAR_SHARE = 0.7
SAME_SPACING = 1.2
OTHER_SPACING = 1.5

BETWEEN_SYMBOLS = 1
"""The distance from a symbol's last row to the next symbol's first: too short to be one between bars."""

HOUR = 3_600_000_000_000
DAY = 24 * HOUR
SUNDAY = 6


def order_rows(bars: LongBars, findings: Findings, *, allow_unsorted: bool = False) -> LongBars:
    """Return the bars symbol by symbol in time order, those without a timestamp or symbol left out."""
    rows = bars.rows
    if rows.codes is not None and (rows.codes < 0).any():
        bars = bars.take(rows.codes >= 0)
    if not bars.rows.readable:
        return bars
    missing: BoolArray = bars.rows.nanos == NO_TIME
    if missing.any():
        hint = "Every bar needs its time. Drop or repair these rows."
        findings.refuse_rows("missing_timestamp", hint, missing, bars.rows)
        bars = bars.take(~missing)
    if bars.rows.codes is not None:
        bars = bars.take(np.argsort(_narrow(bars.rows.codes), kind="stable"))
    back = np.concatenate([[False], row_distances(bars.rows) < 0])
    if not back.any():
        return bars
    if allow_unsorted:
        findings.record_rows("sorted", "rows put in time order, as asked", back, bars.rows)
    else:
        hint = "Bars go forward in time. Sort them, or say allow_unsorted=True to have them sorted."
        findings.refuse_rows("unsorted", hint, back, bars.rows)
    codes = bars.rows.codes if bars.rows.codes is not None else np.zeros(bars.rows.n)
    return bars.take(np.lexsort((bars.rows.nanos, codes)))


def refuse_times(
    bars: LongBars,
    findings: Findings,
    *,
    allow_mixed_spacing: bool = False,
    now: datetime | str | None = None,
) -> None:
    """Refuse timestamps that are there twice, in the wrong unit, in the future, or of two spacings.

    Args:
        bars: Bars in the order of :func:`order_rows`.
        findings: Where faults and notes go.
        allow_mixed_spacing: Record two spacings instead of refusing them.
        now: The clock that no bar may be ahead of; naive stands for UTC.
    """
    rows = bars.rows
    if not rows.readable or rows.n == 0:
        return
    _refuse_duplicates(bars, findings)
    _refuse_epoch_unit(rows, findings)
    if now is not None:
        clock = pd.Timestamp(now)
        clock = clock.tz_localize("UTC") if clock.tz is None else clock
        hint = f"The clock stands at {clock.isoformat(sep=' ')}; no later bar is known. Naive stamps count as UTC."
        findings.refuse_rows("future", hint, rows.nanos > clock.as_unit("ns").value, rows)
    other, usual = _other_spacing(rows)
    if other.any() and allow_mixed_spacing:
        findings.record_rows("mixed_spacing", "bars of two spacings, as allowed", other, rows)
    elif other.any():
        hint = (
            f"Most bars are {pd.Timedelta(usual)} apart and these are not. Bring all to one spacing, or say "
            "allow_mixed_spacing=True."
        )
        findings.refuse_rows("mixed_spacing", hint, other, rows)


def refuse_values(bars: LongBars, findings: Findings, *, allow_negative_prices: bool = False) -> None:
    """Refuse nulls, infinities, impossible prices and volumes, and bars whose prices contradict each other."""
    rows, columns = bars.rows, bars.columns
    sound: dict[str, FloatArray] = {}
    for name in PRICE_COLUMNS:
        if name in columns:
            sound[name] = _refuse_price(columns[name], name, rows, findings, allow_negative_prices)
    if "volume" in columns:
        volume = columns["volume"]
        _refuse_not_finite(volume, "volume", rows, findings)
        hint = "Volume is zero or more; zero is accepted."
        negative = volume.values < 0
        findings.refuse_rows("negative_volume", hint, negative, rows, column="volume", values=volume.values)
    _refuse_contradictions(sound, rows, findings)


def _refuse_not_finite(column: Column, name: str, rows: Rows, findings: Findings) -> None:
    missing = np.isnan(column.values)
    if column.refused is not None:
        missing &= ~column.refused
    hint = "Nothing is filled in for you. Drop or fill these rows yourself, knowingly."
    findings.refuse_rows("missing_value", hint, missing, rows, column=name)
    infinite = np.isinf(column.values)
    hint = "A division by zero? Drop or repair these rows."
    findings.refuse_rows("infinite", hint, infinite, rows, column=name, values=column.values)


def _refuse_price(
    column: Column, name: str, rows: Rows, findings: Findings, allow_negative: bool
) -> FloatArray:
    """Refuse the prices that cannot be; return the others, with NaN in the place of those."""
    values = column.values
    if rows.n and values.min() > 0 and values.max() < np.inf:
        return values
    _refuse_not_finite(column, name, rows, findings)
    sentinel = np.isin(values, SENTINELS)
    if allow_negative and sentinel.any():
        sentinel = _stands_alone(values, sentinel)
    hint = "A sentinel for a missing price. Drop these rows yourself, knowingly."
    findings.refuse_rows("sentinel", hint, sentinel, rows, column=name, values=values)
    low: BoolArray = (values <= 0) & ~sentinel & np.isfinite(values)
    if allow_negative:
        findings.record_rows("negative_price", "zero or negative prices, as allowed", low, rows, column=name)
        return np.where(sentinel | np.isinf(values), np.nan, values)
    hint = "Prices are above zero. For spreads, which may not be, say allow_negative_prices=True."
    findings.refuse_rows("not_positive", hint, low, rows, column=name, values=values)
    return np.where(sentinel | low | np.isinf(values), np.nan, values)


def _stands_alone(values: FloatArray, sentinel: BoolArray) -> BoolArray:
    """Keep the sentinels that no other price comes near: a spread may trade through -999."""
    others = values[~sentinel & np.isfinite(values)]
    alone = [value for value in SENTINELS if not (np.abs(others - value) < 0.1 * abs(value)).any()]
    return sentinel & np.isin(values, alone)


def _refuse_contradictions(prices: Mapping[str, FloatArray], rows: Rows, findings: Findings) -> None:
    """Refuse a high below its low, and an open or close outside of both."""
    if "high" not in prices or "low" not in prices:
        return
    high, low = prices["high"], prices["low"]
    hint = "The highest price is below the lowest. Are the columns swapped?"
    findings.refuse_rows("high_below_low", hint, high < low, rows, column="high", values=high)
    for name in ("open", "close"):
        if name not in prices:
            continue
        price = prices[name]
        outside = ((price > high) | (price < low)) & ~(high < low)
        if not outside.any():
            continue
        slack = ROUNDING * np.abs(price)
        far: BoolArray = outside & ((price > high + slack) | (price < low - slack))
        hint = f"{name} lies outside low and high. Were only some of the prices adjusted?"
        findings.refuse_rows("outside_range", hint, far, rows, column=name, values=price)
        message = "outside low and high by less than 1e-9 of the price: rounding, left as it is"
        findings.record_rows("rounding", message, outside & ~far, rows, column=name)


def _refuse_duplicates(bars: LongBars, findings: Findings) -> None:
    rows = bars.rows
    again = np.concatenate([[False], row_distances(rows) == 0])
    if not again.any():
        return
    second = np.flatnonzero(again)
    same = all(
        np.array_equal(column.values[second], column.values[second - 1], equal_nan=True)
        for column in bars.columns.values()
    )
    stamps = rows.nanos[again]
    hours = stamps % DAY // HOUR
    sundays = (stamps // DAY + 3) % 7 == SUNDAY
    if rows.tz is None and (stamps % DAY != 0).all() and sundays.all() and (hours < 4).all():
        hint = (
            "They look like the hour that a clock set back has twice. Keep the time zone: "
            "tz_localize(..., ambiguous='infer')."
        )
    elif same:
        hint = "The rows say the same. Keep one: frame[~frame.index.duplicated()]."
    else:
        hint = (
            "The rows contradict each other. Find out which is right; if they belong to several symbols, add "
            "a symbol column."
        )
    findings.refuse_rows("duplicate_timestamp", hint, again, rows)


def _refuse_epoch_unit(rows: Rows, findings: Findings) -> None:
    """Refuse seconds, milliseconds or microseconds read as something smaller: all fall into January 1970."""
    if rows.nanos.min() < 0 or rows.nanos.max() >= 31 * DAY:
        return
    distances = row_distances(rows)
    distances = distances[distances > BETWEEN_SYMBOLS]
    typical = float(np.median(distances)) if len(distances) else float(rows.nanos[0] % DAY != 0)
    if typical and typical < HOUR:
        hint = "All bars fall into January 1970: an epoch read in too small a unit. Try pd.to_datetime(..., unit='s')."
        findings.refuse_rows("epoch_unit", hint, np.ones(rows.n, dtype=bool), rows)


def _other_spacing(rows: Rows) -> tuple[BoolArray, int]:
    """Return the rows in regular stretches whose spacing is not the most frequent one, and that one.

    A stretch is regular when most of its distances equal its shortest one, give or take a fifth: nights,
    weekends, holidays and months of 28 to 31 days leave it so, and bars that come irregularly never are.
    """
    other = np.zeros(rows.n, dtype=bool)
    size = int(np.clip(rows.n // max(1, len(rows.symbols)) // 4, 6, STRETCH))
    if rows.n <= size:
        return other, 0
    stride = size // 3
    stretches = np.lib.stride_tricks.sliding_window_view(row_distances(rows), size)[::stride]
    shortest = stretches.min(axis=1)
    share = (stretches <= SAME_SPACING * shortest[:, None]).mean(axis=1)
    regular = np.flatnonzero((shortest > BETWEEN_SYMBOLS) & (share >= REGULAR_SHARE))
    if len(regular) == 0:
        return other, 0
    spacing = shortest[regular]
    usual = int(np.sort(spacing)[(len(spacing) - 1) // 2])
    unlike = (spacing >= OTHER_SPACING * usual) | (spacing * OTHER_SPACING <= usual)
    for start in regular[unlike] * stride:
        other[start + 1 : start + 1 + size] = True
    return other, usual


def row_distances(rows: Rows) -> IntArray:
    """Return the nanoseconds from each row to the next, a single one where the next is another symbol's."""
    distances = np.diff(rows.nanos)
    if rows.codes is not None:
        distances[np.diff(rows.codes) != 0] = BETWEEN_SYMBOLS
    return distances


def _narrow(codes: IntArray) -> NDArray[np.signedinteger[Any]]:
    """Return codes in a type that numpy sorts by counting."""
    return codes.astype(np.int16) if codes.max(initial=0) < 2**15 else codes
