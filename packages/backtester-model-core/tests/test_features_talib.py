"""The averages and the published indicators against TA-Lib, which starts its averages with a mean as well.

TA-Lib's deviations divide by n, ours by n - 1, so the tests multiply by the root of (n - 1) / n.
"""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import talib

from backtester_model_core.bars import Panel
from backtester_model_core.features import evaluate, feature_set, parse_expression
from backtester_model_core.typing import FloatArray

N_ROWS = 600


@pytest.fixture(scope="module")
def bars() -> pd.DataFrame:
    rng = np.random.default_rng(11)
    close = 100 * np.exp(np.cumsum(rng.standard_t(4, N_ROWS) * 0.01))
    open_ = close * np.exp(rng.normal(0, 0.004, N_ROWS))
    high = np.maximum(open_, close) * np.exp(np.abs(rng.normal(0, 0.004, N_ROWS)))
    low = np.minimum(open_, close) * np.exp(-np.abs(rng.normal(0, 0.004, N_ROWS)))
    index = pd.date_range("2020-01-01", periods=N_ROWS, name="timestamp")
    volume = rng.lognormal(10, 1, N_ROWS)
    return pd.DataFrame(
        {"open": open_, "high": high, "low": low, "close": close, "volume": volume}, index=index
    )


def ours(text: str, bars: pd.DataFrame) -> FloatArray:
    return evaluate({"feature": parse_expression(text)}, Panel.of(bars))[:, 0]


def basic(name: str, bars: pd.DataFrame) -> FloatArray:
    return evaluate({name: feature_set("basic")[name]}, Panel.of(bars))[:, 0]


def assert_equal_from_the_first_known_row(actual: FloatArray, expected: FloatArray) -> None:
    assert np.array_equal(np.isnan(actual), np.isnan(expected))
    np.testing.assert_allclose(actual, expected, rtol=1e-10, atol=1e-12, equal_nan=True)


@pytest.mark.parametrize("window", [2, 5, 20, 60])
@pytest.mark.parametrize(
    ("name", "talib_name"),
    [
        ("rolling_mean", "SMA"),
        ("rolling_sum", "SUM"),
        ("rolling_max", "MAX"),
        ("rolling_min", "MIN"),
        ("ema", "EMA"),
        ("delta", "MOM"),
    ],
)
def test_an_operator_equals_its_namesake(name: str, talib_name: str, window: int, bars: pd.DataFrame) -> None:
    expected = getattr(talib, talib_name)(bars["close"].to_numpy(), timeperiod=window)

    assert_equal_from_the_first_known_row(ours(f"{name}(close, {window})", bars), expected)


@pytest.mark.parametrize("window", [5, 20, 60])
def test_a_deviation_differs_by_its_divisor_only(window: int, bars: pd.DataFrame) -> None:
    expected = talib.STDDEV(bars["close"].to_numpy(), timeperiod=window)

    actual = ours(f"rolling_std(close, {window})", bars) * np.sqrt((window - 1) / window)

    # TA-Lib subtracts squares of price levels, which costs it digits that the exact tests show we keep
    np.testing.assert_allclose(actual, expected, rtol=1e-8, equal_nan=True)


def test_relative_strength(bars: pd.DataFrame) -> None:
    expected = talib.RSI(bars["close"].to_numpy(), timeperiod=14)

    assert_equal_from_the_first_known_row(basic("rsi_14", bars), expected)


def test_average_true_range(bars: pd.DataFrame) -> None:
    high, low, close = (bars[name].to_numpy() for name in ("high", "low", "close"))

    expected = talib.ATR(high, low, close, timeperiod=14) / close

    assert_equal_from_the_first_known_row(basic("atr_14", bars), expected)


def test_bollinger_bands(bars: pd.DataFrame) -> None:
    close = bars["close"].to_numpy()
    upper, _, lower = talib.BBANDS(close, timeperiod=20, nbdevup=2, nbdevdn=2)

    expected = (close - lower) / (upper - lower)

    np.testing.assert_allclose(basic("bollinger_b_20", bars), expected, rtol=1e-8, atol=1e-8, equal_nan=True)


def test_convergence_divergence_agrees_once_its_start_is_forgotten(bars: pd.DataFrame) -> None:
    # TA-Lib starts the quick average late, at the bar where the slow one is known, so the first values differ;
    # the difference fades by 11 / 13 at each bar.
    close = bars["close"].to_numpy()
    _, _, histogram = talib.MACD(close, fastperiod=12, slowperiod=26, signalperiod=9)
    expected = histogram / close

    actual = basic("macd_histogram", bars)

    assert np.array_equal(np.isnan(actual), np.isnan(expected))
    np.testing.assert_allclose(actual[300:], expected[300:], rtol=1e-10, atol=1e-12)
    assert np.nanmax(np.abs(actual[:60] - expected[:60])) > 1e-6
