"""A monitor sees rows and outcomes as they come, and tells what changed, never before it could be known."""

from __future__ import annotations

import json
import logging

import numpy as np
import pytest

from backtester_model_core.config import ModelConfig
from backtester_model_core.exceptions import ArtifactError, EvaluationError
from backtester_model_core.monitoring import KnownOutcomes, Monitor, Reference, TrainingRows

N_TRAINED = 600
COLUMNS = ("one", "other", "third")


def days(n):
    return np.datetime64("2020-01-01", "ns") + np.arange(n) * np.timedelta64(1, "D")


def config_of(**monitoring):
    return ModelConfig(framework="any", monitoring=monitoring)


def noise(n=900, seed=0):
    return np.random.default_rng(seed).normal(size=(n, len(COLUMNS)))


def monitor_of(values, **monitoring):
    config = config_of(**monitoring)
    trained_on = TrainingRows.of(COLUMNS, values[:N_TRAINED], days(N_TRAINED))
    return Monitor(config, Reference.of(trained_on, config.monitoring))


def served(values, *, at_once=True, **monitoring):
    """The monitor after all rows that were not trained on."""
    monitor, at = monitor_of(values, **monitoring), days(len(values))
    expected = values[:, 0] / 100
    if at_once:
        monitor.saw_rows(at[N_TRAINED:], values[N_TRAINED:], expected[N_TRAINED:])
        return monitor
    for row in range(N_TRAINED, len(values)):
        monitor.saw(at[row], values[row], expected[row], 0.001)
    monitor.close()
    return monitor


def told(monitor, kind):
    return [event for event in monitor.events if event.kind == kind]


def outcome(at, *, forecast=0.6, happened=1.0, baseline=0.5, usable_from=None):
    usable = at if usable_from is None else usable_from
    return KnownOutcomes(
        np.array([at]), np.array([usable]), np.array([forecast]), np.array([happened]), baseline
    )


# -- drift ----------------------------------------------------------------------------------------------------------


def test_rows_like_those_of_training_are_no_event():
    assert served(noise()).events == []


def test_a_feature_that_leaves_is_named_once_at_a_look():
    values = noise()
    values[700:, 1] += 2.0

    (event,) = told(served(values), "feature_drift")

    assert event.at == days(900)[759]  # 100 rows in, at the third look that finds it
    assert "other (" in event.message
    assert all(name.startswith("other by ") and times > 1 for name, times in event.figures.items())


def test_a_feature_that_comes_back_and_leaves_again_is_named_again():
    values = noise(1200)
    values[700:800, 1] += 2.0
    values[1000:, 1] += 2.0

    assert len(told(served(values, measures=["ks"]), "feature_drift")) == 2


def test_predictions_that_leave_their_earlier_selves_are_told():
    values = noise(1200)
    monitor, at = monitor_of(values), days(1200)
    expected = 0.5 + values[:, 0] / 100
    expected[1000:] += 0.02

    monitor.saw_rows(at[N_TRAINED:], values[N_TRAINED:], expected[N_TRAINED:])

    (event,) = told(monitor, "prediction_drift")
    assert at[1000] < event.at <= at[1099]


@pytest.mark.parametrize("measures", [["psi"], ["ks"], ["wasserstein"], []])
def test_a_row_at_a_time_tells_what_a_block_tells(measures):
    values = noise(1100)
    values[800:, 2] *= 3.0
    values[820:840, 1] = np.nan

    one_by_one, at_once = (served(values, at_once=each, measures=measures) for each in (False, True))

    assert one_by_one.events == at_once.events
    assert len(at_once.events) > 0


def test_a_reference_too_short_for_windows_leaves_drift_alone():
    config, at = config_of(), days(90)
    values = noise(90)
    monitor = Monitor(config, Reference.of(TrainingRows.of(COLUMNS, values, at), config.monitoring))

    monitor.saw_rows(days(300)[90:], noise(210, seed=1) + 50.0, np.zeros(210))

    assert {event.kind for event in monitor.events} == {"data_quality"}


def test_the_rows_seen_count_for_the_next_model():
    values = noise(1200)
    values[900:] += 3.0
    monitor, at, config = monitor_of(values), days(1200), config_of()
    monitor.saw_rows(at[600:900], values[600:900], values[600:900, 0])
    later = TrainingRows.of(COLUMNS, values[300:900], at[300:900])

    monitor.serve(Reference.of(later, config.monitoring), window=7)
    monitor.saw_rows(at[900:], values[900:], values[900:, 0])

    assert {event.window for event in monitor.events} == {7}
    assert (
        told(monitor, "feature_drift")[0].at <= at[979]
    )  # three looks, of which the first holds earlier rows


