"""Time what a live bar costs: its features, and the answer of a model to its row.

``python benchmarks/live_bar.py`` prints the tables of ``docs/live.md``, in microseconds by the clock: the median, and
in brackets the 95th percentile, over bars. Ways take turns, a hundred bars each; with ``--turn 1`` each bar finds the
processor's caches full of what the others left there, as it does after a pause.

- *compiled*, *plain*: what this project does with the extra ``fast``, and without.
- *recomputed*: the same columns by pandas over the last 250 bars, and the adapter's ``predict`` of one row, which is
  the framework's own but for a check of the answer.
- *together*: features and answer of the same bars, added bar by bar.
- *whole*: ``SignalStream.update``, from the bar to the signal: checked, computed, answered, calibrated and decided on;
  *recomputed* is then pandas and the framework alone.

All models are trained on the columns of ``basic``, forests and boosting of 100 trees, recurrent networks of 32 units
over windows of 30 rows.
"""

from __future__ import annotations

import argparse
import importlib.util
import statistics
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any
from unittest import mock

import numpy as np
import pandas as pd

from backtester_model_core.adapter import ModelFrameworkAdapter, SequenceAdapter
from backtester_model_core.bars import Panel
from backtester_model_core.compiled import numba_is_here
from backtester_model_core.factory import create_model, load_config
from backtester_model_core.features import FeatureStream, evaluate, feature_set
from backtester_model_core.plugins import plugins
from backtester_model_core.streaming import SignalStream
from backtester_model_core.streaming.incoming import rows_of
from backtester_model_core.testing import random_bars
from backtester_model_core.typing import FloatArray, RowStep

TAIL = 250
"""Bars over which pandas computes the columns again."""
WARM_UP = 300
LOOKBACK = 30

FOREST = {"n_estimators": 100}
BOOSTING = {"n_estimators": 100}
HISTOGRAMS = {"max_iter": 100}

NETWORKS = {
    "dense, 32 units": [{"type": "dense", "units": 32, "activation": "relu"}],
    "LSTM, 32 units": [{"type": "lstm", "units": 32}],
    "GRU, 32 units": [{"type": "gru", "units": 32}],
}

COLUMNS = ("compiled", "plain", "recomputed")
HEADER = "| | compiled | plain | recomputed | times as fast |\n|---|---:|---:|---:|---:|"

Way = Callable[[int], Any]
"""Does the work for the bar of that number."""


@dataclass(frozen=True)
class Contest:
    """Several ways to do one thing, by the name of their column."""

    name: str
    ways: Mapping[str, Way]


@dataclass(frozen=True)
class Times:
    """Microseconds that a way took, over bars."""

    taken: tuple[float, ...]

    @property
    def median(self) -> float:
        """The middle one."""
        return statistics.median(self.taken)

    def __str__(self) -> str:
        """Write the median and the 95th percentile."""
        return f"{self.median:,.1f} ({np.percentile(self.taken, 95):,.1f})"


# -- the ways ----------------------------------------------------------------------------------------------------


def pandas_basic(bars: pd.DataFrame) -> pd.DataFrame:
    """Compute the columns of the basic set over one symbol's bars by pandas, as most people write it."""
    close, high, low, volume = (bars[name] for name in ("close", "high", "low", "volume"))
    returns, change, previous = close.pct_change(), close.diff(), close.shift()
    reach = pd.concat([high - low, (high - previous).abs(), (low - previous).abs()], axis=1).max(axis=1)

    def average(series: pd.Series, alpha: float) -> pd.Series:
        return series.ewm(alpha=alpha, adjust=False).mean()

    def zscore(series: pd.Series) -> pd.Series:
        window = series.rolling(20)
        return (series - window.mean()) / window.std()

    deviation = returns.rolling(20).std()
    macd = average(close, 2 / 13) - average(close, 2 / 27)
    log_range, log_body = np.log(high / low), np.log(close / bars["open"])
    spread = 0.5 * log_range**2 - (2 * np.log(2) - 1) * log_body**2
    out = {f"return_{n}": close.pct_change(n) for n in (1, 2, 5, 10, 20)}
    out |= {f"mean_ratio_{n}": close / close.rolling(n).mean() - 1 for n in (5, 10, 20)}
    out |= {
        "momentum_20": out["return_20"] / (np.sqrt(20) * deviation),
        "volatility_20": deviation,
        "return_zscore_20": zscore(returns),
        "rsi_14": 50 + 50 * average(change, 1 / 14) / average(change.abs(), 1 / 14),
        "atr_14": average(reach, 1 / 14) / close,
        "bollinger_b_20": 0.5 + zscore(close) * np.sqrt(20 / 19) / 4,
        "macd_histogram": (macd - average(macd, 2 / 10)) / close,
        "volume_zscore_20": zscore(volume),
        "parkinson_20": np.sqrt((log_range**2).rolling(20).mean() / (4 * np.log(2))),
        "garman_klass_20": np.sqrt(spread.rolling(20).mean()),
        "overnight_gap": bars["open"] / previous - 1,
        "intraday_range": log_range,
        "close_position": (2 * close - high - low) / (high - low),
    }
    return pd.DataFrame(out)


