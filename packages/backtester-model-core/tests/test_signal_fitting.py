"""Policies fitted to earlier rows: what they learn, that they never look ahead, and that they are kept with a model."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from backtester_model_core.config import ModelConfig
from backtester_model_core.exceptions import ArtifactError, ConfigError, LabelError
from backtester_model_core.factory import create_model
from backtester_model_core.model import BaseModel
from backtester_model_core.signals import ScoredRows, fit_policy
from backtester_model_core.testing import random_bars, random_panel
from backtester_model_core.walkforward import walk_forward

NAN = float("nan")


def scored(n_rows, *, slope=2.5, size=0.02, seed=0):
    """Rows of a two-class model whose log-odds are ``slope`` times too large, with their returns."""
    rng = np.random.default_rng(seed)
    odds = rng.normal(0, 0.4, n_rows)
    rises = rng.random(n_rows) < 1 / (1 + np.exp(-odds))
    up = 1 / (1 + np.exp(-slope * odds))
    known_at = np.datetime64("2020-01-01", "ns") + np.arange(n_rows) * np.timedelta64(1, "D")
    return ScoredRows(
        known_at,
        known_at + np.timedelta64(2, "D"),
        up,
        rises.astype(np.float64),
        np.full(n_rows, 0.5),
        np.full(n_rows, size),
        np.column_stack([1 - up, up]),
        np.where(rises, size, -size),
        known_at + np.timedelta64(2, "D"),
        np.zeros(n_rows, dtype=np.int64),
    )


def configured(**fields):
    return ModelConfig(framework="any", **fields)


BY_COST = {"thresholds": {"entry": "cost"}, "costs": {"bars_per_year": 252}}


# -- what is fitted -------------------------------------------------------------------------------------------------


def test_a_policy_is_calibrated_by_the_rows():
    fitted = fit_policy(configured(), scored(3_000))

    assert fitted.policy.calibrator.a == pytest.approx(1 / 2.5, abs=0.06)
    assert fitted.message.startswith("sigmoid fitted to 3,000 rows worth 3,000 independent ones: slope 0.")
    assert fitted.figures["n_rows"] == 3_000
    assert fitted.figures["entry"] == 0.6


def test_overlapping_outcomes_count_as_one():
    fitted = fit_policy(configured(prediction_horizon=20), scored(3_000))

    assert fitted.policy.calibrator is None
    assert "3,000 rows worth 150 independent ones are too few for sigmoid" in fitted.message


def test_symbols_of_one_time_count_as_one():
    rows = scored(600)
    crowded = replace(rows, known_at=rows.known_at[np.arange(600) // 4])

    assert "worth 150 independent ones are too few" in fit_policy(configured(), crowded).message


def test_rows_of_the_middle_class_do_not_calibrate():
    rows = scored(1_000)
    middle = np.arange(1_000) % 2 == 0
    outcome = np.where(middle, 0.0, np.where(rows.outcome > 0, 1.0, -1.0))
    table = np.column_stack([rows.probability[:, 0], np.zeros(1_000), rows.probability[:, 1]])
    three = replace(rows, outcome=outcome, probability=table)

    fitted = fit_policy(configured(label={"kind": "three_way"}), three)

    assert fitted.figures["n_rows"] == fitted.figures["n_independent"] == 500


def test_break_even_is_what_earlier_gains_and_losses_ask_for():
    fitted = fit_policy(configured(costs={"slippage_bps": 9.0}), scored(1_000, size=0.02))

    # both 2 %, 10 bps one way: (0.02 + 0.002) / 0.04
    assert fitted.figures["break_even"] == pytest.approx(0.55)


def test_costs_choose_the_thresholds_and_say_so():
    fitted = fit_policy(configured(**BY_COST), scored(4_000))

    assert fitted.policy.pays is True
    assert fitted.policy.signal_threshold == 0.0
    assert fitted.policy.entry == fitted.figures["entry"] < 0.6
    assert "by cost: entry 0.5" in fitted.message


def test_nothing_is_traded_where_no_threshold_pays():
    rows = scored(1_000)
    prediction = replace(rows.prediction((0.0, 1.0)), index=pd.DatetimeIndex(rows.known_at, name="timestamp"))
    losing = replace(rows, forward_return=np.full(1_000, -1e-5))

    fitted = fit_policy(configured(**BY_COST), losing)
    signals = fitted.policy.signals(prediction)

    assert fitted.policy.pays is False
    assert "no threshold has paid on 1,000 rows" in fitted.message
    assert set(signals["reason"]) == {"below_cost"}
    assert np.isnan(fitted.figures["entry"])


def test_rows_below_a_threshold_of_cost_say_so():
    rows = scored(4_000)
    fitted = fit_policy(configured(thresholds={"entry": "cost"}, costs={"commission_bps": 30}), rows)
    prediction = replace(rows.prediction((0.0, 1.0)), index=pd.DatetimeIndex(rows.known_at, name="timestamp"))

    reasons = set(fitted.policy.signals(prediction)["reason"])

    assert reasons == {"", "below_cost"}


def test_few_rows_leave_the_configured_thresholds():
    fitted = fit_policy(configured(**BY_COST), scored(199))

    assert (fitted.policy.pays, fitted.policy.entry) == (None, 0.6)
    assert "too few to choose thresholds by cost" in fitted.message


def test_without_rows_the_policy_is_the_configured_one():
    fitted = fit_policy(configured(), None)

    assert (fitted.policy.calibrator, fitted.policy.entry) == (None, 0.6)
    assert fitted.message == "no earlier out-of-sample rows"
    assert fit_policy(configured(calibration={"method": "none"}), None).message == ""


def test_a_quantile_lets_through_its_share():
    rows = scored(4_000)

    fitted = fit_policy(configured(thresholds={"entry": "quantile", "quantile": 0.9}), rows)
    prediction = replace(rows.prediction((0.0, 1.0)), index=pd.DatetimeIndex(rows.known_at, name="timestamp"))
    signals = fitted.policy.signals(prediction)

    assert (signals["reason"] == "").mean() == pytest.approx(0.1, abs=0.002)
    assert "by quantile: entry 0." in fitted.message


def test_kelly_bets_at_the_odds_of_the_rows():
    config = configured(sizing={"method": "kelly"}, costs={"slippage_bps": 9.0})

    enough, few = fit_policy(config, scored(1_000)), fit_policy(config, scored(150))

    assert (enough.policy.sizing.win, enough.policy.sizing.loss) == pytest.approx((0.018, 0.022))
    assert few.policy.sizing.loss == 0.0


def test_a_meta_model_measures_what_acting_paid():
    config = configured(
        sizing={"method": "kelly"},
        label={"kind": "meta", "side_column": "side"},
        costs={"commission_bps": 0, "half_spread_bps": 0, "slippage_bps": 0},
    )
    rows = scored(1_000)
    fell = replace(rows, forward_return=-3 * rows.forward_return)  # acted on the short side

    fitted = fit_policy(config, fell)

    assert (fitted.policy.sizing.win, fitted.policy.sizing.loss) == pytest.approx((0.06, 0.06))


@pytest.mark.parametrize("thresholds", [{"entry": "cost"}, {"hysteresis": 0.5}])
def test_a_meta_model_keeps_no_side(own_plugins, thresholds):
    config = ModelConfig(
        framework="least_squares", label={"kind": "meta", "side_column": "side"}, thresholds=thresholds
    )

    with pytest.raises(LabelError, match=r"label\.pays_above"):
        create_model(config)


def test_an_unknown_calibrator_is_refused_before_anything_is_trained(own_plugins):
    with pytest.raises(ConfigError, match="isotonic"):
        create_model(ModelConfig(framework="least_squares", calibration={"method": "isotonik"}))


# -- what may be known ----------------------------------------------------------------------------------------------


def test_a_return_that_is_known_after_the_label_is_not_used_before(own_plugins):
    """Of a column that is foreseen from close to close, the traded return ends one bar later than the label."""
    model_bars = random_bars(120, seed=1).assign(level=lambda bars: bars["high"] + bars["low"])
    config = ModelConfig(
        framework="least_squares", target_column="level", lookback_period=2, features={"sets": ["basic"]}
    )
    dataset = create_model(config).prepare(model_bars)
    rows = ScoredRows.of(dataset, forecast=np.zeros(120), baseline=np.zeros(120))

    known = rows.known_by(rows.label_end[50])

    assert len(known) == 51
    assert np.isnan(known.forward_return).tolist() == [False] * 50 + [True]


@pytest.fixture
def fitting_config(linear_config):
    """Everything that is fitted to earlier rows, at once."""
    fields = {
        "calibration": {"method": "beta"},
        "thresholds": {"entry": "cost"},
        "sizing": {"method": "kelly"},
        "validation": {"train_size": 250, "test_size": 60},
        "costs": {"bars_per_year": 252, "commission_bps": 2},
    }
    return ModelConfig.model_validate({**linear_config.model_dump(), **fields})


def differs_once_the_future_is_cut(config, bars):
    """Whether signals change when all bars from one row after a window's boundary are taken away."""
    whole = walk_forward(config, bars)
    cut = int(np.flatnonzero(bars.index == whole.windows["serves_from"].iloc[-3].tz_localize(None))[0]) + 1
    before = walk_forward(config, bars.iloc[:cut])
    assert (before.signals["reason"].iloc[-60:-1] == "").any()
    return not whole.signals.iloc[:cut].equals(before.signals)


