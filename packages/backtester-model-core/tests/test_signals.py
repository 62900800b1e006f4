"""Signals: confidence and thresholds from the formulas, a reason for every abstention, weights, engine dicts."""

import pickle
from dataclasses import FrozenInstanceError, asdict, replace

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from backtester_model_core.config import ModelConfig
from backtester_model_core.dataset import Prediction
from backtester_model_core.signals import (
    SIGNAL_COLUMNS,
    ModelSignal,
    ModelSignalType,
    Reason,
    Residuals,
    SignalPolicy,
    neutral_signals,
    signal_records,
)

NAN = float("nan")
TWO, THREE = (0.0, 1.0), (-1.0, 0.0, 1.0)

# -- what the tests share -------------------------------------------------------------------------------------------


def days(n_rows):
    return pd.date_range("2024-01-01", periods=n_rows, freq="D", name="timestamp")


def classified(probability, classes=TWO, index=None):
    """A classifier's prediction from the rows of its probabilities."""
    table = np.asarray(probability, dtype=np.float64)
    return Prediction(
        days(len(table)) if index is None else index, table @ np.asarray(classes), table, classes
    )


def rises(*probability_up):
    """A two-class prediction from the probabilities of a rise."""
    up = np.asarray(probability_up, dtype=np.float64)
    return classified(np.column_stack([1 - up, up]))


def foreseen(expected, scale, index=None):
    """A regression's prediction."""
    values = np.asarray(expected, dtype=np.float64)
    width = None if scale is None else np.broadcast_to(np.asarray(scale, dtype=np.float64), values.shape)
    return Prediction(days(len(values)) if index is None else index, values, scale=width)


def policy(signal_threshold=0.5, confidence_threshold=0.6, strong_confidence=0.7, **fields):
    return SignalPolicy(signal_threshold, confidence_threshold, strong_confidence, **fields)


def residuals(*sizes, shrinkage=1.0):
    return Residuals(shrinkage, np.sort(np.asarray(sizes, dtype=np.float64)))


def said(signals):
    """Each row's signal with its reason."""
    return list(zip(signals["signal"], signals["reason"], strict=True))


# -- two classes ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("up", "signal", "reason"),
    [
        (0.50, "NEUTRAL", "below_confidence"),
        (0.55, "NEUTRAL", "below_confidence"),
        (0.59, "NEUTRAL", "below_confidence"),
        (0.60, "LONG", ""),
        (0.69, "LONG", ""),
        (0.70, "STRONG_BUY", ""),
        (1.00, "STRONG_BUY", ""),
        (0.41, "NEUTRAL", "below_confidence"),
        (0.40, "SHORT", ""),
        (0.31, "SHORT", ""),
        (0.30, "STRONG_SELL", ""),
        (0.00, "STRONG_SELL", ""),
        (NAN, "NEUTRAL", "warm_up"),
    ],
)
def test_two_classes_follow_the_probability_of_a_rise(up, signal, reason):
    signals = policy().signals(rises(up))

    assert said(signals) == [(signal, reason)]
    assert signals["score"].iloc[0] == pytest.approx(up, nan_ok=True)
    assert signals["confidence"].iloc[0] == pytest.approx(max(up, 1 - up) if up == up else NAN, nan_ok=True)


@pytest.mark.parametrize(
    ("signal_threshold", "confidence_threshold", "acts"), [(0.5, 0.8, 0.8), (0.8, 0.5, 0.8), (0.9, 0.6, 0.9)]
)
def test_the_two_thresholds_act_as_their_maximum(signal_threshold, confidence_threshold, acts):
    strict = policy(signal_threshold, confidence_threshold, 0.95)
    signals = strict.signals(rises(acts, acts - 0.01, 1 - acts - 1e-9, 1 - acts + 0.01))

    assert signals["signal"].tolist() == ["LONG", "NEUTRAL", "SHORT", "NEUTRAL"]


def test_the_threshold_that_stops_a_signal_is_its_reason():
    signals = policy(signal_threshold=0.65, confidence_threshold=0.75).signals(rises(0.62, 0.7, 0.76))

    assert signals["reason"].tolist() == ["below_signal_threshold", "below_confidence", ""]


def test_an_even_chance_is_no_signal_even_when_every_confidence_will_do():
    signals = policy(0.0, 0.5, 0.5).signals(rises(0.5, 0.5 + 1e-12, 0.5 - 1e-12))

    assert said(signals) == [("NEUTRAL", "below_confidence"), ("STRONG_BUY", ""), ("STRONG_SELL", "")]


