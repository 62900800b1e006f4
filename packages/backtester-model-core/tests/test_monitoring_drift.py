"""Distances by hand and by other ways to compute them; how far is far; what a reference holds."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from backtester_model_core.config import ModelConfig, MonitoringConfig
from backtester_model_core.exceptions import ArtifactError, ConfigError, DuplicatePluginError
from backtester_model_core.monitoring import (
    MEASURES,
    Adwin,
    FeatureMeasure,
    JointMeasure,
    Monitor,
    Reference,
    TrainingRows,
)
from backtester_model_core.monitoring.drift import Yardstick, upper_f
from backtester_model_core.monitoring.histogram import N_BINS, Bins
from backtester_model_core.monitoring.reference import evenly_spread

ONE = ("one",)


def days(n):
    return np.datetime64("2020-01-01", "ns") + np.arange(n) * np.timedelta64(1, "D")


def distance(measure, reference, live):
    """One feature's distance between two samples, by a registered measure."""
    bins = Bins.of(np.asarray(reference, dtype=np.float64)[:, None])
    counted = [bins.count(np.asarray(each, dtype=np.float64)[:, None]) for each in (reference, live)]
    return float(MEASURES[measure].distance(*counted)[0])


def reference_of(values, **fields):
    columns = tuple(f"f{j}" for j in range(values.shape[1]))
    return Reference.of(TrainingRows.of(columns, values, days(len(values))), MonitoringConfig(**fields))


samples = arrays.arrays(
    np.float64,
    st.integers(40, 200),
    elements=st.floats(-1e3, 1e3).map(lambda value: round(value, 3)),
)

# -- measures -------------------------------------------------------------------------------------------------------


@given(samples)
@settings(max_examples=50)
def test_every_distance_of_a_sample_to_itself_is_zero(sample):
    bins = Bins.of(sample[:, None])
    counted = bins.count(sample[:, None])

    for name in ("psi", "ks", "wasserstein"):
        found = MEASURES[name].distance(counted, counted)[0]
        assert found == 0 or (name == "wasserstein" and not bins.varies[0])


def test_the_stability_index_by_hand():
    reference = np.arange(100.0)  # ten values in each tenth
    live = np.repeat([5.0, 95.0], 50)  # all in the first tenth and in the last

    extra = 0.5 / 100
    two, eight = 0.5 + extra, 0.0 + extra
    expected = 2 * (two - 0.1 - extra) * np.log(two / (0.1 + extra))
    expected += 8 * (eight - 0.1 - extra) * np.log(eight / (0.1 + extra))

    assert distance("psi", reference, live) == pytest.approx(expected)


@given(samples, samples)
@settings(max_examples=50)
def test_ks_is_the_largest_gap_of_the_two_distribution_functions_at_an_edge(reference, live):
    edges = Bins.of(reference[:, None]).edges[:, 0]
    gaps = [abs(np.mean(reference <= edge) - np.mean(live <= edge)) for edge in edges]

    assert distance("ks", reference, live) == pytest.approx(max(gaps))


def test_ks_misses_at_most_what_lies_between_two_edges():
    rng = np.random.default_rng(0)
    reference, live = rng.normal(size=500), rng.normal(0.3, 1.2, size=300)
    everywhere = np.concatenate([reference, live])
    whole = max(abs(np.mean(reference <= x) - np.mean(live <= x)) for x in everywhere)

    assert whole - 1 / N_BINS <= distance("ks", reference, live) <= whole


@pytest.mark.parametrize("shift", [0.25, 1.0, -3.0, 20.0])
def test_the_wasserstein_distance_of_a_shifted_sample_is_the_shift(shift):
    reference = np.random.default_rng(1).normal(size=4000)
    bins = Bins.of(reference[:, None])

    assert distance("wasserstein", reference, reference + shift) == pytest.approx(
        abs(shift) / bins.width[0], rel=0.02
    )


def test_the_wasserstein_distance_is_that_of_sorted_samples():
    rng = np.random.default_rng(2)
    reference, live = rng.normal(size=3000), rng.standard_t(3, size=3000)
    exact = np.mean(np.abs(np.sort(reference) - np.sort(live))) / Bins.of(reference[:, None]).width[0]

    assert distance("wasserstein", reference, live) == pytest.approx(exact, rel=0.1)


