"""Time features over panels and over live bars, beside pandas, TA-Lib, polars, mlforecast and Qlib.

``python benchmarks/features.py`` prints the tables of ``docs/features.md``. Times are medians of processor time over
rounds in which the ways take turns, or for tools with an environment of their own over rounds right after them.

- *compiled*, *plain*: ``evaluate`` with step functions compiled by numba, and as they are, on one thread.
- *two threads*: how many times as fast, by the clock, compiled steps are on two threads.
- *pandas*: the same columns by ``groupby("symbol").rolling``, as most people write it; for ``alpha158`` those 75 of its
  rolling columns that pandas has a method for.
- *TA-Lib*: the functions that the columns of ``basic`` are made of, symbol by symbol.
- *polars*, *mlforecast*, *Qlib*: see the programs in ``benchmarks/other_features``. mlforecast computes eleven columns.
  With ``--install`` environments for them are made in the temporary directory, or where asked, and kept.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
import venv
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pandas as pd

from backtester_model_core.bars import Panel
from backtester_model_core.features import FEATURE_SETS, FeatureStream, evaluate, feature_set
from backtester_model_core.features.expansion import expand
from backtester_model_core.testing import random_panel

OTHERS = {
    "polars": ("basic", ["polars==2.1.0", "numpy"]),
    "mlforecast": ("basic", ["mlforecast==1.1.0"]),
    # the mlflow and pandas of today cannot be imported by this Qlib
    "Qlib": ("alpha158", ["pyqlib==0.9.7", "mlflow<3", "pandas<3"]),
}
"""Tools with an environment of their own: the set that each is asked for, and what pip installs."""

WAYS = ("compiled", "two threads", "plain", "pandas", "TA-Lib", *OTHERS)
HEADER = f"| set | symbols | {' | '.join(WAYS)} |\n|---|---|{'---|' * len(WAYS)}"
SINGLE_HEADER = (
    "| set | first, cold | first, cached | peak of memory | live bar, plain |\n|---|---|---|---|---|"
)

WINDOWS = (5, 10, 20, 30, 60)
PLAIN_UP_TO = 30_000_000
"""Values up to which plain Python is timed: beyond it takes minutes."""


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
    import talib

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


def seconds_of(work: Callable[[], object], clock: Callable[[], float] = time.process_time) -> float:
    started = clock()
    work()
    return clock() - started


def milliseconds(set_name: str, bars: pd.DataFrame, rounds: int) -> dict[str, float]:
    """Return the median milliseconds of each way, and how many times as fast two threads are."""
    panel, expressions = Panel.of(bars), feature_set(set_name)

    def compiled(n_threads: int = 1) -> object:
        return evaluate(expressions, panel, engine="compiled", n_threads=n_threads)

    by_pandas = pandas_basic if set_name == "basic" else pandas_alpha158
    ways: dict[str, Callable[[], object]] = {"compiled": compiled, "pandas": lambda: by_pandas(bars)}
    if panel.n_rows * len(expressions) <= PLAIN_UP_TO:
        ways["plain"] = lambda: evaluate(expressions, panel, engine="python")
    if set_name == "basic":
        ways["TA-Lib"] = lambda: talib_basic(panel)
    compiled()
    taken = [{name: seconds_of(way) for name, way in ways.items()} for _ in range(rounds)]
    times = {name: 1000 * statistics.median(one[name] for one in taken) for name in ways}
    if len(panel.symbols) > 1:
        pairs = [
            [seconds_of(lambda n=n: compiled(n), time.perf_counter) for n in (1, 2)] for _ in range(rounds)
        ]
        times["two threads"] = statistics.median(one / two for one, two in pairs)
    return times


def milliseconds_of_others(set_name: str, bars: pd.DataFrame, rounds: int, folder: Path) -> dict[str, float]:
    """Return the median milliseconds of the tools for a set whose environments there are."""
    times = {}
    for name, (asked, _) in OTHERS.items():
        python = folder / name.lower() / "bin" / "python"
        if asked != set_name or not python.is_file():
            continue
        with tempfile.TemporaryDirectory() as given:
            n_symbols = bars.index.get_level_values("symbol").nunique()
            columns = {column: bars[column].to_numpy().reshape(-1, n_symbols) for column in bars}
            np.savez(Path(given, "bars.npz"), **columns)
            Path(given, "expressions.json").write_text(json.dumps(expand(FEATURE_SETS[set_name].texts())))
            program = Path(__file__).parent / "other_features" / f"with_{name.lower()}.py"
            command = [python, program, Path(given, "bars.npz"), str(rounds), Path(given, "expressions.json")]
            environ = {"PATH": os.environ["PATH"], "HOME": os.environ["HOME"], **ONE_THREAD}
            done = subprocess.run(command, env=environ, capture_output=True, text=True, check=True)
        times[name] = 1000 * statistics.median(json.loads(done.stdout.splitlines()[-1]))
    return times


ONE_THREAD = dict.fromkeys(
    ("OMP_NUM_THREADS", "NUMBA_NUM_THREADS", "POLARS_MAX_THREADS", "OPENBLAS_NUM_THREADS"), "1"
)


def make_environments(folder: Path) -> None:
    """Make the environments that are missing."""
    for name, (_, requirements) in OTHERS.items():
        home = folder / name.lower()
        if not home.exists():
            venv.create(home, with_pip=True)
            environ = {key: value for key, value in os.environ.items() if key != "PIP_CONSTRAINT"}
            command = [home / "bin" / "python", "-m", "pip", "install", "--quiet", *requirements]
            subprocess.run(command, env=environ, check=True)


def row(set_name: str, n_symbols: int, times: dict[str, float]) -> str:
    """Return a line of the table: milliseconds, and how many times as long as compiled steps take."""
    cells = []
    for way in WAYS:
        if way not in times:
            cells.append("-")
        elif way == "compiled":
            cells.append(f"{times[way]:,.1f} ms")
        elif way == "two threads":
            cells.append(f"{times[way]:.1f} x as fast")
        else:
            cells.append(f"{times[way]:,.0f} ms, {times[way] / times['compiled']:.1f} x")
    return f"| `{set_name}` | {n_symbols} | {' | '.join(cells)} |"


FIRST = """
import sys, time, tracemalloc
sys.path.insert(0, {folder!r})
from features import Panel, evaluate, feature_set, sample_bars
panel, expressions = Panel.of(sample_bars({n_symbols}, {n_bars})), feature_set({name!r})
tiny = Panel.of(sample_bars(1, 100))
started = time.process_time()
evaluate(expressions, tiny, engine="compiled")
print(time.process_time() - started)
tracemalloc.start()
features = evaluate(expressions, panel, engine="compiled")
print(tracemalloc.get_traced_memory()[1], features.nbytes, sum(column.nbytes for column in panel.columns.values()))
"""


def single_row(set_name: str, n_symbols: int, n_bars: int) -> str:
    """Return a line of the second table: first evaluations and the peak of memory by processes of their own."""
    folder = os.path.dirname(os.path.abspath(__file__))
    program = FIRST.format(folder=folder, n_symbols=n_symbols, n_bars=n_bars, name=set_name)
    seconds = []
    with tempfile.TemporaryDirectory() as cache:
        for _ in range(4):  # the first compiles
            environ = {**os.environ, "BACKTESTER_MODEL_CACHE": cache}
            output = subprocess.run(
                [sys.executable, "-c", program], env=environ, capture_output=True, text=True, check=True
            ).stdout.splitlines()
            seconds.append(float(output[0]))
            grown, out, given = map(float, output[1].split())
    share = (given + grown) / (given + out)
    return (
        f"| `{set_name}` | {seconds[0]:.2f} s | {statistics.median(seconds[1:]):.2f} s | "
        f"{share:.2f} x bars and features | {live_microseconds(set_name, n_bars):.1f} µs |"
    )


def live_microseconds(set_name: str, n_bars: int) -> float:
    """Return the median microseconds of a live bar in plain Python."""
    bars = sample_bars(1, n_bars).droplevel("symbol").to_dict("records")
    stream, taken = FeatureStream(feature_set(set_name)), []
    for bar in bars:
        started = time.perf_counter()
        stream.update("", bar)
        taken.append(time.perf_counter() - started)
    return 1e6 * statistics.median(taken)


def lines(options: argparse.Namespace) -> Iterator[str]:
    """Yield the lines of both tables."""
    yield HEADER
    for set_name in options.sets:
        for n_symbols in options.symbols:
            bars = sample_bars(n_symbols, options.bars)
            rounds = options.rounds if n_symbols <= 100 else min(options.rounds, 3)
            times = milliseconds(set_name, bars, rounds)
            few = 3 if n_symbols <= 100 else 1
            times |= milliseconds_of_others(set_name, bars, few, options.environments)
            yield row(set_name, n_symbols, times)
    yield f"\n{SINGLE_HEADER}"
    for set_name in options.sets:
        yield single_row(set_name, min(100, max(options.symbols)), options.bars)


def main() -> None:
    """Run what the arguments ask for."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--symbols", type=int, nargs="+", default=[1, 100, 500], help="sizes of the panels")
    parser.add_argument("--bars", type=int, default=2520, help="bars of each symbol")
    parser.add_argument("--sets", nargs="+", default=["basic", "alpha158"], choices=["basic", "alpha158"])
    parser.add_argument("--rounds", type=int, default=5, help="rounds over which medians are taken")
    parser.add_argument("--install", action="store_true", help="make the environments that are missing")
    default = Path(tempfile.gettempdir(), "backtester-model-bench")
    parser.add_argument("--environments", type=Path, default=default, help="where other tools' are kept")
    options = parser.parse_args()
    if options.install:
        make_environments(options.environments)
    for line in lines(options):
        print(line, flush=True)


if __name__ == "__main__":
    main()
