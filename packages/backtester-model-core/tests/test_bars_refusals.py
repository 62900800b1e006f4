"""Bars that must be refused, one row for each way in which people's bars are wrong."""

from __future__ import annotations

import datetime as dt
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from backtester_model_core.bars import check_bars, examine_bars
from backtester_model_core.exceptions import BarsError

N_BARS = 60
OPEN, HIGH, LOW, CLOSE, VOLUME = range(5)


def daily(n: int = N_BARS, *, start: str = "2024-01-02", level: float = 100.0) -> pd.DataFrame:
    """Weekday bars that wander a little around a level."""
    wave = np.sin(np.arange(n) / 3.0)
    close = level * (1 + 0.02 * wave)
    values = {
        "open": close * 0.999,
        "high": close * 1.01,
        "low": close * 0.99,
        "close": close,
        "volume": 1000.0 + 10 * np.arange(n),
    }
    return pd.DataFrame(values, index=pd.bdate_range(start, periods=n, name="timestamp"))


def hourly(n: int = N_BARS, *, start: str = "2024-01-02") -> pd.DataFrame:
    return daily(n).set_axis(pd.date_range(start, periods=n, freq="h", name="timestamp"))


def with_index(frame: pd.DataFrame, index: Any) -> pd.DataFrame:
    return frame.set_axis(pd.Index(index), axis=0)


def with_cell(column: int, value: Any, *, row: int = 7) -> pd.DataFrame:
    frame = daily().astype(object) if not isinstance(value, float) else daily()
    frame.iloc[row, column] = value
    return frame


def with_rows(rows: slice, value: float) -> pd.DataFrame:
    frame = daily()
    frame.iloc[rows] = value
    return frame


def with_column(name: str, values: Any) -> pd.DataFrame:
    return daily().assign(**{name: values})


def with_text_in_close(text: str) -> pd.DataFrame:
    close = [str(value) for value in daily()["close"]]
    return with_column("close", [*close[:7], text, *close[8:]])


def beside(*frames: pd.DataFrame) -> pd.DataFrame:
    return pd.concat(list(frames), axis=1)


def after(*frames: pd.DataFrame) -> pd.DataFrame:
    return pd.concat(list(frames))


def long() -> pd.DataFrame:
    both = [daily().assign(symbol="AAA"), daily(level=50).assign(symbol="BBB")]
    return pd.concat(both).reset_index()


def aware_and_naive() -> list[dt.datetime]:
    stamps: list[dt.datetime] = [stamp.to_pydatetime() for stamp in daily().index]
    return [*stamps[:30], *(stamp.replace(tzinfo=dt.UTC) for stamp in stamps[30:])]


def clock_set_back() -> pd.DataFrame:
    local = pd.date_range("2024-11-03 04:00", periods=10, freq="30min", tz="UTC").tz_convert(
        "America/New_York"
    )
    return with_index(daily(10), local.tz_localize(None)).sort_index()


def epoch(unit: str) -> pd.DatetimeIndex:
    seconds = daily().index.to_numpy().astype("datetime64[s]").astype(np.int64)
    return pd.DatetimeIndex(seconds.astype(f"datetime64[{unit}]"))


def half_daily_half_hourly() -> pd.DataFrame:
    return after(daily(30), hourly(30, start="2024-03-01"))


