"""A model is four steps; each goes through its hook, and a step that is refused leaves the model as it was."""

import logging
import pickle
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from backtester_model_core.config import ModelConfig
from backtester_model_core.exceptions import (
    BarsError,
    FeatureMismatchError,
    ModelError,
    NotTrainedError,
    OneClassError,
    PredictionError,
    TrainingError,
)
from backtester_model_core.factory import create_model
from backtester_model_core.hookspecs import hookimpl
from backtester_model_core.model import AdapterModel, BaseModel
from backtester_model_core.testing import EchoAdapter, random_bars, random_panel


@pytest.fixture
def model(linear_config):
    return create_model(linear_config)


@pytest.fixture
def bars():
    return random_bars(200, seed=5)


def trained(config, bars, **changes):
    model = create_model(config.model_copy(update=changes))
    model.train_dataset(model.prepare(bars))
    return model


# -- prepare ------------------------------------------------------------------------------------------------------


def test_prepare_gives_one_row_for_every_bar(model, bars):
    dataset = model.prepare(bars)

    assert dataset.index.equals(bars.index)
    assert dataset.columns == ("r1", "r5")
    assert dataset.values.flags.c_contiguous


def test_prepare_data_gives_only_rows_that_may_be_trained_on(model, bars):
    features, target = model.prepare_data(bars)

    assert len(features) == len(target) == 200 - 5 - 2
    assert not features.isna().any().any()
    assert set(target) == {0.0, 1.0}


def test_features_and_labels_of_a_row_belong_to_its_bar(linear_config, bars):
    model = create_model(linear_config.model_copy(update={"model_type": "regression"}))
    features, target = model.prepare_data(bars)
    row = features.index[50]
    position = bars.index.get_loc(row)

    assert features["r1"].iloc[50] == bars["close"].iloc[position] / bars["close"].iloc[position - 1] - 1
    assert target.iloc[50] == pytest.approx(
        bars["open"].iloc[position + 2] / bars["open"].iloc[position + 1] - 1
    )


def test_rows_with_less_history_than_the_lookback_have_no_features(linear_config, bars):
    model = create_model(linear_config.model_copy(update={"lookback_period": 20}))

    complete = model.prepare(bars).is_complete

    assert list(np.flatnonzero(~complete)) == list(range(19))


def test_each_symbol_of_a_panel_warms_up_by_itself(linear_config):
    model = create_model(linear_config.model_copy(update={"lookback_period": 20}))
    panel = random_panel(2, 80, lives={"S001": (30, 80)})

    complete = pd.Series(model.prepare(panel).is_complete, index=panel.index)

    assert (~complete).groupby("symbol").sum().to_dict() == {"S000": 19, "S001": 19}


def test_too_few_bars_are_refused_with_the_number_needed(linear_config):
    model = create_model(linear_config.model_copy(update={"prediction_horizon": 3}))

    with pytest.raises(BarsError, match=r"too_few_rows.*\n.*at least 9 bars"):
        model.prepare(random_bars(8))


def test_the_callers_bars_are_not_changed(model, bars):
    before = bars.copy()

    model.prepare(bars)

    pd.testing.assert_frame_equal(bars, before)


# -- train --------------------------------------------------------------------------------------------------------


def test_report_says_what_was_learned_from(linear_config, bars):
    model = trained(linear_config, bars)

    assert model.report.n_rows == 193
    assert model.report.n_dropped == 7
    assert model.report.columns == ("r1", "r5")
    assert sum(model.report.class_share) == pytest.approx(1.0)
    assert model.report.baseline == pytest.approx(model.report.class_share[1])
    assert model.report.trained_to == "2015-10-07T00:00:00.000000000Z"


def test_training_on_frames_equals_training_on_the_dataset(linear_config, model, bars):
    dataset = model.prepare(bars)
    features, target = model.prepare_data(bars)
    model.train(features, target, dataset.label_end_series[features.index])

    other = trained(linear_config, bars)

    assert np.array_equal(model.predict(features), other.predict(features))


def test_one_class_only_is_refused_and_leaves_the_model_as_it_was(model, bars):
    features, target = model.prepare_data(bars)
    model.train(features, target)
    before = model.predict(features)

    with pytest.raises(OneClassError, match=r"All 193 training rows have the class 1"):
        model.train(features, target * 0 + 1)

    assert np.array_equal(model.predict(features), before)


def test_unknown_labels_are_left_out_and_never_a_class(model, bars):
    features, target = model.prepare_data(bars)
    target.iloc[-30:] = np.nan

    report = model.train(features, target)

    assert report.n_rows == 163


def test_target_that_is_no_class_is_refused(model, bars):
    features, target = model.prepare_data(bars)

    with pytest.raises(TrainingError, match=r"holds 2, which is not one of the classes \(0\.0, 1\.0\)"):
        model.train(features, target * 2)


