"""Time a whole walk-forward against a hand-written scikit-learn loop over the same windows, rows and features.

``python benchmarks/walkforward.py`` prints, for one symbol and for a panel, the median over runs of the ratio
walk_forward / loop, measured in turn in one process. The loop is what a careful researcher would write: purged
training rows, a fitted scaler, one forecast a block, the features at hand. ``walk`` leaves the computation of
features out on our side as well; ``whole`` counts it on both sides, the loop's by pandas.
"""

from __future__ import annotations

import argparse
import statistics
import time
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
from sklearn.dummy import DummyClassifier
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from backtester_model_core import ModelConfig, load_config, walk_forward
from backtester_model_core.factory import create_model
from backtester_model_core.testing import random_bars, random_panel
from backtester_model_core.walkforward import plan_windows

N_BARS, N_WINDOWS, FIRST_TRAIN = 2520, 40, 1000
MODELS: dict[str, tuple[Callable[[], Any], dict[str, Any]]] = {
    "nothing": (
        lambda: DummyClassifier(strategy="prior"),
        {"model_class": "DummyClassifier", "hyperparameters": {"strategy": "prior"}, "normalize_features": False},
    ),
    "LogisticRegression": (
        lambda: make_pipeline(StandardScaler(), LogisticRegression()),
        {"model_class": "LogisticRegression"},
    ),
    "HistGradientBoosting": (
        lambda: HistGradientBoostingClassifier(max_iter=20, random_state=0, early_stopping=False),
        {
            "model_class": "HistGradientBoostingClassifier",
            "hyperparameters": {"max_iter": 20},
            "normalize_features": False,
        },
    ),
}


def configuration(fields: dict[str, Any]) -> ModelConfig:
    """Return forty windows of the basic features."""
    test_size = -(-(N_BARS - FIRST_TRAIN - 1) // N_WINDOWS)
    sizes = {"train_size": FIRST_TRAIN, "test_size": test_size}
    return load_config({"framework": "sklearn", "validation": sizes, "gate": {"mode": "off"}, **fields})


def pandas_features(bars: pd.DataFrame) -> pd.DataFrame:
    """Compute about as many columns as the basic set, as most people do it."""
    by_symbol = bars.groupby(level="symbol") if isinstance(bars.index, pd.MultiIndex) else None

    def rolled(series: pd.Series, window: int, how: str) -> pd.Series:
        if by_symbol is None:
            return getattr(series.rolling(window), how)()
        out = getattr(series.groupby(level="symbol").rolling(window), how)()
        return out.droplevel(0).reindex(series.index)

    close = bars["close"]
    lagged = {lag: close.shift(lag) if by_symbol is None else by_symbol["close"].shift(lag) for lag in (1, 2, 5, 10, 20)}
    returns = close / lagged[1] - 1
    columns = {f"return_{lag}": close / past - 1 for lag, past in lagged.items()}
    for window in (5, 10, 20):
        columns[f"mean_{window}"] = close / rolled(close, window, "mean") - 1
        columns[f"std_{window}"] = rolled(returns, window, "std")
        columns[f"high_{window}"] = rolled(bars["high"], window, "max") / close - 1
        columns[f"low_{window}"] = rolled(bars["low"], window, "min") / close - 1
    columns["volume"] = bars["volume"] / rolled(bars["volume"], 20, "mean") - 1
    return pd.DataFrame(columns)


def hand_written(bars: pd.DataFrame, rows: dict[str, Any], build: Callable[[], Any], *, features: bool) -> None:
    """Train and foresee forty windows in a plain loop."""
    if features:
        pandas_features(bars)
    values, target = rows["values"], rows["target"]
    forecast = np.full(len(values), np.nan)
    for train, test in rows["windows"]:
        model = build()
        model.fit(values[train], target[train])
        forecast[test] = model.predict_proba(values[test])[:, 1]


def seconds(work: Callable[[], Any]) -> tuple[float, Any]:
    """Return how long some work took, and its answer."""
    started = time.perf_counter()
    answer = work()
    return time.perf_counter() - started, answer


def measure(bars: pd.DataFrame, name: str, runs: int) -> str:
    """Return a line of the table: medians of seconds and of ratios."""
    build, fields = MODELS[name]
    config = configuration(fields)
    dataset = create_model(config).prepare(bars)
    windows = plan_windows(config, dataset)
    complete = dataset.is_complete
    rows = {
        "values": dataset.values,
        "target": dataset.target,
        "windows": [(window.train_rows, window.test_rows[complete[window.test_rows]]) for window in windows],
    }
    samples: list[tuple[float, float, float, float]] = []
    for _ in range(runs + 1):
        whole, result = seconds(lambda: walk_forward(config, bars))
        loop, _ = seconds(lambda: hand_written(bars, rows, build, features=False))
        whole_loop, _ = seconds(lambda: hand_written(bars, rows, build, features=True))
        samples.append((whole - result.timings["prepare"], loop, whole, whole_loop))
    counted = samples[1:]
    ours, theirs = (statistics.median(sample[column] for sample in counted) for column in (0, 1))
    walk = statistics.median(sample[0] / sample[1] for sample in counted)
    all_of_it = statistics.median(sample[2] / sample[3] for sample in counted)
    n_symbols = len(dataset.symbols)
    return f"| {n_symbols} | {len(windows)} | {name} | {theirs:.3f} | {ours:.3f} | {walk:.2f} | {all_of_it:.2f} |"


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=5, help="counted runs of each line, after one that is not")
    parser.add_argument("--symbols", type=int, nargs="+", default=[1, 100], help="sizes of the panels")
    parser.add_argument("--models", nargs="+", choices=MODELS, default=list(MODELS), help="models to time")
    arguments = parser.parse_args()
    warnings.simplefilter("ignore")
    print("| symbols | windows | model | loop, s | walk, s | walk / loop | whole / loop with pandas features |")
    print("|---|---|---|---|---|---|---|")
    for n_symbols in arguments.symbols:
        bars = random_bars(N_BARS) if n_symbols == 1 else random_panel(n_symbols, N_BARS)
        for name in arguments.models:
            runs = arguments.runs if n_symbols == 1 else min(arguments.runs, 3)
            print(measure(bars, name, runs), flush=True)


if __name__ == "__main__":
    main()