def test_every_feature_and_every_stretch_is_measured_by_itself():
    rng = np.random.default_rng(3)
    reference, live = rng.normal(size=(400, 3)), rng.normal(size=(60, 3)) * [1, 2, 3]
    bins = Bins.of(reference)
    stretches = bins.count(live, stretch=np.repeat([0, 1, 2], 20), n_stretches=3)

    for name in ("psi", "ks", "wasserstein"):
        at_once = MEASURES[name].distance(bins.count(reference), stretches)
        for k in range(3):
            for j in range(3):
                alone = distance(name, reference[:, j], live[20 * k : 20 * (k + 1), j])
                assert at_once[k, j] == pytest.approx(alone)


def test_unknown_values_count_nowhere():
    reference = np.random.default_rng(4).normal(size=300)
    live = np.append(reference[:50], [np.nan] * 30)

    for name in ("psi", "ks", "wasserstein"):
        assert distance(name, reference, live) == distance(name, reference, reference[:50])


def test_few_rows_and_many_are_binned_alike():
    values = np.round(np.random.default_rng(5).normal(size=(400, 2)), 1)
    bins = Bins.of(values)

    parts = [bins.count(values[start : start + 40]).counts for start in range(0, 400, 40)]

    assert (sum(parts) == bins.count(values).counts).all()


def test_an_unknown_measure_is_refused_with_the_nearest_name():
    with pytest.raises(
        ConfigError, match=r"Unknown drift measure 'waserstein'. Did you mean 'wasserstein'\?"
    ):
        reference_of(np.random.default_rng(0).normal(size=(600, 2)), measures=["waserstein"])


# -- how far is far -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("chance", "degrees", "further", "expected"),
    [  # scipy.stats.f.isf
        (0.05, 1, 24, 4.2597),
        (0.01, 5, 125, 3.1706),
        (0.0001, 2, 50, 11.1369),
        (0.0001, 10, 250, 3.7613),
    ],
)
def test_the_quantile_of_f_is_within_five_per_cent(chance, degrees, further, expected):
    assert upper_f(chance, degrees, further) == pytest.approx(expected, rel=0.05)


def test_where_too_little_is_known_nothing_is_far():
    assert upper_f(1e-4, 0.5, 1.0) == float("inf")


def test_a_limit_is_exceeded_as_often_as_it_says():
    """Distances that are sizes of normal numbers: the yardstick learns from twenty and judges another."""
    rng = np.random.default_rng(6)
    learned, live = np.abs(rng.normal(size=(2, 20, 4000)))
    yardstick = Yardstick.of(learned, power=1, n_windows=20.0)

    share = np.mean(live[0] > yardstick.limits(0.05, n_claims=1))

    assert 0.02 < share < 0.07


def test_more_claims_and_a_lower_level_raise_the_limit():
    yardstick = Yardstick.of(np.abs(np.random.default_rng(7).normal(size=(30, 1))), power=1, n_windows=15.0)

    one, many = yardstick.limits(0.01, n_claims=1), yardstick.limits(0.01, n_claims=50)

    assert many > one
    assert yardstick.limits(0.001, n_claims=5) == pytest.approx(many)


def test_a_feature_that_resembles_its_neighbours_may_go_further():
    rng = np.random.default_rng(8)
    shocks = rng.normal(size=(1020, 1))
    slow = (np.cumsum(shocks, axis=0)[20:] - np.cumsum(shocks, axis=0)[:-20]) / np.sqrt(20)
    reference = reference_of(np.column_stack([rng.normal(size=1000), slow]), measures=["ks"])

    quick, persistent = reference.yardstick("ks").limits(0.01, n_claims=1)

    assert persistent > 2 * quick


# -- the reference --------------------------------------------------------------------------------------------------


def test_a_reference_describes_what_it_was_made_of():
    values = np.column_stack([np.arange(200.0), np.repeat([1.0, 2.0], 100), np.full(200, np.nan)])
    values[:20, 0] = np.nan

    reference = reference_of(values, window=20, check_every=10)

    assert reference.missing.tolist() == pytest.approx([0.1, 0.0, 1.0])
    assert reference.bins.low.tolist() == [20.0, 1.0, 0.0]
    assert reference.bins.high.tolist() == [199.0, 2.0, 0.0]
    assert reference.bins.varies.tolist() == [True, True, False]
    assert (reference.window, reference.n_times) == (20, 200)
    assert reference.ties[1] == pytest.approx(198 / 199)


@pytest.mark.parametrize(("n_times", "window"), [(1000, 60), (290, 40), (99, 0)])
def test_a_window_is_at_most_a_fifth_of_what_was_trained_on(n_times, window):
    assert reference_of(np.random.default_rng(0).normal(size=(n_times, 2))).window == window