def test_no_rows_to_learn_from_are_refused(model, bars):
    features, target = model.prepare_data(bars)

    with pytest.raises(TrainingError, match="None of 193 training rows"):
        model.train(features, target * np.nan)


@pytest.mark.parametrize("name", ["target", "label_end", "weight"])
def test_series_on_another_index_is_refused(model, bars, name):
    features, target = model.prepare_data(bars)
    given = {"target": target, "label_end": target.index.to_series(), "weight": target}
    given[name] = given[name].iloc[1:]

    with pytest.raises(TrainingError, match=f"index of {name}"):
        model.train(features, given["target"], given["label_end"], weight=given["weight"])


def test_rows_out_of_time_order_are_refused(model, bars):
    features, target = model.prepare_data(bars)

    with pytest.raises(TrainingError, match="not in order of time"):
        model.train(features.iloc[::-1], target.iloc[::-1])


def test_weights_reach_the_adapter(linear_config, model, bars):
    features, target = model.prepare_data(bars)
    late = pd.Series(np.where(np.arange(len(target)) < 100, 1e-9, 1.0), index=target.index)
    model.train(features, target, weight=late)

    other = create_model(linear_config)
    other.train(features.iloc[100:], target.iloc[100:])

    assert model.baseline == pytest.approx(other.baseline)


def test_regression_measures_residuals_on_rows_it_was_not_fitted_to(linear_config):
    bars = random_bars(1500, seed=6)
    model = trained(linear_config, bars, model_type="regression")

    residuals = model.policy.residuals

    assert len(residuals.sorted_sizes) == int(1500 * 0.2) - 2
    assert model.report.n_rows == 1493


def test_without_label_ends_there_is_no_inner_split(linear_config):
    bars = random_bars(1500, seed=6)
    model = create_model(linear_config.model_copy(update={"model_type": "regression"}))
    features, target = model.prepare_data(bars)

    model.train(features, target)

    assert model.policy.residuals is None


def test_residuals_that_cannot_be_measured_cost_the_residuals_and_not_the_model(linear_config, caplog):
    config = linear_config.model_copy(
        update={"model_type": "regression", "validation_split": 0.99, "prediction_horizon": 20}
    )
    model = create_model(config)

    model.train_dataset(model.prepare(random_bars(60)))

    assert model.is_trained
    assert model.policy.residuals is None
    assert "validation_split 0.99 leaves no training rows" in caplog.text


class EarlyStopper(EchoAdapter):
    """An echo that wants later rows to stop early by."""

    config_class = ModelConfig

    def uses_validation(self, config):
        return True

    def train_model(self, model, features, target, *, validation=None, **options):
        assert validation is not None
        return super().train_model(model, features, target, **options)


def test_adapter_that_stops_early_gets_later_purged_rows(own_plugins, bars):
    own_plugins.register_adapter("early", EarlyStopper)
    config = ModelConfig(
        framework="early", features={"sets": (), "expressions": {"r": "close / ref(close, 1) - 1"}}
    )
    model = create_model(config)

    model.train_dataset(model.prepare(bars))

    assert model.report.n_validation == 33
    assert model.report.n_rows == 136 - 2


def test_rows_that_stopped_a_training_belong_to_what_it_knew(own_plugins, linear_config, bars):
    own_plugins.register_adapter("early", EarlyStopper)
    dataset = create_model(linear_config.model_copy(update={"framework": "early"})).prepare(bars)
    stopped_by_others = replace(dataset, target=np.append(dataset.target[:-20], 1 - dataset.target[-20:]))

    def trained_on(rows):
        model = create_model(linear_config.model_copy(update={"framework": "early"}))
        model.train_dataset(rows)
        return model

    one, other = trained_on(dataset), trained_on(stopped_by_others)

    assert one.report.trained_to == f"{dataset.label_end[dataset.is_labelled].max()}Z"
    assert one.trained_on.last == f"{dataset.known_at[dataset.is_labelled].max()}Z"
    assert one.trained_on.data.fingerprint != other.trained_on.data.fingerprint


def test_early_stopping_with_nothing_left_to_train_on_is_refused(own_plugins, linear_config):
    own_plugins.register_adapter("early", EarlyStopper)
    changes = {"framework": "early", "validation_split": 0.99, "prediction_horizon": 20}
    model = create_model(linear_config.model_copy(update=changes))

    with pytest.raises(TrainingError, match=r"validation_split 0\.99 leaves no training rows"):
        model.train_dataset(model.prepare(random_bars(60)))


# -- predict ------------------------------------------------------------------------------------------------------