SHAPE = {
    "none": (lambda: None, "not_a_frame"),
    "a dict of scalars": (lambda: {"open": 1.0, "close": 2.0}, "not_a_frame"),
    "a dict of columns": (lambda: {"open": [1.0], "close": [2.0]}, "not_a_frame"),
    "a series": (lambda: daily()["close"], "not_a_frame"),
    "an array": (lambda: daily().to_numpy(), "not_a_frame"),
    "an empty frame": (pd.DataFrame, "empty"),
    "a frame without rows": (lambda: daily().iloc[:0], "empty"),
    "an empty dict": (dict, "empty"),
    "a dict of an empty frame": (lambda: {"AAA": daily().iloc[:0]}, "empty"),
    "no close": (lambda: daily().drop(columns="close"), "missing_column"),
    "no volume": (lambda: daily().drop(columns="volume"), "missing_column"),
    "no columns that are known": (lambda: pd.DataFrame({"a": [1.0]}, index=daily(1).index), "missing_column"),
    "close and Close": (lambda: with_column("Close", 1.0), "duplicate_column"),
    "close twice": (lambda: beside(daily(), daily()[["close"]]), "duplicate_column"),
    "close.1 as read_csv makes of a second close": (lambda: with_column("close.1", 1.0), "duplicate_column"),
    "two tickers side by side, unnamed": (lambda: beside(daily(), daily(level=50)), "duplicate_column"),
    "two tickers below each other, unnamed": (lambda: after(daily(), daily(level=50)), "duplicate_timestamp"),
    "three column levels": (
        lambda: daily().set_axis(pd.MultiIndex.from_product([["A"], ["b"], list(daily())]), axis=1),
        "unreadable_columns",
    ),
    "two column levels without a known field": (
        lambda: daily().set_axis(pd.MultiIndex.from_product([["A"], list("vwxyz")]), axis=1),
        "unreadable_columns",
    ),
    "three index levels": (
        lambda: long().assign(x=1).set_index(["timestamp", "symbol", "x"]),
        "unreadable_index",
    ),
    "two index levels without time": (
        lambda: long().assign(x="a").set_index(["x", "symbol"]),
        "unreadable_index",
    ),
    "a row without a symbol": (lambda: long().replace({"symbol": {"BBB": None}}), "missing_symbol"),
    "tickers in the columns and in the rows": (
        lambda: beside(daily().add_prefix("AAA."), daily().add_prefix("BBB.")).assign(symbol="CCC"),
        "symbols_twice",
    ),
    "a dict whose frame holds several symbols": (lambda: {"AAA": long()}, "several_symbols"),
    "two keys that are one symbol": (lambda: {1: daily(), "1": daily()}, "duplicate_symbol"),
    "a date column and a time column": (
        lambda: daily().reset_index(drop=True).assign(date="2024-01-02", time="09:30"),
        "two_time_columns",
    ),
}

