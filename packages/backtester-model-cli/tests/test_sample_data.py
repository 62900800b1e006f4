from __future__ import annotations

from importlib.resources import files

import numpy as np
import pandas as pd
import pytest

from backtester_model_cli.sample_data import SAMPLE_SYMBOLS, sample_bars, write_sample_csv
from backtester_model_core.bars import bars_notes, check_bars
from backtester_model_core.exceptions import ConfigError


@pytest.fixture(scope="module")
def bars() -> pd.DataFrame:
    return sample_bars()


def test_the_samples_need_no_repair_and_raise_no_suspicion(bars: pd.DataFrame) -> None:
    assert bars_notes(bars) == ()


def test_every_bar_keeps_its_prices_in_order_after_adjusting(bars: pd.DataFrame) -> None:
    body = bars[["open", "close"]]

    assert (bars["high"] >= body.max(axis="columns")).all()
    assert (bars["low"] <= body.min(axis="columns")).all()
    assert (bars["low"] > 0).all()


def test_symbols_list_at_their_own_dates(bars: pd.DataFrame) -> None:
    first = bars.reset_index("timestamp").groupby("symbol")["timestamp"].min()

    assert first.dt.strftime("%Y-%m-%d").to_dict() == {
        "AAPL": "2000-03-01",
        "FB": "2012-05-18",
        "GOOG": "2004-08-19",
        "IBM": "2000-03-01",
        "MSFT": "2000-03-01",
    }


def test_the_only_overnight_jump_above_forty_per_cent_is_a_profit_warning(bars: pd.DataFrame) -> None:
    overnight = bars["open"] / bars.groupby("symbol")["close"].shift() - 1

    jumps = overnight[overnight.abs() > 0.4]

    assert jumps.index.tolist() == [(pd.Timestamp("2000-09-29"), "AAPL")]


@pytest.mark.parametrize(
    ("symbol", "before", "after", "quoted_before", "quoted_after", "paid"),
    [
        ("AAPL", "2005-02-25", "2005-02-28", 88.99 / 2, 44.86, 0.0),
        ("IBM", "2013-02-05", "2013-02-06", 202.79, 201.02, 0.85),
        ("MSFT", "2004-11-12", "2004-11-15", 29.97, 27.39, 3.08),
    ],
    ids=["a split", "a dividend", "a special dividend"],
)
def test_returns_hold_splits_and_dividends(
    bars: pd.DataFrame,
    symbol: str,
    before: str,
    after: str,
    quoted_before: float,
    quoted_after: float,
    paid: float,
) -> None:
    close = bars["close"].xs(symbol, level="symbol")

    held = close[after] / close[before]

    assert held == pytest.approx((quoted_after + paid) / quoted_before, rel=1e-6)


def test_volume_before_a_split_counts_the_later_shares(bars: pd.DataFrame) -> None:
    volume = bars["volume"].xs("AAPL", level="symbol")

    assert volume["2005-02-25"] == 2 * 16_348_400
    assert volume["2005-02-28"] == 11_635_900


def test_the_last_bar_keeps_its_quoted_prices(bars: pd.DataFrame) -> None:
    last = bars["close"].xs(pd.Timestamp("2013-03-01"), level="timestamp")

    assert last.to_dict() == {"AAPL": 430.47, "FB": 27.78, "GOOG": 806.19, "IBM": 202.91, "MSFT": 27.95}


def test_some_symbols_are_the_same_rows_as_in_all(bars: pd.DataFrame) -> None:
    chosen = sample_bars(["MSFT", "FB"])

    wanted = bars[np.isin(bars.index.get_level_values("symbol"), ["FB", "MSFT"])]
    pd.testing.assert_frame_equal(chosen, wanted)


def test_sample_symbols_are_all_that_is_there(bars: pd.DataFrame) -> None:
    assert tuple(sorted(bars.index.unique("symbol"))) == SAMPLE_SYMBOLS


def test_an_unknown_symbol_names_the_nearest() -> None:
    with pytest.raises(ConfigError, match=r"Unknown sample symbol 'APPL'\. Did you mean 'AAPL'\?"):
        sample_bars(["APPL"])


def test_one_symbol_as_csv_reads_back_equal(tmp_path, bars: pd.DataFrame) -> None:
    write_sample_csv(tmp_path / "ibm.csv", symbol="IBM")

    read = check_bars(pd.read_csv(tmp_path / "ibm.csv", index_col="timestamp", parse_dates=True))
    pd.testing.assert_frame_equal(read, check_bars(bars, symbol="IBM"))


def test_the_package_ships_where_the_bars_come_from() -> None:
    folder = files("backtester_model_cli") / "sample_bars"

    assert "public domain" in (folder / "PROVENANCE.md").read_text()
    assert len((folder / "daily.csv.gz").read_bytes()) < 700_000
