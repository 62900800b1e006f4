"""Bars that are accepted: in the shapes in which people have them, with a note where something was done."""

from __future__ import annotations

import datetime as dt
import io
from decimal import Decimal
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from backtester_model_core.bars import Panel, bars_notes, check_bars, examine_bars

COLUMNS = ["open", "high", "low", "close", "volume"]
N_BARS = 60


def clean(n: int = N_BARS, *, level: float = 100.0, index: pd.DatetimeIndex | None = None) -> pd.DataFrame:
    """Weekday bars in the one shape, unless another index is given."""
    close = level * (1 + 0.02 * np.sin(np.arange(n) / 3.0))
    values = {
        "open": close * 0.999,
        "high": close * 1.01,
        "low": close * 0.99,
        "close": close,
        "volume": 1000.0 + 10 * np.arange(n),
    }
    days = pd.bdate_range("2024-01-02", periods=n) if index is None else index
    return pd.DataFrame(
        values, index=pd.DatetimeIndex(days, name="timestamp", freq=None).as_unit("ns")
    ).round(8)


def at(*stamps: Any, **of_range: Any) -> pd.DataFrame:
    """Bars at given timestamps, or over a range of them."""
    index = pd.DatetimeIndex(stamps) if stamps else pd.date_range(**of_range)
    return clean(len(index), index=index)


def panel(**levels: float) -> pd.DataFrame:
    """Two or more symbols' bars in the one shape, written out time by time."""
    rows = {
        (stamp, symbol): clean(level=level).loc[stamp]
        for stamp in clean().index
        for symbol, level in sorted(levels.items())
    }
    frame = pd.DataFrame(rows).T
    frame.index = frame.index.set_names(["timestamp", "symbol"])
    return frame


BOTH = {"AAA": clean(), "BBB": clean(level=50.0)}


def codes(data: Any, **options: Any) -> list[str]:
    return [note.code for note in bars_notes(check_bars(data, **options))]


def titled(frame: pd.DataFrame) -> pd.DataFrame:
    return frame.rename(columns=str.title).rename_axis("Date")


def with_close(values: Any) -> pd.DataFrame:
    """Bars whose close is given and whose other prices follow it."""
    close = np.asarray(values, dtype=float)
    frame = clean(len(close))
    return frame.assign(open=close, high=close * 1.01, low=close * 0.99, close=close)


class Bars(pd.DataFrame):
    """Somebody's own kind of frame."""

    @property
    def _constructor(self) -> type[Bars]:
        return Bars


def read_only(frame: pd.DataFrame) -> pd.DataFrame:
    values = frame.to_numpy(copy=True)
    values.flags.writeable = False
    return pd.DataFrame(values, frame.index, frame.columns, copy=False)


ACCEPTED = {
    "nullable floats": clean().astype("Float64"),
    "Arrow floats": clean().astype("double[pyarrow]"),
    "sparse": clean().astype(pd.SparseDtype("float64", np.nan)),
    "read-only buffers": read_only(clean()),
    "a subclass": Bars(clean()),
    "integer volume": clean().astype({"volume": "int64"}),
    "nullable integer volume": clean().astype({"volume": "Int32"}),
    "unsigned volume": clean().astype({"volume": "uint64"}),
    "microseconds": clean().set_axis(clean().index.as_unit("us")),
    "seconds": clean().set_axis(clean().index.as_unit("s")),
    "Arrow timestamps": clean().set_axis(clean().index.astype("timestamp[us][pyarrow]")),
    "Arrow dates": clean().set_axis(clean().index.astype("date32[pyarrow]")),
    "another index name": clean().rename_axis("when"),
    "an index without a name": clean().rename_axis(None),
    "other column order": clean()[COLUMNS[::-1]],
}


@pytest.mark.parametrize("name", ACCEPTED)
def test_is_accepted_without_a_note(name: str) -> None:
    bars = check_bars(ACCEPTED[name])

    pd.testing.assert_frame_equal(bars, clean(), check_exact=True)
    assert type(bars) is pd.DataFrame
    assert bars_notes(bars) == ()


def test_float32_is_accepted_at_its_own_precision() -> None:
    bars = check_bars(clean().astype("float32"))

    assert (bars.dtypes == "float64").all()
    assert bars["close"].tolist() == clean()["close"].astype("float32").tolist()


