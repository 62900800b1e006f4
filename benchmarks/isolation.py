"""Time what it costs to ask an adapter in a process of another environment, against the same adapter in this one.

``python benchmarks/isolation.py`` prints the table of ``docs/isolated.md``: the fastest training and forecast of 1,
100 and 10,000 rows, in this process and through a child of the same interpreter, calls taken in turn, and what lies
between the two. ``--interpreter sklearn=/opt/other/bin/python`` names another environment's interpreter
for a framework. Models are trained on 2,000 rows of 20 features; the LSTM looks back on 30 rows.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable
from typing import Any

import numpy as np

from backtester_model_core.factory import load_config
from backtester_model_core.plugins import plugins
from backtester_model_core.testing.contract.case import Case
from backtester_model_isolated import allow_interpreter

N_TRAIN, N_FEATURES = 2_000, 20
ASKED = {1: 400, 100: 200, 10_000: 20}
"""Rows of a forecast, and how often it is timed."""

LSTM = {
    "model_architecture": {"layers": [{"type": "lstm", "units": 16}]},
    "training_config": {"epochs": 1, "batch_size": 256},
}
MODELS: dict[str, tuple[str, dict[str, Any]]] = {
    "logistic regression": ("sklearn", {"model_class": "LogisticRegression"}),
    "forest of 100": ("sklearn", {"model_class": "RandomForestClassifier"}),
    "LSTM, torch": ("pytorch", LSTM),
    "LSTM, TensorFlow": ("tensorflow", LSTM),
}


class Contestant:
    """One adapter and its model, asked about rows as the core would."""

    def __init__(self, fields: dict[str, Any]) -> None:
        config = load_config({"lookback_period": 30, **fields})
        self.case = Case(plugins().adapter(config.framework), config)
        self.model: Any = None

    def train(self) -> None:
        """Build and train the model."""
        self.model = self.case.native(*rows_of(N_TRAIN + self.case.n_context))

    def ask(self, n_rows: int) -> np.ndarray[Any, Any]:
        """Forecast so many rows."""
        values, _ = rows_of(n_rows + self.case.n_context)
        return self.case.ask(self.model, values)


_rows: dict[int, tuple[Any, Any]] = {}


def rows_of(n_rows: int) -> tuple[Any, Any]:
    if n_rows not in _rows:
        rng = np.random.default_rng(0)
        values = rng.standard_normal((n_rows, N_FEATURES))
        _rows[n_rows] = values, (values[:, 0] + rng.standard_normal(n_rows) > 0).astype(np.int64)
    return _rows[n_rows]


def fastest(*ways: Callable[[], Any], n_times: int) -> list[float]:
    """Return the least seconds of each way, taken in turn: whatever else the machine does only adds to them."""
    taken: list[list[float]] = [[] for _ in ways]
    for _ in range(n_times):
        for way, times in zip(ways, taken, strict=True):
            started = time.perf_counter()
            way()
            times.append(time.perf_counter() - started)
    return list(map(min, taken))


def shown(seconds: float) -> str:
    if abs(seconds) < 1e-3:
        return f"{seconds * 1e6:,.0f} µs"
    return f"{seconds * 1e3:,.1f} ms" if seconds < 1 else f"{seconds:,.2f} s"


def line(model: str, what: str, here: float, there: float) -> str:
    return (
        f"| {model} | {what} | {shown(here)} | {shown(there)} | {shown(there - here)} | {there / here:.2f} |"
    )


def compare(name: str, framework: str, own: dict[str, Any], python: str) -> None:
    here = Contestant({"framework": framework, **own})
    there = Contestant({"framework": "isolated", "python": python, "adapter": framework, "options": own})
    print(line(name, "train", *fastest(here.train, there.train, n_times=6)))
    for n_rows, n_times in ASKED.items():
        if not np.array_equal(here.ask(n_rows), there.ask(n_rows)):
            raise SystemExit(f"{name}: the forecasts of {n_rows} rows are not the same to the last bit")
        times = fastest(lambda n=n_rows: here.ask(n), lambda n=n_rows: there.ask(n), n_times=n_times)
        print(line(name, f"{n_rows:,} row{'s' * (n_rows > 1)}", *times))


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--only", help="one framework, such as sklearn")
    parser.add_argument("--interpreter", action="append", default=[], metavar="FRAMEWORK=PATH")
    options = parser.parse_args()
    interpreters = dict(pair.split("=", 1) for pair in options.interpreter)
    print("| model | call | in process | isolated | costs | ratio |\n|---|---|---:|---:|---:|---:|")
    for name, (framework, own) in MODELS.items():
        if options.only in {None, framework}:
            python = interpreters.get(framework, sys.executable)
            allow_interpreter(python)
            compare(name, framework, own, python)


if __name__ == "__main__":
    main()
