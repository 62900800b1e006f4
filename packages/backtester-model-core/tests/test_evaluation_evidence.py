"""Evidence that may be looked at after every outcome: noise seldom shows skill, a true edge does."""

from __future__ import annotations

import json

import numpy as np
import pytest

from backtester_model_core.evaluation import EVIDENCE_WANTED, SkillEvidence
from backtester_model_core.evaluation.evidence import LARGEST, PRIOR_WEIGHT, STAKES, WATCHED_FIRST
from backtester_model_core.exceptions import EvaluationError

pytestmark = pytest.mark.exhaustive


def stream(seed, *, edge, n=1_500, horizon=1):
    """Return the evidence after each of n outcomes of a forecast with a known correlation."""
    rng = np.random.default_rng(seed)
    lean, noise = rng.standard_normal(n), rng.standard_t(4, n) / np.sqrt(2)
    evidence = SkillEvidence(horizon)
    values = []
    for y, f in zip(edge * lean + noise, lean, strict=True):
        evidence.update([y], [f])
        values.append(evidence.value)
    return np.array(values)


def test_the_first_stake_pays_what_the_formula_says():
    evidence = SkillEvidence(1)
    for place in range(WATCHED_FIRST):
        evidence.update([2.0 if place % 2 else -2.0], [0.5])
    assert evidence.value == 1.0
    squares = sum(
        (2.0 * (-1) ** (place + 1) - drift) ** 2
        for place, drift in enumerate([0.0, -2.0] * 15)
        for drift in [drift / (place + PRIOR_WEIGHT)]
    )

    evidence.update([3.0], [0.5])

    payoff = 3.0 / (LARGEST * np.sqrt(squares / WATCHED_FIRST)) * 0.5 / (LARGEST * 0.5)
    assert evidence.value == pytest.approx(np.mean([1 + stake * payoff for stake in STAKES]))


def test_an_outlier_counts_at_most_three_root_mean_squares():
    evidence = SkillEvidence(1)
    for _ in range(WATCHED_FIRST):
        evidence.update([1.0], [1.0])

    evidence.update([-1e9], [1e9])

    assert evidence.value == pytest.approx(np.mean([1 - stake for stake in STAKES]))


def test_noise_seldom_ever_shows_skill():
    reached = [stream(seed, edge=0.0).max() >= EVIDENCE_WANTED for seed in range(60)]

    assert sum(reached) <= 6  # at most 3 are expected; more than 6 happens once in thirty at exactly 5 %


def leaning_streams(*, slack):
    """Return the most evidence ever of models of noise whose baseline is off by its training's luck, for long."""
    peaks = []
    for seed in range(30):
        rng = np.random.default_rng(seed)
        lean, shocks = 0.0, rng.standard_normal((2, 3_000))
        evidence, peak = SkillEvidence(1), 0.0
        luck = rng.standard_normal() / np.sqrt(250) if slack else 0.0
        for noise, step in shocks.T:
            lean = 0.995 * lean + step
            evidence.update([noise - luck], [lean])
            peak = max(peak, evidence.value)
        peaks.append(peak)
    return np.array(peaks)


def test_a_baseline_that_is_off_does_not_pass_for_skill():
    """With the baseline itself for a centre, about a fifth of such streams would show skill that is not there."""
    assert (leaning_streams(slack=True) >= EVIDENCE_WANTED).sum() <= 3


def test_a_true_edge_shows():
    assert (stream(1, edge=0.2) >= EVIDENCE_WANTED).any()


def test_a_forecast_turned_round_never_shows():
    assert stream(1, edge=-0.2).max() < EVIDENCE_WANTED


def test_overlapping_outcomes_are_not_counted_as_many():
    naive, honest = np.array([overlapping_peaks(seed) for seed in range(12)]).T >= EVIDENCE_WANTED

    assert honest.sum() <= 1
    assert naive.sum() >= 3


def overlapping_peaks(seed):
    """Return the most evidence ever, with the horizon taken for one bar and for the twenty that it is."""
    rng = np.random.default_rng(seed)
    outcome, lean = (np.convolve(rng.standard_normal(1_200), np.ones(20), mode="valid") for _ in range(2))
    peaks = []
    for evidence in (SkillEvidence(1), SkillEvidence(20)):
        values = []
        for y, f in zip(outcome, lean, strict=True):
            evidence.update([y], [f])
            values.append(evidence.value)
        peaks.append(max(values))
    return peaks


def test_symbols_of_one_time_are_one_bet():
    one, two = SkillEvidence(1), SkillEvidence(1)
    for y in np.random.default_rng(0).standard_normal(100):
        one.update([y], [0.3])
        two.update([y, y], [0.3, 0.3])

    assert one.value == pytest.approx(two.value)


def test_rows_of_a_walk_forward_give_the_same_as_one_time_after_another():
    rng = np.random.default_rng(5)
    outcome, forecast = rng.standard_normal((2, 200))
    times = np.repeat(np.arange("2024-01-01", "2024-04-10", dtype="datetime64[D]"), 2)[:200]
    forecast[7] = np.nan
    by_hand = SkillEvidence(1)
    for time in np.unique(times):
        rows = (times == time) & ~np.isnan(forecast)
        by_hand.update(outcome[rows] - 0.1, forecast[rows] - 0.1)

    gathered = SkillEvidence.of(times, outcome=outcome, forecast=forecast, baseline=0.1, horizon=1)

    assert gathered.value == by_hand.value
    assert gathered.n == by_hand.n == 100


def test_no_rows_are_no_evidence():
    assert (
        SkillEvidence.of(
            np.array([], dtype="datetime64[ns]"), outcome=[], forecast=[], baseline=[], horizon=1
        ).value
        == 1.0
    )


def test_a_snapshot_goes_on_where_it_stopped():
    rng = np.random.default_rng(2)
    whole, before = SkillEvidence(3), SkillEvidence(3)
    rows = rng.standard_normal((120, 2))
    for y, f in rows[:70]:
        before.update([y], [f])
    after = SkillEvidence.restored(json.loads(json.dumps(before.snapshot())))
    for y, f in rows[70:]:
        after.update([y], [f])
    for y, f in rows:
        whole.update([y], [f])

    assert after.snapshot() == whole.snapshot()


@pytest.mark.parametrize(
    "snapshot",
    [
        {},
        {"horizon": 1, "n": 2, "sums": [1.0], "capital": [[1.0] * 4]},
        {"horizon": 2, "n": 0, "sums": [0, 0, 0], "capital": [[1.0] * 4]},
    ],
)
def test_a_foreign_snapshot_is_refused(snapshot):
    with pytest.raises(EvaluationError, match="snapshot"):
        SkillEvidence.restored(snapshot)


def test_a_horizon_below_one_bar_is_refused():
    with pytest.raises(EvaluationError, match="at least one bar"):
        SkillEvidence(0)