@pytest.mark.parametrize("zone", ["UTC", "America/New_York", "Asia/Tokyo"])
def test_time_zones_are_kept(zone: str) -> None:
    aware = clean().tz_localize(zone)

    pd.testing.assert_frame_equal(check_bars(aware), aware)


def test_zero_volume_is_accepted() -> None:
    assert check_bars(clean().assign(volume=0))["volume"].tolist() == [0.0] * N_BARS


def test_a_single_bar_is_accepted() -> None:
    pd.testing.assert_frame_equal(check_bars(clean(1)), clean(1))


REGULAR = {
    "weekdays": {"start": "2020-01-01", "periods": 600, "freq": "B"},
    "every day": {"start": "2020-01-01", "periods": 600, "freq": "D"},
    "weeks": {"start": "2020-01-01", "periods": 200, "freq": "W"},
    "month ends": {"start": "2005-01-31", "periods": 200, "freq": "ME"},
    "business month ends": {"start": "2005-01-31", "periods": 200, "freq": "BME"},
    "quarters": {"start": "1980-01-01", "periods": 100, "freq": "QS"},
    "years": {"start": "1975-01-01", "periods": 40, "freq": "YS"},
    "hours of every day": {"start": "2020-01-01", "periods": 2000, "freq": "h"},
    "hours of New York": {"start": "2020-01-01", "periods": 9000, "freq": "h", "tz": "America/New_York"},
    "minutes": {"start": "2020-01-01", "periods": 5000, "freq": "min"},
    "days of New York": {
        "start": "2020-01-01",
        "periods": 600,
        "freq": "D",
        "tz": "America/New_York",
    },
    "daily bars of January 1970": {"start": "1970-01-01", "periods": 20, "freq": "D"},
}


@pytest.mark.parametrize("name", REGULAR)
def test_regular_bars_raise_no_suspicion(name: str) -> None:
    assert codes(at(**REGULAR[name])) == []


def test_weekends_of_foreign_exchange_raise_no_suspicion() -> None:
    hours = pd.date_range("2024-01-01", periods=24 * 7 * 20, freq="h")

    assert codes(at(*hours[hours.day_of_week < 5])) == []


def sessions(*, hours: int, days: int = 250, minutes: int = 60) -> pd.DatetimeIndex:
    """Bars in a session that begins at half past nine, three hours long on each twentieth day."""
    stamps = [
        day + pd.Timedelta(hours=9, minutes=30 + minutes * k)
        for i, day in enumerate(pd.bdate_range("2023-01-02", periods=days))
        for k in range((3 if i % 20 == 19 else hours) * 60 // minutes)
    ]
    return pd.DatetimeIndex(stamps)


@pytest.mark.parametrize(("hours", "minutes"), [(7, 60), (6, 30), (6, 5), (6, 120), (6, 180)])
def test_nights_and_half_days_raise_no_suspicion(hours: int, minutes: int) -> None:
    assert codes(at(*sessions(hours=hours, minutes=minutes))) == []


@given(st.integers(0, 2**32 - 1), st.floats(0.05, 0.95), st.integers(100, 3000))
@settings(max_examples=60)
def test_irregular_bars_are_not_taken_for_two_spacings(seed: int, chance: float, n: int) -> None:
    minutes = np.random.default_rng(seed).geometric(chance, n).cumsum()
    index = pd.Timestamp("2024-01-02") + pd.to_timedelta(minutes, unit="min")

    assert examine_bars(at(*index)).faults == ()


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ({"periods": 12, "freq": "D"}, {"periods": 12, "freq": "h"}),
        ({"periods": 12, "freq": "h"}, {"periods": 12, "freq": "D"}),
        ({"periods": 250, "freq": "B"}, {"periods": 250, "freq": "h"}),
        ({"periods": 100, "freq": "W"}, {"periods": 100, "freq": "B"}),
        ({"periods": 60, "freq": "ME"}, {"periods": 60, "freq": "W"}),
        ({"periods": 1000, "freq": "min"}, {"periods": 40, "freq": "5min"}),
        ({"periods": 1000, "freq": "30min"}, {"periods": 40, "freq": "h"}),
    ],
)
def test_two_spacings_are_refused_unless_allowed(first: dict[str, Any], second: dict[str, Any]) -> None:
    head = pd.date_range("2023-01-02", **first)
    index = head.append(pd.date_range(head[-1] + pd.Timedelta(days=3), **second))

    assert [fault.code for fault in examine_bars(at(*index)).faults] == ["mixed_spacing"]
    assert "mixed_spacing" in codes(at(*index), allow_mixed_spacing=True)


