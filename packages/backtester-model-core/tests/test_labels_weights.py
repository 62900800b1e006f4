"""Sample weights by hand and against a walk along the bars; a window's weights are those of its own rows."""

from dataclasses import replace
from typing import ClassVar

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from backtester_model_core.adapter import ModelFrameworkAdapter
from backtester_model_core.bars import Panel, check_bars
from backtester_model_core.config import ModelConfig, WeightConfig
from backtester_model_core.exceptions import TrainingError
from backtester_model_core.factory import create_model
from backtester_model_core.labels import (
    average_uniqueness,
    class_balance,
    return_attribution,
    span_prices,
    time_decay,
)
from backtester_model_core.steps import learnable_rows, weighted_rows
from backtester_model_core.testing import random_bars, random_panel
from backtester_model_core.walkforward import plan_windows, walk_forward

DAY = np.timedelta64(1, "D")
START = np.datetime64("2024-01-01", "ns")


def at(*days):
    return START + np.array(days) * DAY


ONE = np.zeros(3, dtype=np.int64)

# -- by hand --------------------------------------------------------------------------------------------------------


def test_uniqueness_is_the_mean_of_one_over_the_labels_that_cover_each_bar():
    # three labels of two bars cover days 1, 2 | 2, 3 | 3, 4: one label on days 1 and 4, two on days 2 and 3
    uniqueness = average_uniqueness(at(0, 1, 2), at(2, 3, 4), symbol=ONE)

    assert np.allclose(uniqueness, [(1 + 1 / 2) / 2, (1 / 2 + 1 / 2) / 2, (1 / 2 + 1) / 2])


def test_labels_that_only_touch_are_unique():
    # the first ends at the close at which the second begins
    assert average_uniqueness(at(0, 2, 4), at(2, 4, 5), symbol=ONE).tolist() == [1, 1, 1]


def test_a_label_that_is_known_at_once_is_unique():
    assert average_uniqueness(at(0, 1, 2), at(0, 3, 4), symbol=ONE)[0] == 1


def test_labels_of_different_symbols_do_not_overlap():
    alone = average_uniqueness(at(0, 1, 2), at(2, 3, 4), symbol=ONE)

    both = average_uniqueness(np.repeat(at(0, 1, 2), 2), np.repeat(at(2, 3, 4), 2), symbol=np.tile([0, 1], 3))

    assert np.allclose(both, np.repeat(alone, 2))