def feature_contest(bars: pd.DataFrame) -> Contest:
    """Compute the columns of ``basic`` for one bar after another."""
    records = bars[["open", "high", "low", "close", "volume"]].to_dict("records")
    ways: dict[str, Way] = {}
    for column, engine in (("compiled", "compiled"), ("plain", "python")):
        if engine == "python" or numba_is_here():
            stream = FeatureStream(feature_set("basic"), engine=engine)  # type: ignore[arg-type]
            for bar in records[:WARM_UP]:
                stream.update("", bar)
            ways[column] = lambda number, stream=stream: stream.update("", records[number])  # type: ignore[misc]
    ways["recomputed"] = lambda number: pandas_basic(bars.iloc[number - TAIL + 1 : number + 1]).iloc[-1]
    return Contest("features of `basic`", ways)


def model_contests(features: FloatArray, returns: FloatArray) -> Iterator[Contest]:
    """Train each model on the first rows, and ask it about later ones."""
    for name, fields in models():
        config = load_config(fields)
        adapter: ModelFrameworkAdapter[Any] = plugins().adapter(config.framework)
        n_context = adapter.context_rows(config) if isinstance(adapter, SequenceAdapter) else 0
        rows = np.arange(n_context, WARM_UP)
        classes = (0.0, 1.0) if config.model_type == "classification" else None
        target = returns[rows] if classes is None else (returns[rows] > 0).astype(np.int64)
        ends = {"ends": rows} if n_context else {}
        native = adapter.train_model(
            adapter.initialize_model(config),
            features[:WARM_UP],
            target,
            classes=classes,
            seed=0,
            **ends,
        )
        yield Contest(name, _ways_to_ask(adapter, native, features, n_context))


def stream_contests(bars: pd.DataFrame) -> Iterator[Contest]:
    """Go from bars to signals, watched and not."""
    records = rows_of(bars)
    for name, fields in list(models())[:2]:
        for is_watched in (False, True):
            ways: dict[str, Way] = {}
            for column, engine in (("compiled", "compiled"), ("plain", "python")):
                if engine == "python" or numba_is_here():
                    config = {**fields, "enable_monitoring": is_watched, "features": {"engine": engine}}
                    model = create_model(load_config(config))
                    model.train_dataset(model.prepare(bars.iloc[:WARM_UP]))
                    with mock.patch.dict(sys.modules, {} if engine == "compiled" else {"numba": None}):
                        stream = SignalStream(model, gate="policy")
                    stream.warm_up(bars.iloc[:WARM_UP])
                    ways[column] = lambda number, stream=stream: stream.update(records[number])  # type: ignore[misc]
            native, adapter = model.native, plugins().adapter(model.config.framework)

            def recomputed(number: int, adapter: Any = adapter, native: Any = native) -> Any:
                row = pandas_basic(bars.iloc[number - TAIL + 1 : number + 1]).iloc[[-1]]
                return adapter.predict(native, np.nan_to_num(row.to_numpy()))

            ways["recomputed"] = recomputed
            yield Contest(f"{name}{', watched' if is_watched else ''}", ways)


