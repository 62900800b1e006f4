"""Every field of a configuration changes what happens: for each a scenario in which two of its values differ.

A field without a scenario, and a scenario in which nothing changes, are failures: no option may be read by nobody.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd
import pydantic
import pytest

from backtester_model_core import steps
from backtester_model_core.adapter import ModelFrameworkAdapter
from backtester_model_core.config import LabelConfig, ModelConfig, parse_config
from backtester_model_core.events import Event, EventKind
from backtester_model_core.exceptions import BacktesterModelError
from backtester_model_core.factory import create_model
from backtester_model_core.monitoring import KnownOutcomes, Monitor, Reference, TrainingRows
from backtester_model_core.retraining import retraining_policy
from backtester_model_core.sources import DataRetrieval
from backtester_model_core.testing import random_bars, random_panel
from backtester_model_core.walkforward import walk_forward
from backtester_model_core.walkforward.lived import live_through

pytestmark = pytest.mark.exhaustive


# -- models that the scenarios need ------------------------------------------------------------------------


class DrawingAdapter(ModelFrameworkAdapter[Any]):
    """A model that is nothing but its seed."""

    def initialize_model(self, config):
        return None

    def train_model(self, model, features, target, *, classes=None, weight=None, validation=None, seed=None):
        return float(np.random.default_rng(seed).uniform(0.1, 0.9))

    def predict(self, model, features):
        return np.tile([1 - model, model], (len(features), 1))


class NearestAdapter(ModelFrameworkAdapter[Any]):
    """The class of the nearest training row, standardised where the configuration says so: units matter to it."""

    def initialize_model(self, config):
        return {"normalize": config.normalize_features}

    def train_model(self, model, features, target, *, classes=None, weight=None, validation=None, seed=None):
        plain = np.zeros(features.shape[1]), np.ones(features.shape[1])
        centre, width = (features.mean(axis=0), features.std(axis=0)) if model["normalize"] else plain
        return {"centre": centre, "width": width, "rows": (features - centre) / width, "target": target}

    def predict(self, model, features):
        rows = (features - model["centre"]) / model["width"]
        distance = ((rows[:, None, :] - model["rows"][None, :, :]) ** 2).sum(axis=2)
        up = model["target"][distance.argmin(axis=1)]
        return np.column_stack([1 - up, up]).astype(np.float64)


class TurningAdapter(ModelFrameworkAdapter[Any]):
    """Knows the class that is more frequent, and says the opposite once it has learned from many rows."""

    def initialize_model(self, config):
        return None

    def train_model(self, model, features, target, *, classes=None, weight=None, validation=None, seed=None):
        return {"up": 0.9 if target.mean() >= 0.5 else 0.1, "turned": len(target) > 150}

    def update_model(self, model, features, target, *, weight=None, seed=None):
        return {**model, "up": 0.5 + 0.1 * (target.mean() - 0.5)}

    def predict(self, model, features):
        up = 1 - model["up"] if model["turned"] else model["up"]
        return np.tile([1 - up, up], (len(features), 1))


@pytest.fixture
def at_hand(own_plugins):
    """All that the scenarios name is registered, for one test."""
    own_plugins.register_adapter("turning", TurningAdapter)
    own_plugins.register_adapter("drawing", DrawingAdapter)
    own_plugins.register_adapter("nearest", NearestAdapter)


# -- bars -----------------------------------------------------------------------------------------------------------


def calm():
    return random_bars(260, seed=8, momentum=0.3)


def long():
    return random_bars(760, seed=8, momentum=0.3)


def with_spread():
    return calm().assign(spread=lambda bars: bars["high"] - bars["low"] + 1.0)


def skill_that_is_lost():
    good, bad = random_bars(700, seed=3, momentum=0.6), random_bars(500, seed=4, momentum=-0.6)
    prices = ["open", "high", "low", "close"]
    bad[prices] *= float(good["close"].iloc[-1]) / 100.0
    bars = pd.concat([good, bad])
    bars.index = pd.bdate_range("2000-01-03", periods=len(bars), name="timestamp")
    return bars


def rising():
    """Bars that rise on nine days of ten."""
    bars = random_bars(500, seed=8)
    drift = np.exp(np.cumsum(np.full(500, 0.013)))
    prices = ["open", "high", "low", "close"]
    bars[prices] = bars[prices].to_numpy() * drift[:, None]
    return bars


def panel():
    return random_panel(3, 220, seed=5, momentum=0.3, lives={"S001": (0, 190)})


# -- scenarios ------------------------------------------------------------------------------------------------------

BASE: Mapping[str, Any] = {
    "framework": "least_squares",
    "lookback_period": 5,
    "confidence_threshold": 0.5,
    "features": {
        "sets": [],
        "expressions": {"r1": "close / ref(close, 1) - 1", "r5": "close / ref(close, 5) - 1"},
    },
    "validation": {"train_size": 120, "test_size": 40},
    "gate": {"mode": "off"},
}


def walked(config, bars):
    return walk_forward(config, bars())


def asked_of_features(config, bars):
    """Return what the features' computation is asked for: how it computes changes no value of it."""
    asked = {}

    def recording(expressions, panel, **options):
        asked.update(options)
        return honest(expressions, panel, **options)

    honest, steps.evaluate = steps.evaluate, recording
    try:
        walk_forward(config, bars())
    finally:
        steps.evaluate = honest
    return asked


