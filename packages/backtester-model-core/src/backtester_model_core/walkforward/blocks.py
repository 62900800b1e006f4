"""The first pass: train one window's model and let it foresee the block that it serves."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from backtester_model_core.dataset import Dataset
from backtester_model_core.exceptions import OneClassError, PredictionError, TrainingError
from backtester_model_core.model import BaseModel
from backtester_model_core.plugins import plugins
from backtester_model_core.runs import Entry, RunFolder, digest_of, logging_into
from backtester_model_core.saving import code_facts
from backtester_model_core.signals import Reason, ScoredRows
from backtester_model_core.splits import Window
from backtester_model_core.typing import FloatArray, IntArray

SECOND_PASS_FIELDS = {
    "model_name",
    "signal_threshold",
    "confidence_threshold",
    "strong_threshold",
    "calibration",
    "thresholds",
    "sizing",
    "enable_monitoring",
    "retrain_threshold",
    "cv_folds",
    "costs",
    "gate",
    "monitoring",
    "retraining",
}
"""Fields that no training depends on: changing one of them uses finished windows again."""

PLACE_FIELDS = {"source", "path", "symbols", "start", "end"}
"""Fields of ``data_config`` that say where bars come from: the bars themselves are digested."""


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
        inner: Inner out-of-sample rows, where this window held some back.
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
        arrays: dict[str, Any] = {"expected": self.expected, "baseline": self.baseline}
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
        measure_residuals: Whether to hold rows back to fit the policy to.
    """
    training = Training(model, dataset, window.train_rows, measure_residuals=measure_residuals)
    return training.foresee(window.test_rows)


class Training:
    """The model of some training rows, or one for each symbol, each trained when it is first asked.

    Args:
        model: An untrained model; it stays untrained.
        dataset: All rows.
        train_rows: Rows to learn from.
        measure_residuals: Whether to hold rows back to fit the policy to.
        continued: A training on some of these rows that is to be continued; by default they are learned anew.
    """

    def __init__(
        self,
        model: BaseModel,
        dataset: Dataset,
        train_rows: IntArray,
        *,
        measure_residuals: bool = False,
        continued: Training | None = None,
    ) -> None:
        self.model = model
        self.dataset = dataset
        self.train_rows = train_rows
        self.measure_residuals = measure_residuals
        self.continued = continued
        self._trained: dict[str, BaseModel] = {}

    def foresee(self, rows: IntArray) -> Block:
        """Foresee some rows, and report what was trained for them."""
        n, classes = len(rows), self.model.classes
        expected, baseline = np.full(n, np.nan), np.full(n, np.nan)
        probability = None if classes is None else np.full((n, len(classes)), np.nan)
        class_share = None if classes is None else np.full((n, len(classes)), np.nan)
        inner: list[ScoredRows] = []
        reports: list[Mapping[str, Any]] = []
        refusals: list[Refusal] = []
        seconds = {"train": 0.0, "predict": 0.0}

        for symbol, served in self.groups(rows):
            started = time.perf_counter()
            try:
                twin = self.model_of(symbol)
                trained = time.perf_counter()
                prediction = twin.predict_dataset(self.dataset.take(rows[served]))
            except (TrainingError, PredictionError) as error:
                reason = Reason.ONE_CLASS if isinstance(error, OneClassError) else Reason.NO_MODEL
                refusals.append(Refusal(symbol, reason, str(error)))
                continue
            seconds["train"] += trained - started
            seconds["predict"] += time.perf_counter() - trained
            report = twin.latest_report
            expected[served], baseline[served] = prediction.expected, report.baseline
            if probability is not None and class_share is not None:
                probability[served], class_share[served] = prediction.probability, report.class_share
            if twin.inner is not None:
                inner.append(twin.inner)
            reports.append({"symbol": symbol, **report.as_dict()})
        joined = ScoredRows.joined(inner) if inner else None
        return Block(
            expected, probability, baseline, class_share, joined, tuple(reports), tuple(refusals), seconds
        )

    def groups(self, rows: IntArray) -> Iterator[tuple[str, IntArray]]:
        """Yield (symbol, positions among the rows) for each model that answers some of them."""
        if self.model.config.pooling == "pooled":
            yield "", np.arange(len(rows))
            return
        codes = self.dataset.symbol_codes[rows]
        for code in np.unique(codes):
            yield self.dataset.symbols[code], np.flatnonzero(codes == code)

    def model_of(self, symbol: str) -> BaseModel:
        """Return the trained model of a symbol, or of all.

        Raises:
            TrainingError: When it cannot be trained.
        """
        if symbol not in self._trained:
            self._trained[symbol] = self._continue(symbol) or self._train(symbol)
        return self._trained[symbol]

    def _train(self, symbol: str) -> BaseModel:
        twin = self.model.untrained()
        rows = self._rows_of(symbol, self.train_rows)
        twin.train_dataset(self.dataset.take(rows), measure_residuals=self.measure_residuals)
        return twin

    def _continue(self, symbol: str) -> BaseModel | None:
        """Continue the training before on the rows it had not seen; ``None`` where there is none to continue."""
        if self.continued is None:
            return None
        try:
            before = self.continued.model_of(symbol)
        except TrainingError:  # it was refused, so there is nothing to continue
            return None
        unseen = np.setdiff1d(self._rows_of(symbol, self.train_rows), self.continued.train_rows)
        return before.continued(self.dataset.take(unseen)) if len(unseen) else before

    def _rows_of(self, symbol: str, rows: IntArray) -> IntArray:
        if self.model.config.pooling == "pooled":
            return rows
        own: IntArray = rows[self.dataset.symbol_codes[rows] == self.dataset.symbols.index(symbol)]
        return own


