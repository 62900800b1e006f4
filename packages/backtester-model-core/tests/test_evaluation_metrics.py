"""Metrics against figures worked by hand and against definitions written the slow way."""

from __future__ import annotations

from math import isnan, log, nan, sqrt

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from backtester_model_core.evaluation import (
    classification_metrics,
    decision_turnover,
    information_coefficients,
    regression_metrics,
    signal_metrics,
)
from backtester_model_core.exceptions import EvaluationError


def both(p: list[float]) -> np.ndarray:
    """Return the two columns of a binary forecast."""
    return np.column_stack([1 - np.array(p), p])


def test_binary_metrics_equal_hand_arithmetic():
    metrics = classification_metrics([1, 0, 1, 0], probability=both([0.8, 0.4, 0.3, 0.1]), classes=(0, 1))

    assert metrics["n"] == 4
    assert metrics["accuracy"] == 3 / 4
    assert metrics["balanced_accuracy"] == (1 / 2 + 2 / 2) / 2
    assert metrics["roc_auc"] == 3 / 4  # of 2 x 2 pairs only (0.3, 0.4) is in the wrong order
    assert metrics["log_loss"] == pytest.approx(-(log(0.8) + log(0.6) + log(0.3) + log(0.9)) / 4)
    assert metrics["brier"] == pytest.approx((0.2**2 + 0.4**2 + 0.7**2 + 0.1**2) / 4)


def test_three_way_metrics_equal_hand_arithmetic():
    probability = [[0.5, 0.3, 0.2], [0.1, 0.2, 0.7], [0.2, 0.5, 0.3]]

    metrics = classification_metrics([-1, 0, 1], probability=probability, classes=(-1, 0, 1))

    assert metrics["accuracy"] == 1 / 3
    assert metrics["balanced_accuracy"] == pytest.approx(1 / 3)
    assert metrics["roc_auc"] == pytest.approx((2 / 2 + 0 / 2 + 1 / 2) / 3)
    assert metrics["log_loss"] == pytest.approx(-(log(0.5) + log(0.2) + log(0.3)) / 3)
    squares = [0.25 + 0.09 + 0.04, 0.01 + 0.64 + 0.49, 0.04 + 0.25 + 0.49]
    assert metrics["brier"] == pytest.approx(sum(squares) / 3)


@given(st.lists(st.tuples(st.booleans(), st.integers(0, 5)), min_size=1, max_size=40))
def test_auc_is_the_share_of_pairs_in_order_with_ties_counted_half(rows: list[tuple[bool, int]]):
    outcome, score = [float(up) for up, _ in rows], [s / 5 for _, s in rows]
    above = [s for up, s in zip(outcome, score, strict=True) if up]
    below = [s for up, s in zip(outcome, score, strict=True) if not up]
    pairs = [(a > b) + (a == b) / 2 for a in above for b in below]

    auc = classification_metrics(outcome, probability=both(score), classes=(0, 1))["roc_auc"]

    assert auc == pytest.approx(sum(pairs) / len(pairs) if pairs else nan, nan_ok=True)


def test_positive_class_is_the_second_of_a_fixed_order():
    probability = both([0.9, 0.2, 0.8])

    metrics = classification_metrics([1, -1, 1], probability=probability, classes=(-1, 1))

    assert metrics["accuracy"] == 1
    assert metrics["roc_auc"] == 1
    assert metrics["brier"] == pytest.approx((0.01 + 0.04 + 0.04) / 3)


def test_one_class_leaves_the_auc_undefined_and_the_rest_defined():
    metrics = classification_metrics([1, 1], probability=both([0.6, 0.4]), classes=(0, 1))

    assert isnan(metrics["roc_auc"])
    assert metrics["accuracy"] == metrics["balanced_accuracy"] == 0.5


def test_sure_and_wrong_forecast_costs_a_finite_log_loss():
    metrics = classification_metrics([1.0], probability=both([0.0]), classes=(0, 1))

    assert metrics["log_loss"] == pytest.approx(-log(1e-15))


def test_unknown_rows_are_left_out_and_counted():
    metrics = classification_metrics([1, nan, 0, 1], probability=both([0.9, 0.9, nan, 0.2]), classes=(0, 1))

    assert metrics["n"] == 2
    assert metrics["accuracy"] == 0.5


def test_no_known_row_gives_nan_everywhere():
    found = classification_metrics([nan], probability=both([0.5]), classes=(0, 1))
    regression = regression_metrics([nan], forecast=[0.1], baseline=0.0)
    correlations = information_coefficients([nan], forecast=[1.0], decision_time=[1])

    assert found.pop("n") == regression.pop("n") == 0
    assert all(isnan(value) for value in [*found.values(), *regression.values()])
    assert isnan(correlations["ic"])
    assert correlations["n_across"] == 0


def test_outcome_of_no_class_is_refused_by_name():
    with pytest.raises(EvaluationError, match=r"\[2\.0\].*classes are \[0, 1\]"):
        classification_metrics([0, 2], probability=both([0.5, 0.5]), classes=(0, 1))


def test_probability_of_another_shape_is_refused():
    with pytest.raises(EvaluationError, match="probability"):
        classification_metrics([0, 1], probability=[0.5, 0.5], classes=(0, 1))


def test_regression_metrics_equal_hand_arithmetic():
    metrics = regression_metrics([1.0, 2.0, 4.0], forecast=[1.5, 2.0, 3.0], baseline=[0.0, 1.0, 2.0])

    assert metrics["mae"] == pytest.approx(1.5 / 3)
    assert metrics["rmse"] == pytest.approx(sqrt(1.25 / 3))
    assert metrics["r2_oos"] == pytest.approx(1 - 1.25 / (1 + 1 + 4))


