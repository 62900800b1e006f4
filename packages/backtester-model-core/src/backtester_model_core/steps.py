"""The core's own answer to the four hooks; every other plugin is asked first."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from backtester_model_core.bars import Panel, check_bars
from backtester_model_core.bars.panel import symbol_codes
from backtester_model_core.config import ModelConfig, WeightConfig
from backtester_model_core.dataset import Dataset, Prediction, TrainReport, latest_label_end
from backtester_model_core.exceptions import (
    BarsError,
    BarsFault,
    FeatureMismatchError,
    NotTrainedError,
    OneClassError,
    PredictionError,
    TrainingError,
)
from backtester_model_core.features import evaluate, resolve_features, return_volatility
from backtester_model_core.history import History
from backtester_model_core.hookspecs import hookimpl
from backtester_model_core.labels import (
    average_uniqueness,
    class_balance,
    compute_label,
    label_kind,
    primary_side,
    return_attribution,
    span_prices,
    time_decay,
)
from backtester_model_core.signals import follow_side
from backtester_model_core.typing import FloatArray, IntArray

if TYPE_CHECKING:
    from backtester_model_core.model import BaseModel
    from backtester_model_core.signals import SignalFrame

SCALE = "__scale__"


class CoreSteps:
    """Prepare and signal by itself, train and predict through the model."""

    @hookimpl(trylast=True)
    def backtester_prepare(self, model: BaseModel, data: pd.DataFrame) -> Dataset:
        """Compute features and labels of every bar as the model's configuration says."""
        return prepare_dataset(model.config, data, n_context=model.context_rows)

    @hookimpl(trylast=True)
    def backtester_train(self, model: BaseModel, dataset: Dataset, validation: Dataset | None) -> TrainReport:
        """Fit the model to the rows that may be learned from."""
        rows = learnable_rows(dataset.with_history(model.context_rows))
        held_back = None
        if validation is not None:
            held_back = learnable_rows(validation.with_history(model.context_rows))
        weighted = weighted_rows(rows, model.config)
        notes = [*model.fit(weighted, held_back), *_weight_notes(weighted)]
        return TrainReport(
            n_rows=len(rows),
            n_dropped=len(dataset) - len(rows),
            n_validation=0 if held_back is None else len(held_back),
            columns=rows.columns,
            baseline=float(np.average(rows.target, weights=rows.weight)),
            class_share=_class_share(rows),
            trained_to=latest_label_end(rows) if held_back is None else latest_label_end(rows, held_back),
            seed=model.seed,
            notes=tuple(notes),
        )

    @hookimpl(trylast=True)
    def backtester_predict(self, model: BaseModel, features: pd.DataFrame) -> Prediction:
        """Ask the model about every complete row; the others stay NaN."""
        if not model.is_trained:
            raise NotTrainedError.before(model.config.model_name, "predict")
        values = aligned_values(features, model.columns)
        history = None
        if model.context_rows:
            codes = symbol_codes(features.index)[0]
            history = History.of(values, features.index, codes, n_context=model.context_rows)
        complete = np.isfinite(values).all(axis=1) if history is None else history.is_known
        answer = Prediction.blank(features.index, model.classes)
        if not complete.any():
            return answer
        if history is not None:
            forecast = _checked_forecast(model, history.values, history.ends[complete])
        else:
            forecast = _checked_forecast(model, values if complete.all() else values[complete])
        if answer.probability is None or model.classes is None:
            answer.expected[complete] = forecast
        else:
            answer.probability[complete] = forecast
            answer.expected[complete] = forecast @ np.asarray(model.classes)
        return answer

    @hookimpl(trylast=True)
    def backtester_signal(
        self,
        model: BaseModel,
        data: pd.DataFrame,
        prediction: Prediction,
    ) -> SignalFrame:
        """Apply the model's policy to every prediction; a meta-model's says whether to act on the primary side."""
        signals = model.policy.signals(prediction)
        if not label_kind(model.config).is_meta:
            return signals
        panel = Panel.of(check_bars(data))
        return follow_side(signals, panel.to_rows(primary_side(panel, model.config)))


