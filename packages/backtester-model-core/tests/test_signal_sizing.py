"""Sizes: by confidence, by Kelly's bet, by volatility; within a cap, and among the symbols of one time."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from backtester_model_core.config import ModelConfig
from backtester_model_core.dataset import Prediction
from backtester_model_core.signals import Odds, SignalPolicy, Sizing

NAN = float("nan")


def rises(up, *, scale=0.02, symbols=None):
    """A two-class prediction of one symbol's days, or of one day's symbols."""
    up = np.asarray(up, dtype=np.float64)
    days = pd.date_range("2024-01-01", periods=len(up), name="timestamp")
    if symbols is not None:
        days = pd.MultiIndex.from_product([days[:1], list(symbols)], names=["timestamp", "symbol"])
    return Prediction(
        days, up, np.column_stack([1 - up, up]), (0.0, 1.0), np.broadcast_to(scale, up.shape).astype(float)
    )


def signals(sizing, prediction, *, entry=0.5):
    return SignalPolicy(0.5, entry, 0.7, classes=(0.0, 1.0), sizing=sizing).signals(prediction)


def weights(sizing, prediction, **fields):
    return signals(sizing, prediction, **fields)["target_weight"].tolist()


def test_confidence_asks_in_proportion_and_for_a_whole_unit_where_strong():
    sizing = Sizing("confidence", whole_at=0.7)

    assert weights(sizing, rises([0.55, 0.6, 0.7, 0.9, 0.45])) == pytest.approx([0.25, 0.5, 1, 1, -0.25])


def test_kelly_bets_what_grows_fastest():
    """The largest mean logarithm over a grid of bets is where the formula says."""
    sizing = Sizing("kelly", max_weight=100, max_gross=100, win=0.3, loss=0.2)
    bets = np.linspace(0, 3, 30_001)
    growth = 0.6 * np.log(1 + bets * 0.3) + 0.4 * np.log(1 - np.minimum(bets * 0.2, 0.999999))

    (weight,) = weights(sizing, rises([0.6]))

    assert weight == pytest.approx(0.6 / 0.2 - 0.4 / 0.3)
    assert weight == pytest.approx(bets[growth.argmax()], abs=1e-3)


def test_kelly_bets_a_share_and_nothing_where_nothing_pays():
    sizing = Sizing("kelly", fraction=0.5, win=0.01, loss=0.012)

    found = signals(sizing, rises([0.55, 0.54, 0.9]))

    assert found["target_weight"].tolist() == pytest.approx([0.5 * (0.55 / 0.012 - 0.45 / 0.01), 0.0, 1.0])
    assert found["reason"].tolist() == ["", "below_cost", ""]


@pytest.mark.parametrize(("loss", "reason"), [(0.0, "no_odds"), (0.01, "below_cost")])
def test_kelly_without_odds_or_without_gain_is_silent(loss, reason):
    found = signals(Sizing("kelly", win=0.0, loss=loss), rises([0.9, 0.5]))

    assert found["reason"].tolist() == [reason, "below_confidence"]


def test_odds_are_taken_after_costs():
    config = ModelConfig(framework="any", sizing={"method": "kelly"}, costs={"slippage_bps": 9.0})

    sizing = Sizing.of(config, strong=0.7, odds=Odds(0.02, 0.01))

    assert (sizing.win, sizing.loss) == pytest.approx((0.02 - 0.002, 0.01 + 0.002))


def test_volatility_aims_at_a_yearly_target():
    config = ModelConfig(
        framework="any",
        prediction_horizon=4,
        sizing={"method": "volatility", "target_volatility": 0.1, "max_weight": 2.0, "max_gross": 2.0},
    )
    sizing = Sizing.of(config, strong=0.7, odds=None)

    found = signals(sizing, rises([0.9] * 5, scale=np.array([0.02, 0.04, 0.001, 0.0, NAN])))

    # a volatility of 0.02 over 4 bars is one of 0.02 * sqrt(252 / 4) a year
    year = np.sqrt(252 / 4)
    assert found["target_weight"].tolist() == pytest.approx([0.1 / 0.02 / year, 0.1 / 0.04 / year, 2.0, 0, 0])
    assert found["reason"].tolist() == ["", "", "", "no_volatility", "no_volatility"]


def test_volatility_without_any_is_silent():
    prediction = Prediction(
        pd.date_range("2024-01-01", periods=1, name="timestamp"),
        np.array([0.9]),
        np.array([[0.1, 0.9]]),
        (0.0, 1.0),
    )

    assert signals(Sizing("volatility", target=0.1), prediction)["reason"].tolist() == ["no_volatility"]


def test_weights_of_one_time_are_scaled_down_to_the_cap():
    prediction = rises([0.9, 0.9, 0.1, 0.5], symbols="ABCD")

    assert weights(Sizing(max_gross=0.3), prediction) == pytest.approx([0.1, 0.1, -0.1, 0])
    assert weights(Sizing(max_gross=1.0), prediction) == pytest.approx([0.25, 0.25, -0.25, 0])


def test_top_and_bottom_share_the_portfolio():
    prediction = rises([0.9, 0.8, 0.7, 0.3, 0.2, NAN], symbols="ABCDEF")

    found = signals(Sizing(n_selected=1), prediction)

    assert found["target_weight"].tolist() == pytest.approx([0.5, 0, 0, 0, -0.5, 0])
    assert found["reason"].tolist() == ["", *["not_selected"] * 3, "", "warm_up"]


def test_the_lowest_score_is_no_short_while_it_leans_upwards():
    found = signals(Sizing(n_selected=1), rises([0.9, 0.6, 0.55], symbols="ABC"))

    assert found["reason"].tolist() == ["", "not_selected", "not_selected"]
    assert (found["target_weight"] >= 0).all()


def test_equal_scores_are_selected_by_name_whatever_the_order_of_the_rows():
    prediction = rises([0.8, 0.8, 0.8], symbols="ABC")

    forwards = signals(Sizing(n_selected=2), prediction)
    backwards = signals(Sizing(n_selected=2), prediction.take(np.array([2, 1, 0])))

    assert forwards["reason"].tolist() == ["", "", "not_selected"]
    pd.testing.assert_frame_equal(backwards.iloc[::-1], forwards)


@settings(max_examples=100)
@given(
    st.integers(0, 2**20),
    st.integers(1, 12),
    st.sampled_from(["unit", "confidence", "kelly", "volatility"]),
    st.floats(0.1, 4),
    st.floats(0.1, 4),
    st.sampled_from([None, 1, 3]),
)
def test_every_weight_keeps_within_its_limits(seed, n_symbols, method, max_weight, max_gross, n_selected):
    rng = np.random.default_rng(seed)
    up, scale = (
        rng.random(n_symbols),
        np.where(rng.random(n_symbols) < 0.1, NAN, rng.uniform(0, 0.1, n_symbols)),
    )
    prediction = rises(up, scale=scale, symbols=[f"S{k:02d}" for k in range(n_symbols)])
    sizing = Sizing(
        method, max_weight, max_gross, n_selected, 0.7, win=0.02, loss=0.02, fraction=1.0, target=0.02
    )

    found = signals(sizing, prediction, entry=0.55)

    sharing = n_symbols if n_selected is None else min(n_symbols, 2 * n_selected)
    assert found["target_weight"].abs().sum() <= max_gross * (1 + 1e-9)
    assert (found["target_weight"].abs() <= max_weight / sharing * (1 + 1e-9)).all()
    assert ((found["reason"] == "") == (found["target_weight"] != 0)).all()
