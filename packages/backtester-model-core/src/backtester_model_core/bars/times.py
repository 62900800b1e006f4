"""Read timestamps from what people keep them in, without ever guessing an order of day and month."""

from __future__ import annotations

import numpy as np
import pandas as pd
from pandas.api.types import infer_dtype, is_bool_dtype, is_numeric_dtype

from backtester_model_core.bars.findings import NO_TIME, BarsNote, Findings, Rows
from backtester_model_core.typing import BoolArray, FloatArray, IntArray

ISO_DATE = r"\d{4}([-/])\d{1,2}\1\d{1,2}|\d{8}"
ISO_OFFSET = r"Z|[+-]\d{2}:?\d{2}"
ISO_STAMP = rf"(?:{ISO_DATE})(?:[T ]\d{{1,2}}:\d{{2}}(?::\d{{2}}(?:\.\d+)?)?\s?(?:{ISO_OFFSET})?)?"

DAY_FIRST_HINT = (
    "Only ISO dates are read (2020-01-31), because 01/02/2020 may be January or February. "
    "Parse them yourself: pd.to_datetime(..., format='%d/%m/%Y')."
)
YEARS = range(1678, 2262)
"""The years that nanoseconds can count."""

YEARS_HINT = "Timestamps lie between the years 1678 and 2261; were they read with the wrong unit?"
MIXED_ZONES_HINT = (
    "Some timestamps carry a time zone and some do not. Give all of them one: "
    "tz_localize the naive ones, or tz_convert and tz_localize(None) the others."
)


def read_times(raw: pd.Index, findings: Findings, *, codes: IntArray | None = None) -> Rows:
    """Read one timestamp for each row, or add a fault.

    Args:
        raw: The timestamps, one for each row; with ``codes``, the distinct ones.
        findings: Where faults and notes go.
        codes: (n,) position of each row's timestamp in ``raw``, -1 where it is missing.
    """
    if codes is None:
        as_it_is = isinstance(raw, (pd.DatetimeIndex, pd.PeriodIndex)) or is_numeric_dtype(raw)
        codes, raw = (np.arange(len(raw)), raw) if as_it_is else factorize(raw)
    stamps = _to_stamps(raw, findings, codes)
    if stamps is None:
        return unreadable(len(codes))
    try:
        nanos = stamps.as_unit("ns").asi8
    except pd.errors.OutOfBoundsDatetime:
        outside = np.asarray(~stamps.year.isin(YEARS))
        _refuse(findings, "timestamp_out_of_range", YEARS_HINT, stamps, codes, at=outside)
        return unreadable(len(codes))
    return Rows(np.append(nanos, NO_TIME)[codes], stamps.tz)


def factorize(raw: pd.Index) -> tuple[IntArray, pd.Index]:
    """Return each row's position among the distinct values, -1 for nulls; lists and the like count as text."""
    try:
        codes, distinct = pd.factorize(raw)
    except TypeError:
        raw = raw.map(str)
        codes, distinct = pd.factorize(raw)
    return codes.astype(np.int64), pd.Index(distinct, dtype=raw.dtype)


def unreadable(n: int) -> Rows:
    """Return rows without timestamps."""
    return Rows(np.full(n, NO_TIME), readable=False)


def _to_stamps(raw: pd.Index, findings: Findings, codes: IntArray) -> pd.DatetimeIndex | None:
    """Turn distinct timestamps of any kind into a DatetimeIndex of the same length."""
    if isinstance(raw, pd.DatetimeIndex):
        return raw
    if isinstance(raw, pd.PeriodIndex):
        return _from_periods(raw, findings, len(codes))
    if is_numeric_dtype(raw) and not is_bool_dtype(raw):
        _refuse_numbers(raw.to_numpy(dtype=np.float64), raw[0], findings, len(codes))
        return None
    if isinstance(raw.dtype, pd.ArrowDtype) and raw.dtype.kind == "M":
        return pd.DatetimeIndex(raw)
    values = pd.Index(raw, dtype=object)
    kind = infer_dtype(values, skipna=True)
    if kind == "string":
        return _from_text(values, findings, codes)
    if kind in {"datetime", "datetime64", "date"}:
        return _from_objects(values, findings, codes)
    if kind == "period":
        return _from_periods(pd.PeriodIndex(values), findings, len(codes))
    if kind == "empty":
        return pd.DatetimeIndex([pd.NaT] * len(values))
    if kind in {"integer", "floating", "mixed-integer-float", "decimal"}:
        _refuse_numbers(values.to_numpy(dtype=np.float64), values[0], findings, len(codes))
        return None
    hint = "Timestamps are datetimes or ISO text. Convert them: pd.to_datetime(...)."
    findings.refuse("unreadable_timestamps", hint, count=len(codes), value=values[0])
    return None


