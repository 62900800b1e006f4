"""Sixteen mistakes of earlier systems, each with the test that would have caught it.

Their numbers are this file's own. Those that concern saved models (the thirteenth) come with saved models.
"""

import json
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from backtester_model_core.adapter import ModelFrameworkAdapter
from backtester_model_core.config import ModelConfig
from backtester_model_core.exceptions import FeatureMismatchError
from backtester_model_core.factory import ModelFactory, create_model
from backtester_model_core.splits import PurgedKFold, walk_forward_windows
from backtester_model_core.testing import find_truncation_leaks, random_bars, random_panel
from backtester_model_core.walkforward import walk_forward


@pytest.fixture
def bars():
    return random_bars(300, seed=11)


def test_1_features_and_labels_are_not_shifted_against_each_other_by_the_warm_up(linear_config, bars):
    features, target = create_model(linear_config).prepare_data(bars)
    opens = bars["open"]
    moves = (opens.shift(-2) / opens.shift(-1) - 1)[features.index]

    assert features.index[0] == bars.index[5]
    assert (target == (moves > 0)).all()


def test_1_a_walk_on_noise_reports_no_fit_that_only_training_rows_have(linear_config):
    config = linear_config.model_copy(update={"model_type": "regression"})

    metrics = walk_forward(config, random_bars(900, seed=1)).metrics

    assert metrics["r2_oos"] < 0.05


def test_2_metrics_are_of_rows_that_no_model_was_trained_on(linear_config, bars):
    result = walk_forward(linear_config, bars)
    fitted_at = result.windows["fit_at"].loc[result.predictions["window"]].to_numpy()

    assert (result.predictions.index.to_numpy() > fitted_at).all()
    assert result.metrics["n"] == result.predictions["outcome"].notna().sum()


def test_2_the_split_moves_the_first_served_bar(linear_config, bars):
    sizes = linear_config.validation.model_copy(update={"train_size": None})
    first_served = {
        share: walk_forward(
            linear_config.model_copy(update={"validation": sizes, "train_test_split": share}), bars
        ).predictions.index[0]
        for share in (0.5, 0.8)
    }

    assert first_served == {0.5: bars.index[150], 0.8: bars.index[240]}


def test_3_the_last_rows_unknown_labels_are_no_class(linear_config, bars):
    dataset = create_model(linear_config.model_copy(update={"prediction_horizon": 5})).prepare(bars)

    assert np.isnan(dataset.target[-6:]).all()
    assert np.isnat(dataset.label_end[-6:]).all()
    assert not np.isnan(dataset.target[-7])


def test_4_thresholds_do_not_come_from_the_batch_at_hand(linear_config, bars):
    model = create_model(linear_config)
    model.train_dataset(model.prepare(bars.iloc[:150]))

    assert find_truncation_leaks(model.generate_signals, bars, cuts=range(160, 300, 20)) == []


def test_5_the_last_bar_has_a_signal_with_its_own_stamp_however_low_its_confidence(linear_config, bars):
    strict = linear_config.model_copy(update={"confidence_threshold": 0.99})

    last = walk_forward(strict, bars).signals.iloc[-1]

    assert last.name == bars.index[-1]
    assert (last["signal"], last["reason"]) == ("NEUTRAL", "below_confidence")


def test_8_frameworks_are_an_open_list(own_plugins, linear_config, bars):
    class Constant(ModelFrameworkAdapter):
        def initialize_model(self, config):
            return None

        def train_model(self, model, features, target, **options):
            return None

        def predict(self, model, features):
            return np.full((len(features), 2), 0.5)

    own_plugins.register_adapter("nobody_thought_of", Constant)

    result = walk_forward(linear_config.model_copy(update={"framework": "nobody_thought_of"}), bars)

    assert "nobody_thought_of" in [info.name for info in ModelFactory.available()]
    assert (result.predictions["expected"] == 0.5).all()


def test_9_a_scaler_does_not_see_rows_that_are_served(linear_config, bars):
    spiked = bars.copy()
    spiked.iloc[130:135] *= 50.0  # within the first served block

    plain, other = walk_forward(linear_config, bars), walk_forward(linear_config, spiked)

    np.testing.assert_array_equal(
        plain.predictions["expected"].iloc[:10], other.predictions["expected"].iloc[:10]
    )


