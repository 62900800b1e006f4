"""Baselines: forecasts and positions that need no model."""

from __future__ import annotations

from math import isnan, nan

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from backtester_model_core.config import CostsConfig
from backtester_model_core.evaluation import (
    always_long,
    baseline_returns,
    buy_and_hold,
    class_prior,
    last_known_outcome,
    training_mean,
)
from backtester_model_core.exceptions import EvaluationError

NO_ROW = [nan, nan]


def test_training_mean_and_class_prior_leave_unknown_labels_out():
    outcome = [1.0, -1.0, nan, 1.0, 1.0]

    assert training_mean(outcome) == 0.5
    assert class_prior(outcome, classes=(-1, 0, 1)).tolist() == [0.25, 0.0, 0.75]


def test_prior_expects_the_training_mean():
    outcome = np.random.default_rng(0).integers(-1, 2, 97)

    assert class_prior(outcome, classes=(-1, 0, 1)) @ [-1, 0, 1] == pytest.approx(training_mean(outcome))


def test_training_window_without_a_known_label_is_refused():
    with pytest.raises(EvaluationError, match="None of the 2 outcomes is known"):
        training_mean([nan, nan])
    with pytest.raises(EvaluationError, match="one of the classes"):
        class_prior([2.0], classes=(0, 1))


def test_last_value_waits_until_its_label_has_ended():
    days = np.array([f"2024-01-0{day}" for day in range(1, 7)], dtype="datetime64[D]")

    found = last_known_outcome(
        [1.0, 2.0, 3.0, 4.0, 5.0, nan],
        known_at=days,
        label_end=[*days[2:], np.datetime64("NaT"), np.datetime64("NaT")],
        symbol=np.zeros(6, dtype=int),
    )

    assert found.tolist() == pytest.approx([nan, nan, 1.0, 2.0, 3.0, 4.0], nan_ok=True)


def test_label_that_ends_early_is_not_overtaken_by_an_older_one_that_ends_later():
    found = last_known_outcome(
        [10.0, 20.0, nan, nan], known_at=[1, 2, 3, 9], label_end=[8, 3, 99, 99], symbol=[0, 0, 0, 0]
    )

    assert found.tolist() == pytest.approx([nan, nan, 20.0, 20.0], nan_ok=True)


@given(st.integers(0, 2**32 - 1), st.integers(1, 40))
def test_last_value_is_the_latest_ended_row_of_its_symbol(seed: int, n: int):
    rng = np.random.default_rng(seed)
    symbol = rng.integers(0, 3, n)
    known_at = rng.permutation(n)
    label_end = known_at + rng.integers(0, 8, n)
    outcome = np.where(rng.random(n) < 0.2, nan, np.arange(n, dtype=float))

    found = last_known_outcome(outcome, known_at=known_at, label_end=label_end, symbol=symbol)

    for i in range(n):
        ended = [
            j
            for j in range(n)
            if symbol[j] == symbol[i] and label_end[j] <= known_at[i] and not isnan(outcome[j])
        ]
        expected = outcome[max(ended, key=lambda j: known_at[j])] if ended else nan
        assert found[i] == pytest.approx(expected, nan_ok=True)


def test_always_long_shares_the_money_between_the_eligible():
    weights = always_long([[True, True], [False, True], [False, False]])

    assert weights == pytest.approx(np.array([[0.5, 0.5], [nan, 1.0], NO_ROW]), nan_ok=True)


def test_buy_and_hold_buys_what_is_eligible_first_and_decides_nothing_more():
    weights = buy_and_hold([[False, False], [True, True], [True, True]])

    assert weights == pytest.approx(np.array([NO_ROW, [0.5, 0.5], NO_ROW]), nan_ok=True)
    assert buy_and_hold(np.empty((0, 2))).shape == (0, 2)


@pytest.mark.parametrize("holding", ["latest", "tranches"])
def test_paths_of_always_long_and_buy_and_hold_by_hand(holding: str):
    opens = np.array([[1.0, 1.0], [1.0, 1.0], [2.0, 1.0], [4.0, 1.0], [4.0, 1.0]])
    costs = CostsConfig(
        commission_bps=100, half_spread_bps=0, slippage_bps=0, rebalance="every_bar", holding=holding
    )

    paths = baseline_returns(np.ones((5, 2)), open_price=opens, close_price=opens, costs=costs)

    assert paths["buy_and_hold"].equity == pytest.approx([1.49, 2.49, 2.49])
    assert paths["buy_and_hold"].turnover == pytest.approx([1.0, 0.0, 0.0])
    moved = (1.0 / 1.49 - 0.5) + (0.5 - 0.5 / 1.49)
    assert paths["always_long"].net[1] == pytest.approx(0.5 - 0.01 * moved)