def test_nothing_is_chosen_on_rows_that_it_will_serve(fitting_config):
    assert not differs_once_the_future_is_cut(fitting_config, random_bars(1_000, seed=3, momentum=0.3))


def test_a_policy_that_looks_ahead_is_caught(fitting_config, monkeypatch):
    honest = ScoredRows.known_by
    monkeypatch.setattr(
        ScoredRows, "known_by", lambda self, instant: honest(self, instant + np.timedelta64(30, "D"))
    )

    assert differs_once_the_future_is_cut(fitting_config, random_bars(1_000, seed=3, momentum=0.3))


def test_a_side_is_kept_from_window_to_window(linear_config):
    fields = {
        "confidence_threshold": 0.55,
        "thresholds": {"hysteresis": 1.0},
        "calibration": {"method": "none"},
    }
    config = ModelConfig.model_validate({**linear_config.model_dump(), **fields})
    result = walk_forward(config, random_panel(4, 400, seed=2, momentum=0.2))
    served = result.signals[result.signals["reason"] != "not_served"].reset_index()

    kept = 0
    for _, rows in served.groupby("symbol"):
        held = 0
        for score, signal in zip(rows["score"], rows["signal"], strict=True):
            lean = (score > 0.5) - (score < 0.5) if not np.isnan(score) else 0
            sure = max(score, 1 - score) >= 0.55
            kept += int(lean != 0 and held == lean and not sure)
            held = int(lean) if sure or lean == held else 0
            assert {"LONG": 1, "STRONG_BUY": 1, "NEUTRAL": 0}.get(signal, -1) == held
    assert kept > 50


