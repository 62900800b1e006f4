"""Models that look back get each row's own history: its symbol's, without gaps, and nothing that comes later."""

from typing import ClassVar

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from backtester_model_core.adapter import ModelFrameworkAdapter, SequenceAdapter
from backtester_model_core.exceptions import ModelError
from backtester_model_core.factory import create_model
from backtester_model_core.history import NOWHERE, History
from backtester_model_core.model import BaseModel
from backtester_model_core.testing import (
    find_fit_leaks,
    find_fit_time_leaks,
    find_walk_forward_leaks,
    fit_model,
    random_bars,
    random_panel,
)
from backtester_model_core.walkforward import walk_forward

LOOKS_BACK = 4


class WindowMean(SequenceAdapter[dict]):
    """Foresees the mean of the first feature over each window, less its mean over the rows learned from."""

    handed: ClassVar[list[dict]] = []

    def context_rows(self, config):
        return LOOKS_BACK

    def uses_validation(self, config):
        return config.validation_split > 0

    def initialize_model(self, config):
        return {"classes": None}

    def train_model(
        self, model, features, target, *, classes=None, weight=None, validation=None, seed=None, ends=None
    ):
        self.handed.append({"features": features, "ends": ends, "target": target, "validation": validation})
        return {"classes": classes, "mean": features[ends, 0].mean(), "scale": features[ends, 0].std()}

    def predict(self, model, features, *, ends=None):
        windows = [features[end - LOOKS_BACK : end + 1, 0] for end in ends]
        score = np.array([window.mean() for window in windows]) - model["mean"]
        if model["classes"] is None:
            return score
        up = 0.5 + np.arctan(score / model["scale"]) / np.pi
        return np.column_stack([1 - up, up])


class Greedy(WindowMean):
    """Its fit reads the whole matrix, whatever the rows that it was told to learn from."""

    def train_model(self, model, features, target, *, ends=None, **rest):
        trained = super().train_model(model, features, target, ends=ends, **rest)
        return {**trained, "mean": features[:, 0].mean()}


@pytest.fixture
def config(linear_config, own_plugins):
    WindowMean.handed = []
    own_plugins.register_adapter("window_mean", WindowMean)
    own_plugins.register_adapter("greedy", Greedy)
    return linear_config.model_copy(update={"framework": "window_mean", "validation_split": 0.0})


def window_means(dataset):
    """Each row's mean of the first feature over its own and the four rows before it, by pandas."""
    first = pd.Series(dataset.values[:, 0], index=dataset.index)
    if not isinstance(dataset.index, pd.MultiIndex):
        return first.rolling(LOOKS_BACK + 1).mean()
    means = first.groupby(level="symbol").rolling(LOOKS_BACK + 1).mean()
    return means.droplevel(0).reindex(dataset.index)


# -- the layout ---------------------------------------------------------------------------------------------------


@settings(max_examples=200)
@given(
    codes=st.lists(st.integers(0, 2), min_size=1, max_size=40),
    holes=st.sets(st.integers(0, 39)),
    n_context=st.integers(1, 4),
    chosen=st.sets(st.integers(0, 39)),
)
def test_a_window_is_what_came_before_in_the_same_symbol(codes, holes, n_context, chosen):
    """Compared, row by row, with a walk through the row's own symbol."""
    symbol = np.array(codes)
    values = np.arange(len(codes), dtype=np.float64)[:, None]
    values[[hole for hole in holes if hole < len(codes)]] = np.nan
    rows = np.array(sorted(row for row in chosen if row < len(codes)), dtype=np.int64)

    whole = History.of(values, pd.RangeIndex(len(codes)), symbol, n_context=n_context)
    history = whole.take(rows).needed()

    looked_back_on = set()
    for row, end in zip(rows, history.ends, strict=True):
        own = np.flatnonzero(symbol[: row + 1] == symbol[row])[-n_context - 1 :]
        window = values[own, 0]
        if len(own) <= n_context or np.isnan(window).any():
            assert end == NOWHERE
            continue
        assert history.values[end - n_context : end + 1, 0].tolist() == window.tolist()
        looked_back_on |= set(own)
    assert sorted(history.index) == sorted(looked_back_on)