class Alarm:
    """A watch that sees drift of features on every fortieth day, and of the concept on every ninetieth."""

    n_seen = 0

    def serve(self, learned_from):
        pass

    def observe(self, now, *, served, forecast, learned):
        self.n_seen += 1
        kinds = {40: EventKind.FEATURE_DRIFT, 90: EventKind.CONCEPT_DRIFT}
        rings = [kind for every, kind in kinds.items() if self.n_seen % every == 0]
        return [Event(now, kind, "it rings", figures={"n_since": 30.0}) for kind in rings]


def watched(config, bars):
    """The instants of the trainings that a watch brings about, and the rows that each learns from."""
    model = create_model(config)
    lived = live_through(model, model.prepare(bars()), retraining_policy(config), watch=Alarm())
    trained = [window for window in lived.windows if window.trained_at is None]
    return [(str(window.fit_at), len(window.train_rows)) for window in trained]


def cross_validated(config, bars):
    return create_model(config).cross_validate(bars())


def drifting():
    """Rows of two features: one stands still for a while and then leaves, another is missing for a while."""
    rows = np.random.default_rng(0).normal(size=(900, 2))
    rows[620:650, 0] = rows[620, 0]
    rows[700:, 0] += 1.0
    rows[640:644, 1] = np.nan
    rows[850, 1] = 6.0
    return rows


def monitored(config, rows):
    """The events of rows that pass a monitor, the first 600 being what its model was trained on."""
    values = rows()
    at = np.datetime64("2020-01-01", "ns") + np.arange(len(values)) * np.timedelta64(1, "D")
    trained_on = TrainingRows.of(("one", "other"), values[:600], at[:600])
    monitor = Monitor(config, Reference.of(trained_on, config.monitoring))
    for row in range(600, 900):
        monitor.saw(at[row], values[row], values[row, 0], 0.002)
        wrong = float(row > 750)
        known = KnownOutcomes(at[[row]], at[[row]], np.array([0.6]), np.array([1.0 - wrong]), 0.5)
        monitor.learned(at[row], known)
    return monitor.frame


def of_kind(kind):
    return lambda events: events[events["kind"] == kind][["at", "message"]].to_csv()


def retrieved(config, bars):
    """The bars that a configuration names, or the refusal that it ends in."""
    try:
        return DataRetrieval(config.data_config).get_data()
    except BacktesterModelError as error:
        return type(error).__name__


@dataclass(frozen=True)
class Scenario:
    """Two values of one field, and where the difference shows.

    Attributes:
        one: A value.
        other: Another.
        look: From what ran to what must differ.
        given: What else is configured, in both.
        bars: What it runs on.
        run: What runs.
    """

    one: Any
    other: Any
    look: Callable[[Any], Any] = lambda seen: seen
    given: Mapping[str, Any] = field(default_factory=dict)
    bars: Callable[[], pd.DataFrame] = calm
    run: Callable[[ModelConfig, Callable[[], pd.DataFrame]], Any] = walked


def expected(result):
    return result.predictions["expected"]


def outcome(result):
    return result.predictions["outcome"]


def label_end(result):
    return result.predictions["label_end"]


def fits(result):
    return result.windows["fit_at"]


def trained(result):
    return result.windows["n_train"]


def net(result):
    return result.returns["signals"]


def acted(result):
    return result.funnel["acted"]