def test_probabilities_count_by_their_shares():
    """An adapter's column of a class may carry rounding: the two need not sum to exactly one."""
    assert policy().probability_up(classified([[0.2, 0.6]]))[0] == pytest.approx(0.75)


# -- three classes --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("probability", "up", "signal", "reason"),
    [
        ((0.1, 0.3, 0.6), 6 / 7, "STRONG_BUY", ""),
        ((0.6, 0.3, 0.1), 1 / 7, "STRONG_SELL", ""),
        ((0.25, 0.35, 0.40), 40 / 65, "LONG", ""),
        ((0.36, 0.25, 0.39), 39 / 75, "NEUTRAL", "below_confidence"),
        ((0.05, 0.60, 0.35), 35 / 40, "NEUTRAL", "flat_likeliest"),
        ((0.10, 0.45, 0.45), 45 / 55, "NEUTRAL", "flat_likeliest"),
        ((0.00, 1.00, 0.00), 0.5, "NEUTRAL", "flat_likeliest"),
        ((0.50, 0.00, 0.50), 0.5, "NEUTRAL", "below_confidence"),
        ((NAN, NAN, NAN), NAN, "NEUTRAL", "warm_up"),
    ],
)
def test_three_classes_weigh_rise_against_fall(probability, up, signal, reason):
    signals = policy().signals(classified([probability], THREE))

    assert said(signals) == [(signal, reason)]
    assert signals["score"].iloc[0] == pytest.approx(up, nan_ok=True)


def test_five_classes_add_up_on_each_side():
    prediction = classified([[0.1, 0.1, 0.2, 0.3, 0.3]], (-2.0, -1.0, 0.0, 1.0, 2.0))

    assert policy().probability_up(prediction)[0] == pytest.approx(0.6 / 0.8)


# -- regression -----------------------------------------------------------------------------------------------------


def test_probability_up_is_the_share_of_smaller_residuals():
    four = policy(residuals=residuals(0.5, 1.0, 1.5, 2.0))

    up = four.probability_up(foreseen([0.012, -0.012, 0.0, 0.03, 0.010], scale=0.01))

    # |m|/sigma = 1.2: two of four are smaller; 0; 3: all four; exactly 1.0: only 0.5 is smaller
    assert np.allclose(up, [0.5 + 0.5 * 0.5, 0.5 - 0.5 * 0.5, 0.5, 1.0, 0.5 + 0.5 * 0.25])


def test_forecasts_are_shrunk_towards_the_baseline():
    half = policy(baseline=0.002, residuals=residuals(0.5, 1.0, 1.5, 2.0, shrinkage=0.5))

    up = half.probability_up(foreseen([0.022, -0.022], scale=0.01))

    # m = 0.002 + 0.5 * 0.020 = 0.012 and 0.002 - 0.5 * 0.024 = -0.010
    assert np.allclose(up, [0.75, 0.5 - 0.5 * 0.25])


def test_each_row_may_have_its_own_baseline():
    own = policy(baseline=np.array([0.0, 0.03]), residuals=residuals(0.5, 1.5, shrinkage=0.0))

    assert np.allclose(own.probability_up(foreseen([0.5, 0.5], scale=0.01)), [0.5, 1.0])


@settings(max_examples=100)
@given(st.integers(0, 2**20), st.integers(1, 30), st.floats(0, 1))
def test_every_probability_is_what_counting_residuals_gives(seed, n_residuals, shrinkage):
    rng = np.random.default_rng(seed)
    sizes, expected = np.abs(rng.normal(size=n_residuals)), rng.normal(0, 0.02, 25)
    scale, baseline = rng.uniform(0.005, 0.02, 25), rng.normal(0, 0.01)
    own = policy(baseline=baseline, residuals=residuals(*sizes, shrinkage=shrinkage))

    up = own.probability_up(foreseen(expected, scale))

    for row in range(25):
        middle = baseline + shrinkage * (expected[row] - baseline)
        smaller = np.mean([size < abs(middle) / scale[row] for size in sizes])
        assert up[row] == pytest.approx(0.5 + 0.5 * np.sign(middle) * smaller)


def test_why_a_regression_says_nothing():
    own = policy(residuals=residuals(0.1, 0.2))
    prediction = foreseen([NAN, 0.02, 0.02, 0.02, 0.0], [0.01, NAN, 0.0, 0.01, 0.01])

    assert said(own.signals(prediction)) == [
        ("NEUTRAL", "warm_up"),
        ("NEUTRAL", "no_volatility"),
        ("NEUTRAL", "no_volatility"),
        ("STRONG_BUY", ""),
        ("NEUTRAL", "below_confidence"),
    ]