TIME = {
    "a timestamp twice, same values": (
        lambda: after(daily(), daily().iloc[[5]]).sort_index(),
        "duplicate_timestamp",
    ),
    "a timestamp twice, other values": (
        lambda: after(daily(), daily(level=50).iloc[[5]]).sort_index(),
        "duplicate_timestamp",
    ),
    "a clock set back": (clock_set_back, "duplicate_timestamp"),
    "a RangeIndex": (lambda: daily().reset_index(drop=True), "no_timestamps"),
    "day-first strings": (
        lambda: with_index(daily(), daily().index.strftime("%d/%m/%Y")),
        "not_iso_timestamp",
    ),
    "month-first strings": (
        lambda: with_index(daily(), daily().index.strftime("%m/%d/%Y")),
        "not_iso_timestamp",
    ),
    "one day-first string": (
        lambda: with_index(daily(), [*daily().index.strftime("%Y-%m-%d")[:-1], "31/12/2024"]),
        "not_iso_timestamp",
    ),
    "a day that no month has": (
        lambda: with_index(daily(), ["2024-02-30", *daily().index.strftime("%Y-%m-%d")[1:]]),
        "not_iso_timestamp",
    ),
    "years only": (lambda: with_index(daily(2), ["2023", "2024"]), "integer_timestamps"),
    "months only": (lambda: with_index(daily(2), ["2023-11", "2023-12"]), "not_iso_timestamp"),
    "a time column of day-first strings": (
        lambda: daily().assign(Date=daily().index.strftime("%d.%m.%Y")).reset_index(drop=True),
        "not_iso_timestamp",
    ),
    "epoch milliseconds": (lambda: with_index(daily(), epoch("s").as_unit("ms").asi8), "integer_timestamps"),
    "epoch milliseconds in a column": (
        lambda: daily().assign(timestamp=epoch("s").as_unit("ms").asi8).reset_index(drop=True),
        "integer_timestamps",
    ),
    "epoch seconds as text": (
        lambda: with_index(daily(), epoch("s").asi8.astype(str)),
        "integer_timestamps",
    ),
    "epoch seconds as objects": (
        lambda: with_index(daily(), epoch("s").asi8.astype(object)),
        "integer_timestamps",
    ),
    "epoch seconds as floats": (lambda: with_index(daily(), epoch("s").asi8 / 1.0), "integer_timestamps"),
    "epoch seconds read as nanoseconds": (lambda: with_index(daily(), epoch("ns")), "epoch_unit"),
    "epoch seconds read as microseconds": (lambda: with_index(daily(), epoch("us")), "epoch_unit"),
    "epoch seconds read as milliseconds": (lambda: with_index(daily(), epoch("ms")), "epoch_unit"),
    "one epoch second read as nanoseconds": (lambda: with_index(daily(1), epoch("ns")[:1]), "epoch_unit"),
    "milliseconds read as seconds": (
        lambda: with_index(daily(), pd.DatetimeIndex((epoch("s").asi8 * 1000).astype("datetime64[s]"))),
        "timestamp_out_of_range",
    ),
    "aware and naive": (
        lambda: with_index(daily(), pd.Index(aware_and_naive(), dtype=object)),
        "mixed_timezones",
    ),
    "aware and naive text": (
        lambda: with_index(hourly(2), ["2024-01-02T10:00Z", "2024-01-02T11:00"]),
        "mixed_timezones",
    ),
    "aware and naive frames": (
        lambda: {"AAA": daily(), "BBB": daily().tz_localize("UTC")},
        "mixed_timezones",
    ),
    "true and false as timestamps": (lambda: with_index(daily(2), [False, True]), "unreadable_timestamps"),
    "lists as timestamps": (
        lambda: daily(2).assign(date=[[2024, 1, 2], [2024, 1, 3]]).reset_index(drop=True),
        "not_iso_timestamp",
    ),
    "durations as timestamps": (
        lambda: with_index(daily(), pd.timedelta_range("1D", periods=N_BARS)),
        "unreadable_timestamps",
    ),
    "NaT": (
        lambda: with_index(daily(), [*daily().index[:7], pd.NaT, *daily().index[8:]]),
        "missing_timestamp",
    ),
    "only NaT": (lambda: with_index(daily(2), [None, None]), "missing_timestamp"),
    "NaT in a panel": (
        lambda: (
            long()
            .assign(timestamp=lambda f: f["timestamp"].mask(f.index == 7))
            .set_index(["timestamp", "symbol"])
        ),
        "missing_timestamp",
    ),
    "two spacings": (half_daily_half_hourly, "mixed_spacing"),
    "newest first": (lambda: daily().iloc[::-1], "unsorted"),
    "one symbol of a panel unsorted": (
        lambda: after(daily().assign(symbol="AAA"), daily().iloc[::-1].assign(symbol="BBB")).reset_index(),
        "unsorted",
    ),
}

