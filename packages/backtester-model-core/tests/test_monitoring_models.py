"""Monitoring around a model and inside a walk-forward: the hooks, the artefact, the events, and nothing when off."""

from __future__ import annotations

import numpy as np
import pytest

from backtester_model_core.artifacts import read_saved
from backtester_model_core.exceptions import ArtifactError
from backtester_model_core.factory import create_model
from backtester_model_core.model import BaseModel
from backtester_model_core.monitoring import Monitor
from backtester_model_core.saving import CORE_ARRAYS, to_artifact
from backtester_model_core.testing import find_monitoring_leaks, random_bars, random_panel
from backtester_model_core.walkforward import walk_forward, watching


def changed(config, **fields):
    return type(config).model_validate({**config.model_dump(), **fields})


def restless():
    """Bars whose volatility trebles late, and with them the features."""
    calm, wild = random_bars(500, seed=1), random_bars(220, seed=2)
    close = np.concatenate([calm["close"], wild["close"] ** 3 / 100.0**3 * calm["close"].iloc[-1]])
    bars = random_bars(720, seed=3)
    bars["close"] = close
    bars["open"] = np.concatenate([[100.0], close[:-1]])
    bars["high"] = bars[["open", "close"]].max(axis=1) * 1.001
    bars["low"] = bars[["open", "close"]].min(axis=1) * 0.999
    return bars


WATCHING = {"train_size": 300, "test_size": 60}


# -- the hooks ------------------------------------------------------------------------------------------------------


def test_a_trained_model_carries_what_it_was_trained_on(linear_config):
    model = create_model(linear_config)
    bars = random_bars(400)
    assert model.reference is None

    model.train_dataset(model.prepare(bars))

    dataset = model.prepare(bars)
    assert model.reference is model.reference
    assert model.reference.columns == dataset.columns
    assert model.reference.n_times == 400
    assert model.reference.missing[0] == pytest.approx(4 / 400)  # four bars have too little history


def test_predictions_are_timed(linear_config):
    model = create_model(linear_config)
    dataset = model.prepare(random_bars(300))
    model.train_dataset(dataset)
    assert model.latency is None

    for _ in range(3):
        model.predict_dataset(dataset)

    assert len(model.latency) == 3
    assert 0 < model.latency.figures()["p50"] < 10


def test_a_training_that_fails_leaves_the_reference_as_it_was(linear_config, own_plugins):
    model = create_model(linear_config)
    dataset = model.prepare(random_bars(300))
    model.train_dataset(dataset)
    before = model.watched_rows

    with pytest.raises(Exception, match="class"):
        model.train_dataset(dataset.take(dataset.target == 1.0))

    assert model.watched_rows is before


def test_off_is_off(linear_config, monkeypatch):
    monkeypatch.setattr(watching, "watch_windows", None)
    model = create_model(changed(linear_config, enable_monitoring=False))
    dataset = model.prepare(random_bars(300))

    model.train_dataset(dataset)
    model.predict_dataset(dataset)

    assert (model.reference, model.latency) == (None, None)
    assert not [name for name in arrays_of(model) if name.startswith("reference")]


# -- the artefact ---------------------------------------------------------------------------------------------------


def arrays_of(model):
    from backtester_model_core.artifacts import unpack_arrays

    return unpack_arrays(to_artifact(model).files[CORE_ARRAYS], name=CORE_ARRAYS)


def test_a_saved_model_keeps_its_reference(linear_config, tmp_path):
    model = create_model(linear_config)
    model.train_dataset(model.prepare(random_bars(400)))

    again = BaseModel.load(model.save(tmp_path))

    ours, theirs = model.reference.to_arrays(), again.reference.to_arrays()
    assert ours.keys() == theirs.keys()
    assert all(np.array_equal(ours[name], theirs[name], equal_nan=True) for name in ours)
    assert to_artifact(again).files == read_saved(tmp_path).files