def test_the_callers_frame_stays_as_it_is() -> None:
    frame = titled(clean()).iloc[::-1].assign(Note="x")
    before = frame.copy(deep=True)

    bars = check_bars(frame, allow_unsorted=True)
    bars.loc[:, :] = 0.0

    pd.testing.assert_frame_equal(frame, before)
    assert frame.attrs == {}


def test_checked_bars_share_no_memory_with_the_callers() -> None:
    frame = clean()
    check_bars(frame)["close"].to_numpy(copy=False)

    assert not np.shares_memory(check_bars(frame).to_numpy(), frame.to_numpy())
    assert not np.shares_memory(check_bars(frame).index.asi8, frame.index.asi8)


# ------------------------------------------------------------------------------------------------ shapes


def long(**columns: Any) -> pd.DataFrame:
    return (
        pd.concat([frame.assign(symbol=symbol) for symbol, frame in BOTH.items()])
        .reset_index()
        .assign(**columns)
    )


def yahoo(frames: dict[str, pd.DataFrame], *, ticker_first: bool = False) -> pd.DataFrame:
    """A frame as yfinance downloads it."""
    wide = pd.concat(
        {symbol: titled(frame) for symbol, frame in frames.items()},
        axis=1,
        sort=True,
        names=["Ticker", "Price"],
    )
    return wide if ticker_first else wide.swaplevel(axis=1).sort_index(axis=1)


def dotted(frames: dict[str, pd.DataFrame]) -> pd.DataFrame:
    return pd.concat([frame.add_prefix(f"{symbol}.") for symbol, frame in frames.items()], axis=1)


ONE_SYMBOL = {
    "Title-case": (titled(clean()), ["renamed"]),
    "UPPER-case": (clean().rename(columns=str.upper), ["renamed"]),
    "blanks around": (clean().rename(columns=" {} ".format), ["renamed"]),
    "yfinance": (yahoo({"SPY": clean()}), ["wide_columns"]),
    "yfinance by ticker": (yahoo({"SPY": clean()}, ticker_first=True), ["wide_columns"]),
    "yfinance for the ticker OPEN": (yahoo({"OPEN": clean()}), ["wide_columns"]),
    "column levels without tickers": (
        clean().set_axis(pd.MultiIndex.from_product([COLUMNS, [""]]), axis=1),
        ["renamed"],
    ),
    "SPY.close": (dotted({"SPY": clean()}), ["wide_columns"]),
    "BRK.B.Close": (dotted({"BRK.B": titled(clean())}), ["wide_columns"]),
    "a Date column": (titled(clean()).reset_index(), ["renamed", "time_column"]),
    "a datetime column": (clean().reset_index(names="datetime"), ["time_column"]),
    "a TIME column": (clean().reset_index(names="TIME"), ["renamed", "time_column"]),
    "ISO text in the index": (
        clean().set_axis(clean().index.strftime("%Y-%m-%d"), axis=0),
        ["parsed_timestamps"],
    ),
    "ISO text in a column": (
        clean().reset_index().assign(timestamp=clean().index.strftime("%Y-%m-%dT%H:%M:%S")),
        ["time_column", "parsed_timestamps"],
    ),
    "compact ISO text": (clean().set_axis(clean().index.strftime("%Y%m%d"), axis=0), ["parsed_timestamps"]),
    "date objects": (clean().set_axis(pd.Index(clean().index.date, dtype=object)), ["parsed_timestamps"]),
    "datetime objects": (clean().set_axis(clean().index.astype(object)), ["parsed_timestamps"]),
    "categories of timestamps": (clean().set_axis(pd.CategoricalIndex(clean().index)), ["parsed_timestamps"]),
    "periods": (clean().set_axis(clean().index.to_period("D")), ["period_index"]),
    "period objects": (clean().set_axis(clean().index.to_period("D").astype(object)), ["period_index"]),
    "an index without a name, reset": (clean().rename_axis(None).reset_index(), ["time_column"]),
    "an index without a name, written and read as CSV": (
        pd.read_csv(io.StringIO(clean().rename_axis(None).to_csv())),
        ["renamed", "time_column", "parsed_timestamps"],
    ),
    "a time column that is second to the index": (clean().assign(date="2024-01-02"), ["dropped"]),
    "a saved row number": (clean().reset_index().assign(**{"Unnamed: 0": range(N_BARS)}), None),
    "object floats": (clean().astype(object), ["coerced"] * 5),
    "Decimals": (clean().assign(close=[Decimal(repr(v)) for v in clean()["close"]]), ["coerced"]),
    "Arrow decimals": (
        clean().astype(pd.ArrowDtype(pa.decimal128(20, 8))),
        ["coerced"] * 5,
    ),
    "text numbers": (clean().assign(close=[repr(v) for v in clean()["close"]]), ["coerced"]),
    "floats and integers and text together": (
        clean().assign(volume=pd.Series([1000, "1010", *clean()["volume"][2:]], clean().index, dtype=object)),
        ["coerced"],
    ),
}