# -- what is said ---------------------------------------------------------------------------------------------------


def test_every_window_says_what_was_fitted_or_why_not(fitting_config):
    result = walk_forward(fitting_config, random_bars(1_000, seed=3, momentum=0.3))

    said = result.events.query("kind == 'calibrated'")["message"].tolist()
    assert len(said) == len(result.windows)
    assert "are too few for beta" in said[0]
    assert said[-1].startswith("beta fitted to")
    assert {"entry", "exit", "strong", "break_even"} <= set(result.windows)
    assert result.windows["break_even"].iloc[-1] == pytest.approx(0.5, abs=0.05)


def test_the_funnel_counts_what_costs_and_selection_stop(fitting_config):
    config = fitting_config.model_copy(
        update={
            "sizing": fitting_config.sizing.model_copy(update={"selection": "top_bottom", "n_selected": 1})
        }
    )
    result = walk_forward(config, random_panel(4, 700, seed=2, momentum=0.2))
    reasons = result.signals["reason"].value_counts()

    stages = list(result.funnel)
    assert stages[-4:] == ["above_confidence", "above_cost", "selected", "acted"]
    lost = result.funnel["above_confidence"] - result.funnel["above_cost"]
    assert lost == reasons.get("below_cost", 0) + reasons.get("no_odds", 0) > 0
    assert result.funnel["above_cost"] - result.funnel["selected"] == reasons["not_selected"] > 0
    assert result.funnel["selected"] == result.funnel["acted"]


# -- kept with the model --------------------------------------------------------------------------------------------


@pytest.fixture
def trained(fitting_config):
    model = create_model(fitting_config)
    model.train_dataset(model.prepare(random_bars(1_600, seed=6, momentum=0.3)))
    return model


def test_a_model_trained_alone_fits_its_policy_to_its_tail(trained):
    assert len(trained.inner) == int(1_600 * 0.2) - 2
    assert trained.policy.calibrator is not None
    assert trained.policy.pays is True
    assert trained.policy.sizing.win > 0


def test_a_policy_is_kept_with_its_model(trained, tmp_path):
    trained.save(tmp_path)
    bars = random_bars(300, seed=9, momentum=0.3)

    loaded = BaseModel.load(tmp_path)

    pd.testing.assert_frame_equal(loaded.generate_signals(bars), trained.generate_signals(bars))
    assert loaded.policy.calibrator == trained.policy.calibrator
    assert replace(loaded.policy.sizing) == trained.policy.sizing


def test_a_policy_that_does_not_pay_is_kept_too(trained, tmp_path):
    trained.policy = replace(trained.policy, pays=False, calibrator=None)
    trained.save(tmp_path)

    loaded = BaseModel.load(tmp_path)

    assert (loaded.policy.pays, loaded.policy.calibrator) == (False, None)


def test_a_foreign_calibrator_is_refused(trained, tmp_path):
    trained.policy = replace(trained.policy, calibrator=Foreign())
    trained.save(tmp_path)

    with pytest.raises(ArtifactError, match="no rising curve"):
        BaseModel.load(tmp_path)


class Foreign:
    """A calibrator of another make."""

    def __call__(self, probability):
        return probability

    def to_arrays(self):
        return {"curve": np.array([-1.0, 0.0, 0.0])}