def _from_periods(periods: pd.PeriodIndex, findings: Findings, n: int) -> pd.DatetimeIndex:
    """Stamp each period at its close: its last day, or within a day the instant at which it ends."""
    day = pd.Timedelta("1D")
    lengths = periods.end_time - periods.start_time
    if len(periods) and lengths.max() < day - pd.Timedelta("1s"):
        stamps = (periods + 1).to_timestamp(how="start")
        message = "periods stamped at the instant at which each ends, so data_config.bar_stamp is close"
    else:
        stamps = periods.asfreq("D", how="E").to_timestamp(how="start")
        message = "periods stamped at the last day of each, so data_config.bar_stamp is close"
    findings.record(BarsNote("period_index", message, count=n))
    return stamps


def _from_text(values: pd.Index, findings: Findings, codes: IntArray) -> pd.DatetimeIndex | None:
    """Parse ISO text; with offsets, as UTC."""
    text = values.str.strip()
    iso = np.asarray(text.str.fullmatch(ISO_STAMP), dtype=bool)
    digits = np.asarray(text.str.fullmatch(r"-?\d+(\.\d*)?"), dtype=bool)
    if (digits & ~iso).all():
        _refuse_numbers(text.to_numpy(dtype=np.float64), text[0], findings, len(codes))
        return None
    aware = np.asarray(text.str.fullmatch(rf".*:.*(?:{ISO_OFFSET})"), dtype=bool)
    if iso.all() and aware.any() and not aware.all():
        _refuse(findings, "mixed_timezones", MIXED_ZONES_HINT, values, codes, at=~aware)
        return None
    stamps = pd.to_datetime(text.where(iso), format="ISO8601", errors="coerce", utc=bool(aware.any()))
    if stamps.hasnans:
        _refuse(findings, "not_iso_timestamp", DAY_FIRST_HINT, values, codes, at=np.asarray(stamps.isna()))
        return None
    findings.record(BarsNote("parsed_timestamps", "ISO text parsed as timestamps", count=len(codes)))
    return stamps


def _from_objects(values: pd.Index, findings: Findings, codes: IntArray) -> pd.DatetimeIndex | None:
    """Convert date and datetime objects; with different time zones, to UTC."""
    zones = [getattr(value, "tzinfo", None) for value in values]
    naive = np.array([zone is None for zone in zones])
    outside = np.array([value.year not in YEARS for value in values])
    if outside.any():
        _refuse(findings, "timestamp_out_of_range", YEARS_HINT, values, codes, at=outside)
        return None
    if naive.any() and not naive.all():
        _refuse(findings, "mixed_timezones", MIXED_ZONES_HINT, values, codes, at=naive)
        return None
    findings.record(
        BarsNote("parsed_timestamps", "date and datetime objects read as timestamps", count=len(codes))
    )
    several = len({str(zone) for zone in zones}) > 1
    return pd.DatetimeIndex(pd.to_datetime(values, utc=True) if several else pd.to_datetime(values))


def _refuse_numbers(numbers: FloatArray, value: object, findings: Findings, n: int) -> None:
    """Refuse numbers as timestamps, with the unit that their size suggests."""
    largest = float(np.nanmax(np.abs(numbers), initial=0.0))
    units = {"s": 1e8, "ms": 1e11, "us": 1e14, "ns": 1e17}
    unit = next((name for name, least in units.items() if least <= largest < least * 1e3), None)
    hint = (
        f"They look like an epoch: pd.to_datetime(..., unit={unit!r})."
        if unit
        else "Give timestamps instead."
    )
    findings.refuse("integer_timestamps", f"Numbers are not timestamps. {hint}", count=n, value=value)


def _refuse(
    findings: Findings, code: str, hint: str, values: pd.Index, codes: IntArray, *, at: BoolArray
) -> None:
    """Add a fault about some of the distinct values, counted in rows."""
    count = int(np.isin(codes, np.flatnonzero(at)).sum())
    findings.refuse(code, hint, count=count, value=values[at][0])