@pytest.mark.parametrize("name", ONE_SYMBOL)
def test_one_symbols_bars_are_brought_into_shape_and_that_is_recorded(name: str) -> None:
    data, expected = ONE_SYMBOL[name]

    bars = check_bars(data)

    pd.testing.assert_frame_equal(bars, clean(), check_exact=True)
    assert expected is None or [note.code for note in bars_notes(bars)] == expected


SEVERAL = {
    "a dict of frames": (dict(BOTH), ["dict_of_frames"]),
    "a dict in other order": (dict(reversed(BOTH.items())), ["dict_of_frames"]),
    "a dict of Title-case frames": ({k: titled(v) for k, v in BOTH.items()}, ["renamed", "dict_of_frames"]),
    "a dict of one-symbol panels": (
        {k: pd.concat({k: v}, names=["symbol"]).swaplevel() for k, v in BOTH.items()},
        ["dict_of_frames"],
    ),
    "yfinance": (yahoo(BOTH), ["wide_columns"]),
    "yfinance by ticker": (yahoo(BOTH, ticker_first=True), ["wide_columns"]),
    "yfinance with the time as a column": (yahoo(BOTH).reset_index(), ["time_column", "wide_columns"]),
    "AAA.close": (dotted(BOTH), ["wide_columns"]),
    "a symbol column": (long(), ["symbol_column", "time_column"]),
    "a Ticker column": (
        long().rename(columns={"symbol": "Ticker"}),
        ["renamed", "symbol_column", "time_column"],
    ),
    "a symbol column beside a time index": (long().set_index("timestamp"), ["symbol_column"]),
    "a time column beside a symbol index": (long().set_index("symbol"), ["time_column"]),
    "a categorical symbol column": (long().astype({"symbol": "category"}), ["symbol_column", "time_column"]),
    "an Arrow symbol column": (
        long().astype({"symbol": "string[pyarrow]"}),
        ["symbol_column", "time_column"],
    ),
    "(timestamp, symbol)": (panel(AAA=100.0, BBB=50.0), []),
    "(timestamp, symbol), symbols in other order": (
        panel(AAA=100.0, BBB=50.0).sort_index(ascending=[True, False]),
        [],
    ),
    "(symbol, timestamp)": (long().set_index(["symbol", "timestamp"]), ["index_levels"]),
    "(Date, Ticker)": (long().set_index(["timestamp", "symbol"]).rename_axis(["Date", "Ticker"]), []),
    "(date text, symbol)": (
        long(timestamp=lambda f: f["timestamp"].dt.strftime("%Y-%m-%d")).set_index(["timestamp", "symbol"]),
        ["parsed_timestamps"],
    ),
    "(period, symbol)": (
        long(timestamp=lambda f: f["timestamp"].dt.to_period("D")).set_index(["timestamp", "symbol"]),
        ["period_index"],
    ),
    "a slice of a larger panel": (panel(AAA=100.0, BBB=50.0, CCC=20.0).drop("CCC", level=1), []),
}


