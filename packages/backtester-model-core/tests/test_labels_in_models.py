"""Labels in a whole walk-forward: what is settled late is used late, and meta-models act on their side."""

import numpy as np
import pandas as pd
import pytest

from backtester_model_core.bars import check_bars
from backtester_model_core.dataset import Dataset, Prediction
from backtester_model_core.factory import create_model
from backtester_model_core.signals import ModelSignalType, Reason, SignalPolicy, follow_side
from backtester_model_core.testing import find_walk_forward_leaks, random_bars
from backtester_model_core.walkforward import walk_forward


def with_label(config, **label):
    return config.model_copy(
        update={"prediction_horizon": 8, "label": type(config.label)(**label), "lookback_period": 5}
    )


@pytest.fixture
def bars():
    return check_bars(random_bars(n_bars=280, seed=6))


def test_a_walk_forward_learns_from_no_touch_before_its_horizon_is_over(linear_config, bars):
    config = with_label(linear_config, kind="triple_barrier", barrier_width=1.0)
    dataset = create_model(config).prepare(bars)

    result = walk_forward(config, bars)

    early = dataset.label_end < dataset.settled_at
    assert early.mean() > 0.5
    for _, window in result.windows.iterrows():
        fit_at = np.datetime64(window["fit_at"])
        n_settled = (dataset.is_complete & (dataset.settled_at <= fit_at)).sum()
        assert window["n_train"] == n_settled
        assert n_settled < (dataset.is_complete & (dataset.label_end <= fit_at)).sum()


def test_a_walk_forward_on_barriers_repeats_itself_on_bars_that_end_early(linear_config, bars):
    config = with_label(linear_config, kind="triple_barrier", barrier_width=1.0)

    assert find_walk_forward_leaks(config, bars) == []


def test_a_walk_forward_that_learns_from_early_touches_is_found(linear_config, bars, monkeypatch):
    config = with_label(linear_config, kind="triple_barrier", barrier_width=1.0)
    monkeypatch.setattr(Dataset, "usable_from", property(lambda self: self.label_end))

    assert find_walk_forward_leaks(config, bars) != []


@pytest.mark.parametrize("kind", ["three_way", "trend_scanning", "triple_barrier_direction"])
def test_every_kind_of_label_runs_through_a_walk_forward(linear_config, bars, kind):
    result = walk_forward(with_label(linear_config, kind=kind, barrier_width=1.0), bars)

    assert len(result.signals) == len(bars)
    assert result.predictions["expected"].notna().any()


def test_what_a_label_counted_stands_among_the_notes(linear_config, bars):
    config = with_label(linear_config, kind="triple_barrier", barrier_width=0.1)

    notes = walk_forward(config, bars).bars_notes

    assert any("first touched both barriers in one bar: taken as the lower" in note for note in notes)


# -- meta-labels ----------------------------------------------------------------------------------------------------


def predicted(gains):
    index = pd.date_range("2024-01-01", periods=len(gains), name="timestamp")
    p = np.array(gains)
    return Prediction(index, p, np.column_stack([1 - p, p]), (0.0, 1.0))


def test_a_likely_gain_takes_the_primary_side_and_a_likely_loss_takes_none(linear_config):
    policy = SignalPolicy.of(linear_config.model_copy(update={"strong_threshold": 0.9}))
    prediction = predicted([0.8, 0.8, 0.95, 0.2, 0.2, 0.8, np.nan])

    signals = follow_side(policy.signals(prediction), np.array([1.0, -1, -1, 1, -1, np.nan, 1]))

    names = ModelSignalType
    neutral = [names.NEUTRAL] * 4
    assert signals["signal"].tolist() == [names.LONG, names.SHORT, names.STRONG_SELL, *neutral]
    assert signals["target_weight"].tolist() == [1, -1, -1, 0, 0, 0, 0]
    assert np.allclose(signals["score"], [0.8, 0.2, 0.05, 0.2, 0.8, 0.8, np.nan], equal_nan=True)
    below = [Reason.BELOW_CONFIDENCE] * 2
    assert signals["reason"].tolist() == ["", "", "", *below, Reason.NO_SIDE, Reason.WARM_UP]


def test_a_meta_model_trades_only_on_its_primary_side(linear_config, bars):
    side = np.where(np.arange(len(bars)) % 3 == 0, 0.0, np.where(np.arange(len(bars)) % 3 == 1, 1.0, -1.0))
    config = with_label(linear_config, kind="meta", side_column="primary")

    signals = walk_forward(config, bars.assign(primary=side)).signals

    acted = signals["target_weight"] != 0
    assert acted.any()
    assert (np.sign(signals["target_weight"])[acted] == side[acted]).all()
    served = signals["reason"] == Reason.NO_SIDE
    assert served.any()
    assert (side[served] == 0).all()
