"""Whole walk-forwards that look ahead, or seem to, through what extensions may do to them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from typing import Any
from unittest import mock

import numpy as np
import pandas as pd

from backtester_model_core.adapter import ModelFrameworkAdapter
from backtester_model_core.config import ModelConfig
from backtester_model_core.dataset import Dataset
from backtester_model_core.factory import create_model
from backtester_model_core.hookspecs import hookimpl
from backtester_model_core.plugins import Plugins, use_plugins
from backtester_model_core.splits import Window
from backtester_model_core.testing import (
    Leak,
    find_fit_time_leaks,
    find_monitoring_leaks,
    find_truncation_leaks,
    find_walk_forward_leaks,
    find_window_leaks,
    random_bars,
)
from backtester_model_core.typing import FloatArray
from backtester_model_core.walkforward import WalkForwardResult, engine, walk_forward
from backtester_model_core.walkforward.engine import plan_windows
from look_ahead_cases.case import Checks, Pair


class LeastSquaresAdapter(ModelFrameworkAdapter[FloatArray]):
    """A line by least squares; as a classifier, a clipped linear probability of the higher class."""

    def initialize_model(self, config: ModelConfig) -> FloatArray:
        return np.empty(0)

    def train_model(self, model: FloatArray, features: FloatArray, target: Any, **others: Any) -> FloatArray:
        design = np.column_stack([np.ones(len(features)), features])
        return np.linalg.lstsq(design, target.astype(float), rcond=None)[0]

    def predict(self, model: FloatArray, features: FloatArray) -> FloatArray:
        rising = np.clip([model[0] + float((model[1:] * row).sum()) for row in features], 0.01, 0.99)
        return np.column_stack([1 - rising, rising])


CONFIG = {
    "framework": "least_squares",
    "lookback_period": 5,
    "prediction_horizon": 3,
    "confidence_threshold": 0.5,
    "features": {
        "sets": (),
        "expressions": {"r1": "close / ref(close, 1) - 1", "r5": "close / ref(close, 5) - 1"},
    },
    "validation": {"train_size": 100, "test_size": 30},
    "gate": {"mode": "off"},
}
BARS = random_bars(190, seed=12, momentum=0.3)
FADING = pd.concat(
    [
        random_bars(260, seed=1, momentum=0.8),
        random_bars(200, seed=2, start="2017-01-02", momentum=-0.8),
    ]
)


@contextmanager
def own_plugins(*extensions: Any) -> Iterator[None]:
    """Put the least-squares adapter and some extensions in force, and nothing that happens to be installed."""
    with use_plugins(Plugins(discover=False, environ={})) as own:
        own.register_adapter("least_squares", LeastSquaresAdapter)
        for number, extension in enumerate(extensions):
            own.register_extension(f"case-{number}", extension)
        yield


# -- walk-forwards ----------------------------------------------------------------------------------------------------


class Unpurged:
    """What plans windows whose training rows are known by the fit, though their labels may not be."""

    planned = staticmethod(engine.walk_forward_windows)

    def __call__(self, known_at: Any, label_end: Any, **sizes: Any) -> list[Window]:
        labelled = ~np.isnat(label_end)
        windows = self.planned(known_at, label_end, **sizes)
        return [
            replace(each, train_rows=np.flatnonzero(labelled & (known_at <= each.fit_at))) for each in windows
        ]


class Scaled:
    """An extension that divides the features by their deviation over all rows, or over the first sixty."""

    def __init__(self, rows: slice) -> None:
        self.rows = rows

    @hookimpl(wrapper=True)
    def backtester_prepare(self, model: Any, data: pd.DataFrame) -> Any:
        dataset = yield
        return replace(dataset, values=dataset.values / np.nanstd(dataset.values[self.rows], axis=0) ** 3)


class Acting:
    """An extension that acts where a score is above the mean of the call, or above a half."""

    def __init__(self, *, by_the_call: bool) -> None:
        self.by_the_call = by_the_call

    @hookimpl(wrapper=True)
    def backtester_signal(self, model: Any, data: pd.DataFrame, prediction: Any) -> Any:
        signals = yield
        threshold = signals["score"].mean() if self.by_the_call else 0.5
        return signals.assign(target_weight=np.where(signals["score"] > threshold, 1.0, 0.0))


class Remembering:
    """An extension that lets models train on every row that was ever prepared, or on the rows they are given."""

    def __init__(self, *, everything: bool) -> None:
        self.everything = everything
        self.prepared: Dataset | None = None

    @hookimpl(wrapper=True)
    def backtester_prepare(self, model: Any, data: pd.DataFrame) -> Any:
        self.prepared = yield
        return self.prepared

    @hookimpl(wrapper=True)
    def backtester_train(self, model: Any, dataset: Dataset, validation: Dataset | None) -> Any:
        report = yield
        rows = self.prepared if self.everything else dataset
        rows = rows.take(rows.is_complete & rows.is_labelled)
        model.fit(rows, None)
        return report


class Calibrating:
    """An extension that moves scores to the share of rises among the rows they serve, or among those known by then."""

    def __init__(self, *, on_served_rows: bool) -> None:
        self.on_served_rows = on_served_rows
        self.prepared: Dataset | None = None

    @hookimpl(wrapper=True)
    def backtester_prepare(self, model: Any, data: pd.DataFrame) -> Any:
        self.prepared = yield
        return self.prepared

    @hookimpl(wrapper=True)
    def backtester_signal(self, model: Any, data: pd.DataFrame, prediction: Any) -> Any:
        signals = yield
        known_at = self.prepared.known_at
        first = known_at[self.prepared.index.get_indexer(signals.index[:1])[0]]
        chosen = known_at >= first if self.on_served_rows else self.prepared.label_end <= first
        rises = self.prepared.target[chosen & self.prepared.is_labelled]
        share = rises.mean() if len(rises) else 0.5
        return signals.assign(score=signals["score"] + share - 0.5)


class Stopping:
    """An extension that shrinks a line by what suits the rows after training, or the last rows in training."""

    def __init__(self, *, by_served_rows: bool) -> None:
        self.by_served_rows = by_served_rows
        self.prepared: Dataset | None = None

    @hookimpl(wrapper=True)
    def backtester_prepare(self, model: Any, data: pd.DataFrame) -> Any:
        self.prepared = yield
        return self.prepared

    @hookimpl(wrapper=True)
    def backtester_train(self, model: Any, dataset: Dataset, validation: Dataset | None) -> Any:
        report = yield
        usable = self.prepared.is_complete & self.prepared.is_labelled
        if self.by_served_rows:
            rows = self.prepared.take(usable & (self.prepared.known_at > dataset.known_at[-1]))
            rows = rows.take(np.arange(min(30, len(rows.target))))
        else:
            rows = dataset.take(np.arange(len(dataset.target) - 30, len(dataset.target)))
        shrunk = [model.native * share for share in (0.25, 0.5, 0.75, 1.0)]
        errors = [((line[0] + rows.values @ line[1:] - rows.target) ** 2).sum() for line in shrunk]
        model.native = shrunk[int(np.argmin(errors))]
        return report


def walk_forward_checks(*extensions: Any, windows: Any = engine.walk_forward_windows) -> Checks:
    """Return the checks of whole walk-forwards, under some extensions and with some way to plan windows."""

    def under(check: Callable[[ModelConfig], list[Leak]]) -> Callable[[], list[Leak]]:
        def run() -> list[Leak]:
            with own_plugins(*extensions), mock.patch.object(engine, "walk_forward_windows", windows):
                return check(ModelConfig(**CONFIG))

        return run

    def audit(config: ModelConfig) -> list[Leak]:
        dataset = create_model(config).prepare(BARS)
        return find_window_leaks(plan_windows(config, dataset), dataset.known_at, dataset.label_end)

    def fixed_model(config: ModelConfig) -> list[Leak]:
        model = create_model(config)
        dataset = model.prepare(BARS)
        model.train_dataset(dataset.take(np.arange(100)))
        return find_truncation_leaks(model.generate_signals, BARS, cuts=range(100, len(BARS), 15))

    return {
        "T1": under(fixed_model),
        "T5": under(audit),
        "T7": under(lambda config: find_walk_forward_leaks(config, BARS)),
        "T13": under(lambda config: find_fit_time_leaks(config, BARS)),
    }


def monitored(config: ModelConfig, bars: pd.DataFrame, *, stamped_early: bool) -> WalkForwardResult:
    """Walk forward, with suggestions to retrain stamped at a block's last decision, or when its labels are known."""
    result = walk_forward(config, bars)
    suggested = result.events["kind"] == "retrain_suggested"
    at = result.events["at"].where(~suggested, result.events["window"].map(result.windows["serves_to"]))
    return replace(result, events=result.events.assign(at=at)) if stamped_early else result