def prepare_dataset(config: ModelConfig, bars: pd.DataFrame, *, n_context: int = 0) -> Dataset:
    """Compute the features and labels of every bar.

    Rows with less than ``lookback_period`` bars of their symbol's history have no features: they are NaN, as
    every expression is in its warm-up. The ``n_context`` rows that a model looks back on count as history.

    Raises:
        BarsError: When the bars are too few for one label.
    """
    _require_enough_rows(bars, config)
    stamps = config.data_config
    panel = Panel.of(bars, bar_stamp=stamps.bar_stamp, frequency=stamps.frequency)
    expressions = resolve_features(
        config.features, bar_columns=panel.columns, feature_columns=config.feature_columns
    )
    scale = {SCALE: return_volatility(config.target_column)} if config.target_column in panel.columns else {}
    values = evaluate(
        {**expressions, **scale}, panel, engine=config.features.engine, n_threads=config.features.n_threads
    )
    names = tuple(expressions)
    label = compute_label(panel, config)
    attributes = config.label.weighting.basis == "return_attribution"
    prices = span_prices(panel, label.label_end) if attributes else None
    codes = np.empty(panel.n_rows, dtype=np.int64)
    too_short = np.zeros(panel.n_rows, dtype=bool)
    for code, segment in enumerate(panel.segments()):
        rows = panel.order[segment]
        codes[rows] = code
        too_short[rows[: max(config.lookback_period - 1 - n_context, 0)]] = True
    features = np.ascontiguousarray(values[:, : len(names)])
    features[too_short] = np.nan
    return Dataset(
        values=features,
        columns=names,
        index=bars.index,
        known_at=panel.to_rows(panel.known_at),
        symbol_codes=codes,
        symbols=panel.symbols,
        target=panel.to_rows(label.target),
        label_end=panel.to_rows(label.label_end),
        classes=label_kind(config).classes,
        forward_return=panel.to_rows(label.forward_return),
        scale=values[:, -1] * np.sqrt(config.prediction_horizon) if scale else None,
        settled_at=None if label.settled_at is None else panel.to_rows(label.settled_at),
        span_prices=None if prices is None else panel.to_rows(prices),
        return_end=None if label.return_end is None else panel.to_rows(label.return_end),
        notes=label.notes,
    )


def learnable_rows(dataset: Dataset) -> Dataset:
    """Keep the rows with complete features and a known label.

    Raises:
        TrainingError: When none is left.
        OneClassError: When they hold a single class.
    """
    learnable = dataset.is_complete & ~np.isnan(dataset.target)
    rows = dataset if learnable.all() else dataset.take(learnable)
    if len(rows) == 0:
        raise TrainingError(
            f"None of {len(dataset)} training rows has complete features and a known label. "
            "Use a longer training window or shorter look-backs."
        )
    if rows.classes is not None:
        if not np.isin(rows.target, rows.classes).all():
            strange = rows.target[~np.isin(rows.target, rows.classes)][0]
            raise TrainingError(
                f"The target holds {strange:g}, which is not one of the classes {rows.classes}."
            )
        if (rows.target == rows.target[0]).all():
            raise OneClassError.only(float(rows.target[0]), len(rows))
    return rows


def weighted_rows(rows: Dataset, config: ModelConfig) -> Dataset:
    """Weigh training rows as the configuration says, on average one, by these rows alone.

    Weights that the rows bring are multiplied by.

    Raises:
        TrainingError: When the rows lack what their weights are made of, or all weigh nothing.
    """
    settings = config.label.weighting
    if settings == WeightConfig():
        return rows
    weight = np.ones(len(rows)) if rows.weight is None else rows.weight.copy()
    if settings.basis != "equal" or settings.time_decay < 1:
        if np.isnat(rows.label_end).any():
            raise TrainingError(
                "label.weighting goes by how labels overlap, and some rows have no label_end. Pass label_end, or "
                "train on a dataset that prepare gave."
            )
        uniqueness = average_uniqueness(rows.known_at, rows.label_end, symbol=rows.symbol_codes)
        if settings.basis == "uniqueness":
            weight *= uniqueness
        elif settings.basis == "return_attribution":
            weight *= _attributed(rows)
        weight *= time_decay(uniqueness, rows.known_at, oldest=settings.time_decay)
    if settings.class_balance:
        weight *= class_balance(weight, rows.target)
    if not weight.sum() > 0:
        raise TrainingError(f"All {len(rows)} training rows weigh nothing. Choose another label.weighting.")
    return replace(rows, weight=weight / weight.mean())