# -- data quality ---------------------------------------------------------------------------------------------------


def test_missing_stale_and_wild_values_are_told_with_their_numbers():
    values = noise()
    values[700:706, 0] = np.nan
    values[720:735, 1] = values[719, 1]
    values[745, 2] = 40.0

    events = told(served(values), "data_quality")

    assert [(event.message, event.figures) for event in events] == [
        ("missing: one (30%)", {"one": 0.3}),
        ("stale: other (16 bars)", {"other": 16.0}),
        ("outside the training range: third (1 values)", {"third": 1.0}),
    ]
    assert [event.at for event in events] == [days(900)[row] for row in (719, 739, 759)]


def test_a_feature_that_stands_still_by_nature_is_not_stale():
    values = noise()
    values[:, 1] = np.repeat(values[::9, 1], 9)
    values[700:730, 1] = values[700, 1]

    assert told(served(values), "data_quality") == []


def test_a_standstill_is_counted_for_each_symbol_and_over_looks():
    config, at = config_of(stale_after=15), days(660)
    trained_on = TrainingRows.of(COLUMNS, noise(600), at[:600])
    monitor = Monitor(config, Reference.of(trained_on, config.monitoring))
    for row in range(600, 660):
        for symbol, seed in (("A", 1), ("B", 2)):
            moved = noise(660, seed)[row]
            if symbol == "B" and 610 <= row < 626:
                moved[0] = 0.25
            monitor.saw(at[row], moved, 0.5, 0.001, symbol)
    monitor.close()

    (event,) = told(monitor, "data_quality")

    assert (event.message, event.at) == ("stale: one (16 bars)", at[639])


# -- latency --------------------------------------------------------------------------------------------------------


def test_slow_predictions_are_told_when_they_become_so():
    values, at = noise(), days(900)
    monitor = monitor_of(values, latency_limit=0.01)
    for row in range(600, 660):
        monitor.saw(at[row], values[row], 0.5, 0.05 if row >= 630 else 0.001)
    monitor.close()

    (event,) = told(monitor, "slow_prediction")

    assert event.at == at[639]
    assert event.figures["p99"] == pytest.approx(0.05)
    assert monitor.figures()["p50"] == pytest.approx(0.0255)
    assert monitor.figures()["process_bytes"] > 1e6


# -- outcomes -------------------------------------------------------------------------------------------------------


def test_an_outcome_is_refused_before_it_is_known():
    monitor, at = monitor_of(noise()), days(700)

    with pytest.raises(
        EvaluationError, match=r"1 of 1 outcomes are not known at 2021-09-22.*usable_from has come"
    ):
        monitor.learned(at[630], outcome(at[629], usable_from=at[631]))


def test_an_outcome_that_will_never_be_known_is_refused():
    monitor, at = monitor_of(noise()), days(700)

    with pytest.raises(EvaluationError, match="may be used from NaT"):
        monitor.learned(at[630], outcome(at[629], usable_from=np.datetime64("NaT")))


def test_live_figures_are_those_of_known_outcomes():
    monitor, at = monitor_of(noise()), days(700)

    monitor.learned(at[610], outcome(at[600], forecast=0.75, happened=1.0))
    monitor.learned(at[611], outcome(at[601], forecast=0.75, happened=0.0))
    figures = monitor.figures()

    assert (figures["n"], figures["accuracy"]) == (2, 0.5)
    assert figures["squared_error"] == pytest.approx((0.25**2 + 0.75**2) / 2)
    assert figures["skill"] == pytest.approx((0.5 * 0.25 - 0.5 * 0.25) / 2)


def test_symbols_of_one_time_are_one_outcome():
    monitor, at = monitor_of(noise()), days(700)
    together = KnownOutcomes(at[[600, 600]], at[[605, 605]], np.array([0.7, 0.7]), np.array([1.0, 0.0]), 0.5)

    monitor.learned(at[610], together)

    assert (monitor.figures()["n"], monitor.figures()["accuracy"]) == (1, 0.5)


def test_live_metrics_are_told_once_for_each_window_of_outcomes():
    monitor, at = monitor_of(noise(), live_window=25), days(700)
    for row in range(60):
        monitor.learned(at[row + 1], outcome(at[row]))

    assert [event.at for event in told(monitor, "live_metrics")] == [at[25], at[50]]


