"""The first pass: train one window's model and let it foresee the block that it serves."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from backtester_model_core.config import ModelConfig
from backtester_model_core.dataset import Dataset
from backtester_model_core.exceptions import OneClassError, PredictionError, TrainingError
from backtester_model_core.model import BaseModel
from backtester_model_core.plugins import plugins
from backtester_model_core.runs import Entry, RunFolder, digest_of, logging_into
from backtester_model_core.saving import code_facts
from backtester_model_core.signals import Reason
from backtester_model_core.splits import Window
from backtester_model_core.typing import BoolArray, FloatArray, IntArray, TimeArray

SECOND_PASS_FIELDS = {
    "model_name",
    "signal_threshold",
    "confidence_threshold",
    "strong_threshold",
    "enable_monitoring",
    "retrain_threshold",
    "cv_folds",
    "costs",
    "gate",
    "monitoring",
}
"""Fields that no training depends on: changing one of them uses finished windows again."""

PLACE_FIELDS = {"source", "path", "symbols", "start", "end"}
"""Fields of ``data_config`` that say where bars come from: the bars themselves are digested."""


@dataclass(frozen=True, eq=False)
class ScoredRows:
    """Out-of-sample forecasts beside what then happened, row-aligned.

    Attributes:
        known_at: (n,) decision times.
        label_end: (n,) instants from which the outcomes may be used; NaT where they are not known.
        forecast: (n,) what was foreseen; NaN where nothing was.
        outcome: (n,) what happened; NaN where it is unknown.
        baseline: (n,) training mean of the model that foresaw.
        scale: (n,) volatility as known at the row; NaN where unknown.
    """

    known_at: TimeArray
    label_end: TimeArray
    forecast: FloatArray
    outcome: FloatArray
    baseline: FloatArray
    scale: FloatArray

    def __len__(self) -> int:
        return len(self.forecast)

    def take(self, rows: BoolArray | IntArray) -> ScoredRows:
        """Return the given rows, as positions or as a mask."""
        return ScoredRows(*(getattr(self, name)[rows] for name in self.__dataclass_fields__))

    def known_by(self, instant: np.datetime64) -> ScoredRows:
        """Return the rows that were foreseen and whose outcome is known at an instant."""
        return self.take(~np.isnan(self.forecast) & ~np.isnan(self.outcome) & (self.label_end <= instant))

    @classmethod
    def joined(cls, parts: list[ScoredRows]) -> ScoredRows:
        """Join parts in the order given."""
        return cls(
            *(np.concatenate([getattr(part, name) for part in parts]) for name in cls.__dataclass_fields__)
        )

    @classmethod
    def of(cls, dataset: Dataset, *, forecast: FloatArray, baseline: FloatArray) -> ScoredRows:
        """Set forecasts beside a dataset's outcomes."""
        scale = dataset.scale if dataset.scale is not None else np.full(len(dataset), np.nan)
        return cls(dataset.known_at, dataset.usable_from, forecast, dataset.target, baseline, scale)


@dataclass(frozen=True, eq=False)
class Refusal:
    """A training or forecast that was refused; the rows it would have served stay NEUTRAL.

    Attributes:
        symbol: The symbol whose own model it was; empty for a pooled model.
        reason: The reason its signals carry.
        message: What the error said.
    """

    symbol: str
    reason: Reason
    message: str


@dataclass(frozen=True, eq=False)
class Block:
    """What one window's model foresaw on the rows that it served.

    Attributes:
        expected: (n,) for each of the window's test rows; NaN where nothing was foreseen.
        probability: (n, k) for a classifier, else ``None``.
        baseline: (n,) training mean of the row's model.
        class_share: (n, k) training share of each class of the row's model, for a classifier.
        inner: Inner out-of-sample rows, where this window measured its own residuals.
        reports: One training report for each model that was trained.
        refusals: Those that were refused.
        seconds: Time spent in training and in forecasting.
    """

    expected: FloatArray
    probability: FloatArray | None
    baseline: FloatArray
    class_share: FloatArray | None
    inner: ScoredRows | None
    reports: tuple[Mapping[str, Any], ...]
    refusals: tuple[Refusal, ...]
    seconds: Mapping[str, float]

    def to_entry(self) -> Entry:
        """Turn the block into what a run folder keeps."""
        arrays: dict[str, FloatArray] = {"expected": self.expected, "baseline": self.baseline}
        if self.probability is not None and self.class_share is not None:
            arrays |= {"probability": self.probability, "class_share": self.class_share}
        if self.inner is not None:
            for name in ScoredRows.__dataclass_fields__:
                arrays[f"inner_{name}"] = getattr(self.inner, name)
        refusals = [
            {"symbol": each.symbol, "reason": each.reason.value, "message": each.message}
            for each in self.refusals
        ]
        return Entry(arrays, {"reports": self.reports, "refusals": refusals}, self.seconds)

    @classmethod
    def from_entry(cls, entry: Entry) -> Block:
        """Read a block back."""
        arrays = entry.arrays
        inner = None
        if "inner_forecast" in arrays:
            columns: dict[str, Any] = {
                name: arrays[f"inner_{name}"] for name in ScoredRows.__dataclass_fields__
            }
            inner = ScoredRows(**columns)
        refusals = tuple(
            Refusal(each["symbol"], Reason(each["reason"]), each["message"])
            for each in entry.facts["refusals"]
        )
        return cls(
            arrays["expected"],
            arrays.get("probability"),
            arrays["baseline"],
            arrays.get("class_share"),
            inner,
            tuple(entry.facts["reports"]),
            refusals,
            entry.timings,
        )