def models() -> Iterator[tuple[str, dict[str, Any]]]:
    """Name each model with its configuration."""
    for framework, name, hyperparameters in (
        ("sklearn", "LogisticRegression", {}),
        ("sklearn", "RandomForestClassifier", FOREST),
        ("sklearn", "GradientBoostingClassifier", BOOSTING),
        ("sklearn", "HistGradientBoostingClassifier", HISTOGRAMS),
    ):
        yield (
            f"{framework}, `{name}`",
            {"framework": framework, "model_class": name, "hyperparameters": hyperparameters},
        )
    yield "scipy, `ridge`", {"framework": "scipy", "model_type": "regression", "model": "ridge"}
    for framework, package in (("pytorch", "torch"), ("tensorflow", "tensorflow")):
        if importlib.util.find_spec(package):
            for name, layers in NETWORKS.items():
                fields = {"framework": framework, "model_architecture": {"layers": layers}}
                yield (
                    f"{framework}, {name}",
                    fields | {"lookback_period": LOOKBACK, "training_config": {"epochs": 2}},
                )


def _ways_to_ask(
    adapter: ModelFrameworkAdapter[Any], native: Any, features: FloatArray, n_context: int
) -> dict[str, Way]:
    rows, windows = (
        features.tolist(),
        [features[max(at - n_context, 0) : at + 1] for at in range(len(features))],
    )
    last = {"ends": np.array([n_context])} if n_context else {}
    ways: dict[str, Way] = {}
    for column, step in _steps(adapter, native).items():
        given = windows if n_context else rows
        ways[column] = lambda number, step=step, given=given: step(given[number])  # type: ignore[misc]
    ways["recomputed"] = lambda number: adapter.predict(native, windows[number], **last)
    return ways


def _steps(adapter: ModelFrameworkAdapter[Any], native: Any) -> dict[str, RowStep]:
    """Return the adapter's step, where numba is installed also the one that it would make without."""
    steps = {"compiled": adapter.compile_step(native)} if numba_is_here() else {}
    with mock.patch.dict(sys.modules, {"numba": None}):  # as if it were not installed
        return steps | {"plain": adapter.compile_step(native)}


# -- measuring ---------------------------------------------------------------------------------------------------


def measure(contest: Contest, numbers: range, *, turn: int) -> dict[str, Times]:
    """Time every way on each bar; the ways take turns."""
    taken: dict[str, list[float]] = {column: [] for column in contest.ways}
    for first in range(0, len(numbers), turn):
        for column, way in contest.ways.items():
            for number in numbers[first : first + turn]:
                begun = time.perf_counter_ns()
                way(number)
                taken[column].append((time.perf_counter_ns() - begun) / 1e3)
    return {column: Times(tuple(each)) for column, each in taken.items()}


def line_of(name: str, times: Mapping[str, Times]) -> str:
    """Return one line of a table: each way, and how many times as fast the first is as the last."""
    best, worst = next(iter(times.values())), times["recomputed"]
    cells = [str(times[column]) if column in times else "-" for column in COLUMNS]
    return f"| {name} | {' | '.join(cells)} | {worst.median / best.median:,.0f} |"


def sum_of(first: Mapping[str, Times], second: Mapping[str, Times]) -> dict[str, Times]:
    """Return how long two things take together, bar by bar."""
    return {
        column: Times(tuple(map(sum, zip(times.taken, second[column].taken, strict=True))))
        for column, times in first.items()
    }


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--bars", type=int, default=1000, help="bars that are timed")
    parser.add_argument("--turn", type=int, default=100, help="bars that a way is timed on before the next")
    arguments = parser.parse_args()
    bars = random_bars(WARM_UP + arguments.bars, seed=1)
    numbers = range(WARM_UP, len(bars))
    panel = Panel.of(bars)
    features = np.nan_to_num(evaluate(feature_set("basic"), panel))
    returns = bars["close"].pct_change().shift(-1).to_numpy()
    of_features = measure(feature_contest(bars), numbers, turn=arguments.turn)
    print(f"Microseconds of a bar, medians (95th percentiles) of {len(numbers):,} bars\n\n{HEADER}")
    print(line_of("features of `basic`", of_features))
    together = []
    for contest in model_contests(features, returns):
        times = measure(contest, numbers, turn=arguments.turn)
        print(line_of(contest.name, times), flush=True)
        together.append(line_of(contest.name, sum_of(of_features, times)))
    print(f"\nFeatures and answer together\n\n{HEADER}")
    print("\n".join(together))
    print(f"\nThe whole of a live bar\n\n{HEADER}")
    for contest in stream_contests(bars):
        print(line_of(contest.name, measure(contest, numbers, turn=arguments.turn)), flush=True)


if __name__ == "__main__":
    main()