VALUES = {
    "NaN close": (lambda: with_cell(CLOSE, np.nan), "missing_value"),
    "NaN volume": (lambda: with_cell(VOLUME, np.nan), "missing_value"),
    "null close": (lambda: with_cell(CLOSE, None), "missing_value"),
    "nullable null": (lambda: with_cell(CLOSE, np.nan).astype("Float64"), "missing_value"),
    "Arrow null": (lambda: with_cell(CLOSE, np.nan).astype("double[pyarrow]"), "missing_value"),
    "a row of NaN": (lambda: with_rows(slice(7, 8), np.nan), "missing_value"),
    "trailing rows of NaN": (lambda: with_rows(slice(50, None), np.nan), "missing_value"),
    "infinite close": (lambda: with_cell(CLOSE, np.inf), "infinite"),
    "infinite volume": (lambda: with_cell(VOLUME, np.inf), "infinite"),
    "zero low": (lambda: with_cell(LOW, 0.0), "not_positive"),
    "negative low": (lambda: with_cell(LOW, -1.0), "not_positive"),
    "negative volume": (lambda: with_cell(VOLUME, -1.0), "negative_volume"),
    "high below low": (lambda: daily().rename(columns={"high": "low", "low": "high"}), "high_below_low"),
    "close above high": (lambda: with_cell(CLOSE, 150.0), "outside_range"),
    "open below low": (lambda: with_cell(OPEN, 50.0), "outside_range"),
    "-999": (lambda: with_cell(LOW, -999.0), "sentinel"),
    "-9999 in every price": (lambda: with_rows(slice(7, 8), -9999.0), "sentinel"),
    "text numbers with commas": (lambda: with_text_in_close("1,234.5"), "number_with_comma"),
    "decimal commas": (lambda: with_column("close", ["101,5"] * N_BARS), "number_with_comma"),
    "one bad string": (lambda: with_text_in_close("n/a"), "not_a_number"),
    "an empty string": (lambda: with_text_in_close(""), "not_a_number"),
    "the text nan": (lambda: with_text_in_close("nan"), "not_a_number"),
    "one bad string among floats": (lambda: with_cell(CLOSE, "n/a"), "not_a_number"),
    "one bad Arrow string": (
        lambda: with_text_in_close("n/a").astype({"close": "string[pyarrow]"}),
        "not_a_number",
    ),
    "one True among floats": (lambda: with_cell(CLOSE, value=True), "not_a_number"),
    "one datetime among floats": (lambda: with_cell(CLOSE, dt.date(2024, 1, 2)), "not_a_number"),
    "one list among floats": (lambda: with_column("close", [[1.0], *daily()["close"][1:]]), "not_a_number"),
    "bool prices": (lambda: with_column("close", values=True), "not_numeric"),
    "complex prices": (lambda: with_column("close", 1j), "not_numeric"),
    "category prices": (lambda: daily().astype({"close": "category"}), "not_numeric"),
    "datetime prices": (lambda: with_column("close", pd.Timestamp("2024-01-02")), "not_numeric"),
    "integer prices beyond 2**53": (lambda: with_column("high", 2**53 + 1), "integer_too_large"),
    "nullable integer prices beyond 2**53": (
        lambda: with_column("high", 2**53 + 1).astype({"high": "Int64"}),
        "integer_too_large",
    ),
    "object integer prices beyond int64": (
        lambda: with_column("high", pd.Series([2**70] * N_BARS, daily().index, dtype=object)),
        "integer_too_large",
    ),
}


REFUSED = {**SHAPE, **TIME, **VALUES}

FAULTS_EACH = {
    "no columns that are known": 5,
    "two tickers side by side, unnamed": 5,
    "two tickers below each other, unnamed": 2,
    "a row of NaN": 5,
    "trailing rows of NaN": 5,
    "-9999 in every price": 5,
    "high below low": 1,
}
"""Inputs that are wrong in more than one way."""


@pytest.mark.parametrize("name", REFUSED)
def test_is_refused_for_its_own_reason_and_no_other(name: str) -> None:
    build, code = REFUSED[name]

    report = examine_bars(build())

    assert report.frame is None
    assert code in {fault.code for fault in report.faults}
    assert len(report.faults) == FAULTS_EACH.get(name, 1)


@pytest.mark.parametrize("name", REFUSED)
def test_check_bars_raises_what_examine_bars_reports(name: str) -> None:
    build, _ = REFUSED[name]

    with pytest.raises(BarsError) as caught:
        check_bars(build())

    assert caught.value.faults == examine_bars(build()).faults
    assert len(str(caught.value).splitlines()[0]) <= 120


def test_every_fault_says_what_to_do() -> None:
    hints = [fault.hint for build, _ in REFUSED.values() for fault in examine_bars(build()).faults]

    assert [hint for hint in hints if not hint.endswith((".", "?"))] == []