def test_a_regression_without_residuals_says_nothing():
    signals = policy().signals(foreseen([0.02, NAN], 0.01))

    assert signals["reason"].tolist() == ["no_residuals", "warm_up"]
    assert signals[["confidence", "score"]].isna().all(axis=None)


def test_a_regression_without_any_volatility_says_nothing():
    signals = policy(residuals=residuals(0.1)).signals(foreseen([0.02], None))

    assert signals["reason"].tolist() == ["no_volatility"]


def test_a_volatility_next_to_nothing_is_no_certainty():
    up = policy(residuals=residuals(0.1)).probability_up(foreseen([1e10], 1e-300))

    assert np.isnan(up).all()


# -- residuals ------------------------------------------------------------------------------------------------------


def outcomes(n_rows, slope, *, seed=0, baseline=0.001):
    """Forecasts and outcomes whose excess over a baseline is ``slope`` times the forecast's, with noise."""
    rng = np.random.default_rng(seed)
    lean = rng.normal(0, 0.01, n_rows)
    forecast, outcome = baseline + lean, baseline + slope * lean + rng.normal(0, 0.001, n_rows)
    return forecast, outcome, np.full(n_rows, baseline), np.full(n_rows, 0.02)


def test_shrinkage_is_the_slope_of_outcomes_on_forecasts():
    forecast, outcome, baseline, scale = outcomes(500, 0.4)

    found = Residuals.measure(forecast, outcome, baseline, scale)

    lean, excess = forecast - 0.001, outcome - 0.001
    beta = sum(lean * excess) / sum(lean**2)
    assert 0.3 < beta < 0.5
    assert found.shrinkage == pytest.approx(beta)
    assert np.allclose(found.sorted_sizes, sorted(abs(outcome - 0.001 - beta * lean) / 0.02))


@pytest.mark.parametrize(("slope", "clipped"), [(-0.5, 0.0), (2.0, 1.0)])
def test_shrinkage_is_clipped(slope, clipped):
    found = Residuals.measure(*outcomes(500, slope))

    forecast, outcome, _, _ = outcomes(500, slope)
    assert found.shrinkage == clipped
    middle = 0.001 + clipped * (forecast - 0.001)
    assert np.allclose(found.sorted_sizes, sorted(abs(outcome - middle) / 0.02))


def test_a_forecast_that_never_leaves_the_baseline_is_shrunk_to_it():
    _, outcome, baseline, scale = outcomes(300, 0.4)

    assert Residuals.measure(baseline, outcome, baseline, scale).shrinkage == 0.0


def test_only_the_last_thousand_residuals_count_and_all_rows_for_the_slope():
    first, last = outcomes(1500, 0.4, seed=1), outcomes(1000, 0.4, seed=2)
    joined = [np.concatenate([old, new]) for old, new in zip(first, last, strict=True)]
    lean, excess = joined[0] - 0.001, joined[1] - 0.001
    beta = sum(lean * excess) / sum(lean**2)

    found = Residuals.measure(*joined)

    assert len(found.sorted_sizes) == 1000
    assert found.shrinkage == pytest.approx(beta)
    assert np.allclose(found.sorted_sizes, sorted(abs(last[1] - 0.001 - beta * (last[0] - 0.001)) / 0.02))


@pytest.mark.parametrize(("n_rows", "measured"), [(199, False), (200, True)])
def test_two_hundred_residuals_are_needed(n_rows, measured):
    assert (Residuals.measure(*outcomes(n_rows, 0.4)) is not None) == measured


@pytest.mark.parametrize("column", range(4))
def test_rows_with_something_unknown_do_not_count(column):
    columns = [values.copy() for values in outcomes(201, 0.4)]
    columns[column][7] = NAN
    without = [np.delete(values, 7) for values in outcomes(201, 0.4)]

    found, expected = Residuals.measure(*columns), Residuals.measure(*without)

    assert found.shrinkage == expected.shrinkage
    assert np.array_equal(found.sorted_sizes, expected.sorted_sizes)


def test_rows_without_volatility_do_not_count():
    forecast, outcome, baseline, scale = outcomes(250, 0.4)
    scale[:60] = 0.0

    assert Residuals.measure(forecast, outcome, baseline, scale) is None


# -- the gate, and one row for each -----------------------------------------------------------------------------------