def test_prediction_has_one_row_for_every_feature_row(linear_config, bars):
    model = trained(linear_config, bars)
    features = model.prepare(bars).features

    prediction = model.predict_distribution(features)

    assert prediction.index.equals(bars.index)
    assert np.isnan(prediction.expected).sum() == 5
    assert list(prediction.frame.columns) == ["expected", "probability_0", "probability_1"]


def test_expected_is_the_sum_of_class_times_probability(linear_config, bars):
    model = trained(linear_config, bars)
    prediction = model.predict_distribution(model.prepare(bars).features)

    expected = prediction.probability @ np.array([0.0, 1.0])

    np.testing.assert_array_equal(prediction.expected, expected)


def test_columns_in_another_order_are_put_right_by_name(linear_config, bars):
    model = trained(linear_config, bars)
    features = model.prepare(bars).features

    assert np.array_equal(model.predict(features), model.predict(features[["r5", "r1"]]), equal_nan=True)


def test_missing_and_extra_columns_are_listed(linear_config, bars):
    model = trained(linear_config, bars)
    features = model.prepare(bars).features.rename(columns={"r5": "r6"})

    with pytest.raises(FeatureMismatchError, match=r"missing: r5; extra: r6"):
        model.predict(features)


def test_column_given_twice_is_named(linear_config, bars):
    model = trained(linear_config, bars)
    features = model.prepare(bars).features

    with pytest.raises(FeatureMismatchError, match="given twice: r1"):
        model.predict(pd.concat([features, features[["r1"]]], axis=1))


def test_no_complete_row_is_no_forecast_and_no_error(linear_config, bars):
    model = trained(linear_config, bars)
    features = model.prepare(bars).features.iloc[:3]

    assert np.isnan(model.predict(features)).all()


@pytest.mark.parametrize("step", ["predict", "generate_signals", "baseline"])
def test_untrained_model_says_so(model, bars, step):
    with pytest.raises(NotTrainedError, match="not trained"):
        {
            "predict": lambda: model.predict(model.prepare(bars).features),
            "generate_signals": lambda: model.generate_signals(bars),
            "baseline": lambda: model.baseline,
        }[step]()


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (np.full(195, np.nan), "NaN or infinite forecasts on 195 of 195"),
        (np.zeros(3), r"shape \(3,\) where \(195,\)"),
    ],
)
def test_forecasts_of_a_wrong_kind_are_refused(linear_config, bars, monkeypatch, answer, message):
    model = trained(linear_config, bars, model_type="regression")
    monkeypatch.setattr(model, "forecast", lambda values: answer)

    with pytest.raises(PredictionError, match=message):
        model.predict(model.prepare(bars).features)


# -- signal -------------------------------------------------------------------------------------------------------


def test_every_bar_has_a_signal_and_every_neutral_a_reason(linear_config, bars):
    signals = trained(linear_config, bars).generate_signals(bars)

    assert signals.index.equals(bars.index)
    assert (signals["reason"].iloc[:5] == "warm_up").all()
    assert ((signals["signal"] == "NEUTRAL") == (signals["reason"] != "")).all()


# -- the rest -----------------------------------------------------------------------------------------------------


class Recorder:
    """An extension that wraps every step and remembers their order."""

    def __init__(self):
        self.steps = []

    def _wrap(self, name):
        self.steps.append(name)
        return (yield)

    @hookimpl(wrapper=True)
    def backtester_prepare(self, model, data):
        return (yield from self._wrap("prepare"))

    @hookimpl(wrapper=True)
    def backtester_train(self, model, dataset, validation):
        return (yield from self._wrap("train"))

    @hookimpl(wrapper=True)
    def backtester_predict(self, model, features):
        return (yield from self._wrap("predict"))

    @hookimpl(wrapper=True)
    def backtester_signal(self, model, data, prediction):
        return (yield from self._wrap("signal"))


def test_every_step_goes_through_its_hook(linear_config, own_plugins, bars):
    recorder = Recorder()
    own_plugins.register_extension("recorder", recorder)

    trained(linear_config, bars).generate_signals(bars)

    inner = ["train", "predict"]  # of the head, on the tail
    assert recorder.steps == ["prepare", *inner, "train", "prepare", "predict", "signal"]


class SeesBars:
    """An extension that remembers the bars its hooks were given."""

    def __init__(self):
        self.seen = []

    @hookimpl(wrapper=True)
    def backtester_prepare(self, model, data):
        self.seen.append(data)
        return (yield)

    @hookimpl(wrapper=True)
    def backtester_signal(self, model, data, prediction):
        self.seen.append(data)
        return (yield)


def test_hooks_are_given_checked_bars_whatever_the_caller_has(linear_config, own_plugins, bars):
    sees = SeesBars()
    model = trained(linear_config, bars)
    own_plugins.register_extension("sees", sees)

    model.generate_signals(bars.rename(columns=str.title))

    assert [list(data.columns[:4]) for data in sees.seen] == [["open", "high", "low", "close"]] * 2