def test_a_fault_names_column_count_first_timestamp_and_value() -> None:
    frame = daily()
    frame.iloc[[7, 9], CLOSE] = 150.0

    (fault,) = examine_bars(frame).faults

    assert (fault.code, fault.column, fault.symbol) == ("outside_range", "close", None)
    assert (fault.count, fault.first, fault.value) == (2, "2024-01-11", "150")


def test_a_fault_in_a_panel_names_its_symbol() -> None:
    bars = long()
    bars.loc[(bars["symbol"] == "BBB") & (bars["timestamp"] >= "2024-03-20"), "volume"] = -1.0

    (fault,) = examine_bars(bars).faults

    assert (fault.symbol, fault.column, fault.count, fault.first) == ("BBB", "volume", 4, "2024-03-20")


@pytest.mark.parametrize("shape", ["dict", "wide", "long", "index"])
def test_a_bad_string_is_located_in_every_shape(shape: str) -> None:
    bad = with_text_in_close("n/a")
    frames = {"AAA": daily(), "BBB": bad}
    data: Any = {
        "dict": frames,
        "wide": pd.concat(frames, axis=1),
        "long": pd.concat(frames, names=["symbol"]).reset_index(),
        "index": pd.concat(frames, names=["symbol"]),
    }[shape]

    (fault,) = examine_bars(data).faults

    assert (fault.code, fault.symbol, fault.first, fault.value) == (
        "not_a_number",
        "BBB",
        "2024-01-11",
        "n/a",
    )


def test_all_faults_are_reported_at_once() -> None:
    frame = daily().drop(columns="volume")
    frame.iloc[3, OPEN] = np.nan
    frame.iloc[5, LOW] = -1.0
    frame.iloc[8, CLOSE] = 150.0

    report = examine_bars(after(frame, frame.iloc[[-1]]))

    assert [fault.code for fault in report.faults] == [
        "missing_column",
        "duplicate_timestamp",
        "missing_value",
        "not_positive",
        "outside_range",
    ]


def test_a_bad_string_does_not_hide_a_null_in_the_same_column() -> None:
    frame = with_text_in_close("n/a")
    frame.iloc[20, CLOSE] = None

    report = examine_bars(frame)

    assert [(fault.code, fault.count) for fault in report.faults] == [
        ("not_a_number", 1),
        ("missing_value", 1),
    ]


def test_values_are_checked_even_where_timestamps_cannot_be_read() -> None:
    report = examine_bars(with_cell(VOLUME, -1.0).reset_index(drop=True))

    assert [(fault.code, fault.first) for fault in report.faults] == [
        ("no_timestamps", None),
        ("negative_volume", "row 7"),
    ]


def test_twenty_faults_are_shown_and_all_are_counted() -> None:
    frames = {f"S{k:02d}": with_cell(VOLUME, -1.0) for k in range(30)}

    with pytest.raises(BarsError, match="30 faults in bars: negative_volume") as caught:
        check_bars(frames)

    assert len(caught.value.faults) == 30
    assert str(caught.value).count("negative_volume: S") == 20
    assert str(caught.value).endswith("(and 10 more)")


@pytest.mark.parametrize("shape", ["dict", "wide", "long"])
def test_an_unknown_symbol_is_told_what_there_is(shape: str) -> None:
    frames = {"AAA": daily(), "BBB": daily()}
    data: Any = {"dict": frames, "wide": pd.concat(frames, axis=1), "long": long()}[shape]

    (fault,) = examine_bars(data, symbol="AAB").faults

    assert fault.code == "unknown_symbol"
    assert fault.hint == "There is: AAA, BBB. Did you mean 'AAA'?"


def test_a_ticker_of_a_wide_frame_without_any_of_the_bars_columns_is_refused() -> None:
    wide = pd.concat({"AAA": daily(), "BBB": daily()[["close"]].set_axis(["vwap"], axis=1)}, axis=1)

    faults = examine_bars(wide).faults

    assert {(fault.code, fault.symbol) for fault in faults} == {("missing_column", "BBB")}


