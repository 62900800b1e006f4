"""Bars read from files, folders and registered sources, and the part of them that is asked for."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from backtester_model_core.bars import bars_notes, check_bars
from backtester_model_core.bars.panel import bar_spacing
from backtester_model_core.config import DataConfig
from backtester_model_core.exceptions import BarsError, ConfigError, DataSourceError, MissingExtraError
from backtester_model_core.sources import DATA_SOURCES, DataRetrieval, read_csv_bars, read_parquet_bars

YAHOO_ONE = """\
Price,Close,High,Low,Open,Volume
Ticker,SPY,SPY,SPY,SPY,SPY
Date,,,,,
2024-01-02,101.5,102.5,100.5,101.0,1000
2024-01-03,101.75,102.25,101.25,101.5,1100
"""
YAHOO_TWO_BY_TICKER = """\
Ticker,QQQ,QQQ,QQQ,QQQ,QQQ,SPY,SPY,SPY,SPY,SPY
Price,Open,High,Low,Close,Volume,Open,High,Low,Close,Volume
Date,,,,,,,,,,
2024-01-02,1,2,0.5,1.5,7,101.0,102.5,100.5,101.5,1000
2024-01-03,,,,,,101.5,102.25,101.25,101.75,1100
"""


def daily(n: int = 60, *, level: float = 100.0, start: str = "2024-01-02") -> pd.DataFrame:
    close = np.round(level * (1 + 0.02 * np.sin(np.arange(n) / 3.0)), 4)
    values = {"open": close, "high": close * 1.01, "low": close * 0.99, "close": close, "volume": 1000.0}
    index = pd.bdate_range(start, periods=n, name="timestamp", unit="ns")
    return pd.DataFrame(values, index=index.set_names("timestamp")).set_axis(
        pd.DatetimeIndex(index, freq=None)
    )


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    daily().to_csv(tmp_path / "AAA.csv")
    daily(level=50).to_csv(tmp_path / "BBB.csv")
    daily(level=20).to_parquet(tmp_path / "CCC.parquet")
    (tmp_path / "README.txt").write_text("not bars")
    (tmp_path / ".AAA.csv").write_text("left by an editor")
    return tmp_path


def get(path: Path | str, **options: object) -> pd.DataFrame:
    return DataRetrieval(DataConfig.model_validate({"path": str(path), **options})).get_data()


def written(folder: Path, text: str, *, name: str = "bars.csv", encoding: str = "utf-8") -> Path:
    path = folder / name
    path.write_bytes(text.encode(encoding))
    return path


# ------------------------------------------------------------------------------------------------- files


def test_a_csv_file_gives_the_bars_that_were_written(folder: Path) -> None:
    pd.testing.assert_frame_equal(get(folder / "AAA.csv"), daily(), check_exact=True)


def test_a_parquet_file_gives_the_bars_that_were_written(folder: Path) -> None:
    pd.testing.assert_frame_equal(get(folder / "CCC.parquet"), daily(level=20), check_exact=True)


def test_notes_come_along_in_parquet(tmp_path: Path) -> None:
    checked = check_bars(daily().rename(columns=str.title))
    checked.to_parquet(tmp_path / "bars.parquet")

    assert [note.code for note in bars_notes(get(tmp_path / "bars.parquet"))] == ["renamed"]


@settings(max_examples=25)
@given(st.lists(st.floats(1e-6, 1e12), min_size=1, max_size=30))
def test_every_float_survives_csv_to_the_last_bit(
    tmp_path_factory: pytest.TempPathFactory, prices: list[float]
) -> None:
    path = tmp_path_factory.getbasetemp() / "floats.csv"
    bars = pd.DataFrame(dict.fromkeys(["open", "high", "low", "close"], prices)).assign(volume=0.0)
    bars.set_axis(pd.date_range("2020-01-01", periods=len(prices), name="date"), axis=0).to_csv(path)

    assert get(path)["close"].tolist() == prices


@pytest.mark.parametrize("corners", [("Price", "Ticker"), ("", ""), ("Attributes", "Symbols")])
def test_a_csv_of_one_ticker_is_one_symbols_frame(tmp_path: Path, corners: tuple[str, str]) -> None:
    bars = get(written(tmp_path, YAHOO_ONE.replace("Price", corners[0]).replace("Ticker", corners[1])))

    assert bars.index.tolist() == [pd.Timestamp("2024-01-02"), pd.Timestamp("2024-01-03")]
    assert bars.loc["2024-01-03"].to_dict() == {
        "open": 101.5,
        "high": 102.25,
        "low": 101.25,
        "close": 101.75,
        "volume": 1100.0,
    }


def test_a_yfinance_csv_of_two_tickers_is_a_panel(tmp_path: Path) -> None:
    bars = get(written(tmp_path, YAHOO_TWO_BY_TICKER))

    assert bars.index.tolist() == [
        (pd.Timestamp("2024-01-02"), "QQQ"),
        (pd.Timestamp("2024-01-02"), "SPY"),
        (pd.Timestamp("2024-01-03"), "SPY"),
    ]
    assert bars["close"].tolist() == [1.5, 101.5, 101.75]


def test_a_long_csv_is_a_panel_even_of_tickers_that_read_like_nulls(tmp_path: Path) -> None:
    long = pd.concat({"NA": daily(), "TRUE": daily(level=50), "007": daily(level=7)}, names=["Ticker"])
    long.reset_index().to_csv(tmp_path / "bars.csv", index=False)

    assert get(tmp_path / "bars.csv").index.unique("symbol").tolist() == ["007", "NA", "TRUE"]


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig"])
@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_byte_order_marks_and_line_ends_do_not_matter(tmp_path: Path, encoding: str, end: str) -> None:
    text = daily().to_csv(lineterminator=end)

    bars = get(written(tmp_path, text, encoding=encoding))

    pd.testing.assert_frame_equal(bars, daily(), check_exact=True)


def test_a_csv_of_a_frame_whose_index_has_no_name_is_read(tmp_path: Path) -> None:
    daily().rename_axis(None).to_csv(tmp_path / "bars.csv")

    pd.testing.assert_frame_equal(get(tmp_path / "bars.csv"), daily(), check_exact=True)


REFUSED = {
    "day-first dates": ("date,open,high,low,close,volume\n31/01/2024,1,1,1,1,1\n", "not_iso_timestamp"),
    "epoch milliseconds": (
        "time,open,high,low,close,volume\n1704153600000,1,1,1,1,1\n",
        "integer_timestamps",
    ),
    "thousands separators": (
        'date,open,high,low,close,volume\n2024-01-02,1,1,1,1,"1,000"\n',
        "number_with_comma",
    ),
    "a placeholder for a null": ("date,open,high,low,close,volume\n2024-01-02,1,1,1,N/A,1\n", "not_a_number"),
    "an empty cell": ("date,open,high,low,close,volume\n2024-01-02,1,1,1,,1\n", "missing_value"),
    "a short row": ("date,open,high,low,close,volume\n2024-01-02,1,1,1,1\n", "missing_value"),
    "two closes": ("date,open,high,low,close,close,volume\n2024-01-02,1,1,1,1,2,1\n", "duplicate_column"),
    "no rows": ("date,open,high,low,close,volume\n", "empty"),
    "no header": ("2024-01-02,1,2,3,4,5\n2024-01-03,1,2,3,4,5\n", "missing_column"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_bars_in_a_csv_are_refused_like_any_others(tmp_path: Path, name: str) -> None:
    text, code = REFUSED[name]

    with pytest.raises(BarsError) as caught:
        get(written(tmp_path, text))

    assert code in {fault.code for fault in caught.value.faults}


UNREADABLE = {
    "an empty file": ("", "an empty file"),
    "semicolons": ("date;open;close\n2024-01-02;1,5;1,5\n", "separated by commas"),
    "blank lines only": ("\n\n", "No columns"),
    "a byte order mark only": ("\ufeff", "one column only"),
    "more cells than names": ("date,open\n2024-01-02,1,2\n2024-01-03,1,2\n", "more cells than the header"),
    "a ragged row": ("date,open\n2024-01-02,1\n2024-01-03,1,2\n", "not a table"),
    "an open quote": ('date,open\n2024-01-02,"1\n', "not a table"),
    "two headers and nothing else": ("Price,Close\nTicker,SPY\n", None),
}


@pytest.mark.parametrize("name", UNREADABLE)
def test_a_csv_that_is_no_table_says_why(tmp_path: Path, name: str) -> None:
    text, message = UNREADABLE[name]
    path = written(tmp_path, text)

    with pytest.raises((DataSourceError, BarsError), match=message or "empty") as caught:
        get(path)

    assert message is None or str(path) in str(caught.value)


def test_text_in_another_encoding_is_refused(tmp_path: Path) -> None:
    path = written(tmp_path, daily().to_csv(), encoding="utf-16")

    with pytest.raises(DataSourceError, match="not UTF-8"):
        read_csv_bars(path)


@pytest.mark.parametrize("reader", [read_csv_bars, read_parquet_bars])
def test_a_missing_file_is_named_with_its_folder(tmp_path: Path, reader: object) -> None:
    with pytest.raises(DataSourceError, match=f"no such file in {tmp_path}"):
        reader(tmp_path / "none.csv")  # type: ignore[operator]


def test_a_reader_refuses_another_ending_and_a_folder(folder: Path) -> None:
    with pytest.raises(DataSourceError, match=r"ends in '\.csv', not in '\.parquet'"):
        read_parquet_bars(folder / "AAA.csv")
    with pytest.raises(DataSourceError, match="not a file"):
        read_csv_bars(folder)


def test_a_file_that_may_not_be_read_says_so(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def forbid(*_: object, **__: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "open", forbid)

    with pytest.raises(DataSourceError, match="may not be read"):
        read_csv_bars(folder / "AAA.csv")


def test_a_data_source_error_is_an_os_error(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="no such file"):
        read_csv_bars(tmp_path / "none.csv")


@pytest.mark.parametrize("garbage", [b"PAR1", b"PAR1" + bytes(100) + b"PAR1", b"open,close\n1,2\n"])
def test_a_file_that_is_not_parquet_is_refused(tmp_path: Path, garbage: bytes) -> None:
    path = tmp_path / "bars.parquet"
    path.write_bytes(garbage)

    with pytest.raises(DataSourceError, match="not a Parquet file"):
        read_parquet_bars(path)


def test_parquet_without_pyarrow_names_the_extra(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow", None)

    with pytest.raises(MissingExtraError, match=r"backtester-model-core\[parquet\]"):
        read_parquet_bars(folder / "CCC.parquet")


@pytest.mark.parametrize(
    "address", ["http://example.com/bars.csv", "s3://bucket/bars.parquet", "simplecache::s3://x.csv"]
)
def test_an_address_is_never_fetched(address: str) -> None:
    with pytest.raises(DataSourceError, match="only local files are read"):
        get(address)
    with pytest.raises(DataSourceError, match="only local files are read"):
        read_csv_bars(address)


def test_an_unknown_ending_is_told_what_is_read(folder: Path) -> None:
    with pytest.raises(
        DataSourceError, match=r"ends in '\.txt'; bars are read from \.csv or \.parquet files"
    ):
        get(folder / "README.txt")


def test_the_csv_source_reads_no_parquet(folder: Path) -> None:
    with pytest.raises(DataSourceError, match=r"read from \.csv files"):
        get(folder / "CCC.parquet", source="csv")


def test_no_path_is_a_sentence() -> None:
    with pytest.raises(DataSourceError, match=r"Set data_config\.path"):
        DataRetrieval(DataConfig()).get_data()


# ----------------------------------------------------------------------------------------------- folders


def test_a_folder_is_a_panel_with_a_symbol_for_each_file(folder: Path) -> None:
    bars = get(folder)

    assert bars.index.unique("symbol").tolist() == ["AAA", "BBB", "CCC"]
    pd.testing.assert_frame_equal(bars.xs("CCC", level="symbol"), daily(level=20), check_exact=True)


def test_a_source_reads_only_its_own_files_of_a_folder(folder: Path) -> None:
    assert get(folder, source="csv").index.unique("symbol").tolist() == ["AAA", "BBB"]
    assert get(folder, source="parquet").index.unique("symbol").tolist() == ["CCC"]


def test_only_the_files_of_the_symbols_asked_for_are_read(folder: Path) -> None:
    written(folder, "nonsense", name="BAD.csv")

    assert get(folder, symbols=["AAA", "CCC"]).index.unique("symbol").tolist() == ["AAA", "CCC"]


def test_a_symbol_without_a_file_is_named(folder: Path) -> None:
    with pytest.raises(DataSourceError, match=r"no file for AAB\. Did you mean 'AAA'"):
        get(folder, symbols=["AAB"])


def test_a_symbol_with_two_files_is_refused(folder: Path) -> None:
    daily().to_parquet(folder / "AAA.parquet")

    with pytest.raises(DataSourceError, match=r"both AAA\.csv and AAA\.parquet"):
        get(folder)


def test_a_folder_without_bars_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataSourceError, match=r"no \.csv or \.parquet file"):
        get(tmp_path)


# ------------------------------------------------------------------------------------------ what is kept


@pytest.fixture
def long_file(tmp_path: Path) -> Path:
    frames = {"AAA": daily(), "BBB": daily(level=50), "CCC": daily(level=20)}
    pd.concat(frames, names=["symbol"]).to_parquet(tmp_path / "bars.parquet")
    return tmp_path / "bars.parquet"


def test_one_symbol_asked_for_gives_its_plain_frame(long_file: Path) -> None:
    pd.testing.assert_frame_equal(get(long_file, symbols=["BBB"]), daily(level=50), check_exact=True)


def test_several_symbols_asked_for_give_their_panel(long_file: Path) -> None:
    assert get(long_file, symbols=["CCC", "AAA"]).index.unique("symbol").tolist() == ["AAA", "CCC"]


def test_a_symbol_that_is_not_there_is_refused(long_file: Path) -> None:
    with pytest.raises(BarsError, match="unknown_symbol: BBC"):
        get(long_file, symbols=["BBC"])
    with pytest.raises(DataSourceError, match=r"No bars of BBC\. Did you mean 'BBB'"):
        get(long_file, symbols=["AAA", "BBC"])


def test_several_symbols_of_bars_that_name_none_are_refused(folder: Path) -> None:
    with pytest.raises(DataSourceError, match="the bars are one symbol's"):
        get(folder / "AAA.csv", symbols=["AAA", "BBB"])


def test_start_and_end_are_both_included(folder: Path) -> None:
    bars = get(folder / "AAA.csv", start="2024-01-10", end="2024-01-12")

    assert bars.index.tolist() == [pd.Timestamp(f"2024-01-{day}") for day in (10, 11, 12)]


def hourly(path: Path, *, zone: str | None = None) -> Path:
    stamps = pd.date_range("2024-01-02", periods=72, freq="h", tz=zone)
    daily(72).set_axis(stamps, axis=0).rename_axis("timestamp").to_parquet(path)
    return path


@pytest.mark.parametrize(
    ("end", "last"),
    [
        ("2024-01-03", "2024-01-03 23:00"),
        ("20240103", "2024-01-03 23:00"),
        ("2024-01-03 10:00", "2024-01-03 10:00"),
        ("2024-01-03T10:30", "2024-01-03 10:00"),
        ("2024-01", "2024-01-04 23:00"),
    ],
)
def test_an_end_without_a_time_includes_its_whole_day(tmp_path: Path, end: str, last: str) -> None:
    assert get(hourly(tmp_path / "bars.parquet"), end=end).index[-1] == pd.Timestamp(last)


@pytest.mark.parametrize("zone", ["UTC", "America/New_York"])
def test_bounds_are_local_to_bars_with_a_time_zone(tmp_path: Path, zone: str) -> None:
    bars = get(hourly(tmp_path / "bars.parquet", zone=zone), start="2024-01-03", end="2024-01-03")

    assert (bars.index[0], len(bars)) == (pd.Timestamp("2024-01-03", tz=zone), 24)


def test_bounds_with_a_time_zone_are_instants(tmp_path: Path) -> None:
    naive = get(hourly(tmp_path / "naive.parquet"), start="2024-01-03T00:00-05:00")
    aware = get(hourly(tmp_path / "aware.parquet", zone="Asia/Tokyo"), start="2024-01-03T00:00Z")

    assert naive.index[0] == pd.Timestamp("2024-01-03 05:00")
    assert aware.index[0] == pd.Timestamp("2024-01-03 09:00", tz="Asia/Tokyo")


def test_nothing_between_start_and_end_says_what_there_is(folder: Path) -> None:
    with pytest.raises(
        DataSourceError, match="there are bars from 2024-01-02 00:00:00 to 2024-03-25 00:00:00"
    ):
        get(folder / "AAA.csv", start="2025-01-01")


def test_suspicions_about_bars_that_were_cut_off_are_gone(tmp_path: Path) -> None:
    frame = daily()
    frame.iloc[5, :4] *= 1000
    frame.to_parquet(tmp_path / "bars.parquet")

    assert "spike" in {note.code for note in bars_notes(get(tmp_path / "bars.parquet"))}
    assert bars_notes(get(tmp_path / "bars.parquet", start="2024-02-01")) == ()


@pytest.mark.parametrize("frequency", ["1D", "24h"])
def test_the_frequency_that_the_bars_have_is_accepted(folder: Path, frequency: str) -> None:
    assert len(get(folder, frequency=frequency)) == 180


def test_months_are_thirty_days_or_so(tmp_path: Path) -> None:
    stamps = pd.date_range("2020-01-31", periods=24, freq="ME", name="timestamp")
    daily(24).set_axis(stamps, axis=0).to_csv(tmp_path / "bars.csv")

    assert len(get(tmp_path / "bars.csv", frequency="30D")) == 24


@pytest.mark.parametrize("frequency", ["1h", "7D"])
def test_bars_are_never_resampled(folder: Path, frequency: str) -> None:
    with pytest.raises(DataSourceError, match=r"these are 1 days 00:00:00 apart\. Bars are never resampled"):
        get(folder / "AAA.csv", frequency=frequency)


def test_a_single_bar_has_no_spacing_to_compare(folder: Path) -> None:
    assert len(get(folder / "AAA.csv", end="2024-01-02", frequency="1h")) == 1


def test_spacing_is_that_of_a_symbol_not_of_the_panels_instants() -> None:
    bars = check_bars(
        {"NYC": daily().tz_localize("America/New_York"), "TYO": daily().tz_localize("Asia/Tokyo")}
    )

    assert bar_spacing(bars.index) == pd.Timedelta("1D")


# ------------------------------------------------------------------------------------ registered sources


@pytest.fixture
def two_symbols() -> Iterator[str]:
    def source(config: DataConfig, /) -> dict[str, pd.DataFrame]:
        return {"AAA": daily(), "BBB": daily(level=50)}

    DATA_SOURCES.add("two_symbols", source, source="a-test")
    yield "two_symbols"
    DATA_SOURCES.discard("two_symbols")


def test_a_registered_source_is_asked_by_its_name(two_symbols: str) -> None:
    bars = DataRetrieval(DataConfig(source=two_symbols, symbols=("BBB",), end="2024-01-03")).get_data()

    pd.testing.assert_frame_equal(bars, daily(2, level=50), check_exact=True)


def test_an_unknown_source_is_told_the_nearest_name() -> None:
    with pytest.raises(ConfigError, match=r"Unknown data source 'parket'\. Did you mean 'parquet'"):
        DataRetrieval(DataConfig(source="parket")).get_data()