def serve_window(model: BaseModel, dataset: Dataset, window: Window, *, measure_residuals: bool) -> Block:
    """Train on a window's rows, by symbol where the model is not pooled, and foresee its block.

    Args:
        model: An untrained model; it stays untrained.
        dataset: All rows.
        window: Which rows to learn from and which to serve.
        measure_residuals: Whether to hold rows back to measure a regression's residuals.
    """
    n, classes = len(window.test_rows), model.classes
    expected, baseline = np.full(n, np.nan), np.full(n, np.nan)
    probability = None if classes is None else np.full((n, len(classes)), np.nan)
    class_share = None if classes is None else np.full((n, len(classes)), np.nan)
    inner: list[ScoredRows] = []
    reports: list[Mapping[str, Any]] = []
    refusals: list[Refusal] = []
    seconds = {"train": 0.0, "predict": 0.0}

    for symbol, train_rows, served in _groups(model.config, dataset, window):
        twin = model.untrained()
        started = time.perf_counter()
        try:
            report = twin.train_dataset(dataset.take(train_rows), measure_residuals=measure_residuals)
            trained = time.perf_counter()
            prediction = twin.predict_dataset(dataset.take(window.test_rows[served]))
        except (TrainingError, PredictionError) as error:
            reason = Reason.ONE_CLASS if isinstance(error, OneClassError) else Reason.NO_MODEL
            refusals.append(Refusal(symbol, reason, str(error)))
            continue
        seconds["train"] += trained - started
        seconds["predict"] += time.perf_counter() - trained
        expected[served], baseline[served] = prediction.expected, report.baseline
        if probability is not None and class_share is not None:
            probability[served], class_share[served] = prediction.probability, report.class_share
        if twin.inner is not None:
            forecast, mean = twin.inner.values.T
            inner.append(ScoredRows.of(twin.inner, forecast=forecast, baseline=mean))
        reports.append({"symbol": symbol, **report.as_dict()})
    joined = ScoredRows.joined(inner) if inner else None
    return Block(
        expected, probability, baseline, class_share, joined, tuple(reports), tuple(refusals), seconds
    )


def serve_or_resume(
    model: BaseModel,
    dataset: Dataset,
    window: Window,
    *,
    key: str | None,
    folder: Path | None,
    in_code: list[tuple[str, str, Any]],
) -> Block:
    """Serve one window, or take it from the run folder when somebody has finished it.

    It runs in a worker process too, so what was registered in code is registered there again.
    """
    plugins().repeat(in_code)
    if folder is None or key is None:
        return serve_window(model, dataset, window, measure_residuals=window.number == 0)
    store = RunFolder(folder)
    entry = store.read_entry(key)
    if entry is None:
        with logging_into(store.path / "logs" / key):
            block = serve_window(model, dataset, window, measure_residuals=window.number == 0)
        store.publish_entry(key, block.to_entry())
        return block
    return Block.from_entry(entry)


def window_keys(model: BaseModel, dataset: Dataset, windows: list[Window]) -> list[str]:
    """Return a digest for each window of everything that its block depends on: configuration, data and code.

    Features are digested up to the block's last row, labels on the training rows only: a window's key does not
    change when later bars arrive.
    """
    ignored: dict[str, Any] = {**dict.fromkeys(SECOND_PASS_FIELDS, True), "data_config": PLACE_FIELDS}
    settings = model.config.model_dump(mode="json", exclude=ignored)
    symbols = list(dataset.symbols) if model.config.pooling == "per_symbol" else []
    common = [settings, model.seed, list(dataset.columns), symbols, code_facts(model)]
    features, position, keys = hashlib.sha256(), 0, []
    for window in windows:
        stop = int(window.test_rows[-1]) + 1
        features.update(dataset.values[position:stop].tobytes())
        position = stop
        rows = hashlib.sha256()
        for part in (window.train_rows, window.test_rows):
            rows.update(part.tobytes())
            rows.update(dataset.known_at[part].tobytes())
            rows.update(dataset.symbol_codes[part].tobytes())
        for labels in (
            dataset.target,
            dataset.label_end,
            dataset.scale,
            dataset.weight,
            dataset.settled_at,
            dataset.span_prices,
        ):
            if labels is not None:
                rows.update(labels[window.train_rows].tobytes())
        keys.append(digest_of(common, window.number == 0, features.hexdigest(), rows.hexdigest()))
    return keys


def _groups(
    config: ModelConfig, dataset: Dataset, window: Window
) -> Iterator[tuple[str, IntArray, IntArray]]:
    """Yield (symbol, training rows, positions within the block) for each model of a window."""
    if config.pooling == "pooled":
        yield "", window.train_rows, np.arange(len(window.test_rows))
        return
    train_codes, test_codes = dataset.symbol_codes[window.train_rows], dataset.symbol_codes[window.test_rows]
    for code in np.unique(test_codes):
        served = np.flatnonzero(test_codes == code)
        yield dataset.symbols[code], window.train_rows[train_codes == code], served