def n_strong(result):
    return int(result.signals["signal"].isin(["STRONG_BUY", "STRONG_SELL"]).sum())


def scores(result):
    return result.signals["score"]


def weights(result):
    return result.signals["target_weight"]


def reasons(result):
    return result.signals["reason"].value_counts().sort_index()


def merged(base: Mapping[str, Any], change: Mapping[str, Any]) -> dict[str, Any]:
    """Lay one nested mapping over another; a group of the second changes only what it names."""
    together = dict(base)
    for name, value in change.items():
        nested = isinstance(value, Mapping) and isinstance(base.get(name), Mapping) and name != "expressions"
        together[name] = merged(base[name], value) if nested else value
    return together


def trainings(result):
    return list(result.events.loc[result.events["kind"] == "trained", "at"])


def happened(result):
    return list(result.events["message"])


LONGER = {"prediction_horizon": 3}
ALWAYS = {"retraining": {"policy": "accuracy"}, "retrain_threshold": 1.0}
IN_TURN = {
    "framework": "turning",
    "retraining": {"policy": {"any": ["schedule"]}},
    "validation": {"train_size": 120, "test_size": 60},
}

SCENARIOS: dict[str, Scenario] = {
    "model_name": Scenario("one", "other", lambda result: result.summary()["model_name"]),
    "model_type": Scenario("classification", "regression", lambda result: list(result.predictions.columns)),
    "framework": Scenario("least_squares", "nearest", expected),
    "lookback_period": Scenario(5, 30, lambda result: result.funnel["complete_features"]),
    "prediction_horizon": Scenario(1, 3, label_end),
    "train_test_split": Scenario(0.5, 0.8, fits, given={"validation": {"train_size": None, "test_size": 40}}),
    "validation_split": Scenario(
        0.0,
        0.4,
        reasons,
        given={"model_type": "regression", "validation": {"train_size": 600, "test_size": 100}},
        bars=long,
    ),
    "signal_threshold": Scenario(0.5, 0.55, acted),
    "confidence_threshold": Scenario(0.5, 0.55, acted),
    "strong_threshold": Scenario(0.55, 0.9, n_strong),
    "enable_monitoring": Scenario(True, False, lambda result: list(result.windows.columns)),
    "retrain_threshold": Scenario(
        0.0,
        1.0,
        lambda result: int(result.windows["retrain_suggested"].sum()),
        given={"validation": {"train_size": 300, "test_size": 100}},
        bars=skill_that_is_lost,
    ),
    "target_column": Scenario("close", "spread", outcome, bars=with_spread),
    "feature_columns": Scenario(None, ["r1"], expected),
    "normalize_features": Scenario(
        True,
        False,
        expected,
        given={
            "framework": "nearest",
            "features": {"sets": [], "expressions": {"r1": "close / ref(close, 1)", "level": "close"}},
        },
    ),
    "cv_folds": Scenario(3, 5, len, run=cross_validated),
    "random_state": Scenario(1, 2, expected, given={"framework": "drawing"}),
    "pooling": Scenario("pooled", "per_symbol", expected, bars=panel),
    "features.sets": Scenario([], ["basic"], expected),
    "features.expressions": Scenario(
        {"r1": "close / ref(close, 1) - 1"}, {"r1": "close / ref(close, 2) - 1"}, expected
    ),
    "features.engine": Scenario("auto", "python", lambda asked: asked["engine"], run=asked_of_features),
    "features.n_threads": Scenario(1, 2, lambda asked: asked["n_threads"], run=asked_of_features),
    "validation.scheme": Scenario("expanding", "rolling", trained),
    "validation.train_size": Scenario(120, "150D", fits),
    "validation.test_size": Scenario(40, 60, fits),
    "validation.retrain_delay": Scenario(None, "5D", lambda result: result.windows["serves_from"]),
    "validation.embargo": Scenario(0, 10, lambda folds: folds["n_train"], run=cross_validated),
    "calibration.method": Scenario("none", "sigmoid", scores, bars=long),
    "calibration.coverage": Scenario(
        0.5,
        0.9,
        lambda result: result.predictions["interval_high"],
        given={"model_type": "regression"},
        bars=long,
    ),
    "thresholds.entry": Scenario("fixed", "cost", acted, bars=long),
    "thresholds.quantile": Scenario(0.5, 0.9, acted, given={"thresholds": {"entry": "quantile"}}, bars=long),
    "thresholds.hysteresis": Scenario(0.0, 0.8, acted, given={"confidence_threshold": 0.55}),
    "sizing.method": Scenario("unit", "volatility", weights),
    "sizing.kelly_fraction": Scenario(0.01, 0.02, weights, given={"sizing": {"method": "kelly"}}, bars=long),
    "sizing.target_volatility": Scenario(0.02, 0.05, weights, given={"sizing": {"method": "volatility"}}),
    "sizing.max_weight": Scenario(0.5, 1.0, weights),
    "sizing.max_gross": Scenario(0.5, 1.0, weights),
    "sizing.selection": Scenario("all", "top_bottom", acted, given={"sizing": {"n_selected": 1}}, bars=panel),
    "sizing.n_selected": Scenario(1, 2, acted, given={"sizing": {"selection": "top_bottom"}}, bars=panel),
    "costs.commission_bps": Scenario(0.0, 10.0, net),
    "costs.half_spread_bps": Scenario(0.0, 10.0, net),
    "costs.slippage_bps": Scenario(0.0, 10.0, net),
    "costs.borrow_rate": Scenario(0.0, 0.5, net),
    "costs.risk_free_rate": Scenario(0.0, 0.5, net, given={"confidence_threshold": 0.55}),
    "costs.bars_per_year": Scenario(
        252, 365, lambda result: result.return_metrics["signals"]["annualised_volatility"]
    ),
    "costs.rebalance": Scenario("every_bar", "on_change", net, bars=panel),
    "costs.holding": Scenario("latest", "tranches", net, given=LONGER),
    "gate.mode": Scenario("off", "block", reasons),
    "gate.planned_windows": Scenario(
        1,
        10_000,
        lambda result: result.windows["gate_open"].sum(),
        given={"gate": {"mode": "block"}},
        bars=skill_that_is_lost,
    ),
    "monitoring.window": Scenario(40, 60, of_kind("feature_drift"), bars=drifting, run=monitored),
    "monitoring.check_every": Scenario(10, 20, of_kind("feature_drift"), bars=drifting, run=monitored),
    "monitoring.measures": Scenario([], ["ks"], of_kind("feature_drift"), bars=drifting, run=monitored),
    "monitoring.drift_level": Scenario(1e-9, 0.1, of_kind("feature_drift"), bars=drifting, run=monitored),
    "monitoring.persistence": Scenario(1, 4, of_kind("feature_drift"), bars=drifting, run=monitored),
    "monitoring.detector": Scenario("adwin", "ddm", of_kind("concept_drift"), bars=drifting, run=monitored),
    "monitoring.live_window": Scenario(50, 100, of_kind("live_metrics"), bars=drifting, run=monitored),
    "monitoring.max_missing": Scenario(0.1, 0.5, of_kind("data_quality"), bars=drifting, run=monitored),
    "monitoring.stale_after": Scenario(10, 50, of_kind("data_quality"), bars=drifting, run=monitored),
    "monitoring.range_margin": Scenario(0.2, 2.0, of_kind("data_quality"), bars=drifting, run=monitored),
    "monitoring.latency_limit": Scenario(
        None,
        0.001,
        lambda events: len(events[events["kind"] == "slow_prediction"]),
        bars=drifting,
        run=monitored,
    ),
    "retraining.policy": Scenario("schedule", "never", trainings),
    "retraining.every": Scenario(None, 60, trainings),
    "retraining.max_age": Scenario(30, 60, trainings, given={"retraining": {"policy": "age"}}),
    "retraining.skill_window": Scenario(
        30,
        300,
        trainings,
        given={"retraining": {"policy": "skill"}, "validation": {"train_size": 300, "test_size": 100}},
        bars=skill_that_is_lost,
    ),
    "retraining.drift_kinds": Scenario(
        ["feature_drift"],
        ["concept_drift"],
        given={"retraining": {"policy": "drift"}},
        bars=long,
        run=watched,
    ),
    "retraining.n_events": Scenario(1, 2, given={"retraining": {"policy": "drift"}}, bars=long, run=watched),
    "retraining.cooldown": Scenario(0, 60, trainings, given=ALWAYS),
    "retraining.min_new_labels": Scenario(0, 60, trainings, given=ALWAYS),
    "retraining.min_after_change": Scenario(
        None, 40, given={"retraining": {"policy": "drift"}}, bars=long, run=watched
    ),
    "retraining.max_trainings": Scenario(None, 2, trainings, given=ALWAYS),
    "retraining.expires_after": Scenario(None, 20, reasons),
    "retraining.challenge": Scenario("off", "if_better", trainings, given=IN_TURN, bars=rising),
    "retraining.challenge_sessions": Scenario(
        40, 50, happened, given=merged(IN_TURN, {"retraining": {"challenge": "if_better"}}), bars=rising
    ),
    "retraining.rollback_sessions": Scenario(0, 60, happened, given=IN_TURN, bars=rising),
    "retraining.warm_start": Scenario(False, True, expected, given=IN_TURN, bars=rising),
    "data_config.source": Scenario(
        "csv", "parquet", run=retrieved, given={"data_config": {"path": "one.csv"}}
    ),
    "data_config.path": Scenario("one.csv", "two.csv", run=retrieved),
    "data_config.symbols": Scenario(["A"], ["B"], run=retrieved, given={"data_config": {"path": "both.csv"}}),
    "data_config.start": Scenario(
        "2015-01-05", "2015-02-02", run=retrieved, given={"data_config": {"path": "one.csv"}}
    ),
    "data_config.end": Scenario(
        "2015-02-02", "2015-03-02", run=retrieved, given={"data_config": {"path": "one.csv"}}
    ),
    "data_config.frequency": Scenario("1D", "1h", run=retrieved, given={"data_config": {"path": "one.csv"}}),
    "data_config.bar_stamp": Scenario("close", "open", fits),
}