def models_of(
    model: BaseModel, dataset: Dataset, window: Window, *, without: Collection[str] = ()
) -> dict[str, BaseModel]:
    """Train a window's models again, as :func:`serve_window` did: by symbol, or ``""`` for a pooled one.

    Args:
        model: An untrained model; it stays untrained.
        dataset: All rows.
        window: Which rows to learn from and which were served.
        without: Symbols whose models were refused.

    Raises:
        TrainingError: When a training is refused.
    """
    training = Training(model, dataset, window.train_rows)
    served = [symbol for symbol, _ in training.groups(window.test_rows)]
    return {symbol: training.model_of(symbol) for symbol in served if symbol not in without}


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
    return kept_block(
        lambda: serve_window(model, dataset, window, measure_residuals=window.number == 0),
        key=key,
        folder=folder,
    )


def kept_block(compute: Callable[[], Block], *, key: str | None, folder: Path | None) -> Block:
    """Return a block from the run folder, or compute it and keep it there; without a folder compute it."""
    if folder is None or key is None:
        return compute()
    store = RunFolder(folder)
    entry = store.read_entry(key)
    if entry is not None:
        return Block.from_entry(entry)
    with logging_into(store.path / "logs" / key):
        block = compute()
    store.publish_entry(key, block.to_entry())
    return block


class BlockKeys:
    """Digests of everything that a block depends on: configuration, data and code.

    Features are digested up to the block's last row, labels on the training rows only: a key does not change when
    later bars arrive.
    """

    def __init__(self, model: BaseModel, dataset: Dataset) -> None:
        ignored: dict[str, Any] = {**dict.fromkeys(SECOND_PASS_FIELDS, True), "data_config": PLACE_FIELDS}
        settings = model.config.model_dump(mode="json", exclude=ignored)
        symbols = list(dataset.symbols) if model.config.pooling == "per_symbol" else []
        layout = list(ScoredRows.__dataclass_fields__)
        self._common = [settings, model.seed, list(dataset.columns), symbols, layout, code_facts(model)]
        self._dataset = dataset
        self._features = {0: hashlib.sha256()}

    def of(self, train_rows: IntArray, test_rows: IntArray, *, is_first: bool, after: str = "") -> str:
        """Return the key of one block.

        Args:
            train_rows: Rows that were learned from.
            test_rows: Rows that are foreseen.
            is_first: Whether residuals were measured in training, as for the first window.
            after: Key of the training that this one continues.
        """
        dataset, rows = self._dataset, hashlib.sha256()
        for part in (train_rows, test_rows):
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
            dataset.forward_return,
            dataset.return_end,
        ):
            if labels is not None:
                rows.update(labels[train_rows].tobytes())
        features = self._features_to(int(test_rows[-1]) + 1)
        return digest_of(self._common, is_first, features, rows.hexdigest(), *([after] if after else []))

    def _features_to(self, stop: int) -> str:
        """Digest all features before a row, from the nearest digest before it."""
        if stop not in self._features:
            nearest = max(position for position in self._features if position <= stop)
            digest = self._features[nearest].copy()
            digest.update(self._dataset.values[nearest:stop].tobytes())
            self._features[stop] = digest
        return self._features[stop].hexdigest()


def window_keys(model: BaseModel, dataset: Dataset, windows: list[Window]) -> list[str]:
    """Return the key of each planned window's block."""
    keys = BlockKeys(model, dataset)
    return [keys.of(each.train_rows, each.test_rows, is_first=each.number == 0) for each in windows]
