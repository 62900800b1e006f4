"""One configuration under check: its rows, its models, its native models, whether they look back or not."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import pandas as pd

from backtester_model_core.adapter import ModelFrameworkAdapter, SequenceAdapter
from backtester_model_core.config import ModelConfig
from backtester_model_core.exceptions import BacktesterModelError, ModelError
from backtester_model_core.factory import create_model
from backtester_model_core.model import BaseModel
from backtester_model_core.testing.samples import synthetic_rows
from backtester_model_core.typing import FloatArray, IntArray, RowStep

N_TRAIN = 400
N_SERVED = 50

TOLERANCE = 1e-5
"""Forecasts closer than this are the same: frameworks that compute in single precision differ between batches."""

STEP_TOLERANCE = 1e-6
"""How far a compiled step may be from ``predict``; of a value above one, this share of it."""

Rows = tuple[FloatArray, FloatArray | IntArray]


@dataclass(frozen=True, eq=False)
class Case:
    """One configuration that a framework offers.

    Attributes:
        adapter: The adapter as a user gets it.
        config: What is to be trained.
    """

    adapter: ModelFrameworkAdapter[Any]
    config: ModelConfig

    def __str__(self) -> str:
        return self.config.model_type

    @property
    def classes(self) -> tuple[float, ...] | None:
        """The two classes of a classifier, ``None`` for a regression."""
        return (0.0, 1.0) if self.config.model_type == "classification" else None

    @property
    def n_context(self) -> int:
        """How many rows a forecast looks back on."""
        return self.adapter.context_rows(self.config) if isinstance(self.adapter, SequenceAdapter) else 0

    def rows(self, n_rows: int = N_TRAIN, *, seed: int = 0, signal: float = 2.0) -> Rows:
        """Return seeded rows whose first two features decide the target; with no signal they do not."""
        kind: Literal["classification", "regression"] = self.config.model_type
        return synthetic_rows(n_rows, seed=seed, model_type=kind, signal=signal)

    def served(self) -> pd.DataFrame:
        """Return features that follow the training rows."""
        return frame(self.rows(N_TRAIN + N_SERVED)[0][N_TRAIN:])

    # -- through the core -------------------------------------------------------------------------------------------

    def model(self, values: FloatArray, target: FloatArray | IntArray) -> BaseModel:
        """Train a model on rows, as a user would."""
        model = create_model(self.config)
        model.train(frame(values), series(target))
        return model

    # -- without the core -------------------------------------------------------------------------------------------

    def native(
        self,
        values: FloatArray,
        target: FloatArray | IntArray,
        *,
        weight: FloatArray | None = None,
        classes: tuple[float, ...] | None = None,
        seed: int = 0,
    ) -> Any:
        """Train a native model on rows of one symbol, as the core would; the first rows may only be looked back on."""
        return self.adapter.train_model(
            self.adapter.initialize_model(self.config),
            values,
            target[self.n_context :],
            classes=classes or self.classes,
            weight=None if weight is None else weight[self.n_context :],
            validation=None,
            seed=seed,
            **self.ends(len(values)),
        )

    def updated(
        self, native: Any, values: FloatArray, target: FloatArray | IntArray, *, seed: int = 0
    ) -> Any:
        """Continue a native model's training on further rows."""
        ends: Any = self.ends(len(values))
        return self.adapter.update_model(native, values, target[self.n_context :], seed=seed, **ends)

    def ask(self, native: Any, values: FloatArray) -> FloatArray:
        """Ask a native model about rows of one symbol; those that are only looked back on have no answer."""
        return self.adapter.predict(native, values, **self.ends(len(values)))

    def lean(self, native: Any, values: FloatArray) -> FloatArray:
        """Ask a native model for values, or for the probability of the last class."""
        forecast = np.asarray(self.ask(native, values))
        return forecast if forecast.ndim == 1 else np.asarray(forecast[:, -1])

    def step(self, native: Any) -> RowStep | None:
        """Return a native model's compiled step; ``None`` where it has none."""
        if not self.adapter.can("compile_step"):
            return None
        try:
            return self.adapter.compile_step(native)
        except ModelError:
            return None

    def ask_step(self, step: RowStep, values: FloatArray) -> FloatArray:
        """Ask a compiled step row by row, as :meth:`ask` does."""
        size = self.n_context + 1
        windows = [np.array(values[end - size : end]) for end in range(size, len(values) + 1)]
        return np.array([step(window if size > 1 else window[0].tolist()) for window in windows])

    def ends(self, n_rows: int) -> dict[str, IntArray]:
        """Return what an adapter that looks back is told beside its rows."""
        return {"ends": np.arange(self.n_context, n_rows)} if self.n_context else {}


def frame(values: FloatArray | IntArray) -> pd.DataFrame:
    """Return features as a daily frame with the columns f0, f1 and so on."""
    index = pd.date_range("2020-01-01", periods=len(values), freq="D", name="timestamp")
    return pd.DataFrame(values, index=index, columns=[f"f{number}" for number in range(values.shape[1])])


def series(target: FloatArray | IntArray) -> pd.Series[float]:
    """Return a target on the index of :func:`frame`."""
    return pd.Series(target.astype(np.float64), index=frame(target[:, None]).index)


def panel_frame(values: FloatArray, *, n_symbols: int = 2) -> pd.DataFrame:
    """Return features as a panel: each symbol has all rows, those of one time next to each other."""
    days = pd.date_range("2020-01-01", periods=len(values), freq="D")
    symbols = [f"S{number}" for number in range(n_symbols)]
    index = pd.MultiIndex.from_product([days, symbols], names=["timestamp", "symbol"])
    return pd.DataFrame(np.repeat(values, n_symbols, axis=0), index=index, columns=frame(values).columns)


def close(first: FloatArray, second: FloatArray | list[float]) -> bool:
    """Say whether forecasts are the same, but for the last digits that depend on the size of a batch."""
    return bool(np.allclose(first, second, rtol=TOLERANCE, atol=TOLERANCE, equal_nan=True))


def same(first: FloatArray | IntArray, second: FloatArray | IntArray) -> bool:
    """Say whether forecasts are the same in every bit."""
    return bool(np.array_equal(first, second, equal_nan=True))


def agreement(forecast: FloatArray, outcome: FloatArray | IntArray) -> float:
    """Return the correlation of forecasts, where they were given, with outcomes; 0 for one forecast for all rows."""
    given = ~np.isnan(forecast)
    if np.ptp(forecast[given]) == 0:
        return 0.0
    return float(np.corrcoef(forecast[given], outcome[given])[0, 1])


def error_of(call: Any) -> BacktesterModelError | None:
    """Return the error of the project's tree that a call is refused with; any other is raised."""
    try:
        call()
    except BacktesterModelError as error:
        return error
    return None