@pytest.mark.parametrize("name", SEVERAL)
def test_several_symbols_are_brought_into_a_panel_and_that_is_recorded(name: str) -> None:
    data, expected = SEVERAL[name]

    bars = check_bars(data)

    pd.testing.assert_frame_equal(bars, panel(AAA=100.0, BBB=50.0), check_exact=True)
    assert [note.code for note in bars_notes(bars)] == expected


@pytest.mark.parametrize("name", SEVERAL)
def test_one_of_several_symbols_gives_its_plain_frame(name: str) -> None:
    data, _ = SEVERAL[name]

    pd.testing.assert_frame_equal(check_bars(data, symbol="BBB"), BOTH["BBB"], check_exact=True)


def test_a_symbol_for_bars_that_name_none_is_recorded() -> None:
    (note,) = bars_notes(check_bars(clean(), symbol="AAA"))

    assert (note.code, note.symbol) == ("symbol_not_named", "AAA")


def test_symbols_list_and_delist_in_a_dict() -> None:
    bars = check_bars({"NEW": clean().iloc[40:], "OLD": clean().iloc[:50]})

    assert bars.index.get_level_values("symbol").value_counts().to_dict() == {"NEW": 20, "OLD": 50}
    pd.testing.assert_frame_equal(bars.xs("NEW", level="symbol"), clean().iloc[40:])


def test_wholly_nan_rows_of_one_ticker_say_that_it_had_no_bar() -> None:
    bars = check_bars(yahoo({"NEW": clean().iloc[40:], "OLD": clean()}))

    pd.testing.assert_frame_equal(bars.xs("NEW", level="symbol"), clean().iloc[40:])
    (note,) = [note for note in bars_notes(bars) if note.code == "absent_bars"]
    assert (note.symbol, note.count, note.first) == ("NEW", 40, "2024-01-02")


def test_partly_nan_rows_of_a_wide_frame_are_refused() -> None:
    wide = yahoo(BOTH)
    wide.loc["2024-01-11", ("Close", "AAA")] = np.nan

    (fault,) = examine_bars(wide).faults

    assert (fault.code, fault.column, fault.symbol, fault.first) == (
        "missing_value",
        "close",
        "AAA",
        "2024-01-11",
    )


def test_wholly_nan_rows_of_the_only_ticker_are_refused() -> None:
    wide = yahoo({"AAA": clean().mask(clean()["volume"] == 1070.0)})

    assert {fault.code for fault in examine_bars(wide).faults} == {"missing_value"}


def test_a_ticker_without_any_bar_is_left_out_and_recorded() -> None:
    bars = check_bars(yahoo({**BOTH, "CCC": clean() * np.nan}))

    pd.testing.assert_frame_equal(bars, panel(AAA=100.0, BBB=50.0), check_exact=True)
    assert ("no_bars", "CCC") in {(note.code, note.symbol) for note in bars_notes(bars)}


def test_a_ticker_without_a_volume_is_refused_by_name() -> None:
    wide = yahoo(BOTH).drop(columns=[("Volume", "BBB")])

    (fault,) = examine_bars(wide).faults

    assert (fault.code, fault.column, fault.symbol) == ("missing_column", "volume", "BBB")


def test_a_column_without_a_ticker_belongs_to_all() -> None:
    bars = check_bars(dotted(BOTH).assign(VIX=20.0))

    assert bars["vix"].tolist() == [20.0] * 2 * N_BARS


def test_symbols_that_are_not_text_are_read_as_text() -> None:
    bars = check_bars(long(symbol=lambda f: f["symbol"].map({"AAA": 10107, "BBB": 9})))

    assert bars.index.unique("symbol").tolist() == ["10107", "9"]
    assert "symbols_as_text" in [note.code for note in bars_notes(bars)]


def test_symbols_of_several_time_zones_are_shown_in_utc() -> None:
    bars = check_bars(
        {"NYC": clean(3).tz_localize("America/New_York"), "TYO": clean(3).tz_localize("Asia/Tokyo")}
    )

    assert bars.index[0] == (pd.Timestamp("2024-01-01 15:00", tz="UTC"), "TYO")
    assert bars.index[1] == (pd.Timestamp("2024-01-02 05:00", tz="UTC"), "NYC")
    assert "timezones_merged" in [note.code for note in bars_notes(bars)]