# -- training -----------------------------------------------------------------------------------------------------


def test_training_is_handed_its_rows_their_history_and_no_later_row(config):
    bars = random_panel(3, 90, seed=2, lives={"S001": (5, 60)})
    model = create_model(config)
    dataset = model.prepare(bars)
    train = np.flatnonzero((dataset.is_complete & dataset.is_labelled)[:150])

    model.train_dataset(dataset.take(train))

    handed = WindowMean.handed[-1]
    known = {tuple(row) for row in dataset.values[: train.max() + 1]}
    assert {tuple(row) for row in handed["features"]} <= known
    symbol_major = train[np.argsort(dataset.symbol_codes[train], kind="stable")]
    by_row = dict(zip(train, handed["ends"], strict=True))
    ends = [by_row[row] for row in symbol_major]
    assert (np.diff(ends) > 0).all()
    assert np.array_equal(handed["features"][ends], dataset.values[symbol_major])


def test_rows_to_stop_early_by_bring_their_own_history(config):
    config = config.model_copy(update={"validation_split": 0.25})
    model = create_model(config)
    dataset = model.prepare(random_bars(200, seed=1))

    report = model.train_dataset(dataset.take(dataset.is_complete & dataset.is_labelled))

    held_back = WindowMean.handed[-1]["validation"]
    assert report.n_validation == len(held_back.target) == len(held_back.ends)
    assert held_back.ends[0] == LOOKS_BACK
    assert len(held_back.features) == len(held_back.ends) + LOOKS_BACK


def test_plain_frames_are_laid_out_as_they_come(config):
    model = create_model(config)
    features, target = model.prepare_data(random_bars(60, seed=1))

    report = model.train(features, target)

    assert report.n_rows == len(features) - LOOKS_BACK
    assert np.isnan(model.predict(features)[:LOOKS_BACK]).all()


def test_weights_importance_and_updates_follow_the_same_rows(config, own_plugins):
    class Able(WindowMean):
        def feature_importance(self, model, features, target, *, seed=None, ends=None):
            return np.array([len(features[ends]) == len(target), 0.0])

        def update_model(self, model, features, target, *, weight=None, seed=None, ends=None):
            return {**model, "updated_by": len(features[ends]) == len(target)}

    own_plugins.register_adapter("able", Able)
    model = create_model(config.model_copy(update={"framework": "able"}))
    dataset = model.prepare(random_bars(80, seed=1))
    model.train_dataset(dataset)

    model.update(dataset)

    assert model.feature_importance(dataset).to_dict() == {"r1": 1.0, "r5": 0.0}
    assert model.native["updated_by"] is True


# -- forecasts ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "bars", [random_bars(260, seed=3), random_panel(3, 220, seed=3, lives={"S001": (30, 180)})]
)
def test_every_served_row_has_its_own_window(config, bars):
    """The model's forecasts, window by window, are those of a rolling mean over the whole history."""
    config = config.model_copy(update={"model_type": "regression"})
    result = walk_forward(config, bars)
    dataset = create_model(config).prepare(bars)

    forecast = result.predictions["expected"]
    means = window_means(dataset).reindex(forecast.index)
    of_each_window = (forecast - means).groupby(result.predictions["window"])

    assert forecast.notna().sum() > 90
    assert (forecast.notna() == means.notna()).all()
    assert (of_each_window.max() - of_each_window.min() < 1e-12).all()


def test_a_row_is_answered_from_as_much_history_as_is_given(config):
    model = create_model(config)
    dataset = model.prepare(random_bars(200, seed=1))
    model.train_dataset(dataset)
    whole = model.predict(dataset.features)

    short = model.predict(dataset.features.iloc[100 - LOOKS_BACK : 101])

    assert np.isnan(short[:-1]).all()
    assert short[-1] == whole[100]