def seen_with(config_class, path, value, scenario):
    """What a scenario shows with one value of a field."""
    *groups, name = path.split(".")
    change: dict[str, Any] = {name: value}
    for group in reversed(groups):
        change = {group: change}
    config = parse_config(config_class, merged(merged(BASE, scenario.given), change))
    return scenario.look(scenario.run(config, scenario.bars))


def same(one, other):
    return one.equals(other) if isinstance(one, (pd.DataFrame, pd.Series)) else one == other


def fields_of(config_class, above=""):
    """Every field of a configuration, those of its groups by their path; the label's are test_labels_fields'."""
    for name, info in config_class.model_fields.items():
        kind = info.annotation
        if kind is LabelConfig:
            continue
        if isinstance(kind, type) and issubclass(kind, pydantic.BaseModel):
            yield from fields_of(kind, f"{above}{name}.")
        else:
            yield f"{above}{name}"


@pytest.fixture
def files(tmp_path, monkeypatch):
    """Files of bars in the working directory."""
    monkeypatch.chdir(tmp_path)
    one, two = random_bars(60, seed=1), random_bars(60, seed=2)
    one.to_csv("one.csv")
    two.to_csv("two.csv")
    pd.concat({"A": one, "B": two}, names=["symbol"]).reset_index().to_csv("both.csv", index=False)


