"""Truncating the bars or rewriting the future changes nothing before; for each rule a planted leak turns it red."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from backtester_model_core.factory import create_model
from backtester_model_core.hookspecs import hookimpl
from backtester_model_core.testing import (
    find_future_leaks,
    find_truncation_leaks,
    find_walk_forward_leaks,
    random_bars,
    random_panel,
)
from backtester_model_core.walkforward import engine, walk_forward

GENTLE = settings(max_examples=10, suppress_health_check=[HealthCheck.function_scoped_fixture])


def fitted(config, bars, n_rows=150):
    model = create_model(config)
    dataset = model.prepare(bars)
    known = dataset.is_complete & dataset.is_labelled & (np.arange(len(dataset)) < n_rows)
    model.train_dataset(dataset.take(known))
    return model


def features_of(config):
    model = create_model(config)
    return lambda bars: model.prepare(bars).features


# -- features -----------------------------------------------------------------------------------------------------


def test_basic_features_do_not_change_when_bars_are_cut_at_any_row(linear_config):
    basic = linear_config.model_copy(update={"features": type(linear_config.features)()})

    assert find_truncation_leaks(features_of(basic), random_bars(140), cuts=range(7, 140)) == []


@GENTLE
@given(cut=st.integers(40, 110), seed=st.integers(0, 1000))
def test_basic_features_do_not_change_with_the_future(linear_config, cut, seed):
    basic = linear_config.model_copy(update={"features": type(linear_config.features)()})

    assert find_future_leaks(features_of(basic), random_bars(120, seed=seed), cuts=[cut], seed=seed) == []


def test_features_of_a_panel_do_not_change_when_it_is_cut(linear_config):
    panel = random_panel(3, 90, lives={"S001": (20, 60)})

    assert find_truncation_leaks(features_of(linear_config), panel, cuts=range(10, 90)) == []


def test_centred_window_is_found_by_truncation_and_by_another_future():
    def centred(bars):
        return pd.DataFrame({"centred": bars["close"].rolling(5, center=True).mean()})

    bars = random_bars(60)

    assert find_truncation_leaks(centred, bars)[0].column == "centred"
    assert find_future_leaks(centred, bars, cuts=[30])[0].row == bars.index[28]


def test_feature_scaled_by_the_whole_sample_is_found():
    def scaled(bars):
        return pd.DataFrame({"scaled": (bars["close"] - bars["close"].mean()) / bars["close"].std()})

    leaks = find_truncation_leaks(scaled, random_bars(60), cuts=[30])

    assert "bars after" in str(leaks[0])


# -- a fixed model --------------------------------------------------------------------------------------------------


@GENTLE
@given(cut=st.integers(60, 180), seed=st.integers(0, 1000))
@pytest.mark.parametrize("model_type", ["classification", "regression"])
def test_signals_of_a_fixed_model_do_not_change_with_the_future(linear_config, model_type, cut, seed):
    bars = random_bars(200, seed=seed)
    model = fitted(linear_config.model_copy(update={"model_type": model_type}), bars)

    assert find_truncation_leaks(model.generate_signals, bars, cuts=[cut]) == []
    assert find_future_leaks(model.generate_signals, bars, cuts=[cut], seed=seed) == []


def test_predictions_of_a_fixed_model_do_not_change_when_bars_are_cut_at_any_row(linear_config):
    bars = random_bars(200)
    model = fitted(linear_config, bars)

    def predicted(given):
        return model.predict_distribution(model.prepare(given).features).frame

    assert find_truncation_leaks(predicted, bars, cuts=range(10, 200)) == []


def test_model_that_scales_the_rows_it_is_asked_about_is_found(linear_config):
    bars = random_bars(200)
    model = fitted(linear_config, bars)

    def scaled_by_the_batch(given):
        features = model.prepare(given).features
        return model.predict_distribution((features - features.mean()) / features.std()).frame

    assert find_truncation_leaks(scaled_by_the_batch, bars, cuts=[100])


class ThresholdFromTheBatch:
    """An extension with the oldest leak: it acts where a score is high among all scores of the call."""

    @hookimpl(wrapper=True)
    def backtester_signal(self, model, data, prediction):
        signals = yield
        high = signals["score"] > signals["score"].mean()
        return signals.assign(target_weight=np.where(high, 1.0, 0.0))


def test_threshold_from_the_whole_batch_is_found(linear_config, own_plugins):
    own_plugins.register_extension("leaky", ThresholdFromTheBatch())
    bars = random_bars(200)
    model = fitted(linear_config, bars)

    leaks = find_truncation_leaks(model.generate_signals, bars, cuts=[100])

    assert {leak.column for leak in leaks} == {"target_weight"}


# -- the whole walk-forward -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("model_type", ["classification", "regression"])
@pytest.mark.parametrize("horizon", [1, 5])
def test_walk_forward_cut_after_each_boundary_gives_the_same_signals(linear_config, model_type, horizon):
    gated = linear_config.gate.model_copy(update={"mode": "block", "planned_windows": 4})
    config = linear_config.model_copy(
        update={"model_type": model_type, "prediction_horizon": horizon, "gate": gated}
    )
    bars = random_bars(520, seed=4, momentum=0.5)

    assert find_walk_forward_leaks(config, bars) == []
    assert walk_forward(config, bars).funnel["acted"] > 0


@pytest.mark.parametrize("pooling", ["pooled", "per_symbol"])
def test_walk_forward_of_a_panel_cut_after_each_boundary_gives_the_same_signals(linear_config, pooling):
    config = linear_config.model_copy(update={"pooling": pooling})
    panel = random_panel(3, 300, lives={"S001": (30, 210), "S002": (60, 300)})

    assert find_walk_forward_leaks(config, panel) == []


def test_missing_purge_is_found_by_the_cut_after_a_boundary(linear_config, monkeypatch):
    def unpurged(known_at, label_end, **sizes):
        purged = engine_windows(known_at, label_end, **sizes)
        labelled = ~np.isnat(label_end)
        return [replace(w, train_rows=np.flatnonzero(labelled & (known_at <= w.fit_at))) for w in purged]

    engine_windows = engine.walk_forward_windows
    monkeypatch.setattr(engine, "walk_forward_windows", unpurged)

    assert find_walk_forward_leaks(linear_config, random_bars(250))


@pytest.mark.parametrize("bar_stamp", ["open", "close"])
def test_missing_purge_of_two_bars_is_found_however_bars_are_stamped(linear_config, monkeypatch, bar_stamp):
    def two_bars_late(known_at, label_end, **sizes):
        return engine_windows(known_at, label_end - np.timedelta64(2, "D"), **sizes)

    engine_windows = engine.walk_forward_windows
    stamped = linear_config.data_config.model_copy(update={"bar_stamp": bar_stamp})
    config = linear_config.model_copy(update={"data_config": stamped})

    assert find_walk_forward_leaks(config, random_bars(250, frequency="D")) == []
    monkeypatch.setattr(engine, "walk_forward_windows", two_bars_late)
    assert find_walk_forward_leaks(config, random_bars(250, frequency="D"))


class ScaledByEverything:
    """An extension that standardises the features by all rows, later ones too."""

    @hookimpl(wrapper=True)
    def backtester_prepare(self, model, data):
        dataset = yield
        values = dataset.values
        return replace(dataset, values=(values - np.nanmean(values, axis=0)) / np.nanstd(values, axis=0) ** 2)


def test_features_scaled_by_all_rows_are_found_in_the_walk_forward(linear_config, own_plugins):
    own_plugins.register_extension("leaky", ScaledByEverything())
    echoing = linear_config.model_copy(update={"normalize_features": False})

    assert find_walk_forward_leaks(echoing, random_bars(250))


def test_sizes_that_depend_on_the_length_of_the_bars_are_found(linear_config):
    sizes = linear_config.validation.model_copy(update={"train_size": None})
    share = linear_config.model_copy(update={"validation": sizes, "train_test_split": 0.5})

    def unresolved(config, bars):
        return replace(walk_forward(share, bars), config=share)

    assert find_walk_forward_leaks(share, random_bars(250)) == []
    assert find_walk_forward_leaks(share, random_bars(250), run=unresolved)
