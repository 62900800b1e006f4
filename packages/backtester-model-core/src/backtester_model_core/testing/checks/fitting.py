"""Checks of what a fit has seen: rows that it was not given, and labels that were not yet known."""

from __future__ import annotations

from collections.abc import Callable, Generator
from contextlib import AbstractContextManager
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import pandas as pd

from backtester_model_core.config import ModelConfig
from backtester_model_core.dataset import Dataset, Prediction, TrainReport
from backtester_model_core.exceptions import EvaluationError
from backtester_model_core.factory import create_model
from backtester_model_core.hookspecs import hookimpl
from backtester_model_core.model import BaseModel
from backtester_model_core.testing.extension import extension_in_force
from backtester_model_core.testing.leak import Leak, differences
from backtester_model_core.typing import BoolArray, IntArray
from backtester_model_core.walkforward import WalkForwardResult, walk_forward

Predictor = Callable[[pd.DataFrame], pd.DataFrame]
"""From features to a frame with one row for each."""

Fit = Callable[[Dataset, IntArray], Predictor]
"""From all rows and the positions of the training rows to a fitted predictor."""

Run = Callable[[ModelConfig, pd.DataFrame], WalkForwardResult]


def fit_model(config: ModelConfig) -> Fit:
    """Return what fits the model of a configuration to some rows of a dataset, as the checks take it."""

    def fit(dataset: Dataset, train_rows: IntArray) -> Predictor:
        model = create_model(config)
        model.train_dataset(dataset.with_history(model.context_rows).take(train_rows))
        return lambda features: model.predict_distribution(features).frame

    return fit


def find_fit_leaks(fit: Fit, dataset: Dataset, train_rows: IntArray, *, seed: int = 0) -> list[Leak]:
    """Write garbage into every row that is not a training row, fit again, and compare all predictions (T6).

    Rows that training rows look back on belong to them. The garbage is noise a million times as large, shuffled
    rows, nothing at all (NaN), and noise in which the first or the last feature repeats the target, so that a
    selection by these rows must choose it. Finds a scaler, a selection, a tuning or a threshold that was fitted on
    rows outside training. Cannot find rows that should not have been among the training rows: that is what T5 and
    T13 are for. Takes six fits.

    Args:
        fit: From all rows and the training rows to a predictor.
        dataset: All rows.
        train_rows: Positions of the training rows.
        seed: Of the garbage.
    """
    probe = dataset.features[dataset.is_complete]
    expected = fit(dataset, train_rows)(probe)
    is_other = np.ones(len(dataset), dtype=bool)
    is_other[train_rows] = False
    if dataset.history is not None:
        is_other &= ~dataset.index.isin(dataset.history.take(train_rows).needed().index)
    leaks: list[Leak] = []
    for said, garbage in _garbage(dataset, is_other, seed).items():
        answer = fit(garbage, train_rows)(probe)
        between = ("with the rows as they are", f"with {said} in rows that do not train")
        leaks += differences("fit isolation", expected, answer, None, between=between)
    return leaks


def _garbage(dataset: Dataset, is_other: BoolArray, seed: int) -> dict[str, Dataset]:
    rng = np.random.default_rng(seed)
    others = np.flatnonzero(is_other)
    shuffled = np.arange(len(dataset))
    shuffled[others] = rng.permutation(others)
    drawn, noise = dataset.target.copy(), dataset.values.copy()
    drawn[others] = rng.choice(dataset.target[~np.isnan(dataset.target)], len(others))
    noise[others] = 1e6 * rng.normal(size=(len(others), noise.shape[1]))
    first, last = noise.copy(), noise.copy()
    first[others, 0], last[others, -1] = 1e6 * drawn[others], 1e6 * drawn[others]
    nothing, unknown = dataset.values.copy(), dataset.target.copy()
    nothing[others], unknown[others] = np.nan, np.nan
    garbage = {
        "noise": (noise, drawn),
        "noise that the first feature explains": (first, drawn),
        "noise that the last feature explains": (last, drawn),
        "shuffled rows": (dataset.values[shuffled], dataset.target[shuffled]),
        "nothing": (nothing, unknown),
    }
    return {
        said: replace(dataset, values=values, target=target, history=None)
        for said, (values, target) in garbage.items()
    }


@dataclass(eq=False)  # pluggy hashes what it registers
class FitRecorder:
    """An extension that notes, for each training, the latest label among its rows, and what it then serves.

    Attributes:
        leaks: What was served before a label of its training was known.
    """

    leaks: list[Leak] = field(default_factory=list)
    n_fits: int = 0
    _known_at: dict[Any, np.datetime64] = field(default_factory=dict)
    _seen: dict[int, tuple[BaseModel, list[tuple[str, np.datetime64]]]] = field(default_factory=dict)

    @hookimpl(wrapper=True)
    def backtester_prepare(self, model: BaseModel, data: pd.DataFrame) -> Generator[None, Dataset, Dataset]:  # noqa: ARG002
        """Note when each row is known."""
        dataset = yield
        self._known_at.update(zip(dataset.index, dataset.known_at, strict=True))
        return dataset

    @hookimpl(wrapper=True)
    def backtester_train(
        self, model: BaseModel, dataset: Dataset, validation: Dataset | None
    ) -> Generator[None, TrainReport, TrainReport]:
        """Note the latest label and row of each dataset that training was given."""
        given = {"training": dataset, "early-stopping": validation}
        latest = [
            (name, np.fmax(rows.label_end[rows.is_labelled].max(), rows.known_at.max()))
            for name, rows in given.items()
            if rows is not None and rows.is_labelled.any()
        ]
        self._seen[id(model)] = (model, latest)  # the model is kept, so that its id stays its own
        self.n_fits += 1
        return (yield)

    @hookimpl(wrapper=True)
    def backtester_predict(
        self, model: BaseModel, features: pd.DataFrame
    ) -> Generator[None, Prediction, Prediction]:
        """Compare the first decision that is asked for with what the model's training had seen."""
        prediction = yield
        answered = features.index[~np.isnan(prediction.expected)]  # the others are only looked back on
        if len(answered) == 0:
            return prediction
        first = min(self._known_at[label] for label in answered)
        row = answered[0]
        for name, latest in self._seen.get(id(model), (model, []))[1]:
            if latest > first:
                message = f"a {name} label known at {latest} served a decision at {first}"
                self.leaks.append(Leak("fit time", name, row, None, message))
        return prediction


def recording_fits() -> AbstractContextManager[FitRecorder]:
    """Put a recorder in force for a block; fits in other processes are not seen."""
    return extension_in_force("fit-recorder", FitRecorder())


def find_fit_time_leaks(config: ModelConfig, bars: pd.DataFrame, *, run: Run = walk_forward) -> list[Leak]:
    """Record every dataset that reaches a fit or early stopping, and the first decision that follows (T13).

    Finds a training or early-stopping row whose label was not known at the first decision that its model
    serves, wherever it came from: a missing purge, a split in the wrong place, an inner fold that overlaps.
    It sees what the train hook is given, and cannot find what an adapter fetches by itself (T6 and T7 do), nor
    fits that go round the hook. Trusts ``label_end``, which T4 proves. Takes one walk-forward.

    Raises:
        EvaluationError: When the run trained nothing through the hook, so that nothing was checked.
    """
    with recording_fits() as recorder:
        run(config, bars)
    if recorder.n_fits == 0:
        raise EvaluationError(
            "The run called no training hook in this process, so nothing was checked. Run it with n_jobs = 1."
        )
    return recorder.leaks