def class_positions(dataset: Dataset) -> FloatArray:
    """Return the target as adapters take it: class positions as integers, or the values themselves."""
    if dataset.classes is None:
        return dataset.target
    return np.searchsorted(np.asarray(dataset.classes), dataset.target)  # type: ignore[return-value]


def aligned_values(features: pd.DataFrame, columns: tuple[str, ...]) -> FloatArray:
    """Return the trained columns' values, (n, p) C-contiguous, put right by name.

    Raises:
        FeatureMismatchError: When columns are missing or extra.
    """
    given = [str(name) for name in features.columns]
    if given != list(columns):
        if sorted(given) != sorted(columns):
            raise FeatureMismatchError.between(columns, given)
        features = features[list(columns)]
    return np.ascontiguousarray(features.to_numpy(dtype=np.float64))


def _checked_forecast(model: BaseModel, values: FloatArray, ends: IntArray | None = None) -> FloatArray:
    """Ask the model, and refuse an answer of another shape or with numbers that are not finite."""
    answer = model.forecast(values) if ends is None else model.forecast_sequences(values, ends)
    forecast = np.asarray(answer, dtype=np.float64)
    n_asked = len(values) if ends is None else len(ends)
    wanted = (n_asked,) if model.classes is None else (n_asked, len(model.classes))
    name = model.config.model_name
    if forecast.shape != wanted:
        raise PredictionError(
            f"The model {name!r} answered with shape {forecast.shape} where {wanted} was asked for."
        )
    if not np.isfinite(forecast).all():
        n_bad = int((~np.isfinite(forecast)).reshape(n_asked, -1).any(axis=1).sum())
        raise PredictionError(
            f"The model {name!r} gave NaN or infinite forecasts on {n_bad} of {n_asked} complete rows. "
            "Its training has probably diverged; normalise the features or lower the learning rate."
        )
    return forecast


def _attributed(rows: Dataset) -> FloatArray:
    if rows.span_prices is None:
        raise TrainingError(
            "label.weighting.basis = 'return_attribution' needs the prices along each label. Train on a dataset "
            "that prepare gave, with train_dataset."
        )
    return return_attribution(
        rows.known_at, rows.label_end, symbol=rows.symbol_codes, span_prices=rows.span_prices
    )


def _weight_notes(rows: Dataset) -> list[str]:
    """Say how many equal rows the weighted ones are worth (Kish 1965, section 11.7)."""
    if rows.weight is None:
        return []
    worth = rows.weight.sum() ** 2 / (rows.weight**2).sum()
    return [f"by weight, {len(rows):,} rows are worth {worth:,.0f} equal ones"]


def _class_share(rows: Dataset) -> tuple[float, ...] | None:
    if rows.classes is None:
        return None
    return tuple(float(np.average(rows.target == value, weights=rows.weight)) for value in rows.classes)


def _require_enough_rows(bars: pd.DataFrame, config: ModelConfig) -> None:
    """Refuse bars that cannot hold one look-back, one horizon and the bar of the entry."""
    needed = config.lookback_period + config.prediction_horizon + 1
    is_panel = isinstance(bars.index, pd.MultiIndex)
    longest = int(bars.groupby(level="symbol").size().max()) if is_panel else len(bars)
    if longest < needed:
        hint = (
            f"Bring at least {needed} bars of a symbol (lookback_period {config.lookback_period} + "
            f"prediction_horizon {config.prediction_horizon} + 1), or lower lookback_period."
        )
        raise BarsError.of([BarsFault("too_few_rows", None, None, longest, None, None, hint)])
