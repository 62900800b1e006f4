"""Reliability: bins, scores and calibration errors from their definitions, and what a perfect forecaster has."""

import numpy as np
import pytest

from backtester_model_core.evaluation import calibration_metrics, interval_metrics, reliability_curve
from backtester_model_core.exceptions import EvaluationError
from backtester_model_core.testing import random_bars
from backtester_model_core.walkforward import walk_forward

NAN = float("nan")


def perfect(n_rows, *, seed=0):
    rng = np.random.default_rng(seed)
    p = rng.uniform(0.3, 0.7, n_rows)
    return (rng.random(n_rows) < p).astype(np.float64), p


def test_a_curve_says_what_was_said_and_what_came():
    p = np.array([0.1, 0.2, 0.3, 0.6, 0.7, 0.8])
    y = np.array([0.0, 0.0, 1.0, 1.0, 0.0, 1.0])

    curve = reliability_curve(y, probability=p, n_bins=2)

    assert curve["n"].tolist() == [3, 3]
    assert curve["said"].tolist() == pytest.approx([0.2, 0.7])
    assert curve["came"].tolist() == pytest.approx([1 / 3, 2 / 3])
    reach = 1.96 * np.sqrt(0.1 * 0.9 + 0.2 * 0.8 + 0.3 * 0.7) / 3
    assert curve["high"].iloc[0] == pytest.approx(0.2 + reach)
    assert curve["low"].iloc[0] == 0.0


def test_equal_probabilities_stay_in_one_bin():
    curve = reliability_curve(np.array([0.0, 1.0, 1.0, 0.0]), probability=np.full(4, 0.5))

    assert curve["n"].tolist() == [4]
    assert curve["came"].tolist() == [0.5]


def test_scores_and_error_are_their_definitions():
    p, y = np.array([0.2, 0.4, 0.9]), np.array([0.0, 1.0, 1.0])

    found = calibration_metrics(y, probability=p)

    assert found["brier"] == pytest.approx((0.04 + 0.36 + 0.01) / 3)
    assert found["log_loss"] == pytest.approx(-np.log([0.8, 0.4, 0.9]).mean())
    assert found["ece"] == pytest.approx((0.2 + 0.6 + 0.1) / 3)  # three bins of one row each


def test_a_perfect_forecasters_error_is_what_chance_makes_it():
    found = [calibration_metrics(y, probability=p) for y, p in (perfect(5_000, seed=k) for k in range(20))]

    # ten bins of 500 rows, each off by sqrt(2/pi) deviations of a share near one half on average
    chance = np.sqrt(2 / np.pi) * np.sqrt(np.mean(perfect(50_000)[1] * (1 - perfect(50_000)[1])) / 500)
    assert np.mean([each["ece"] for each in found]) == pytest.approx(chance, rel=0.1)
    assert np.mean([each["ece_if_perfect"] for each in found]) == pytest.approx(chance, rel=0.05)


def test_overconfidence_shows_beside_a_perfect_forecasters_error():
    y, p = perfect(5_000)

    found = calibration_metrics(y, probability=0.5 + 2 * (p - 0.5) * 0.99)

    assert found["ece"] > 4 * found["ece_if_perfect"]


def test_the_same_seed_draws_the_same():
    y, p = perfect(300)

    one, same, other = (calibration_metrics(y, probability=p, seed=seed) for seed in (1, 1, 2))

    assert one == same
    assert one["ece_if_perfect"] != other["ece_if_perfect"]


def test_unknown_rows_do_not_count_and_none_gives_nothing():
    y, p = perfect(100)
    told = np.append(y, [NAN, 1.0]), np.append(p, [0.5, NAN])

    assert calibration_metrics(told[0], probability=told[1]) == calibration_metrics(y, probability=p)
    assert len(reliability_curve([], probability=[])) == 0
    nothing = calibration_metrics([NAN], probability=[0.5])
    assert nothing["n"] == 0
    assert np.isnan(nothing["ece"])


@pytest.mark.parametrize(("y", "p", "what"), [(2.0, 0.5, "neither 0 nor 1"), (1.0, 1.5, "from 0 to 1")])
def test_what_is_no_outcome_or_no_probability_is_refused(y, p, what):
    with pytest.raises(EvaluationError, match=what):
        calibration_metrics([y], probability=[p])


def test_intervals_hold_a_share_and_have_a_width():
    found = interval_metrics([1.0, 5.0, NAN], low=[0.0, 0.0, 0.0], high=[2.0, 4.0, 1.0])

    assert found == {"interval_n": 2, "interval_coverage": 0.5, "interval_width": 3.0}
    assert interval_metrics([NAN], low=[0.0], high=[1.0])["interval_n"] == 0


# -- in a walk-forward ----------------------------------------------------------------------------------------------


def test_raw_and_calibrated_probabilities_stand_side_by_side(linear_config, tmp_path):
    result = walk_forward(linear_config, random_bars(1_200, seed=3), out=tmp_path)

    assert list(result.calibration) == ["raw", "calibrated"]
    assert result.calibration["calibrated"]["n"] == result.metrics["n"]
    assert result.calibration["raw"]["brier"] == pytest.approx(result.metrics["brier"])
    assert result.reliability.loc["raw"]["n"].sum() == result.metrics["n"]
    assert result.summary()["calibration"] == result.calibration
    assert (
        (tmp_path / "reliability.csv").read_text().startswith("probability,bin,n,said,came,low,high\nraw,0,")
    )


def test_calibration_brings_the_error_of_noise_down(linear_config):
    """A linear model of a random walk says more than it knows; its calibrated probability does not."""
    features = {f"r{k}": f"close / ref(close, {k}) - 1" for k in range(1, 21)}
    config = linear_config.model_copy(
        update={
            "lookback_period": 25,
            "features": linear_config.features.model_copy(update={"expressions": features}),
        }
    )
    found = walk_forward(config, random_bars(2_500, seed=3)).calibration

    assert found["calibrated"]["log_loss"] < found["raw"]["log_loss"]
    assert found["raw"]["ece"] > 2 * found["raw"]["ece_if_perfect"]
    assert found["calibrated"]["ece"] < 0.7 * found["raw"]["ece"]


def test_a_regressions_intervals_hold_what_they_promise(linear_config):
    config = linear_config.model_copy(
        update={
            "model_type": "regression",
            "calibration": linear_config.calibration.model_copy(update={"coverage": 0.8}),
        }
    )

    result = walk_forward(config, random_bars(3_000, seed=4))

    assert result.metrics["interval_coverage"] == pytest.approx(0.8, abs=0.03)
    assert result.metrics["interval_n"] == result.predictions["interval_low"].notna().sum() - 2
    assert list(result.calibration) == ["calibrated"]
