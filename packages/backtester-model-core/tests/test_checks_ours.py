"""The checks clear what the project ships: feature sets, labels, splitters and whole walk-forwards."""

import numpy as np
import pandas as pd
import pytest

from backtester_model_core.adapter import ModelFrameworkAdapter
from backtester_model_core.config import ModelConfig, ValidationConfig
from backtester_model_core.factory import create_model, load_config
from backtester_model_core.features import FEATURE_SETS, feature_set
from backtester_model_core.labels import LABELS
from backtester_model_core.splits import PurgedKFold, purged_tail, walk_forward_windows
from backtester_model_core.testing import (
    coin_toss_score,
    feature_values,
    find_early_fills,
    find_fit_leaks,
    find_fit_time_leaks,
    find_fold_leaks,
    find_label_leaks,
    find_missed_edge,
    find_monitoring_leaks,
    find_order_leaks,
    find_skill_on_noise,
    find_stream_leaks,
    find_symbol_leaks,
    find_target_leaks,
    find_truncation_leaks,
    find_walk_forward_leaks,
    find_warm_up_leaks,
    find_window_leaks,
    fit_model,
    label_values,
    memory_of,
    random_bars,
    random_panel,
    random_walk_score,
)
from backtester_model_core.typing import FloatArray
from backtester_model_core.walkforward import walk_forward

pytestmark = pytest.mark.exhaustive


class NearestRowAdapter(ModelFrameworkAdapter[tuple[FloatArray, FloatArray]]):
    """Answers with the outcome of the nearest training row: it remembers everything it was shown."""

    def initialize_model(self, config):
        return ()

    def train_model(self, model, features, target, *, classes=None, weight=None, validation=None, seed=None):
        answers = target if classes is None else 0.1 + 0.8 * np.eye(len(classes))[target]
        return features, answers / (answers.sum(axis=1, keepdims=True) if answers.ndim == 2 else 1.0)

    def predict(self, model, features):
        known, answers = model
        nearest = [int(((known - row) ** 2).sum(axis=1).argmin()) for row in features]
        return answers[nearest]


@pytest.fixture
def estimators(own_plugins):
    own_plugins.register_adapter("nearest_row", NearestRowAdapter)
    return own_plugins


def with_framework(config, framework, **changes):
    return load_config({**config.model_dump(mode="json"), "framework": framework, **changes})


# -- features ---------------------------------------------------------------------------------------------------------


def with_vwap(bars):
    """Add the column that two sets need beside the five of every bar."""
    return bars.assign(vwap=(bars["high"] + bars["low"] + bars["close"]) / 3)


@pytest.mark.parametrize("name", FEATURE_SETS)
def test_feature_set_is_the_same_when_the_bars_are_cut_at_any_row(name):
    assert find_truncation_leaks(feature_values(feature_set(name)), with_vwap(random_bars(90))) == []


@pytest.mark.parametrize("name", FEATURE_SETS)
def test_feature_set_remembers_no_more_than_it_declares(name):
    expressions = feature_set(name)
    memory = memory_of(expressions)
    longest = max(bars for bars in memory.values() if bars is not None)

    found = find_warm_up_leaks(
        feature_values(expressions), with_vwap(random_bars(2 * longest + 50)), memory_bars=memory, n_ends=1
    )

    assert found == []


@pytest.mark.parametrize("name", FEATURE_SETS)
def test_feature_set_streams_the_bits_of_the_batch(name):
    panel = with_vwap(random_panel(3, 60, lives={"S001": (20, 50)}))

    assert find_stream_leaks(feature_set(name), panel) == []


@pytest.mark.parametrize("name", FEATURE_SETS)
def test_feature_set_of_a_symbol_takes_nothing_from_another(name):
    panel = with_vwap(random_panel(3, 60, lives={"S001": (20, 50)}))

    assert find_symbol_leaks(feature_values(feature_set(name)), panel) == []


@pytest.mark.parametrize("name", FEATURE_SETS)
@pytest.mark.parametrize("horizon", [1, 5])
def test_feature_set_does_not_hold_the_target(linear_config, name, horizon):
    bars = with_vwap(random_bars(400))
    labels = label_values(linear_config.model_copy(update={"prediction_horizon": horizon}))(bars)

    found = find_target_leaks(
        feature_values(feature_set(name))(bars), labels["target"], known_after_bars=horizon + 1
    )

    assert found == []


# -- labels -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", LABELS)
@pytest.mark.parametrize(("entry", "exit_"), [("open", "open"), ("open", "close"), ("close", "close")])
def test_nothing_after_its_end_moves_a_label(own_plugins, kind, entry, exit_):
    config = ModelConfig(
        framework="least_squares",
        model_type=LABELS[kind].model_type,
        lookback_period=1,
        prediction_horizon=3,
        features={"sets": (), "expressions": {"r1": "close / ref(close, 1) - 1"}},
        label={
            "kind": kind,
            "entry": entry,
            "exit": exit_,
            "volatility_window": 5,
            "trend_min_span": 2,
            "side_column": "side",
        },
    )
    panel = random_panel(2, 45, lives={"S001": (3, 25)}).assign(
        side=lambda bars: bars["close"] - bars["open"]
    )

    assert find_label_leaks(label_values(config), panel, cuts=range(10, 45, 3)) == []


