"""What looks odd about bars that are nevertheless accepted, so that somebody can look before believing."""

from __future__ import annotations

import numpy as np
import pandas as pd

from backtester_model_core.bars.faults import BETWEEN_SYMBOLS, DAY, HOUR, SUNDAY, row_distances
from backtester_model_core.bars.findings import Findings, Rows
from backtester_model_core.bars.shapes import LongBars
from backtester_model_core.bars.values import BARS_COLUMNS, PRICE_COLUMNS
from backtester_model_core.typing import BoolArray, FloatArray, IntArray

SUSPICIONS = frozenset(
    {
        "before_1970",
        "long_gap",
        "dst_gap",
        "jitter",
        "partial_last_bar",
        "spike",
        "split_like",
        "scale_change",
        "stale",
    }
)
"""Codes that are found anew at each examination, because they depend on which bars there are."""

MINUTE = 60_000_000_000

LONG_GAP = 4
"""Times the usual distance."""

SPIKE = 5.0
"""Times the close before and the close after, or the rest of its own bar."""

SCALE_CHANGE = 40.0
SPLITS = np.log([1.5, 2, 3, 4, 5, 6, 7, 8, 10, 15, 20, 25, 30])
SPLIT_TOLERANCE = 0.05
STALE_BARS = 20
SPRING_MONTHS = (3, 4, 9, 10)


def record_suspicions(bars: LongBars, findings: Findings) -> None:
    """Record what looks odd; bars come without a fault, symbol by symbol in time order."""
    rows = bars.rows
    findings.record_rows("before_1970", "bars before 1970", rows.nanos < 0, rows)
    distances = np.concatenate([[BETWEEN_SYMBOLS], row_distances(rows)])
    if (distances > BETWEEN_SYMBOLS).any():
        _record_times(rows, distances, findings)
    prices = {name: bars.columns[name].values for name in BARS_COLUMNS}
    same_symbol = distances > BETWEEN_SYMBOLS
    if all(prices[name].min() > 0 for name in PRICE_COLUMNS):
        _record_jumps(prices, rows, same_symbol, findings)
    _record_stale(prices, rows, same_symbol, findings)


def _record_times(rows: Rows, distances: IntArray, findings: Findings) -> None:
    """Record gaps, jitter and a last bar that came early; ``distances`` lead to each row from the one before."""
    real = distances[distances > BETWEEN_SYMBOLS]
    spacing = int(np.quantile(real, 0.25, method="lower"))
    gaps = distances > LONG_GAP * _usual_distance(real)
    findings.record_rows(
        "long_gap", "a gap of over four times the usual distance ends here; left as it is", gaps, rows
    )
    wall = _wall_clock(rows)
    if rows.tz is None and spacing <= HOUR:
        _record_spring(rows, distances == spacing + HOUR, findings)
    if spacing >= MINUTE:
        fractions = wall % 1_000_000_000
        if fractions.min() != fractions.max():
            findings.record_rows("jitter", "stamps that are off the full second", fractions > 0, rows)
    _record_partial(rows, distances, wall, spacing, findings)


def _usual_distance(distances: IntArray) -> float:
    """Return the distance up to which three quarters of the time pass, so that nights and weekends count."""
    ordered = np.sort(distances)
    ordered = ordered[: max(1, len(ordered) - 1)]
    return float(ordered[np.searchsorted(np.cumsum(ordered), 0.75 * ordered.sum())])


def _wall_clock(rows: Rows) -> IntArray:
    """Return nanoseconds as the clock on the wall shows them."""
    if rows.tz is None:
        return rows.nanos
    stamps = pd.DatetimeIndex(rows.nanos.view("datetime64[ns]"), tz="UTC")
    wall: IntArray = stamps.tz_convert(rows.tz).tz_localize(None).asi8
    return wall


def _record_spring(rows: Rows, candidates: BoolArray, findings: Findings) -> None:
    """Record the hour that clocks set forward leave out: on a Sunday in spring, before four o'clock."""
    at = np.flatnonzero(candidates)
    if len(at) == 0:
        return
    stamps = pd.DatetimeIndex(rows.nanos[at].view("datetime64[ns]"))
    spring = (stamps.day_of_week == SUNDAY) & stamps.month.isin(SPRING_MONTHS) & (stamps.hour <= 4)
    mask = np.zeros(rows.n, dtype=bool)
    mask[at[np.asarray(spring)]] = True
    message = "an hour is left out where clocks are set forward: naive local stamps"
    findings.record_rows("dst_gap", message, mask, rows)