def test_symbols_of_one_time_count_as_one_time():
    values, at = np.random.default_rng(0).normal(size=(4000, 2)), np.repeat(days(400), 10)

    reference = Reference.of(TrainingRows.of(("a", "b"), values, at), MonitoringConfig())

    assert (reference.n_times, reference.window) == (400, 60)


def test_many_rows_are_thinned_and_symbols_take_turns():
    symbol = np.arange(30_000) % 100

    chosen = evenly_spread(30_000, at_most=5_000)

    assert len(chosen) == 5_000
    assert (np.diff(chosen) > 0).all()
    assert np.bincount(symbol[chosen], minlength=100).min() > 25


def test_rows_put_aside_are_a_copy():
    values = np.zeros((50, 1))
    rows = TrainingRows.of(ONE, values, days(50))

    values += 1.0

    assert (rows.values == 0.0).all()


def test_a_reference_survives_its_arrays():
    reference = reference_of(np.random.default_rng(9).normal(size=(700, 3)), measures=["psi", "wasserstein"])

    again = Reference.from_arrays(reference.to_arrays(), columns=reference.columns)

    ours, theirs = reference.to_arrays(), again.to_arrays()
    assert ours.keys() == theirs.keys()
    assert all(np.array_equal(ours[name], theirs[name], equal_nan=True) for name in ours)


def spoilt(name, change):
    arrays_of_it = reference_of(np.random.default_rng(9).normal(size=(700, 3))).to_arrays()
    arrays_of_it[name] = change(arrays_of_it[name].copy())
    return arrays_of_it


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("edges", lambda array: array[::-1]),
        ("edges", lambda array: array[:, :2]),
        ("range", lambda array: array[::-1]),
        ("counts", lambda array: -array),
        ("missing", lambda array: array * np.nan),
        ("extent", lambda array: array * [100, 1]),
        ("sample", lambda array: array[:, :1]),
        ("usual_ks", lambda array: array[:1]),
        ("usual_ks", lambda array: -array),
        ("ties", lambda array: array.astype(np.float32)),
    ],
)
def test_arrays_that_do_not_belong_together_are_refused(name, change):
    with pytest.raises(ArtifactError, match="reference of the training rows is refused"):
        Reference.from_arrays(spoilt(name, change), columns=("f0", "f1", "f2"))


# -- measures of others ---------------------------------------------------------------------------------------------


def between_means(reference, live):
    return float(np.abs(reference.mean(axis=0) - live.mean(axis=0)).max())


HALF_KS = FeatureMeasure(lambda reference, live: MEASURES["ks"].distance(reference, live) / 2)
MEANS = JointMeasure(between_means)


class BringsMeasures:
    """An extension with a measure for each feature, one for all together, and a detector."""

    from backtester_model_core.hookspecs import hookimpl

    @hookimpl
    def backtester_register(self, registry):
        registry.add_drift_measure("half_ks", HALF_KS)
        registry.add_drift_measure("means", MEANS)
        registry.add_detector("cautious", Adwin)


def test_an_extension_brings_measures_and_detectors(own_plugins):
    own_plugins.register_extension("brings", BringsMeasures)
    settings_of_it = {"measures": ["half_ks", "means"], "detector": "cautious"}
    config = ModelConfig(framework="any", monitoring=settings_of_it)
    values, at = np.random.default_rng(10).normal(size=(900, 2)), days(900)
    values[700:, 0] += 2.0
    columns = ("one", "other")
    reference = Reference.of(TrainingRows.of(columns, values[:600], at[:600]), config.monitoring)
    monitor = Monitor(config, Reference.from_arrays(reference.to_arrays(), columns=columns))

    monitor.saw_rows(at[600:], values[600:], np.zeros(300))

    found = {name for event in monitor.events for name in event.figures}
    assert found == {"one by half_ks", "all features by means"}


def test_a_joint_measure_waits_for_enough_complete_rows(own_plugins):
    own_plugins.register_extension("brings", BringsMeasures)
    config = ModelConfig(framework="any", monitoring={"measures": ["means"], "max_missing": 1.0})
    values, at = np.random.default_rng(11).normal(size=(900, 2)), days(900)
    reference = Reference.of(TrainingRows.of(("one", "other"), values[:600], at[:600]), config.monitoring)
    monitor = Monitor(config, reference)
    values[600:, 0], values[600:, 1] = np.nan, 50.0

    monitor.saw_rows(at[600:], values[600:], np.zeros(300))

    assert {event.kind for event in monitor.events} == {"data_quality"}


def test_a_name_belongs_to_one_measure(own_plugins):
    with pytest.raises(DuplicatePluginError, match="'ks' is claimed by backtester-model-core"):
        MEASURES.add("ks", JointMeasure(between_means), source="somebody")