@pytest.mark.parametrize(("path", "scenario"), SCENARIOS.items(), ids=SCENARIOS)
def test_a_field_changes_what_happens(at_hand, files, path, scenario):
    one = seen_with(ModelConfig, path, scenario.one, scenario)
    other = seen_with(ModelConfig, path, scenario.other, scenario)

    assert not same(one, other)


@pytest.mark.parametrize(
    "path", ["framework", "costs.rebalance", "validation_split", "cv_folds", "data_config.path"]
)
def test_the_same_value_changes_nothing(at_hand, files, path):
    """Else the differences above could be chance."""
    scenario = SCENARIOS[path]

    assert same(
        seen_with(ModelConfig, path, scenario.one, scenario),
        seen_with(ModelConfig, path, scenario.one, scenario),
    )


def test_every_field_has_a_scenario():
    assert sorted(SCENARIOS) == sorted(fields_of(ModelConfig))


class WithIdleField(ModelConfig):
    """A configuration with an option that nobody reads."""

    idle: int = 1


def test_a_field_that_nobody_reads_is_found(at_hand):
    """The two checks above go red for a planted field: it has no scenario, and none could show a difference."""
    scenario = Scenario(1, 2, lambda result: (expected(result), net(result), result.windows, result.signals))

    one, other = (seen_with(WithIdleField, "idle", value, scenario) for value in (1, 2))

    assert sorted(set(fields_of(WithIdleField)) - set(SCENARIOS)) == ["idle"]
    assert all(same(*pair) for pair in zip(one, other, strict=True))
