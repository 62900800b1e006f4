"""Time a whole walk-forward against a hand-written scikit-learn loop over the same windows, rows and features.

``python benchmarks/walkforward.py`` prints, for one symbol and for a panel, medians over runs of ratios to loops
measured in turn in one process. The loops are what a careful researcher would write over purged training rows:

- *forecasts*: fit a scaler and a model, foresee a block, window after window; the features are at hand. The
  walk-forward's own features are left out as well, its signals, metrics, returns and verdict are not.
- *scored*: the same, with accuracy, ROC AUC, log loss and Brier score of each window by scikit-learn.
- *whole*: the same again, with the features computed on both sides, the loop's by pandas.
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
from sklearn.metrics import accuracy_score, brier_score_loss, log_loss, roc_auc_score
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
        {
            "model_class": "DummyClassifier",
            "hyperparameters": {"strategy": "prior"},
            "normalize_features": False,
        },
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
    lagged = {
        lag: close.shift(lag) if by_symbol is None else by_symbol["close"].shift(lag)
        for lag in (1, 2, 5, 10, 20)
    }
    returns = close / lagged[1] - 1
    columns = {f"return_{lag}": close / past - 1 for lag, past in lagged.items()}
    for window in (5, 10, 20):
        columns[f"mean_{window}"] = close / rolled(close, window, "mean") - 1
        columns[f"std_{window}"] = rolled(returns, window, "std")
        columns[f"high_{window}"] = rolled(bars["high"], window, "max") / close - 1
        columns[f"low_{window}"] = rolled(bars["low"], window, "min") / close - 1
    columns["volume"] = bars["volume"] / rolled(bars["volume"], 20, "mean") - 1
    return pd.DataFrame(columns)


def hand_written(rows: dict[str, Any], build: Callable[[], Any], *, scored: bool) -> list[list[float]]:
    """Train and foresee forty windows in a plain loop, and score each if asked to."""
    values, target = rows["values"], rows["target"]
    forecast, scores = np.full(len(values), np.nan), []
    for train, test in rows["windows"]:
        model = build()
        model.fit(values[train], target[train])
        forecast[test] = model.predict_proba(values[test])[:, 1]
        if scored:
            known = test[~np.isnan(target[test])]
            outcome, probability = target[known], forecast[known]
            scores.append(
                [
                    accuracy_score(outcome, probability > 0.5),
                    roc_auc_score(outcome, probability),
                    log_loss(outcome, probability, labels=[0, 1]),
                    brier_score_loss(outcome, probability),
                ]
            )
    return scores


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
    samples: list[tuple[float, float, float, float, float]] = []
    for _ in range(runs + 1):
        whole, result = seconds(lambda: walk_forward(config, bars))
        plain, _ = seconds(lambda: hand_written(rows, build, scored=False))
        scored, _ = seconds(lambda: hand_written(rows, build, scored=True))
        features, _ = seconds(lambda: pandas_features(bars))
        walk = whole - result.timings["prepare"]
        samples.append((walk, plain, walk / plain, walk / scored, whole / (scored + features)))
    walk, plain, *ratios = (statistics.median(column) for column in zip(*samples[1:], strict=True))
    shown = " | ".join(f"{ratio:.2f}" for ratio in ratios)
    return f"| {len(dataset.symbols)} | {len(windows)} | {name} | {plain:.3f} | {walk:.3f} | {shown} |"


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--runs", type=int, default=5, help="counted runs of each line, after one that is not"
    )
    parser.add_argument("--symbols", type=int, nargs="+", default=[1, 100], help="sizes of the panels")
    parser.add_argument("--models", nargs="+", choices=MODELS, default=list(MODELS), help="models to time")
    arguments = parser.parse_args()
    warnings.simplefilter("ignore")
    print("| symbols | windows | model | forecasts, s | walk, s | walk / forecasts | walk / scored | whole |")
    print("|---|---|---|---|---|---|---|---|")
    for n_symbols in arguments.symbols:
        bars = random_bars(N_BARS) if n_symbols == 1 else random_panel(n_symbols, N_BARS)
        for name in arguments.models:
            runs = arguments.runs if n_symbols == 1 else min(arguments.runs, 3)
            print(measure(bars, name, runs), flush=True)


if __name__ == "__main__":
    main()