def test_a_closed_gate_lets_no_signal_through():
    signals = policy(may_trade=False).signals(rises(0.9, 0.1, 0.5, NAN))

    assert signals["reason"].tolist() == ["no_skill", "no_skill", "no_skill", "warm_up"]
    assert (signals["target_weight"] == 0).all()
    assert signals["score"].iloc[:2].tolist() == [0.9, 0.1]


@settings(max_examples=100)
@given(
    st.lists(st.one_of(st.floats(0, 1), st.just(NAN)), max_size=30),
    st.floats(0, 1),
    st.floats(0.5, 1),
)
def test_every_row_has_one_signal_and_every_abstention_a_reason(probabilities, signal_threshold, confidence):
    own = policy(signal_threshold, confidence, confidence + (1 - confidence) / 4)

    signals = own.signals(rises(*probabilities))

    assert list(signals.columns) == list(SIGNAL_COLUMNS)
    assert len(signals) == len(probabilities)
    assert ((signals["signal"] == "NEUTRAL") == (signals["reason"] != "")).all()
    assert ((signals["signal"] == "NEUTRAL") == (signals["target_weight"] == 0)).all()
    for up, signal in zip(probabilities, signals["signal"], strict=True):
        needed = max(signal_threshold, confidence)
        if ModelSignalType(signal).side > 0:
            assert up >= needed
            assert up > 0.5
        elif ModelSignalType(signal).side < 0:
            assert 1 - up >= needed
            assert up < 0.5
        else:
            assert not max(up, 1 - up) >= needed or up == 0.5


def test_no_prediction_gives_no_signal():
    signals = policy().signals(rises())

    assert list(signals.columns) == list(SIGNAL_COLUMNS)
    assert len(signals) == 0


def test_the_columns_have_the_same_types_whatever_was_said():
    acted, silent = policy().signals(rises(0.9)), neutral_signals(days(1), Reason.NOT_SERVED)

    assert acted.dtypes.to_dict() == silent.dtypes.to_dict()


def test_thresholds_come_from_the_configuration():
    config = ModelConfig(framework="any", signal_threshold=0.4, confidence_threshold=0.8)

    found = SignalPolicy.of(config, baseline=0.1, may_trade=False)

    assert (found.signal_threshold, found.confidence_threshold) == (0.4, 0.8)
    assert found.strong_confidence == pytest.approx(0.85)
    assert (found.baseline, found.residuals, found.may_trade) == (0.1, None, False)


def test_a_policy_travels_to_a_worker():
    own = policy(baseline=0.5, residuals=residuals(1.0, 2.0))

    twin = pickle.loads(pickle.dumps(own))

    assert twin.signals(foreseen([3.0], 1.0)).equals(own.signals(foreseen([3.0], 1.0)))


# -- weights --------------------------------------------------------------------------------------------------------


def panel_index(*rows, tz=None):
    stamps = pd.DatetimeIndex([pd.Timestamp(2024, 1, number, tz=tz) for number, _ in rows])
    return pd.MultiIndex.from_arrays([stamps, [symbol for _, symbol in rows]], names=["timestamp", "symbol"])


def test_one_symbol_asks_for_the_whole_portfolio():
    assert policy().signals(rises(0.9, 0.1, 0.5))["target_weight"].tolist() == [1.0, -1.0, 0.0]


def test_a_panel_divides_by_the_symbols_that_were_foreseen():
    index = panel_index((1, "A"), (1, "B"), (1, "C"), (2, "A"), (2, "C"), (3, "B"))
    probability = np.array([0.9, 0.1, 0.5, 0.9, NAN, NAN])
    prediction = classified(np.column_stack([1 - probability, probability]), index=index)

    weights = policy().signals(prediction)["target_weight"]

    # three foreseen on the first day, one on the second, none on the third
    assert np.allclose(weights, [1 / 3, -1 / 3, 0, 1, 0, 0])


def test_a_part_of_a_panel_counts_only_its_own_rows():
    index = panel_index((1, "A"), (1, "B"), (2, "A"), (2, "B"), (3, "A"))
    prediction = classified(np.tile([0.1, 0.9], (5, 1)), index=index).take(np.array([2, 3, 4]))

    assert policy().signals(prediction)["target_weight"].tolist() == [0.5, 0.5, 1.0]


