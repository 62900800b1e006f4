"""The technical set against TA-Lib, after TA-Lib's own start is forgotten."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import talib

from backtester_model_core.bars import Panel
from backtester_model_core.features import FEATURE_SETS, evaluate, feature_set
from backtester_model_core.typing import FloatArray

N_ROWS = 1500
FORGOTTEN = 700
"""Rows after which no start of an average matters to ten digits."""


@pytest.fixture(scope="module")
def bars() -> pd.DataFrame:
    rng = np.random.default_rng(31)
    close = 100 * np.exp(np.cumsum(rng.standard_t(4, N_ROWS) * 0.01))
    open_ = close * np.exp(rng.normal(0, 0.004, N_ROWS))
    high = np.maximum(open_, close) * np.exp(np.abs(rng.normal(0, 0.004, N_ROWS)))
    low = np.minimum(open_, close) * np.exp(-np.abs(rng.normal(0, 0.004, N_ROWS)))
    index = pd.date_range("2020-01-01", periods=N_ROWS, name="timestamp")
    columns = {"open": open_, "high": high, "low": low, "close": close}
    return pd.DataFrame({**columns, "volume": rng.lognormal(10, 1, N_ROWS)}, index=index)


@pytest.fixture(scope="module")
def technical(bars: pd.DataFrame) -> pd.DataFrame:
    expressions = feature_set("technical")
    return pd.DataFrame(evaluate(expressions, Panel.of(bars)), columns=list(expressions))


Bars = dict[str, FloatArray]


def band(b: Bars, which: int) -> FloatArray:
    return talib.BBANDS(b["close"], timeperiod=20, nbdevup=2, nbdevdn=2)[which]


def macd(b: Bars, which: int) -> FloatArray:
    return talib.MACD(b["close"])[which] / b["close"]


def ohlc(b: Bars) -> tuple[FloatArray, FloatArray, FloatArray, FloatArray]:
    return b["open"], b["high"], b["low"], b["close"]


def hlc(b: Bars) -> tuple[FloatArray, FloatArray, FloatArray]:
    return b["high"], b["low"], b["close"]


def hlcv(b: Bars) -> tuple[FloatArray, FloatArray, FloatArray, FloatArray]:
    return (*hlc(b), b["volume"])


TALIB: dict[str, Callable[[Bars], FloatArray]] = {
    **{f"sma_{n}": lambda b, n=n: talib.SMA(b["close"], n) / b["close"] for n in (10, 20, 50)},
    **{f"ema_{n}": lambda b, n=n: talib.EMA(b["close"], n) / b["close"] for n in (10, 20, 50)},
    **{f"wma_{n}": lambda b, n=n: talib.WMA(b["close"], n) / b["close"] for n in (10, 20)},
    "trima_21": lambda b: talib.TRIMA(b["close"], 21) / b["close"],
    "kama_10": lambda b: talib.KAMA(b["close"], 10) / b["close"],
    "dema_20": lambda b: talib.DEMA(b["close"], 20) / b["close"],
    "tema_20": lambda b: talib.TEMA(b["close"], 20) / b["close"],
    "midpoint_14": lambda b: talib.MIDPOINT(b["close"], 14) / b["close"],
    "midprice_14": lambda b: talib.MIDPRICE(b["high"], b["low"], 14) / b["close"],
    "bollinger_upper_20": lambda b: band(b, 0) / b["close"],
    "bollinger_lower_20": lambda b: band(b, 2) / b["close"],
    "bollinger_width_20": lambda b: (band(b, 0) - band(b, 2)) / band(b, 1),
    "parabolic_sar": lambda b: talib.SAR(b["high"], b["low"]) / b["close"],
    "plus_di_14": lambda b: talib.PLUS_DI(*hlc(b)),
    "minus_di_14": lambda b: talib.MINUS_DI(*hlc(b)),
    "dx_14": lambda b: talib.DX(*hlc(b)),
    "adx_14": lambda b: talib.ADX(*hlc(b)),
    "aroon_up_14": lambda b: talib.AROON(b["high"], b["low"])[1],
    "aroon_down_14": lambda b: talib.AROON(b["high"], b["low"])[0],
    "aroon_oscillator_14": lambda b: talib.AROONOSC(b["high"], b["low"]),
    "macd": lambda b: macd(b, 0),
    "macd_signal": lambda b: macd(b, 1),
    "macd_difference": lambda b: macd(b, 2),
    "ppo": lambda b: talib.PPO(b["close"], matype=talib.MA_Type.EMA),
    "trix_15": lambda b: talib.TRIX(b["close"], 15),
    "mom_10": lambda b: talib.MOM(b["close"], 10) / b["close"],
    **{f"roc_{n}": lambda b, n=n: talib.ROC(b["close"], n) for n in (10, 20)},
    **{f"rsi_{n}": lambda b, n=n: talib.RSI(b["close"], n) for n in (7, 21)},
    "cmo_14": lambda b: talib.CMO(b["close"]),
    "stochastic_rsi_14": lambda b: talib.STOCHRSI(b["close"], 14, 5, 3)[0],
    "stochastic_fast_5": lambda b: talib.STOCHF(*hlc(b))[0],
    "stochastic_k_5": lambda b: talib.STOCH(*hlc(b))[0],
    "stochastic_d_5": lambda b: talib.STOCH(*hlc(b))[1],
    "williams_r_14": lambda b: talib.WILLR(*hlc(b)),
    **{f"cci_{n}": lambda b, n=n: talib.CCI(*hlc(b), n) for n in (14, 20)},
    "ultimate_oscillator": lambda b: talib.ULTOSC(*hlc(b)),
    "balance_of_power": lambda b: talib.BOP(*ohlc(b)),
    "money_flow_14": lambda b: talib.MFI(*hlcv(b)),
    "on_balance_volume": lambda b: talib.OBV(b["close"], b["volume"]) - b["volume"][0],  # its start
    "accumulation_distribution": lambda b: talib.AD(*hlcv(b)),
    "chaikin_oscillator": lambda b: talib.ADOSC(*hlcv(b)),
    "true_range": lambda b: 100 * talib.TRANGE(*hlc(b)) / b["close"],
    "natr_14": lambda b: talib.NATR(*hlc(b)),
    "average_price": lambda b: talib.AVGPRICE(*ohlc(b)) / b["close"],
    "median_price": lambda b: talib.MEDPRICE(b["high"], b["low"]) / b["close"],
    "typical_price": lambda b: talib.TYPPRICE(*hlc(b)) / b["close"],
    "weighted_close": lambda b: talib.WCLPRICE(*hlc(b)) / b["close"],
    "linear_regression_14": lambda b: talib.LINEARREG(b["close"]) / b["close"],
    "linear_slope_14": lambda b: talib.LINEARREG_SLOPE(b["close"]) / b["close"],
    "linear_intercept_14": lambda b: talib.LINEARREG_INTERCEPT(b["close"]) / b["close"],
    "linear_forecast_14": lambda b: talib.TSF(b["close"]) / b["close"],
    "deviation_20": lambda b: talib.STDDEV(b["close"], 20) / b["close"],
    "correlation_30": lambda b: talib.CORREL(b["high"], b["low"], 30),
}
WITHOUT_ORACLE = {"chaikin_money_flow_20"}


@pytest.mark.parametrize("name", TALIB)
def test_an_indicator_equals_its_namesake(name: str, bars: pd.DataFrame, technical: pd.DataFrame) -> None:
    expected = TALIB[name]({column: bars[column].to_numpy() for column in bars})

    actual = technical[name].to_numpy()

    assert np.isfinite(actual[FORGOTTEN:]).all()
    np.testing.assert_allclose(actual[FORGOTTEN:], expected[FORGOTTEN:], rtol=1e-8, atol=1e-8)


def test_money_flow_is_the_share_of_volume_that_closed_high(
    bars: pd.DataFrame, technical: pd.DataFrame
) -> None:
    place = (2 * bars["close"] - bars["low"] - bars["high"]) / (bars["high"] - bars["low"])
    expected = (place * bars["volume"]).rolling(20).sum() / bars["volume"].rolling(20).sum()

    np.testing.assert_allclose(technical["chaikin_money_flow_20"], expected, rtol=1e-9, atol=1e-12)


def test_every_indicator_is_tested() -> None:
    assert set(feature_set("technical")) == set(TALIB) | WITHOUT_ORACLE
    assert len(feature_set("technical")) >= 57


def test_only_cumulative_indicators_are_anchored() -> None:
    anchored = {name for name, expression in feature_set("technical").items() if expression.anchored}

    assert anchored == {
        "accumulation_distribution",
        "chaikin_oscillator",
        "on_balance_volume",
        "parabolic_sar",
    }


def test_no_name_is_taken_by_the_basic_set() -> None:
    assert set(feature_set("technical")).isdisjoint(feature_set("basic"))


def test_every_paragraph_of_the_set_says_what_it_is() -> None:
    text = Path(str(FEATURE_SETS["technical"].source)).read_text()

    paragraphs = [part for part in text.split("\n\n") if ' = "' in part]
    assert all(part.startswith("#") for part in paragraphs)
