"""Time polars on the columns of the basic set: ``with_polars.py <bars.npz> <rounds>`` prints seconds."""

from __future__ import annotations

import json
import math
import sys
import time

import numpy as np
import polars as pl

bars, rounds = np.load(sys.argv[1]), int(sys.argv[2])
n_bars, n_symbols = bars["close"].shape
frame = pl.DataFrame(
    {name: bars[name].ravel() for name in bars.files} | {"symbol": np.tile(np.arange(n_symbols), n_bars)}
)
close, high, low, open_, volume = (pl.col(name) for name in ("close", "high", "low", "open", "volume"))


def averaged(values: pl.Expr, weight: float) -> pl.Expr:
    return values.ewm_mean(alpha=weight, adjust=False)


def zscore(values: pl.Expr) -> pl.Expr:
    return (values - values.rolling_mean(20)) / values.rolling_std(20)


returns, change, previous = close.pct_change(), close.diff(), close.shift()
true_range = pl.max_horizontal(high - low, (high - previous).abs(), (low - previous).abs())
macd = averaged(close, 2 / 13) - averaged(close, 2 / 27)
log_range, log_body = (high / low).log(), (close / open_).log()
columns = {f"return_{n}": close.pct_change(n) for n in (1, 2, 5, 10, 20)}
columns |= {f"mean_ratio_{n}": close / close.rolling_mean(n) - 1 for n in (5, 10, 20)}
columns |= {
    "momentum_20": close.pct_change(20) / (math.sqrt(20) * returns.rolling_std(20)),
    "volatility_20": returns.rolling_std(20),
    "return_zscore_20": zscore(returns),
    "rsi_14": 50 + 50 * averaged(change, 1 / 14) / averaged(change.abs(), 1 / 14),
    "atr_14": averaged(true_range, 1 / 14) / close,
    "bollinger_b_20": 0.5 + zscore(close) / 4,
    "macd_histogram": (macd - averaged(macd, 2 / 10)) / close,
    "volume_zscore_20": zscore(volume),
    "parkinson_20": ((log_range**2).rolling_mean(20) / (4 * math.log(2))).sqrt(),
    "garman_klass_20": ((0.5 * log_range**2 - (2 * math.log(2) - 1) * log_body**2).rolling_mean(20).sqrt()),
    "overnight_gap": open_ / previous - 1,
    "intraday_range": log_range,
    "close_position": (2 * close - high - low) / (high - low),
}
seconds = []
for _ in range(rounds + 1):  # the first warms up
    started = time.process_time()
    result = frame.select(**{name: values.over("symbol") for name, values in columns.items()})
    seconds.append(time.process_time() - started)
assert result.shape == (n_bars * n_symbols, 21)
print(json.dumps(seconds[1:]))