@settings(max_examples=60)
@given(st.integers(0, 2**20), st.integers(1, 6), st.integers(1, 8))
def test_every_panel_keeps_within_its_capital(seed, n_symbols, n_days):
    rng = np.random.default_rng(seed)
    rows = [(day + 1, f"S{k}") for day in range(n_days) for k in range(n_symbols) if rng.random() < 0.8]
    up = np.where(rng.random(len(rows)) < 0.2, NAN, rng.random(len(rows)))
    own = policy(0.0, 0.5, 0.6)

    signals = own.signals(classified(np.column_stack([1 - up, up]), index=panel_index(*rows)))

    gross = signals["target_weight"].abs().groupby(level="timestamp").sum()
    assert (gross <= 1 + 1e-12).all()
    for stamp, asked in gross.items():
        known = [not np.isnan(value) for (day, _), value in zip(rows, up, strict=True) if day == stamp.day]
        assert asked == pytest.approx(1.0 if any(known) else 0.0)


# -- records and engines --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("tz", [None, "America/New_York"])
def test_records_keep_stamp_and_symbol(tz):
    index = panel_index((1, "A"), (1, "B"), tz=tz)
    records = signal_records(policy().signals(classified([[0.1, 0.9], [0.8, 0.2]], index=index)))

    assert [(record.timestamp, record.symbol) for record in records] == [
        (pd.Timestamp(2024, 1, 1, tz=tz), "A"),
        (pd.Timestamp(2024, 1, 1, tz=tz), "B"),
    ]
    assert [record.signal for record in records] == [ModelSignalType.STRONG_BUY, ModelSignalType.STRONG_SELL]
    assert [record.target_weight for record in records] == [0.5, -0.5]


def test_records_of_a_plain_frame_have_no_symbol():
    index = pd.date_range("2024-01-01", periods=1, tz="Asia/Tokyo", name="timestamp")

    (record,) = signal_records(
        policy().signals(classified([[0.1, 0.9]], index=index)), metadata={"model": "m"}
    )

    assert record.timestamp == pd.Timestamp("2024-01-01", tz="Asia/Tokyo")
    assert record.symbol == ""
    assert record.metadata == {"model": "m"}


def a_signal():
    return ModelSignal(pd.Timestamp("2024-01-01"), "SPY", ModelSignalType.LONG, 0.8, 0.8, 1.0, "")


def test_a_signal_cannot_be_changed():
    signal = a_signal()

    with pytest.raises(FrozenInstanceError):
        signal.target_weight = 2.0


def test_a_signal_is_replaced_compared_and_written_like_any_dataclass():
    signal = a_signal()

    smaller = replace(signal, target_weight=0.5)

    assert asdict(smaller) == {**asdict(signal), "target_weight": 0.5}
    assert smaller != signal == a_signal()
    assert repr(signal).startswith(
        "ModelSignal(timestamp=Timestamp('2024-01-01 00:00:00'), symbol='SPY', signal="
    )


def test_a_signal_comes_back_from_a_worker_as_it_was():
    signal = a_signal()

    assert pickle.loads(pickle.dumps(signal)) == signal


def test_signals_share_no_metadata():
    assert a_signal().metadata == {}
    assert a_signal().metadata is not a_signal().metadata


@pytest.mark.parametrize(
    ("signal", "signal_type", "side"),
    [
        ("LONG", "BUY", 1),
        ("STRONG_BUY", "BUY", 1),
        ("SHORT", "SELL", -1),
        ("STRONG_SELL", "SELL", -1),
        ("NEUTRAL", "HOLD", 0),
    ],
)
def test_an_engine_gets_its_own_words(signal, signal_type, side):
    stamp = pd.Timestamp("2024-01-01")
    record = ModelSignal(stamp, "SPY", ModelSignalType(signal), 0.8, 0.8, 1.0, "", {"model": "m"})

    assert record.signal.side == side
    assert record.as_engine_dict() == {
        "timestamp": stamp,
        "symbol": "SPY",
        "signal_type": signal_type,
        "action": signal,
        "confidence": 0.8,
        "metadata": {"model": "m", "score": 0.8, "target_weight": 1.0, "reason": ""},
    }


def test_an_engine_gets_zero_for_a_confidence_that_is_not_known():
    (record,) = signal_records(neutral_signals(days(1), Reason.WARM_UP))

    engine = record.as_engine_dict()

    assert (engine["signal_type"], engine["action"], engine["confidence"]) == ("HOLD", "NEUTRAL", 0.0)
    assert engine["metadata"]["reason"] == "warm_up"
    assert type(engine["confidence"]) is float
    assert type(engine["action"]) is str


def test_neutral_signals_say_why_on_every_row():
    signals = neutral_signals(days(3), Reason.NO_MODEL)

    assert said(signals) == [("NEUTRAL", "no_model")] * 3
    assert (signals["target_weight"] == 0).all()
    assert signals[["confidence", "score"]].isna().all(axis=None)