def test_decided_rows_keep_to_the_lookback_period(config):
    """Rows that are looked back on are history too: they need none of their own."""
    config = config.model_copy(update={"lookback_period": 30})
    decided = create_model(config).prepare(random_bars(200, seed=1)).is_complete

    assert int(np.flatnonzero(decided)[0]) == 29


def test_folds_of_a_cross_validation_have_their_history(config):
    folds = create_model(config).cross_validate(random_bars(200, seed=1))

    assert folds["n_test"].sum() == 200 - 5 - LOOKS_BACK - 2
    assert folds["accuracy"].notna().all()


# -- no look-ahead ------------------------------------------------------------------------------------------------


def test_a_walk_forward_of_windows_does_not_look_ahead(config):
    bars = random_bars(230, seed=6)

    assert find_walk_forward_leaks(config, bars) == []
    assert find_fit_time_leaks(config, bars) == []


@pytest.mark.parametrize("framework", ["window_mean", "greedy"])
def test_even_a_fit_to_all_it_is_handed_sees_no_row_outside_training(config, framework):
    config = config.model_copy(update={"framework": framework})
    dataset = create_model(config).prepare(random_bars(200, seed=6))
    train_rows = np.flatnonzero((dataset.is_complete & dataset.is_labelled)[:120])

    assert find_fit_leaks(fit_model(config), dataset, train_rows) == []


def test_a_layout_that_hands_over_later_rows_is_found(config, monkeypatch):
    """The leak is planted in the layout itself; then an adapter that reads all it is given shows it."""
    config = config.model_copy(update={"framework": "greedy"})
    dataset = create_model(config).prepare(random_bars(200, seed=6))
    train_rows = np.flatnonzero((dataset.is_complete & dataset.is_labelled)[:120])
    monkeypatch.setattr(History, "needed", lambda self: self)

    def fit(dataset, train_rows):
        return fit_model(config)(dataset.with_history(LOOKS_BACK), train_rows)

    assert find_fit_leaks(fit, dataset, train_rows)


# -- models that do not look back ---------------------------------------------------------------------------------


def test_a_sequence_adapter_without_context_is_asked_as_any_other(config, own_plugins):
    class Dense(WindowMean):
        def context_rows(self, config):
            return 0

        def train_model(self, model, features, target, *, ends=None, **rest):
            return {"no_ends": ends is None}

        def predict(self, model, features, *, ends=None):
            return np.full((len(features), 2), 0.5 if model["no_ends"] and ends is None else 0.0)

    own_plugins.register_adapter("dense", Dense)
    model = create_model(config.model_copy(update={"framework": "dense"}))
    dataset = model.prepare(random_bars(60, seed=1))
    model.train_dataset(dataset)

    assert dataset.history is None
    assert (model.predict(dataset.features.iloc[[30]]) == 0.5).all()


def test_a_model_that_looks_back_must_say_what_it_foresees(linear_config):
    class Forgetful(BaseModel):
        context_rows = 2

        def fit(self, rows, validation):
            self.native = object()
            return ()

        def forecast(self, values):
            raise NotImplementedError

    model = Forgetful(
        linear_config.model_copy(update={"validation_split": 0.0})
    )  # else training asks it already
    dataset = model.prepare(random_bars(60, seed=1))
    model.train_dataset(dataset)

    with pytest.raises(ModelError, match="Forgetful looks back 2 rows; fill in forecast_sequences"):
        model.predict(dataset.features)


def test_only_a_sequence_adapter_may_look_back(config, own_plugins):
    """An adapter of the plain kind has no context, whatever it calls its methods."""

    class Plain(ModelFrameworkAdapter[None]):
        context_rows = 3

        def initialize_model(self, config):
            return None

        def train_model(self, model, features, target, **rest):
            return None

        def predict(self, model, features):
            return np.full((len(features), 2), 0.5)

    own_plugins.register_adapter("plain", Plain)

    assert create_model(config.model_copy(update={"framework": "plain"})).context_rows == 0