def test_text_with_offsets_is_read_as_utc() -> None:
    text = ["2024-03-08 09:30:00-05:00", "2024-03-11 09:30:00-04:00"]

    bars = check_bars(clean(2).set_axis(text, axis=0))

    assert bars.index.tolist() == [pd.Timestamp("2024-03-08 14:30Z"), pd.Timestamp("2024-03-11 13:30Z")]


def test_datetime_objects_with_offsets_are_read_as_utc() -> None:
    offsets = [dt.timezone(dt.timedelta(hours=-5)), dt.timezone(dt.timedelta(hours=-4))]
    stamps = [
        dt.datetime(2024, 3, day, 9, 30, tzinfo=zone) for day, zone in zip([8, 11], offsets, strict=True)
    ]

    bars = check_bars(clean(2).set_axis(pd.Index(stamps, dtype=object)))

    assert bars.index.tolist() == [pd.Timestamp("2024-03-08 14:30Z"), pd.Timestamp("2024-03-11 13:30Z")]


def test_months_are_stamped_at_their_last_day_and_hours_at_their_end() -> None:
    months = check_bars(clean(2).set_axis(pd.PeriodIndex(["2024-01", "2024-02"], freq="M")))
    hours = check_bars(clean(2).set_axis(pd.PeriodIndex(["2024-01-02 09:00", "2024-01-02 10:00"], freq="h")))

    assert months.index.tolist() == [pd.Timestamp("2024-01-31"), pd.Timestamp("2024-02-29")]
    assert hours.index.tolist() == [pd.Timestamp("2024-01-02 10:00"), pd.Timestamp("2024-01-02 11:00")]


# ----------------------------------------------------------------------------------------- extra columns


def test_extra_numeric_columns_are_kept_in_lower_case_after_the_bars_own() -> None:
    extra = clean().assign(**{"Open Interest": 5, "vwap": 99.0, "is-holiday": False})

    bars = check_bars(extra[["vwap", "is-holiday", *COLUMNS, "Open Interest"]])

    assert list(bars.columns) == [*COLUMNS, "vwap", "is_holiday", "open_interest"]
    assert (bars.dtypes == "float64").all()


def test_extra_columns_may_hold_nan() -> None:
    assert check_bars(clean().assign(earnings=np.nan))["earnings"].isna().all()


def test_an_adjusted_close_is_kept_and_the_note_says_which_price_is_used() -> None:
    bars = check_bars(titled(clean()).assign(**{"Adj Close": 90.0}))

    assert bars["adj_close"].eq(90.0).all()
    (note,) = [note for note in bars_notes(bars) if note.code == "adjusted_close"]
    assert "close, unadjusted, is the price that is used" in note.message


@pytest.mark.parametrize(
    "name",
    [
        "target",
        "Label",
        "y",
        "future_return",
        "Forward Return",
        "fwd_ret_5",
        "next_close",
        "my_target",
        "close_ahead",
    ],
)
def test_an_extra_column_named_like_a_target_is_never_a_feature(name: str) -> None:
    bars = check_bars(clean().assign(**{name: 1.0}))

    assert list(bars.columns) == COLUMNS
    assert "dropped_target" in [note.code for note in bars_notes(bars)]


@pytest.mark.parametrize(
    ("values", "reason"),
    [("tech", "not numeric"), (pd.Timestamp("2024-01-02"), "datetime64"), (1j, "complex")],
)
def test_an_extra_column_that_is_not_numeric_is_dropped(values: Any, reason: str) -> None:
    bars = check_bars(clean().assign(sector=values))

    assert list(bars.columns) == COLUMNS
    (note,) = bars_notes(bars)
    assert (note.code, note.column) == ("dropped", "sector")
    assert reason in note.message


def test_an_extra_column_that_some_symbols_lack_is_nan_for_them() -> None:
    bars = check_bars({**BOTH, "AAA": clean().assign(vwap=1.0)})

    assert bars["vwap"].groupby("symbol").sum().to_dict() == {"AAA": 60.0, "BBB": 0.0}
    (note,) = [note for note in bars_notes(bars) if note.code == "filled_extra"]
    assert (note.column, note.count) == ("vwap", 1)


# ----------------------------------------------------------------------------------------------- records


