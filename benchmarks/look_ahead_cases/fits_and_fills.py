"""Fits, answers, fills and universes that look ahead, or seem to."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import pandas as pd

from backtester_model_core.config import ModelConfig
from backtester_model_core.dataset import Dataset
from backtester_model_core.factory import create_model
from backtester_model_core.features import FeatureStream, feature_set
from backtester_model_core.testing import (
    Leak,
    find_early_fills,
    find_fit_leaks,
    find_order_leaks,
    find_skill_on_noise,
    find_stream_leaks,
    find_survivorship,
    follow_weights,
    random_panel,
)
from backtester_model_core.typing import FloatArray, IntArray
from look_ahead_cases.case import Checks, Pair
from look_ahead_cases.walk_forwards import BARS, CONFIG, own_plugins

PANEL = random_panel(3, 60, seed=13, lives={"S001": (0, 40)})

# -- fits -------------------------------------------------------------------------------------------------------------


def fit_checks(fit: Callable[[Dataset, IntArray], Any]) -> Checks:
    """Return the check of a fit to the first hundred rows of random walks."""

    def check() -> list[Leak]:
        with own_plugins():
            dataset = create_model(ModelConfig(**CONFIG)).prepare(BARS)
        learnable = np.flatnonzero(dataset.is_complete & dataset.is_labelled)
        return find_fit_leaks(fit, dataset, learnable[learnable < 100])

    return {"T6": check}


def line(features: FloatArray, target: FloatArray) -> FloatArray:
    return np.linalg.lstsq(np.column_stack([np.ones(len(features)), features]), target, rcond=None)[0]


def scaled(dataset: Dataset, train_rows: IntArray, *, by_all: bool) -> Callable[[pd.DataFrame], pd.DataFrame]:
    """Fit a line on features standardised by all rows, or by the training rows."""
    rows = dataset.values if by_all else dataset.values[train_rows]
    mean, deviation = np.nanmean(rows, axis=0), np.nanstd(rows, axis=0)
    solution = line((dataset.values[train_rows] - mean) / deviation, dataset.target[train_rows])
    return lambda asked: pd.DataFrame({"f": ((asked - mean) / deviation) @ solution[1:] + solution[0]})


def selected(
    dataset: Dataset, train_rows: IntArray, *, by_all: bool
) -> Callable[[pd.DataFrame], pd.DataFrame]:
    """Fit a line on the feature that goes best with the target, among all rows or the training rows."""
    rows = np.flatnonzero(dataset.is_complete & dataset.is_labelled) if by_all else train_rows
    target = dataset.target[rows]
    strength = (
        [abs(np.corrcoef(column, target)[0, 1]) for column in dataset.values[rows].T] if len(rows) else [0.0]
    )
    best = [int(np.argmax(strength))]
    solution = line(dataset.values[np.ix_(train_rows, best)], dataset.target[train_rows])
    return lambda asked: pd.DataFrame({"f": asked.iloc[:, best] @ solution[1:] + solution[0]})


def thresholded(
    dataset: Dataset, train_rows: IntArray, *, by_all: bool
) -> Callable[[pd.DataFrame], pd.DataFrame]:
    """Act where a forecast is above the median forecast of all rows, or of the training rows."""
    solution = line(dataset.values[train_rows], dataset.target[train_rows])
    rows = dataset.values if by_all else dataset.values[train_rows]
    threshold = np.nanmedian(rows @ solution[1:])
    return lambda asked: pd.DataFrame({"acts": (asked @ solution[1:] > threshold).astype(float)})


def imputed(
    dataset: Dataset, train_rows: IntArray, *, by_all: bool
) -> Callable[[pd.DataFrame], pd.DataFrame]:
    """Fit a line after large values were replaced by the mean of all rows, or of the training rows."""
    rows = dataset.values if by_all else dataset.values[train_rows]
    mean = np.nanmean(rows, axis=0)

    def filled(values: FloatArray) -> FloatArray:
        return np.where(np.abs(values) > 0.02, mean, values)

    solution = line(filled(dataset.values[train_rows]), dataset.target[train_rows])
    return lambda asked: pd.DataFrame({"f": filled(asked.to_numpy()) @ solution[1:]}, index=asked.index)


def stopped(
    dataset: Dataset, train_rows: IntArray, *, by_all: bool
) -> Callable[[pd.DataFrame], pd.DataFrame]:
    """Go from nothing to a line in ten steps, and stop where the rows after training, or its last, fit best."""
    early, late = train_rows[:-30], train_rows[-30:]
    labelled = np.flatnonzero(dataset.is_complete & dataset.is_labelled)
    judged = labelled[labelled > train_rows[-1]][:30] if by_all else late
    solution = line(dataset.values[early], dataset.target[early])
    steps = [solution * share for share in np.linspace(0.0, 1.0, 11)]
    errors = [
        ((step[0] + dataset.values[judged] @ step[1:] - dataset.target[judged]) ** 2).sum() for step in steps
    ]
    best = steps[int(np.argmin(errors))]
    return lambda asked: pd.DataFrame({"f": asked @ best[1:] + best[0]})


# -- answers to a call ------------------------------------------------------------------------------------------------


def order_checks(answer: Callable[[pd.DataFrame], pd.DataFrame]) -> Checks:
    rows = pd.DataFrame({"x": np.random.default_rng(14).normal(size=50)})
    return {"T8": partial(find_order_leaks, answer, rows)}


def ranked(rows: pd.DataFrame) -> pd.DataFrame:
    return rows.rank(pct=True)


def squashed(rows: pd.DataFrame) -> pd.DataFrame:
    return 1 / (1 + np.exp(-rows))


class OneMemoryForAll(FeatureStream):
    """A stream that forgets to keep symbols apart."""

    def update(self, symbol: str, bar: Any) -> list[float]:
        return super().update("all", bar)


def stream_checks(stream: type[FeatureStream]) -> Checks:
    return {"T8": partial(find_stream_leaks, feature_set("basic"), PANEL, stream=stream)}


# -- noise, fills and universes ---------------------------------------------------------------------------------------


def neighbour_score(seed: int, *, on_rows_it_knows: bool) -> float:
    """Return the accuracy above one half of a nearest neighbour on tossed labels."""
    rng = np.random.default_rng(seed)
    features, labels = rng.normal(size=(120, 3)), rng.integers(0, 2, 120)
    asked = np.arange(60) if on_rows_it_knows else np.arange(60, 120)
    distance = ((features[asked, None] - features[None, :60]) ** 2).sum(axis=2)
    return float((labels[distance.argmin(axis=1)] == labels[asked]).mean() - 0.5)


def own_close(weights: FloatArray, opens: FloatArray, closes: FloatArray) -> FloatArray:
    """Earn from the open of the bar whose close decides."""
    return (weights[:-1] * (opens[1:] / opens[:-1] - 1)).ravel()


def decision_close(weights: FloatArray, opens: FloatArray, closes: FloatArray) -> FloatArray:
    """Earn from the close that decides, which nobody can trade at and know."""
    return (weights[:-1] * (closes[1:] / closes[:-1] - 1)).ravel()


def next_open(weights: FloatArray, opens: FloatArray, closes: FloatArray) -> FloatArray:
    """Earn from the next open to the one after, by the arithmetic of one line."""
    return (weights[:-2] * (opens[2:] / opens[1:-1] - 1)).ravel()


def universe_checks(*symbols: str) -> Checks:
    """Return the check of a panel that keeps some symbols of a universe of three, one of which was delisted."""
    sessions = PANEL.index.get_level_values("timestamp").unique()
    universe = pd.DataFrame(
        {
            "symbol": ["S000", "S001", "S002"],
            "start": sessions[0],
            "end": pd.DatetimeIndex([pd.NaT, sessions[39], pd.NaT]),
        }
    )
    kept = PANEL[PANEL.index.get_level_values("symbol").isin(symbols)]
    return {"T15": partial(find_survivorship, kept, universe=universe)}


PAIRS = [
    *(
        Pair(
            f"{what} all rows",
            f"{what} training rows",
            fit_checks(partial(fit, by_all=True)),
            fit_checks(partial(fit, by_all=False)),
        )
        for what, fit in (
            ("scaler fitted to", scaled),
            ("feature selected by", selected),
            ("threshold set by", thresholded),
            ("outliers replaced by the mean of", imputed),
            ("stopped early by", stopped),
        )
    ),
    Pair(
        "rank among the rows asked about", "squashed row by row", order_checks(ranked), order_checks(squashed)
    ),
    Pair(
        "one memory for all symbols",
        "a memory for each symbol",
        stream_checks(OneMemoryForAll),
        stream_checks(FeatureStream),
    ),
    Pair(
        "neighbour asked about rows it knows",
        "neighbour asked about other rows",
        {"T10": partial(find_skill_on_noise, partial(neighbour_score, on_rows_it_knows=True))},
        {"T10": partial(find_skill_on_noise, partial(neighbour_score, on_rows_it_knows=False))},
    ),
    Pair(
        "filled at the open of its own bar",
        "filled at the next open, by another's arithmetic",
        {"T12": partial(find_early_fills, own_close)},
        {"T12": partial(find_early_fills, next_open)},
    ),
    Pair(
        "filled at its own close",
        "filled at the next open",
        {"T12": partial(find_early_fills, decision_close)},
        {"T12": partial(find_early_fills, follow_weights)},
    ),
    Pair(
        "universe without its delisted symbol",
        "universe with its delisted symbol",
        universe_checks("S000", "S002"),
        universe_checks("S000", "S001", "S002"),
    ),
]
