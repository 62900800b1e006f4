"""The domain classifier: a drift measure that sees what no single feature shows."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest

from backtester_model_core.config import ModelConfig
from backtester_model_core.monitoring import Monitor, Reference, TrainingRows
from backtester_model_core.plugins import Plugins, use_plugins
from backtester_model_sklearn import drift
from backtester_model_sklearn.drift import domain_distance

COLUMNS = ("one", "other", "third")


@pytest.fixture
def registered():
    with use_plugins(Plugins(discover=False, environ={})) as own:
        own.register_extension("sklearn-drift", drift)
        yield


def rows(n, seed, correlation=0.0):
    values = np.random.default_rng(seed).normal(size=(n, 3))
    values[:, 1] = correlation * values[:, 0] + np.sqrt(1 - correlation**2) * values[:, 1]
    return values


def test_rows_that_are_alike_cannot_be_told_apart():
    assert abs(domain_distance(rows(800, 0), rows(200, 1))) < 0.3


def test_a_shift_of_the_mean_is_its_size_in_deviations():
    """Two normal distributions of deviation one, two apart: d' is 2, of which the regularised classifier finds most."""
    live = rows(400, 1)
    live[:, 0] += 2.0

    assert 1.6 < domain_distance(rows(2000, 0), live) < 2.2


def test_rows_that_are_always_told_apart_are_not_infinitely_far():
    live = rows(100, 1) + 100.0

    assert 4 < domain_distance(rows(200, 0), live) < 10


def test_too_few_rows_for_two_folds_are_no_distance():
    assert domain_distance(rows(200, 0), rows(3, 1)) == 0.0


def test_a_column_that_does_not_vary_does_no_harm():
    reference, live = rows(400, 0), rows(100, 1)
    reference[:, 2] = live[:, 2] = 1.0

    assert np.isfinite(domain_distance(reference, live))


def test_a_correlation_that_turns_is_told_of_all_features_together(registered):
    values = np.concatenate([rows(1000, 2), rows(100, 3), rows(300, 4, correlation=0.9)])
    at = np.datetime64("2020-01-01", "ns") + np.arange(1400) * np.timedelta64(1, "D")
    config = ModelConfig(framework="any", monitoring={"measures": ["ks", "domain_classifier"]})
    reference = Reference.of(TrainingRows.of(COLUMNS, values[:1000], at[:1000]), config.monitoring)
    monitor = Monitor(config, reference)

    monitor.saw_rows(at[1000:], values[1000:], np.zeros(400))

    (event,) = monitor.events
    assert list(event.figures) == ["all features by domain_classifier"]
    assert event.at > at[1100]


def test_registering_imports_no_scikit_learn():
    program = (
        "import sys; from backtester_model_core.plugins import Plugins; from backtester_model_sklearn import drift; "
        "Plugins(discover=False, environ={}).register_extension('drift', drift); print('sklearn' in sys.modules)"
    )

    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)

    assert done.stdout.strip() == "False"