def test_an_unknown_symbol_among_many_is_told_the_first_ten() -> None:
    frames = {f"S{k:02d}": daily() for k in range(12)}

    (fault,) = examine_bars(frames, symbol="Q").faults

    assert fault.hint == "There is: S00, S01, S02, S03, S04, S05, S06, S07, S08, S09 and 2 more."


def test_a_ticker_without_a_bar_cannot_be_selected() -> None:
    wide = pd.concat({"AAA": daily(), "BBB": daily() * np.nan}, axis=1)

    (fault,) = examine_bars(wide, symbol="BBB").faults

    assert fault.code == "empty"


def test_bars_after_the_clock_are_refused() -> None:
    (fault,) = examine_bars(daily(), now="2024-03-20 12:00").faults

    assert (fault.code, fault.count, fault.first) == ("future", 3, "2024-03-21")


def test_the_clock_is_compared_as_an_instant() -> None:
    tokyo = hourly(3).tz_localize("Asia/Tokyo")

    assert examine_bars(tokyo, now="2024-01-01 17:00").faults == ()
    assert examine_bars(tokyo, now="2024-01-01 16:59").faults[0].first == "2024-01-02 02:00:00+09:00"


def test_two_symbols_of_other_spacings_are_refused_together() -> None:
    (fault,) = examine_bars({"AAA": daily(), "BBB": daily(), "CCC": hourly()}).faults

    assert (fault.code, fault.symbol) == ("mixed_spacing", "CCC")


def test_a_clock_set_back_is_recognised_in_the_hint() -> None:
    (fault,) = examine_bars(clock_set_back()).faults

    assert "clock set back" in fault.hint


@pytest.mark.parametrize(("level", "hint"), [(100.0, "say the same"), (50.0, "contradict each other")])
def test_duplicates_are_told_apart_by_their_values(level: float, hint: str) -> None:
    (fault,) = examine_bars(after(daily(), daily(level=level).iloc[[5]]).sort_index()).faults

    assert hint in fault.hint


def test_a_sentinel_is_refused_where_negative_prices_are_allowed() -> None:
    (fault,) = examine_bars(with_cell(LOW, -999.0), allow_negative_prices=True).faults

    assert fault.code == "sentinel"


CELLS = st.one_of(
    st.floats(),
    st.integers(),
    st.text(max_size=4),
    st.none(),
    st.booleans(),
    st.decimals(allow_nan=False),
    st.complex_numbers(),
    st.binary(max_size=2),
    st.dates(),
    st.timedeltas(),
    st.sampled_from(["1,2", "1_0", "1e400", " 5 ", pd.NA, pd.NaT, [1], {}]),
)
STAMPS = st.one_of(
    st.datetimes(),
    st.datetimes(timezones=st.just(dt.UTC)),
    st.dates(),
    st.integers(),
    st.floats(),
    st.booleans(),
    st.text(max_size=8),
    st.sampled_from(
        ["2024-01-02", "2024-13-01", "99999999", "2024-01-02T10:00+99:00", None, pd.NaT, ("a", 1)]
    ),
)


@given(
    st.lists(st.tuples(st.integers(0, 5), st.integers(0, 4), CELLS), max_size=4), st.lists(STAMPS, max_size=6)
)
@settings(max_examples=150)
def test_whatever_is_in_the_cells_and_the_index_it_is_refused_or_accepted(
    cells: list[tuple[int, int, Any]], stamps: list[Any]
) -> None:
    frame = daily(6).astype(object)
    for row, column, value in cells:
        frame.iat[row, column] = value
    mixed = [*stamps, *frame.index[len(stamps) :]]
    report = examine_bars(frame.set_axis(pd.Index(mixed, dtype=object, tupleize_cols=False)))

    assert (report.frame is None) == bool(report.faults)
    assert report.frame is None or np.isfinite(report.frame.to_numpy()).all()


def test_notes_that_are_not_ours_are_refused() -> None:
    frame = check_bars(daily())
    frame.attrs["backtester_model_core.bars_notes"] = "[1]"

    (fault,) = examine_bars(frame).faults

    assert fault.code == "unreadable_notes"