def test_unsorted_rows_are_sorted_by_choice_and_that_is_recorded() -> None:
    bars = check_bars(clean().iloc[::-1], allow_unsorted=True)

    pd.testing.assert_frame_equal(bars, clean(), check_exact=True)
    assert [(note.code, note.count) for note in bars_notes(bars)] == [("sorted", 59)]


def test_negative_prices_are_accepted_by_choice_and_that_is_recorded() -> None:
    spread = clean() - 100.0 * (clean() < 500)

    bars = check_bars(spread, allow_negative_prices=True)

    pd.testing.assert_frame_equal(bars, spread)
    assert {note.code for note in bars_notes(bars)} == {"negative_price"}


def test_a_spread_may_trade_through_a_sentinels_value() -> None:
    close = -1000.0 + np.arange(20.0)
    spread = clean(20).assign(open=close, high=close + 0.5, low=close - 0.5, close=close)

    assert check_bars(spread, allow_negative_prices=True)["close"].tolist() == close.tolist()


def test_volume_beyond_exact_integers_is_rounded_and_that_is_recorded() -> None:
    assert codes(clean().assign(volume=2**53 + 1)) == ["rounded_volume"]


def test_rounding_of_adjusted_prices_is_recorded() -> None:
    bars = clean().assign(high=lambda f: f["close"] * (1 - 1e-15))

    assert codes(bars.assign(open=bars["low"])) == ["rounding"]


def spiked(column: str, factor: float) -> pd.DataFrame:
    frame = clean()
    frame.iloc[30, COLUMNS.index(column)] *= factor
    frame["high"] = frame[["open", "high", "close"]].max(axis=1)
    frame["low"] = frame[["open", "low", "close"]].min(axis=1)
    return frame


def flat(rows: slice) -> pd.DataFrame:
    frame = clean()
    frame.iloc[rows] = 100.0
    return frame


SUSPICIOUS = {
    "a thousandfold spike": (spiked("close", 1000.0), "spike", "2024-02-13"),
    "a spike in the high only": (spiked("high", 1000.0), "spike", "2024-02-13"),
    "a spike in the low only": (spiked("low", 0.001), "spike", "2024-02-13"),
    "an unadjusted split": (with_close([100.0] * 30 + [50.5] * 30 + [51.0]), "split_like", "2024-02-13"),
    "an unadjusted three for two": (
        with_close([100.0] * 19 + [66.0] * 10 + [67.0]),
        "split_like",
        "2024-01-29",
    ),
    "a reverse split": (with_close([1.0, 1.1] * 15 + [10.9, 11.0] * 15), "split_like", "2024-02-13"),
    "pence become pounds": (
        with_close([1200.0, 1210.0] * 15 + [12.0, 12.1] * 15),
        "scale_change",
        "2024-02-13",
    ),
    "forty identical bars": (flat(slice(10, 50)), "stale", "2024-01-16"),
    "years before 1970": (at(start="1962-01-02", periods=50, freq="B"), "before_1970", "1962-01-02"),
    "a long gap": (clean().drop(clean().index[20:40]), "long_gap", "2024-02-27"),
    "a long gap of hours": (
        at(
            *pd.date_range("2024-01-02", periods=50, freq="h"),
            *pd.date_range("2024-01-05", periods=50, freq="h"),
        ),
        "long_gap",
        "2024-01-05",
    ),
    "an hour that a clock set forward leaves out": (
        at(
            *pd.date_range("2024-03-09", "2024-03-10 01:00", freq="h"),
            *pd.date_range("2024-03-10 03:00", "2024-03-11", freq="h"),
        ),
        "dst_gap",
        "2024-03-10 03:00:00",
    ),
    "jitter of milliseconds": (
        at(
            *(
                pd.date_range("2024-01-02", periods=50, freq="min")
                + pd.to_timedelta(np.arange(50) % 7, unit="ms")
            )
        ),
        "jitter",
        "2024-01-02 00:01:00.001000",
    ),
    "a partial last bar": (
        at(*pd.bdate_range("2024-01-02", periods=30), pd.Timestamp("2024-02-13 11:32")),
        "partial_last_bar",
        "2024-02-13 11:32:00",
    ),
    "a partial last month": (
        at(*pd.date_range("2022-01-31", periods=12, freq="ME"), pd.Timestamp("2023-01-11")),
        "partial_last_bar",
        "2023-01-11",
    ),
}