def test_9_the_inner_validation_rows_begin_after_the_last_training_label_ends(linear_config):
    config = linear_config.model_copy(update={"model_type": "regression", "prediction_horizon": 10})
    model = create_model(config)

    head, tail = model._inner_split(model.prepare(random_bars(400)))

    assert head.label_end.max() < tail.known_at.min()


def test_10_folds_are_purged_on_both_sides_by_each_labels_own_end():
    rng = np.random.default_rng(0)
    known_at = pd.date_range("2020-01-01", periods=300, freq="D").to_numpy()
    label_end = known_at + rng.integers(1, 20, 300) * np.timedelta64(1, "D")

    for train, test in PurgedKFold(5).split(known_at, label_end):
        overlaps = (known_at[train][:, None] < label_end[test]) & (known_at[test] < label_end[train][:, None])

        assert not overlaps.any()


def test_10_windows_are_purged_by_each_labels_own_end(linear_config):
    rng = np.random.default_rng(0)
    known_at = pd.date_range("2020-01-01", periods=300, freq="D").to_numpy()
    label_end = known_at + rng.integers(1, 20, 300) * np.timedelta64(1, "D")

    for window in walk_forward_windows(known_at, label_end, validation=linear_config.validation):
        assert (label_end[window.train_rows] < known_at[window.test_rows].min()).all()


def test_11_a_finished_window_is_not_served_to_other_hyper_parameters(linear_config, bars, tmp_path):
    slow = {"expressions": {"r1": "close / ref(close, 20) - 1"}, "sets": ()}
    first = walk_forward(linear_config, bars, out=tmp_path)

    features = linear_config.features.model_copy(update=slow)
    other = walk_forward(linear_config.model_copy(update={"features": features}), bars, out=tmp_path)

    assert not first.predictions["expected"].equals(other.predictions["expected"])


def test_12_a_model_without_skill_does_not_trade_by_default_and_says_so(linear_config):
    config = linear_config.model_copy(update={"gate": ModelConfig(framework="x").gate})

    result = walk_forward(config, random_bars(900, seed=5))

    assert result.verdict.sentence.startswith(("No skill shown", "Worse than naive"))
    assert result.funnel["acted"] == 0


def test_14_columns_in_another_order_are_put_right_and_other_columns_refused(linear_config, bars):
    model = create_model(linear_config)
    model.train_dataset(model.prepare(bars))
    features = model.prepare(bars).features

    assert np.array_equal(model.predict(features), model.predict(features.iloc[:, ::-1]), equal_nan=True)
    with pytest.raises(FeatureMismatchError):
        model.predict(features.rename(columns={"r1": "R1"}))


def test_15_the_funnel_says_which_filter_removed_the_rows(linear_config, bars):
    counts = {
        name: walk_forward(linear_config.model_copy(update=fields), bars).funnel
        for name, fields in {
            "confidence": {"confidence_threshold": 0.95},
            "gate": {"gate": linear_config.gate.model_copy(update={"mode": "block"})},
        }.items()
    }

    assert counts["confidence"]["past_gate"] == 180
    assert counts["confidence"]["above_confidence"] == 0
    assert counts["gate"]["foreseen"] == 180
    assert counts["gate"]["past_gate"] == 0


def test_16_what_is_fitted_depends_on_the_rows_it_is_given(linear_config, bars):
    dataset = create_model(linear_config).prepare(bars)
    turned = replace(dataset, target=1 - dataset.target)
    models = [create_model(linear_config) for _ in range(2)]
    for model, rows in zip(models, (dataset, turned), strict=True):
        model.train_dataset(rows)

    one, other = (model.predict(dataset.features)[10:] for model in models)

    assert np.corrcoef(one, other)[0, 1] < -0.99


def test_metrics_written_down_are_valid_json_though_some_are_undefined(linear_config, tmp_path):
    walk_forward(linear_config, random_panel(2, 260), out=tmp_path)

    json.loads((tmp_path / "metrics.json").read_text(), parse_constant=pytest.fail)