@pytest.mark.parametrize("detector", ["adwin", "page_hinkley", "ddm"])
def test_errors_that_rise_are_told(detector):
    monitor, at = monitor_of(noise(), detector=detector), days(1300)
    rng = np.random.default_rng(1)
    for row in range(1200):
        is_wrong = rng.random() < (0.2 if row < 600 else 0.7)
        monitor.learned(at[row + 1], outcome(at[row], happened=float(not is_wrong)))

    assert any(at[600] < event.at < at[800] for event in told(monitor, "concept_drift"))


# -- across a restart -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("cut", [601, 640, 733, 900, 1101])
def test_a_restored_monitor_goes_on_as_if_nothing_had_happened(cut):
    values, at = noise(1200), days(1201)
    values[800:, 2] += 1.5
    values[900:925, 1] = np.nan

    def walk(monitor, first, last):
        for row in range(first, last):
            monitor.saw(at[row], values[row], values[row, 0] + (row > 1000), 0.001 * (row % 7))
            monitor.learned(at[row + 1], outcome(at[row], happened=float(row % 3 > 0)))

    whole, before, after = (monitor_of(values, detector="page_hinkley") for _ in range(3))
    walk(whole, N_TRAINED, 1200)
    walk(before, N_TRAINED, cut)
    state = json.loads(json.dumps(before.snapshot(), allow_nan=False))
    after.restore(state)
    walk(after, cut, 1200)

    assert before.events + after.events == whole.events
    assert after.snapshot() == whole.snapshot()
    assert len(whole.events) > 4


def test_a_state_of_other_settings_is_refused():
    state = monitor_of(noise(), window=80).snapshot()

    with pytest.raises(ArtifactError, match="its settings and reference differ from this model's"):
        monitor_of(noise()).restore(state)


def test_a_state_of_another_training_is_refused():
    state = monitor_of(noise(seed=1)).snapshot()

    with pytest.raises(ArtifactError, match="its reference differ from this model's"):
        monitor_of(noise()).restore(state)


@pytest.mark.parametrize(
    "change", [{"rows": "x"}, {"watch": {}}, {"latency": None}, {"detector": {"levels": 3}}]
)
def test_a_damaged_state_is_refused(change):
    state = monitor_of(noise()).snapshot() | change

    with pytest.raises(ArtifactError, match="it is damaged"):
        monitor_of(noise()).restore(state)


# -- in order -------------------------------------------------------------------------------------------------------


def test_a_row_earlier_than_one_before_it_is_refused():
    monitor, at = monitor_of(noise()), days(700)
    monitor.saw(at[650], [0.0, 0.0, 0.0], 0.5, 0.001)

    with pytest.raises(EvaluationError, match="Hand over rows in order of time"):
        monitor.saw(at[649], [0.0, 0.0, 0.0], 0.5, 0.001)


def test_an_instant_may_be_its_nanoseconds():
    one, other, at = monitor_of(noise()), monitor_of(noise()), days(700)
    numbers = np.asarray(at, dtype="datetime64[ns]").astype(np.int64).tolist()

    for row in range(600, 650):
        one.saw(at[row], [0.1 * row, 0.0, 0.0], 0.5, 0.001)
        other.saw(numbers[row], [0.1 * row, 0.0, 0.0], 0.5, 0.001)

    assert other.snapshot() == one.snapshot()


def test_a_row_of_a_time_that_was_looked_at_is_refused():
    monitor, at = monitor_of(noise()), days(700)
    for row in range(600, 620):
        monitor.saw(at[row], [0.1 * row, 0.0, 0.0], 0.5, 0.001)
    assert monitor.close()

    with pytest.raises(EvaluationError, match="Hand over rows in order of time"):
        monitor.saw(at[619], [0.0, 0.0, 0.0], 0.5, 0.001, "late")


def test_a_block_out_of_order_is_refused():
    monitor, at = monitor_of(noise()), days(700)

    with pytest.raises(EvaluationError, match="Sort them"):
        monitor.saw_rows(at[[651, 650]], noise(2), np.zeros(2))


def test_an_empty_block_changes_nothing():
    monitor = monitor_of(noise())
    before = monitor.snapshot()

    monitor.saw_rows(days(0), noise(0), np.zeros(0))

    assert monitor.snapshot() == before


def test_events_are_logged_and_make_a_frame(caplog):
    values = noise()
    values[700:, 1] += 2.0

    with caplog.at_level(logging.INFO):
        monitor = served(values)

    assert "feature_drift" in caplog.text
    assert list(monitor.frame["kind"]) == [event.kind.value for event in monitor.events]