class LastReturn(BaseModel):
    """A whole model of its own: tomorrow moves like today."""

    def fit(self, rows, validation):
        self.native = rows.columns.index("r1")
        return ["has learned one column"]

    def forecast(self, values):
        up = 0.5 + 0.1 * np.sign(values[:, self.native])
        return np.column_stack([1 - up, up])


def test_whole_model_of_ones_own_has_the_same_four_steps(linear_config, bars):
    model = LastReturn(linear_config)

    model.train_dataset(model.prepare(bars))

    assert model.report.notes == ("has learned one column",)
    assert set(model.generate_signals(bars)["score"].dropna().round(6)) == {0.4, 0.6}


def test_seed_that_is_not_given_is_drawn_and_kept_by_the_twin(linear_config):
    model = create_model(linear_config.model_copy(update={"random_state": None}))

    assert model.untrained().seed == model.seed
    assert model.seed != create_model(linear_config.model_copy(update={"random_state": None})).seed


def test_model_pickles_without_the_plugins(linear_config, bars):
    model = trained(linear_config, bars)
    features = model.prepare(bars).features

    twin = pickle.loads(pickle.dumps(model))

    assert np.array_equal(twin.predict(features), model.predict(features), equal_nan=True)


def test_injected_logger_is_used_and_the_library_sets_no_handler(linear_config, bars, caplog):
    logger = logging.getLogger("mine")
    model = AdapterModel(linear_config, logger=logger)

    with caplog.at_level(logging.DEBUG, logger="mine"):
        model.train_dataset(model.prepare(bars))

    assert "trained on 193 rows" in caplog.text
    assert logging.getLogger("backtester_model_core").handlers == []


def test_cross_validation_reports_every_purged_fold(linear_config):
    model = create_model(linear_config.model_copy(update={"cv_folds": 4}))

    folds = model.cross_validate(random_bars(300, seed=1))

    assert len(folds) == 4
    assert folds["n_test"].sum() == 300 - 5 - 2
    assert {"accuracy", "roc_auc", "log_loss", "brier"} <= set(folds.columns)
    assert not model.is_trained


def test_importance_and_update_that_an_adapter_lacks_are_refused(linear_config, bars):
    model = trained(linear_config, bars)
    dataset = model.prepare(bars)

    with pytest.raises(ModelError, match="does not weigh features"):
        model.feature_importance(dataset)
    with pytest.raises(ModelError, match="does not have update_model"):
        model.update(dataset)


class Weighing(EchoAdapter):
    """An echo with the optional methods."""

    config_class = ModelConfig

    def feature_importance(self, model, features, target, *, seed=None):
        return np.array([1.0, 3.0])

    def update_model(self, model, features, target, *, weight=None, seed=None):
        return self.train_model(model, features, target, classes=(0.0, 1.0))


def test_importance_is_named_and_sorted_and_update_continues(own_plugins, linear_config, bars):
    own_plugins.register_adapter("weighing", Weighing)
    model = trained(linear_config.model_copy(update={"framework": "weighing"}), bars)
    dataset = model.prepare(bars)

    model.update(dataset.take(np.arange(50)))

    assert model.feature_importance(dataset).to_dict() == {"r5": 3.0, "r1": 1.0}
    assert model.predict(dataset.features)[-1] == pytest.approx(dataset.target[5:50].mean())


@pytest.fixture
def halves(own_plugins, linear_config):
    """A model trained on the first 150 of 300 bars, and all rows."""
    own_plugins.register_adapter("weighing", Weighing)
    monitoring = linear_config.monitoring.model_copy(update={"check_every": 20})
    changes = {"framework": "weighing", "monitoring": monitoring}
    model = create_model(linear_config.model_copy(update=changes))
    dataset = model.prepare(random_bars(300, seed=5))
    model.train_dataset(dataset.take(np.arange(150)))
    return model, dataset


def test_a_training_that_went_on_tells_of_all_rows(halves):
    model, dataset = halves
    before = model.trained_on

    twin = model.continued(dataset.take(np.arange(150, 290)))

    assert (model.trained_on, twin.trained_on.first) == (before, before.first)
    assert twin.trained_on.last == f"{dataset.known_at[289]}Z"
    assert twin.trained_on.data.fingerprint != before.data.fingerprint
    assert twin.policy.baseline == twin.baseline != model.baseline


@pytest.mark.parametrize(("n_new", "is_renewed"), [(99, False), (100, True)])
def test_live_rows_are_compared_with_those_that_a_training_went_on_with_where_they_are_enough(
    halves, n_new, is_renewed
):
    model, dataset = halves

    twin = model.continued(dataset.take(np.arange(150, 150 + n_new)))

    assert twin.reference.n_times == (n_new if is_renewed else 150)
    assert model.reference.n_times == 150