@pytest.mark.parametrize("name", SUSPICIOUS)
def test_what_looks_odd_is_accepted_and_recorded(name: str) -> None:
    data, code, first = SUSPICIOUS[name]

    bars = check_bars(data)

    pd.testing.assert_frame_equal(bars, data, check_freq=False)
    assert [(note.code, note.first) for note in bars_notes(bars)] == [(code, first)]


def test_a_suspicion_in_a_panel_names_its_symbol() -> None:
    (note,) = [
        note for note in bars_notes(check_bars({**BOTH, "CCC": spiked("close", 1000.0)})) if note.column
    ]

    assert (note.code, note.symbol, note.column, note.count) == ("spike", "CCC", "close", 1)


def test_neighbours_in_a_panel_are_not_compared_with_each_other() -> None:
    assert codes({"AAA": clean(), "BBB": clean(level=1e6), "CCC": clean()}) == ["dict_of_frames"]


# ------------------------------------------------------------------------------------------------- notes


def test_notes_survive_pandas_and_parquet() -> None:
    bars = check_bars(titled(clean()).assign(Target=1.0))
    buffer = io.BytesIO()
    bars.to_parquet(buffer)

    assert bars_notes(pd.read_parquet(buffer)) == bars_notes(bars) != ()
    assert bars_notes(bars.iloc[5:]) == bars_notes(bars)


def test_a_frame_that_was_never_checked_has_no_notes() -> None:
    assert bars_notes(clean()) == ()


def test_suspicions_are_found_anew_and_normalisations_remembered() -> None:
    bars = check_bars(titled(spiked("close", 1000.0)))

    assert codes(bars) == ["renamed", "spike"]
    assert codes(bars.iloc[:25]) == ["renamed"]


# -------------------------------------------------------------------------------------------- properties


@st.composite
def bars_of_any_shape(draw: st.DrawFn) -> Any:
    """Draw bars of one or several symbols, listed at different times, in one of the accepted shapes."""
    n_symbols = draw(st.integers(1, 4))
    zone = draw(st.sampled_from([None, "UTC", "America/New_York"]))
    frames = {}
    for k in range(n_symbols):
        first, n = draw(st.integers(0, 20)), draw(st.integers(1, 30))
        level = draw(st.floats(0.01, 1e6))
        frame = clean(60, level=level).iloc[first : first + n].tz_localize(zone)
        frames[f"S{k}"] = titled(frame) if draw(st.booleans()) else frame
    shape = draw(st.sampled_from(["dict", "yahoo", "long", "index", "one"]))
    if shape == "one":
        return frames["S0"]
    if shape == "dict":
        return frames
    if shape == "yahoo":
        return pd.concat(frames, axis=1, sort=True)
    together = pd.concat(
        {
            symbol: frame.rename(columns=str.lower).rename_axis("timestamp")
            for symbol, frame in frames.items()
        },
        names=["symbol"],
    )
    return together if shape == "index" else together.reset_index()


@given(bars_of_any_shape())
@settings(max_examples=60)
def test_checking_again_changes_nothing(data: Any) -> None:
    once = check_bars(data)
    twice = check_bars(once)

    pd.testing.assert_frame_equal(twice, once, check_exact=True)
    assert bars_notes(twice) == bars_notes(once)


@given(bars_of_any_shape())
@settings(max_examples=60)
def test_every_checked_frame_has_the_one_shape(data: Any) -> None:
    bars = check_bars(data)

    assert list(bars.columns) == COLUMNS
    assert (bars.dtypes == "float64").all()
    assert bars.index.is_monotonic_increasing
    assert bars.index.is_unique
    assert list(bars.index.names) in (["timestamp"], ["timestamp", "symbol"])
    assert Panel.of(bars).n_rows == len(bars)


@given(bars_of_any_shape(), st.integers(0, 2**32 - 1))
@settings(max_examples=40)
def test_the_order_of_rows_does_not_matter_when_sorting_is_allowed(data: Any, seed: int) -> None:
    bars = check_bars(data)
    shuffled = bars.iloc[np.random.default_rng(seed).permutation(len(bars))]

    pd.testing.assert_frame_equal(check_bars(shuffled, allow_unsorted=True), bars, check_exact=True)