def _record_partial(
    rows: Rows, distances: IntArray, wall: IntArray, spacing: int, findings: Findings
) -> None:
    """Record a symbol's last bar that stands off the grid of the five before, or comes sooner than they did."""
    ends = np.append(np.flatnonzero(distances == BETWEEN_SYMBOLS)[1:], rows.n) - 1
    starts = np.flatnonzero(distances == BETWEEN_SYMBOLS)
    ends = ends[ends - starts >= 6]
    if len(ends) == 0:
        return
    before = ends[:, None] - np.arange(1, 6)
    early = distances[ends] < 0.8 * distances[before].min(axis=1)
    if spacing <= DAY:
        phase = wall % spacing
        off = _apart(phase[before], phase[ends][:, None], spacing)
        steady = _apart(phase[before], phase[before][:, :1], spacing).max(axis=1) <= spacing // 100
        early |= steady & (off.min(axis=1) > spacing // 100)
    mask = np.zeros(rows.n, dtype=bool)
    mask[ends[early]] = True
    findings.record_rows("partial_last_bar", "the last bar may not be complete yet", mask, rows)


def _apart(a: IntArray, b: IntArray, spacing: int) -> IntArray:
    """Return how far two phases of a grid are apart."""
    distance = np.abs(a - b)
    shorter: IntArray = np.minimum(distance, spacing - distance)
    return shorter


def _record_jumps(
    prices: dict[str, FloatArray], rows: Rows, same_symbol: BoolArray, findings: Findings
) -> None:
    """Record spikes, splits that were not adjusted for, and changes of scale; prices are above zero."""
    logs = {name: np.log(prices[name]) for name in PRICE_COLUMNS}
    limit = np.log(SPIKE)
    close = logs["close"]
    change = np.zeros(rows.n)
    np.subtract(close[1:], close[:-1], out=change[1:], where=same_symbol[1:])
    large = np.abs(change) > limit
    returns = np.append(large[1:] & large[:-1] & (change[1:] * change[:-1] < 0), False)
    returns &= np.append(np.abs(change[1:] + change[:-1]) < limit, False)
    body_high, body_low = np.maximum(logs["open"], close), np.minimum(logs["open"], close)
    spikes = {
        "close": returns,
        "high": (logs["high"] - body_high > limit) & ~returns,
        "low": (body_low - logs["low"] > limit) & ~returns,
    }
    message = "over five times away from its neighbours and back"
    for name, mask in spikes.items():
        findings.record_rows("spike", message, mask, rows, column=name)
    lasting = ~(returns | np.append(False, returns[:-1]))
    scale = (np.abs(change) > np.log(SCALE_CHANGE)) & lasting
    findings.record_rows(
        "scale_change", "the price level changes forty-fold and stays", scale, rows, column="close"
    )
    _record_splits(logs, change, rows, lasting & same_symbol & ~scale, findings)


def _record_splits(
    logs: dict[str, FloatArray], change: FloatArray, rows: Rows, lasting: BoolArray, findings: Findings
) -> None:
    """Record openings at a split ratio of the close before, where the price stays there."""
    at = np.flatnonzero(lasting & (np.abs(change) > SPLITS[0] / 2))
    at = at[at > 0]
    gap = np.abs(logs["open"][at] - logs["close"][at - 1])
    near = np.abs(gap[:, None] - SPLITS).min(axis=1, initial=np.inf) < SPLIT_TOLERANCE
    stays = np.abs(np.abs(change[at]) - gap) < np.log(1.25)
    mask = np.zeros(rows.n, dtype=bool)
    mask[at[near & stays]] = True
    findings.record_rows(
        "split_like", "opens at a split's ratio of the close before", mask, rows, column="open"
    )


def _record_stale(
    prices: dict[str, FloatArray], rows: Rows, same_symbol: BoolArray, findings: Findings
) -> None:
    """Record runs of bars that repeat each other to the last digit."""
    repeats = same_symbol.copy()
    for values in prices.values():
        repeats[1:] &= values[1:] == values[:-1]
    run_starts = np.flatnonzero(~repeats)
    lengths = np.diff(np.append(run_starts, rows.n))
    mask = np.zeros(rows.n, dtype=bool)
    mask[run_starts[lengths >= STALE_BARS]] = True
    findings.record_rows("stale", "twenty or more bars repeat each other: a stale feed?", mask, rows)