# -- splits -----------------------------------------------------------------------------------------------------------


@pytest.fixture(params=[1, 19])
def labelled_rows(request):
    """Instants and label ends of three symbols' rows, with labels of one bar or of up to nineteen."""
    rng = np.random.default_rng(request.param)
    days = np.sort(np.tile(np.arange(200), 3))
    known_at = np.datetime64("2020-01-01", "ns") + days * np.timedelta64(1, "D")
    label_end = known_at + rng.integers(1, request.param + 1, len(days)) * np.timedelta64(1, "D")
    label_end[rng.random(len(days)) < 0.05] = np.datetime64("NaT")
    return known_at, label_end


@pytest.mark.parametrize("embargo", [0, 7])
def test_purged_folds_do_not_overlap(labelled_rows, embargo):
    folds = PurgedKFold(4, embargo=embargo).split(*labelled_rows)

    assert find_fold_leaks(folds, *labelled_rows, embargo=embargo) == []


def test_purged_tail_does_not_overlap(labelled_rows):
    known_at, label_end = labelled_rows
    head, tail = purged_tail(known_at, label_end, share=0.25)

    assert find_fold_leaks([(head, tail)], known_at, label_end) == []


@pytest.mark.parametrize("scheme", ["expanding", "rolling"])
@pytest.mark.parametrize("delay", [None, "3D"])
def test_walk_forward_windows_learn_nothing_late(labelled_rows, scheme, delay):
    sizes = ValidationConfig(scheme=scheme, train_size=60, test_size=20, retrain_delay=delay)

    windows = walk_forward_windows(*labelled_rows, validation=sizes)

    assert find_window_leaks(windows, *labelled_rows) == []


# -- models and walk-forwards -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("framework", ["echo", "least_squares", "nearest_row"])
@pytest.mark.parametrize("model_type", ["classification", "regression"])
def test_walk_forward_passes_the_checks_of_its_fits_and_signals(
    linear_config, estimators, framework, model_type
):
    config = with_framework(linear_config, framework, model_type=model_type, prediction_horizon=4)
    bars = random_bars(230, seed=3, momentum=0.3)

    assert find_walk_forward_leaks(config, bars) == []
    assert find_fit_time_leaks(config, bars) == []


@pytest.mark.parametrize("framework", ["echo", "least_squares", "nearest_row"])
def test_fit_sees_its_training_rows_only(linear_config, estimators, framework):
    config = with_framework(linear_config, framework)
    dataset = create_model(config).prepare(random_bars(200))
    learnable = np.flatnonzero(dataset.is_complete & dataset.is_labelled)

    assert find_fit_leaks(fit_model(config), dataset, learnable[learnable < 120]) == []


@pytest.mark.parametrize("framework", ["echo", "least_squares", "nearest_row"])
def test_prediction_of_a_row_does_not_depend_on_the_others(linear_config, estimators, framework):
    model = create_model(with_framework(linear_config, framework))
    dataset = model.prepare(random_bars(160))
    model.train_dataset(dataset.take(np.arange(100)))

    assert find_order_leaks(lambda rows: model.predict_distribution(rows).frame, dataset.features) == []


def test_model_of_one_symbol_takes_nothing_from_another(linear_config):
    config = linear_config.model_copy(update={"pooling": "per_symbol"})

    def forecasts(panel):
        return walk_forward(config, panel).predictions[["expected"]]

    assert find_symbol_leaks(forecasts, random_panel(3, 190)) == []


def test_nobody_earns_what_happened_before_the_fill():
    assert find_early_fills() == []


def test_suggestion_to_retrain_waits_for_the_labels_it_is_drawn_from(linear_config):
    rising = random_bars(260, seed=1, momentum=0.8)
    fading = pd.concat([rising, random_bars(200, seed=2, start="2017-01-02", momentum=-0.8)])

    assert find_monitoring_leaks(linear_config, fading) == []


@pytest.mark.parametrize("model_type", ["classification", "regression"])
@pytest.mark.parametrize("score", [random_walk_score, coin_toss_score])
def test_no_skill_is_found_where_there_is_none(linear_config, model_type, score):
    config = linear_config.model_copy(update={"model_type": model_type})

    assert find_skill_on_noise(score(config, n_bars=230)) == []


@pytest.mark.parametrize("model_type", ["classification", "regression"])
def test_planted_edge_is_found(linear_config, model_type):
    assert find_missed_edge(linear_config.model_copy(update={"model_type": model_type})) == []


def test_model_that_cannot_learn_misses_the_planted_edge(linear_config):
    assert find_missed_edge(with_framework(linear_config, "echo"))