def test_attribution_shares_each_bars_return_among_the_labels_over_it():
    closes = np.array([100.0, 110.0, 99.0, 99.0, 120.0])
    r = np.log([1.1, 0.9, 1.0, 120 / 99])
    prices = np.column_stack([closes[:3], closes[2:]])

    found = return_attribution(at(0, 1, 2), at(2, 3, 4), symbol=ONE, span_prices=prices)

    # |r1 + r2/2|, |r2/2 + r3/2|, |r3/2 + r4|
    expected = [abs(r[0] + r[1] / 2), abs(r[1] / 2 + r[2] / 2), abs(r[2] / 2 + r[3])]
    assert np.allclose(found, expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize(
    ("oldest", "factors"),
    [
        # uniqueness 1, 1, 2 gathers to 1, 2, 4 of 4
        (1.0, [1, 1, 1]),
        (0.5, [1 - 0.5 * 3 / 4, 1 - 0.5 * 2 / 4, 1]),
        (0.0, [1 / 4, 2 / 4, 1]),
        (-0.25, [0, 1 / 3, 1]),  # nothing at 1 of 4, then linear to 1 at 4
        (-0.5, [0, 0, 1]),  # the older half of the gathered uniqueness weighs nothing
    ],
)
def test_decay_runs_over_gathered_uniqueness(oldest, factors):
    assert np.allclose(time_decay(np.array([1.0, 1.0, 2.0]), at(0, 1, 2), oldest=oldest), factors)


def test_rows_of_one_instant_are_equally_old():
    factors = time_decay(np.array([1.0, 3.0, 4.0]), at(0, 0, 1), oldest=0.0)

    assert np.allclose(factors, [0.5, 0.5, 1])


def test_balanced_classes_weigh_alike_in_all():
    weight, target = np.array([1.0, 1.0, 1.0, 3.0]), np.array([0.0, 0.0, 1.0, -1.0])

    balanced = weight * class_balance(weight, target)

    # 6 in all, 2 for each of three classes
    assert np.allclose(balanced, [1, 1, 2, 2])


def test_a_class_whose_rows_weigh_nothing_stays_so():
    assert class_balance(np.array([0.0, 1.0]), np.array([0.0, 1.0])).tolist() == [0, 0.5]


def test_prices_stand_at_the_row_and_at_its_labels_end():
    bars = random_panel(2, 6, seed=1)
    panel = Panel.of(bars)
    ends = panel.known_at + np.array([1, 2, 1, 1, 0, 0] * 2) * DAY
    ends[5] = ends[11] = np.datetime64("NaT")

    prices = span_prices(panel, ends)

    for rows in (slice(0, 6), slice(6, 12)):
        closes = pd.Series(panel.columns["close"][rows], index=panel.known_at[rows])
        asof = [closes.asof(pd.Timestamp(end)) for end in ends[rows][:5]]
        assert np.array_equal(prices[rows][:5], np.column_stack([closes[:5], asof]))
        assert np.isnan(prices[rows][5]).all()


# -- for every window -----------------------------------------------------------------------------------------------


@settings(max_examples=100, database=None)
@given(st.lists(st.integers(1, 6), min_size=1, max_size=25), st.integers(0, 2**20))
def test_weights_are_what_a_walk_along_the_bars_finds(lengths, seed):
    n = len(lengths)
    closes = 100 * np.exp(np.cumsum(np.random.default_rng(seed).normal(0, 0.02, n + 7)))
    ends = np.arange(n) + lengths
    covers = np.array([[row < bar <= ends[row] for bar in range(n + 7)] for row in range(n)])
    concurrency = covers.sum(axis=0)
    observed = np.isin(np.arange(n + 7), [*range(n), *ends])
    returns = np.append(0.0, np.diff(np.log(closes)))

    uniqueness = average_uniqueness(at(*range(n)), at(*ends), symbol=np.zeros(n, dtype=np.int64))
    attributed = return_attribution(
        at(*range(n)),
        at(*ends),
        symbol=np.zeros(n, dtype=np.int64),
        span_prices=np.column_stack([closes[:n], closes[ends]]),
    )

    for row in range(n):
        own = covers[row]
        assert uniqueness[row] == pytest.approx((1 / concurrency[own & observed]).mean(), abs=1e-12)
        assert attributed[row] == pytest.approx(abs((returns[own] / concurrency[own]).sum()), abs=1e-12)


# -- in a training --------------------------------------------------------------------------------------------------


class Recorder(ModelFrameworkAdapter):
    """Forecast one half and remember what came to be trained on."""

    seen: ClassVar[list] = []

    def initialize_model(self, config):
        return {}

    def train_model(self, model, features, target, *, classes=None, weight=None, validation=None, seed=None):
        self.seen.append(weight)
        return {"classes": classes}

    def predict(self, model, features):
        classes = model["classes"]
        return (
            np.zeros(len(features))
            if classes is None
            else np.full((len(features), len(classes)), 1 / len(classes))
        )


@pytest.fixture
def recorded(own_plugins):
    own_plugins.register_adapter("recorder", Recorder)
    Recorder.seen.clear()
    return Recorder.seen


def config(model_type="classification", *, horizon=5, kind=None, **weighting):
    return ModelConfig(
        framework="recorder",
        model_type=model_type,
        prediction_horizon=horizon,
        lookback_period=5,
        validation_split=0.0,
        features={"sets": (), "expressions": {"r1": "close / ref(close, 1) - 1"}},
        validation={"train_size": 80, "test_size": 40},
        label={"kind": kind, "weighting": weighting},
    )


EVERYTHING = {"basis": "return_attribution", "time_decay": 0.2, "class_balance": True}


def test_rows_count_alike_by_default(recorded):
    create_model(config()).train_dataset(create_model(config()).prepare(random_bars(60)))

    assert recorded == [None]


@pytest.mark.parametrize(
    "weighting",
    [
        {"basis": "uniqueness"},
        {"basis": "return_attribution"},
        {"time_decay": 0.3},
        {"class_balance": True},
        EVERYTHING,
    ],
)
def test_a_window_is_weighed_by_its_own_rows_alone(recorded, weighting):
    bars = check_bars(random_panel(3, 200, seed=2))
    settings = config(kind="triple_barrier", **weighting)
    walk_forward(settings, bars)
    of_all, windows = list(recorded), plan_windows(settings, create_model(settings).prepare(bars))
    stamps = bars.index.get_level_values("timestamp")

    assert len(of_all) == len(windows) == 3
    for weight, window in zip(of_all, windows, strict=True):
        model = create_model(settings)
        known = model.prepare(bars[stamps <= pd.Timestamp(window.fit_at)])
        model.train_dataset(known)
        assert np.array_equal(weight, recorded[-1])
        assert weight.mean() == pytest.approx(1)
        assert weight.std() > 0


@pytest.mark.parametrize("weighting", [{"basis": "uniqueness"}, {"time_decay": 0.3}, {"class_balance": True}])
def test_weights_of_all_rows_would_be_found(recorded, weighting):
    settings = config(**weighting)
    dataset = create_model(settings).prepare(random_bars(200, seed=3))
    window = plan_windows(settings, dataset)[0]
    whole = dataset.is_complete & dataset.is_labelled
    weight = np.full(len(dataset), np.nan)
    weight[whole] = weighted_rows(dataset.take(whole), settings).weight

    of_the_window = weighted_rows(dataset.take(window.train_rows), settings).weight

    assert not np.allclose(weight[window.train_rows] / weight[window.train_rows].mean(), of_the_window)


def test_everything_together_multiplies_and_is_one_on_average(recorded):
    settings = config(**EVERYTHING)
    rows = learnable_rows(create_model(settings).prepare(random_bars(60, seed=4)))

    found = weighted_rows(rows, settings).weight

    spans = {"symbol": rows.symbol_codes}
    weight = return_attribution(rows.known_at, rows.label_end, span_prices=rows.span_prices, **spans)
    weight *= time_decay(
        average_uniqueness(rows.known_at, rows.label_end, **spans), rows.known_at, oldest=0.2
    )
    weight *= class_balance(weight, rows.target)
    assert np.allclose(found, weight / weight.mean())
    assert found[rows.target == 1].sum() == pytest.approx(found[rows.target == 0].sum())


def test_weights_that_rows_bring_are_multiplied_by(recorded):
    settings = config(class_balance=True)
    rows = learnable_rows(create_model(settings).prepare(random_bars(60, seed=4)))
    own = np.linspace(1, 2, len(rows))

    found = weighted_rows(replace(rows, weight=own), settings).weight

    balanced = own * class_balance(own, rows.target)
    assert np.allclose(found, balanced / balanced.mean())


def test_the_baseline_stays_the_plain_mean_of_the_window(recorded):
    model = create_model(config(class_balance=True))
    dataset = model.prepare(random_bars(60, seed=5))

    report = model.train_dataset(dataset)

    assert report.baseline == pytest.approx(learnable_rows(dataset).target.mean())


def test_a_report_says_what_weighted_rows_are_worth(recorded):
    model = create_model(config(basis="uniqueness"))

    report = model.train_dataset(model.prepare(random_bars(60, seed=5)))

    weight = recorded[-1]
    worth = weight.sum() ** 2 / (weight**2).sum()
    assert f"by weight, {len(weight)} rows are worth {worth:,.0f} equal ones" in report.notes


def test_weights_by_overlap_need_the_labels_ends(recorded):
    model = create_model(config(basis="uniqueness"))
    features, target = model.prepare_data(random_bars(60))

    with pytest.raises(TrainingError, match="some rows have no label_end"):
        model.train(features, target)


def test_weights_by_return_need_the_prices(recorded):
    model = create_model(config(basis="return_attribution"))
    bars = random_bars(60)
    features, target = model.prepare_data(bars)
    label_end = model.prepare(bars).label_end_series.reindex(features.index)

    with pytest.raises(TrainingError, match="needs the prices along each label"):
        model.train(features, target, label_end)


def test_rows_that_weigh_nothing_teach_nothing(recorded):
    settings = config(class_balance=True)
    rows = learnable_rows(create_model(settings).prepare(random_bars(60)))

    with pytest.raises(TrainingError, match="weigh nothing"):
        weighted_rows(replace(rows, weight=np.zeros(len(rows))), settings)


def test_a_number_has_no_classes_to_balance():
    with pytest.raises(ValueError, match="class_balance needs classes"):
        config("regression", class_balance=True)


def test_weights_are_off_unless_asked_for():
    assert ModelConfig(framework="any").label.weighting == WeightConfig()