def test_a_loaded_model_is_monitored_like_the_one_that_was_saved(linear_config, tmp_path):
    model = create_model(linear_config)
    bars = restless()
    dataset = model.prepare(bars)
    model.train_dataset(dataset.take(np.arange(400)))
    loaded = BaseModel.load(model.save(tmp_path))

    events = []
    for each in (model, loaded):
        monitor = Monitor(each.config, each.reference)
        served = dataset.take(np.arange(400, 720))
        monitor.saw_rows(served.known_at, served.values, each.predict_dataset(served).expected)
        events.append(monitor.events)

    assert events[0] == events[1] != []


def test_a_reference_that_was_tampered_with_is_refused(linear_config):
    from backtester_model_core.artifacts import pack_arrays
    from backtester_model_core.saving import _unpack_state

    model = create_model(linear_config)
    model.train_dataset(model.prepare(random_bars(400)))
    arrays = arrays_of(model)
    arrays["reference_edges"] = arrays["reference_edges"][::-1]

    with pytest.raises(ArtifactError, match="reference of the training rows is refused"):
        _unpack_state({CORE_ARRAYS: pack_arrays(arrays)}, columns=model.columns)


# -- inside a walk-forward ------------------------------------------------------------------------------------------


def test_a_walk_forward_tells_of_drift_when_it_happened(linear_config):
    bars = restless()
    result = walk_forward(changed(linear_config, validation=WATCHING), bars)

    drift = result.events[result.events["kind"] == "feature_drift"]

    assert len(drift) > 0
    assert (drift["at"] > bars.index[500]).all()
    windows = result.windows.loc[drift["window"]]
    assert (drift["at"].to_numpy() >= windows["serves_from"].to_numpy()).all()
    assert (drift["at"].to_numpy() <= windows["serves_to"].to_numpy()).all()


def test_a_panel_is_watched_over_all_its_symbols(linear_config):
    bars = random_panel(4, 700, seed=5)
    late = bars.index.get_level_values("timestamp") > bars.index.get_level_values("timestamp")[4 * 500]
    bars.loc[late, "volume"] *= 30.0
    config = changed(
        linear_config,
        validation=WATCHING,
        features={"sets": (), "expressions": {"r1": "close / ref(close, 1) - 1", "size": "volume"}},
    )

    events = walk_forward(config, bars).events
    drift = events[events["kind"] == "feature_drift"]

    assert len(drift) == 1
    assert "size (" in drift["message"].iloc[0]


def test_monitoring_changes_no_signal(linear_config):
    bars = restless()

    on, off = (
        walk_forward(changed(linear_config, validation=WATCHING, enable_monitoring=flag), bars)
        for flag in (True, False)
    )

    assert on.signals.equals(off.signals)
    assert on.predictions.equals(off.predictions)
    assert not set(off.events["kind"]) & {"feature_drift", "prediction_drift", "data_quality", "live_metrics"}


def test_what_monitoring_says_is_there_without_later_bars(linear_config):
    config = changed(linear_config, validation=WATCHING, monitoring={"live_window": 100})

    kinds = set(walk_forward(config, restless()).events["kind"])

    assert {"feature_drift", "live_metrics"} <= kinds
    assert find_monitoring_leaks(config, restless()) == []


def test_a_monitor_that_peeks_at_rows_is_caught(linear_config, monkeypatch):
    """Each look is taken as if it had come a hundred bars earlier."""

    class Peeking(Monitor):
        def _say(self, at, *told):
            super()._say(at - np.timedelta64(100, "D"), *told)

    monkeypatch.setattr(watching, "Monitor", Peeking)
    config = changed(linear_config, validation=WATCHING)

    leaks = find_monitoring_leaks(config, restless())

    assert {leak.check for leak in leaks} == {"monitoring"}
    assert "feature_drift" in {leak.column for leak in leaks}


def test_a_walk_forward_that_hands_over_outcomes_early_is_refused(linear_config, monkeypatch):
    """The monitor itself goes red: it compares when an outcome may be used with the present."""
    from backtester_model_core.exceptions import EvaluationError

    class Early(watching._Waiting):
        def known_by(self, now):
            return super().known_by(now + np.timedelta64(30, "D"))

    monkeypatch.setattr(watching, "_Waiting", Early)

    with pytest.raises(EvaluationError, match="outcomes are not known at"):
        walk_forward(changed(linear_config, validation=WATCHING), restless())