def monitoring_checks(*, stamped_early: bool) -> Checks:
    def check() -> list[Leak]:
        with own_plugins():
            return find_monitoring_leaks(
                ModelConfig(**CONFIG), FADING, run=partial(monitored, stamped_early=stamped_early)
            )

    return {"T16": check}


PAIRS = [
    Pair(
        "walk-forward without purging",
        "walk-forward with overlapping labels, purged",
        walk_forward_checks(windows=Unpurged()),
        walk_forward_checks(),
    ),
    Pair(
        "features scaled by all rows",
        "features scaled by rows before all windows",
        walk_forward_checks(Scaled(slice(None))),
        walk_forward_checks(Scaled(slice(0, 60))),
    ),
    Pair(
        "acting above the mean score of the call",
        "acting above one half",
        walk_forward_checks(Acting(by_the_call=True)),
        walk_forward_checks(Acting(by_the_call=False)),
    ),
    Pair(
        "training that fetches all rows by itself",
        "training that is done twice",
        walk_forward_checks(Remembering(everything=True)),
        walk_forward_checks(Remembering(everything=False)),
    ),
    Pair(
        "calibrated on the rows it serves",
        "calibrated on rows whose outcome was known",
        walk_forward_checks(Calibrating(on_served_rows=True)),
        walk_forward_checks(Calibrating(on_served_rows=False)),
    ),
    Pair(
        "stopped early by the rows it serves",
        "stopped early by the last rows in training",
        walk_forward_checks(Stopping(by_served_rows=True)),
        walk_forward_checks(Stopping(by_served_rows=False)),
    ),
    Pair(
        "suggestion stamped before its labels",
        "suggestion stamped when its labels are known",
        monitoring_checks(stamped_early=True),
        monitoring_checks(stamped_early=False),
    ),
]