def test_r2_is_against_the_training_mean_and_not_the_test_mean():
    outcome, forecast = [1.0, 1.2], [0.9, 1.3]

    metrics = regression_metrics(outcome, forecast=forecast, baseline=0.0)

    assert metrics["r2_oos"] == pytest.approx(1 - 0.02 / 2.44)
    assert isnan(regression_metrics([1.0], forecast=[0.0], baseline=1.0)["r2_oos"])


@pytest.mark.parametrize("forecast", [[1.0, 2.0, 3.0], [[1.0, 2.0]]])
def test_columns_of_other_lengths_are_refused_by_name(forecast: list[float]):
    with pytest.raises(EvaluationError, match=r"outcome \(2,\), forecast"):
        regression_metrics([1.0, 2.0], forecast=forecast, baseline=0.0)


def test_infinite_forecast_is_refused_by_name():
    with pytest.raises(EvaluationError, match="forecast holds an infinite value"):
        regression_metrics([1.0, 2.0], forecast=[1.0, np.inf], baseline=0.0)


@settings(max_examples=25)
@given(st.integers(0, 2**32 - 1))
def test_information_coefficients_agree_with_pandas(seed: int):
    rng = np.random.default_rng(seed)
    frame = pd.DataFrame({"t": rng.integers(0, 12, 80), "y": rng.integers(0, 6, 80) / 7.0})
    frame["f"] = rng.standard_normal(80).round(1)
    frame.loc[rng.random(80) < 0.1, "y"] = nan
    known = frame.dropna()
    wide = [rows for _, rows in known.groupby("t") if len(rows) >= 5 and rows["y"].min() < rows["y"].max()]

    found = information_coefficients(frame["y"], forecast=frame["f"], decision_time=frame["t"])

    ranks = known[["y", "f"]].rank()
    assert found["ic"] == pytest.approx(known["y"].corr(known["f"]))
    assert found["rank_ic"] == pytest.approx(ranks["y"].corr(ranks["f"]))
    assert found["n_across"] == len(wide)
    assert found["ic_across"] == pytest.approx(np.mean([rows["y"].corr(rows["f"]) for rows in wide]))
    rank_corr = [rows["y"].rank().corr(rows["f"].rank()) for rows in wide]
    assert found["rank_ic_across"] == pytest.approx(np.mean(rank_corr))


def test_single_symbol_has_no_ic_across_symbols():
    found = information_coefficients([1.0, 2.0, 3.0], forecast=[1.0, 4.0, 9.0], decision_time=[1, 2, 3])

    assert found["rank_ic"] == pytest.approx(1)
    assert found["ic"] == pytest.approx(0.9897433186107870)  # 8 / sqrt(2 x 98/3)
    assert isnan(found["ic_across"])


def test_market_direction_is_no_skill_across_symbols():
    market = np.repeat([1.0, -1.0, 2.0, -2.0], 5)
    own = np.tile([-2.0, -1.0, 0.0, 1.0, 2.0], 4)

    found = information_coefficients(
        market + own, forecast=market - own / 100, decision_time=np.repeat(np.arange(4), 5)
    )

    assert found["ic"] > 0.5
    assert found["ic_across"] == pytest.approx(-1)


def test_constant_forecast_has_no_correlation():
    found = information_coefficients([1.0, 2.0], forecast=[3.0, 3.0], decision_time=[1, 2])

    assert isnan(found["ic"])
    assert isnan(found["rank_ic"])


def test_instants_given_as_floats_are_refused():
    with pytest.raises(EvaluationError, match="datetime64 or integers, not float64"):
        information_coefficients([1.0], forecast=[1.0], decision_time=[1.0])


def test_signal_metrics_equal_hand_arithmetic():
    signal = ["LONG", "LONG", "LONG", "SHORT", "NEUTRAL", "STRONG_SELL", "SHORT"]

    table = signal_metrics(signal, forward_return=[0.02, -0.01, 0.0, -0.03, 0.04, 0.01, nan])

    assert list(table.index) == ["STRONG_BUY", "LONG", "NEUTRAL", "SHORT", "STRONG_SELL"]
    assert table["n"].tolist() == [0, 3, 1, 2, 1]
    assert table["n_known"].tolist() == [0, 3, 1, 1, 1]
    assert table["hit_rate"].tolist() == pytest.approx([nan, 1 / 3, nan, 1.0, 0.0], nan_ok=True)
    assert table["mean_forward_return"].tolist() == pytest.approx(
        [nan, 0.01 / 3, 0.04, -0.03, 0.01], nan_ok=True
    )


def test_unknown_signal_type_is_refused():
    with pytest.raises(EvaluationError, match="'BUY' is not a signal type"):
        signal_metrics(["BUY"], forward_return=[0.0])


def test_signals_and_returns_of_other_lengths_are_refused():
    with pytest.raises(EvaluationError, match="signal"):
        signal_metrics(["LONG"], forward_return=[0.0, 0.1])


def test_decision_turnover_counts_changes_and_carries_missing_decisions():
    weights = [[nan, 0.5], [0.5, nan], [-0.5, 0.5], [nan, 0.0]]

    assert decision_turnover(weights) == pytest.approx((0.5 + 0.5 + 1.0 + 0.5) / 4)
    assert isnan(decision_turnover(np.empty((0, 2))))
