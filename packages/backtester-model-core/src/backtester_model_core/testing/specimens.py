"""Rows and native models for the contract's checks, the same for adapters that look back and those that do not."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from backtester_model_core.adapter import ModelFrameworkAdapter, SequenceAdapter
from backtester_model_core.config import ModelConfig
from backtester_model_core.exceptions import ModelError
from backtester_model_core.typing import FloatArray, IntArray

TOLERANCE = 1e-5
"""Forecasts closer than this are the same: frameworks that compute in single precision differ between batches."""

STEP_TOLERANCE = 1e-6
"""How far a compiled step may be from ``predict``; of a value above one, this share of it."""


def frame(values: FloatArray) -> pd.DataFrame:
    """Return features as a daily frame with the columns f0, f1 and so on."""
    index = pd.date_range("2020-01-01", periods=len(values), freq="D", name="timestamp")
    return pd.DataFrame(values, index=index, columns=[f"f{number}" for number in range(values.shape[1])])


def series(target: FloatArray) -> pd.Series[float]:
    """Return a target on the index of :func:`frame`."""
    return pd.Series(target.astype(np.float64), index=frame(target[:, None]).index)


def classes_of(config: ModelConfig) -> tuple[float, ...] | None:
    """Return the two classes of a classifier, ``None`` for a regression."""
    return (0.0, 1.0) if config.model_type == "classification" else None


def context_of(adapter: ModelFrameworkAdapter[Any], config: ModelConfig) -> int:
    """Return how many rows a forecast looks back on."""
    return adapter.context_rows(config) if isinstance(adapter, SequenceAdapter) else 0


def train_native(
    adapter: ModelFrameworkAdapter[Any],
    config: ModelConfig,
    values: FloatArray,
    target: FloatArray | IntArray,
    *,
    classes: tuple[float, ...] | None,
    weight: FloatArray | None = None,
) -> Any:
    """Train a native model on rows of one symbol, as the core would; the first rows may only be looked back on."""
    n_context = context_of(adapter, config)
    return adapter.train_model(
        adapter.initialize_model(config),
        values,
        target[n_context:],
        classes=classes,
        weight=None if weight is None else weight[n_context:],
        validation=None,
        seed=0,
        **_ends(n_context, len(values)),
    )


def ask_native(
    adapter: ModelFrameworkAdapter[Any], config: ModelConfig, native: Any, values: FloatArray
) -> FloatArray:
    """Ask a native model about rows of one symbol; the first rows, which are only looked back on, have no answer."""
    return adapter.predict(native, values, **_ends(context_of(adapter, config), len(values)))


def lean_of(
    adapter: ModelFrameworkAdapter[Any], config: ModelConfig, native: Any, values: FloatArray
) -> FloatArray:
    """Ask a native model for values, or for the probability of the last class."""
    forecast = ask_native(adapter, config, native, values)
    return forecast if forecast.ndim == 1 else np.asarray(forecast[:, -1])


def ask_step(
    adapter: ModelFrameworkAdapter[Any], config: ModelConfig, native: Any, values: FloatArray
) -> FloatArray | None:
    """Ask a native model's compiled step row by row, as :func:`ask_native` does; ``None`` where it has none."""
    if not adapter.can("compile_step"):
        return None
    try:
        step = adapter.compile_step(native)
    except ModelError:
        return None
    size = context_of(adapter, config) + 1
    windows = [np.array(values[end - size : end]) for end in range(size, len(values) + 1)]
    return np.array([step(window if size > 1 else window[0].tolist()) for window in windows])


def _ends(n_context: int, n_rows: int) -> dict[str, IntArray]:
    return {"ends": np.arange(n_context, n_rows)} if n_context else {}
