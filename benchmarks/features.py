"""Time features over panels, plain and compiled, beside pandas and TA-Lib, and over live bars.

``python benchmarks/features.py`` prints, for sets and panels, medians over rounds of the processor time of each way,
measured in turn in one process, and the ratio of pandas to it within a round. Then, each in a process of its own, the
seconds of the first evaluation with an empty and a full cache and the peak of memory; and a live bar's microseconds.

- *plain*, *compiled*: ``evaluate`` with step functions as they are, and compiled by numba, on one thread.
- *pandas*: the same columns, or for ``alpha158`` those of its rolling kinds that pandas has a method for, by
  ``groupby("symbol").rolling``, as most people write it.
- *TA-Lib*: for ``basic``, the functions that its columns are made of, symbol by symbol.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable

import numpy as np
import pandas as pd
import talib

from backtester_model_core.bars import Panel
from backtester_model_core.features import FeatureStream, evaluate, feature_set
from backtester_model_core.testing import random_panel

WINDOWS = (5, 10, 20, 30, 60)
PLAIN_UP_TO = 100
"""Symbols up to which plain Python and pandas are timed on ``alpha158``: beyond it they take minutes."""


def sample_bars(n_symbols: int, n_bars: int) -> pd.DataFrame:
    bars = random_panel(n_symbols, n_bars)
    return bars.assign(vwap=(bars["high"] + bars["low"] + bars["close"]) / 3)


def pandas_basic(bars: pd.DataFrame) -> pd.DataFrame:
    """Compute the columns of the basic set by pandas."""
    by = [bars[name].groupby(level="symbol", sort=False) for name in ("close", "high", "low", "volume")]
    close_by = by[0]
    close, high, low, open_ = (bars[name] for name in ("close", "high", "low", "open"))

    def rolled(series: pd.Series, n: int, how: str) -> pd.Series:
        grouped = series.groupby(level="symbol", sort=False).rolling(n)
        return getattr(grouped, how)().droplevel(0).reindex(bars.index)

    def averaged(series: pd.Series, alpha: float) -> pd.Series:
        grouped = series.groupby(level="symbol", sort=False).ewm(alpha=alpha, adjust=False)
        return grouped.mean().droplevel(0).reindex(bars.index)

    returns = close_by.pct_change()
    change, previous = close_by.diff(), close_by.shift()
    true_range = pd.concat([high - low, (high - previous).abs(), (low - previous).abs()], axis=1).max(axis=1)
    macd = averaged(close, 2 / 13) - averaged(close, 2 / 27)
    deviation = rolled(returns, 20, "std")
    log_range, log_body = np.log(high / low), np.log(close / open_)
    out = {f"return_{n}": close_by.pct_change(n) for n in (1, 2, 5, 10, 20)}
    out |= {f"mean_ratio_{n}": close / rolled(close, n, "mean") - 1 for n in (5, 10, 20)}
    out |= {
        "momentum_20": out["return_20"] / (np.sqrt(20) * deviation),
        "volatility_20": deviation,
        "return_zscore_20": (returns - rolled(returns, 20, "mean")) / deviation,
        "rsi_14": 50 + 50 * averaged(change, 1 / 14) / averaged(change.abs(), 1 / 14),
        "atr_14": averaged(true_range, 1 / 14) / close,
        "bollinger_b_20": 0.5 + (close - rolled(close, 20, "mean")) / (4 * rolled(close, 20, "std")),
        "macd_histogram": (macd - averaged(macd, 2 / 10)) / close,
        "volume_zscore_20": (bars["volume"] - rolled(bars["volume"], 20, "mean"))
        / rolled(bars["volume"], 20, "std"),
        "parkinson_20": np.sqrt(rolled(log_range**2, 20, "mean") / (4 * np.log(2))),
        "garman_klass_20": np.sqrt(
            rolled(0.5 * log_range**2 - (2 * np.log(2) - 1) * log_body**2, 20, "mean")
        ),
        "overnight_gap": open_ / previous - 1,
        "intraday_range": log_range,
        "close_position": (2 * close - high - low) / (high - low),
    }
    return pd.DataFrame(out)


def pandas_alpha158(bars: pd.DataFrame) -> pd.DataFrame:
    """Compute the 75 rolling columns of Alpha158 that pandas has a method for."""
    out = {}
    moves = bars.groupby(level="symbol", sort=False)[["close", "volume"]].diff()
    sources = {
        "close": ("mean", "std", "quantile", "rank"),
        "high": ("max",),
        "low": ("min",),
        "volume": ("mean", "std"),
    }
    for n in WINDOWS:
        for name, methods in sources.items():
            rolling = bars[name].groupby(level="symbol", sort=False).rolling(n, min_periods=1)
            for method in methods:
                values = rolling.quantile(0.8) if method == "quantile" else getattr(rolling, method)()
                out[f"{name}_{method}_{n}"] = values.droplevel(0).reindex(bars.index) / bars["close"]
        for name in ("close", "volume"):
            for part in (moves[name].clip(lower=0), (-moves[name]).clip(lower=0), moves[name].abs()):
                rolling = part.groupby(level="symbol", sort=False).rolling(n, min_periods=1)
                out[f"{name}_{len(out)}"] = rolling.sum().droplevel(0).reindex(bars.index)
    return pd.DataFrame(out)


def talib_basic(panel: Panel) -> list[object]:
    """Call the functions of TA-Lib that the columns of the basic set are made of."""
    results: list[object] = []
    for rows in panel.segments():
        o, h, low, c, v = (panel.columns[name][rows] for name in ("open", "high", "low", "close", "volume"))
        results += [talib.ROCP(c, n) for n in (1, 2, 5, 10, 20)]
        results += [talib.SMA(c, n) for n in (5, 10, 20)]
        results += [talib.RSI(c, 14), talib.ATR(h, low, c, 14), talib.MACD(c), talib.BBANDS(c, 20)]
        changes = talib.ROCP(c, 1)
        changes[0] = 0.0
        results += [talib.STDDEV(changes, 20), talib.SMA(changes, 20), talib.SMA(v, 20), talib.STDDEV(v, 20)]
        log_range, log_body = np.log(h / low), np.log(c / o)
        results += [
            talib.SMA(log_range**2, 20),
            talib.SMA(log_range**2 - log_body**2, 20),
            talib.BOP(o, h, low, c),
        ]
    return results


def seconds_of(work: Callable[[], object]) -> float:
    started = time.process_time()
    work()
    return time.process_time() - started


def compare(set_name: str, n_symbols: int, n_bars: int, rounds: int) -> None:
    """Print the median processor time of each way, and of the ratio of pandas to it."""
    bars = sample_bars(n_symbols, n_bars)
    panel, expressions = Panel.of(bars), feature_set(set_name)
    ways: dict[str, Callable[[], object]] = {
        "compiled": lambda: evaluate(expressions, panel, engine="compiled")
    }
    if set_name == "basic" or n_symbols <= PLAIN_UP_TO:
        ways["plain"] = lambda: evaluate(expressions, panel, engine="python")
        ways["pandas"] = lambda: (pandas_basic if set_name == "basic" else pandas_alpha158)(bars)
    if set_name == "basic":
        ways["TA-Lib"] = lambda: talib_basic(panel)
    evaluate(expressions, panel, engine="compiled")
    taken = [{name: seconds_of(way) for name, way in ways.items()} for _ in range(rounds)]
    print(
        f"\n{set_name}, {len(expressions)} columns, {n_symbols} symbols x {n_bars:,} bars, median of {rounds}"
    )
    for name in ways:
        milliseconds = 1000 * statistics.median(one[name] for one in taken)
        ratio = statistics.median(one["pandas"] / one[name] for one in taken) if "pandas" in ways else None
        print(f"  {name:9} {milliseconds:10,.1f} ms" + (f"   pandas takes {ratio:6.1f} x" if ratio else ""))


FIRST = """
import sys, time, tracemalloc
sys.path.insert(0, {folder!r})
from features import Panel, evaluate, feature_set, sample_bars
panel, expressions = Panel.of(sample_bars({n_symbols}, {n_bars})), feature_set({name!r})
tiny = Panel.of(sample_bars(1, 100))
wall, cpu = time.perf_counter(), time.process_time()
evaluate(expressions, tiny, engine="compiled")
print(time.perf_counter() - wall, time.process_time() - cpu)
tracemalloc.start()
features = evaluate(expressions, panel, engine="compiled")
peak = tracemalloc.get_traced_memory()[1]
print(peak, features.nbytes, sum(column.nbytes for column in panel.columns.values()))
"""


def first_evaluations(set_name: str, n_symbols: int, n_bars: int) -> None:
    """Print what a first evaluation costs, with and without a cache, and the growth of the peak of memory."""
    folder = os.path.dirname(os.path.abspath(__file__))
    program = FIRST.format(folder=folder, n_symbols=n_symbols, n_bars=n_bars, name=set_name)
    with tempfile.TemporaryDirectory() as cache:
        environ = {**os.environ, "BACKTESTER_MODEL_CACHE": cache}
        for kind in ("cold", "cached"):
            command = [sys.executable, "-c", program]
            output = subprocess.run(command, env=environ, capture_output=True, text=True, check=True).stdout
            (wall, cpu), (grown, out, given) = (map(float, line.split()) for line in output.splitlines())
            print(
                f"\n{set_name}, {kind}: numba, kernels and 100 bars in {wall:.2f} s ({cpu:.2f} s of processor)"
            )
        print(f"  {grown / 1e6:,.1f} MB at the peak of evaluate for {out / 1e6:,.1f} MB of features")
        print(f"  input and peak are {(given + grown) / (given + out):.2f} x input and output")


def live(set_name: str, n_bars: int) -> None:
    """Print the median microseconds of a live bar in plain Python."""
    bars = sample_bars(1, n_bars).droplevel("symbol").to_dict("records")
    stream, taken = FeatureStream(feature_set(set_name)), []
    for bar in bars:
        started = time.perf_counter()
        stream.update("", bar)
        taken.append(time.perf_counter() - started)
    print(f"\n{set_name}, live: {1e6 * statistics.median(taken):.1f} microseconds a bar in plain Python")


def main() -> None:
    """Run what the arguments ask for."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--symbols", type=int, nargs="+", default=[1, 100, 500], help="sizes of the panels")
    parser.add_argument("--bars", type=int, default=2520, help="bars of each symbol")
    parser.add_argument("--sets", nargs="+", default=["basic", "alpha158"], choices=["basic", "alpha158"])
    parser.add_argument("--rounds", type=int, default=5, help="rounds over which medians are taken")
    options = parser.parse_args()
    for set_name in options.sets:
        for n_symbols in options.symbols:
            compare(set_name, n_symbols, options.bars, options.rounds if n_symbols <= PLAIN_UP_TO else 3)
        first_evaluations(set_name, min(100, max(options.symbols)), options.bars)
        live(set_name, options.bars)


if __name__ == "__main__":
    main()
