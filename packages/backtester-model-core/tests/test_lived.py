"""A walk-forward whose trainings are decided as it goes: who serves when, on what was known, and what is said."""

import json
from dataclasses import dataclass, field

import numpy as np
import pandas as pd
import pytest

from backtester_model_core.config import ModelConfig, parse_config
from backtester_model_core.events import Event, EventKind
from backtester_model_core.exceptions import ModelError
from backtester_model_core.factory import create_model
from backtester_model_core.retraining import Evidence, Trigger, retraining_policy
from backtester_model_core.testing import (
    EchoAdapter,
    find_retraining_leaks,
    find_walk_forward_leaks,
    random_bars,
    random_panel,
)
from backtester_model_core.walkforward import walk_forward
from backtester_model_core.walkforward.generations import Sessions
from backtester_model_core.walkforward.lived import live_through

pytestmark = pytest.mark.exhaustive


def retrained(config, **fields):
    """Return a configuration with another ``retraining``, checked; other groups by their name."""
    values = config.model_dump()
    others = {name: fields.pop(name) for name in list(fields) if name in values}
    for name, value in others.items():
        values[name] = {**values[name], **value} if isinstance(value, dict) else value
    return parse_config(type(config), {**values, "retraining": fields})


def files_of(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}


def lived_events(result, *kinds):
    return result.events[result.events["kind"].isin(kinds)]


@pytest.mark.parametrize("bars", [random_bars(300, seed=8), random_panel(3, 260, lives={"S001": (20, 200)})])
@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"prediction_horizon": 5, "model_type": "regression"},
        {"pooling": "per_symbol", "validation": {"scheme": "rolling"}},
        {"validation": {"retrain_delay": "3D"}, "gate": {"mode": "warn"}},
    ],
)
def test_a_schedule_that_is_lived_is_the_schedule_that_is_planned(linear_config, bars, fields):
    planned = walk_forward(retrained(linear_config, **fields), bars)

    lived = walk_forward(retrained(linear_config, policy={"any": ["schedule"]}, **fields), bars)

    pd.testing.assert_frame_equal(lived.predictions, planned.predictions)
    pd.testing.assert_frame_equal(lived.signals, planned.signals)
    pd.testing.assert_frame_equal(lived.windows, planned.windows)


# -- policies and models that the tests need ------------------------------------------------------------------------


@dataclass
class On:
    """A policy that is due at given sessions, and keeps what it was asked with."""

    days: tuple[pd.Timestamp, ...]
    asked: list[Evidence] = field(default_factory=list)

    def due(self, evidence):
        self.asked.append(evidence)
        return Trigger("it is the day") if pd.Timestamp(evidence.now) in self.days else None


class Turning(EchoAdapter):
    """Knows the class that is more frequent, and says the opposite once it has learned from many rows."""

    config_class = ModelConfig

    def train_model(self, model, features, target, *, classes=None, weight=None, validation=None, seed=None):
        up = 0.8 if target.mean() >= 0.5 else 0.2
        return 1 - up if len(target) > 150 else up

    def predict(self, model, features):
        return np.tile([1 - model, model], (len(features), 1))


class Counting(EchoAdapter):
    """Foresees one thousandth of the rows that it has learned from, whatever they say."""

    config_class = ModelConfig

    def train_model(self, model, features, target, *, classes=None, weight=None, validation=None, seed=None):
        return (len(target),)

    def update_model(self, model, features, target, *, weight=None, seed=None):
        return (*model, len(target))

    def predict(self, model, features):
        up = sum(model) / 1000
        return np.tile([1 - up, up], (len(features), 1))


@pytest.fixture
def bars():
    return random_bars(300, seed=8)


@pytest.fixture
def rising():
    """Bars that rise nine days in ten, so that whoever says so is right."""
    bars = random_bars(400, seed=8)
    prices = ["open", "high", "low", "close"]
    bars[prices] = bars[prices].to_numpy() * np.exp(0.013 * np.arange(400))[:, None]
    return bars


@pytest.fixture
def turning(own_plugins, linear_config):
    own_plugins.register_adapter("turning", Turning)
    return linear_config.model_copy(update={"framework": "turning"})


@pytest.fixture
def counting(own_plugins, linear_config):
    own_plugins.register_adapter("counting", Counting)
    return linear_config.model_copy(update={"framework": "counting"})


def flipping(seed=0):
    """Momentum that turns into its opposite at bar 500."""
    first, second = (
        random_bars(500, seed=seed, momentum=0.5),
        random_bars(400, seed=seed + 100, momentum=-0.5),
    )
    prices = ["open", "high", "low", "close"]
    second[prices] *= float(first["close"].iloc[-1]) / 100.0
    both = pd.concat([first, second])
    both.index = pd.bdate_range("2000-01-03", periods=len(both), name="timestamp")
    return both


def learned_rows(result):
    """By served bar, how many rows the counting model that served it had learned from."""
    return (result.predictions["expected"] * 1000).round().astype(int)


# -- who serves when ------------------------------------------------------------------------------------------------


def test_never_trains_once_and_its_policy_is_set_anew_every_test_size(linear_config, bars):
    result = walk_forward(retrained(linear_config, policy="never"), bars)

    assert (result.events["kind"] == "trained").sum() == 1
    assert list(result.windows["n_served"]) == [40, 40, 40, 40, 20]
    assert list(result.windows["fit_at"]) == [bars.index[at] for at in (119, 159, 199, 239, 279)]
    assert set(result.windows["n_train"]) == {120 - 5 - 2}
    assert result.predictions.index.equals(bars.index[120:])


def test_trigger_trains_at_its_session_and_serves_from_the_next(counting, bars):
    result = walk_forward(counting, bars, policy=On((bars.index[150],)))

    rows = learned_rows(result)
    # lookback_period 5: rows 0 to 3 are incomplete, and r5 wants a fifth bar before; labels end two bars later
    assert set(rows.iloc[:31]) == {120 - 5 - 2}
    assert set(rows.iloc[31:]) == {151 - 5 - 2}
    assert list(result.events.query("kind == 'trained'")["at"]) == [bars.index[119], bars.index[150]]
    assert list(result.windows["serves_from"])[:2] == [bars.index[120], bars.index[151]]


def test_new_model_waits_for_its_training_while_the_old_one_serves(counting, bars):
    """Session 149 is a Wednesday: five days later is Monday, two sessions of the old model in between."""
    config = counting.model_copy(
        update={"validation": counting.validation.model_copy(update={"retrain_delay": "5D"})}
    )
    policy = On((bars.index[149], bars.index[150], bars.index[151]))

    result = walk_forward(config, bars, policy=policy)
    rows = learned_rows(result)
    served_from = result.predictions.index[rows.diff().fillna(0) != 0][0]

    assert bars.index[149].day_name() == "Wednesday"
    assert served_from == bars.index[152]
    assert served_from - bars.index[149] == pd.Timedelta(days=5)
    assert rows.nunique() == 2  # while a model is in training nobody asks for another
    assert bars.index[150] not in [pd.Timestamp(evidence.now) for evidence in policy.asked]


def test_rolling_scheme_keeps_the_length_of_the_training_window(counting, bars):
    config = retrained(counting, policy="never", validation={"scheme": "rolling"})

    result = walk_forward(config, bars, policy=On((bars.index[200],)))

    assert learned_rows(result).iloc[-1] == 120 - 2


def test_warm_start_goes_on_from_the_rows_that_were_known(counting, bars):
    config = retrained(counting, warm_start=True)

    result = walk_forward(config, bars, policy=On((bars.index[150], bars.index[180])))

    assert set(learned_rows(result).iloc[-100:]) == {181 - 5 - 2}  # none twice, none left out
    assert list(result.windows["n_train"])[-1] == 181 - 5 - 2
    share = result.predictions["baseline"].iloc[-1]
    rises = bars["open"].shift(-2) / bars["open"].shift(-1) > 1
    assert share == pytest.approx(rises.iloc[5 : 181 - 2].mean())


def test_warm_start_of_an_adapter_that_cannot_is_refused(linear_config, bars):
    with pytest.raises(ModelError, match=r"retraining\.warm_start = false"):
        walk_forward(retrained(linear_config, warm_start=True), bars, policy=On((bars.index[150],)))


def test_a_training_that_is_refused_is_tried_again_after_test_size(linear_config):
    bars = random_bars(300, seed=9)
    ramp = np.concatenate([np.linspace(1.0, 40.0, 130), np.full(170, 40.0)])
    bars = bars.assign(**{name: bars[name] * ramp for name in ("open", "high", "low", "close")})
    config = retrained(linear_config, policy="drift", validation={"train_size": 60})

    result = walk_forward(config, bars)

    assert list(result.events.query("kind == 'refused'")["at"]) == [bars.index[59]]
    triggered = result.events.query("kind == 'retrain_triggered'")
    assert list(triggered["at"]) == [bars.index[99]]
    assert list(triggered["message"]) == ["the last training was refused"]
    assert (result.signals["reason"].iloc[60:100] == "one_class").all()
    assert (result.signals["reason"].iloc[100:] != "one_class").all()


def test_rows_of_sessions_are_those_of_their_instants_in_row_order(linear_config):
    dataset = create_model(linear_config).prepare(random_panel(3, 40, lives={"S001": (10, 30)}))
    sessions = Sessions.of(dataset)

    for first, stop in ((0, 1), (7, 12), (0, len(sessions)), (len(sessions) - 1, len(sessions)), (5, 5)):
        instants = sessions.known_at[first:stop]
        assert list(sessions.rows(first, stop)) == list(np.flatnonzero(np.isin(dataset.known_at, instants)))


# -- the gate -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("test_size", [40, "56D"])
@pytest.mark.parametrize("every", [10, 25])
def test_gate_counts_its_plan_in_sessions_however_often_a_policy_trains(linear_config, test_size, every):
    """Over 56 days there are forty weekdays: five windows of those are the plan, not five of ten sessions."""
    config = retrained(
        linear_config,
        policy={"any": ["schedule"]},
        every=every,
        validation={"test_size": test_size},
        gate={"mode": "warn", "planned_windows": 5},
    )

    result = walk_forward(config, random_bars(400, seed=3, momentum=0.2))
    windows, outcomes_at = result.windows, result.predictions["label_end"]
    n_scored = np.array([(outcomes_at <= fit_at).sum() for fit_at in windows["fit_at"]])
    threshold, by_the_piece = (
        1.96 * np.sqrt(np.maximum(1, 5 * length / np.maximum(n_scored, 1))) for length in (40, every)
    )
    statistic = windows["gate_statistic"].to_numpy()

    assert list(windows["gate_open"]) == list((n_scored >= 30) & (statistic >= threshold))
    assert ((n_scored >= 30) & (statistic >= by_the_piece) & ~windows["gate_open"]).any()
    assert windows["gate_open"].any()


# -- bounds ---------------------------------------------------------------------------------------------------------


def test_cooldown_withholds_and_says_so_once(counting, bars):
    config = retrained(counting, cooldown=10)
    policy = On(tuple(bars.index[150:165]))

    result = walk_forward(config, bars, policy=policy)
    triggered = lived_events(result, "retrain_triggered")
    withheld = lived_events(result, "retrain_withheld")

    assert list(triggered["at"]) == [bars.index[150], bars.index[161]]
    assert list(withheld["at"]) == [bars.index[151], bars.index[162]]
    assert withheld["message"].iloc[0] == "it is the day, but the cooldown of 10 sessions is not over"


def test_budget_ends_all_training(counting, bars):
    config = retrained(counting, max_trainings=2)

    result = walk_forward(config, bars, policy=On(tuple(bars.index[150:])))

    assert (result.events["kind"] == "trained").sum() == 2
    assert "the budget of 2 trainings is spent" in lived_events(result, "retrain_withheld")["message"].iloc[0]


def test_new_labels_are_counted_from_the_last_training(counting, bars):
    config = retrained(counting, min_new_labels=25)

    result = walk_forward(config, bars, policy=On(tuple(bars.index[120:])))

    fits = [bars.index.get_loc(at) for at in result.events.query("kind == 'trained'")["at"]]
    assert list(np.diff(fits)) == [25] * 7  # one label a session


# -- champion and challenger ----------------------------------------------------------------------------------------


def test_challenger_that_is_better_is_promoted_and_learns_all_rows(linear_config):
    """Well after the change the head holds bars of the new world too, and beats a model that has none of them."""
    bars = flipping()
    config = retrained(linear_config, challenge="if_better", validation={"train_size": 400})

    result = walk_forward(config, bars, policy=On((bars.index[850],)))
    promoted = lived_events(result, "challenger_promoted")
    figures = json.loads(promoted["figures"].iloc[0])

    assert list(promoted["at"]) == [bars.index[850]]
    assert figures["n"] == 63
    assert figures["lower"] > 0
    assert result.windows["n_train"].iloc[-1] == 851 - 5 - 2


def test_challenger_that_is_worse_is_not_promoted(turning, rising):
    config = retrained(turning, challenge="unless_worse", policy="never")

    result = walk_forward(config, rising, policy=On((rising.index[260],)))
    kept = lived_events(result, "champion_kept")
    figures = json.loads(kept["figures"].iloc[0])

    # labels are known two bars later: bars 196 to 258 are judged, and the head of 195 - 5 - 2 rows turns
    assert figures["n"] == 63
    assert figures["upper"] < 0
    assert (result.predictions["expected"] == 0.8).all()
    assert (result.events["kind"] == "trained").sum() == 1


def test_challenger_without_labelled_rows_is_judged_by_the_rule(counting, bars):
    first = On((bars.index[120],))  # nothing that the first model served is labelled yet

    lenient = walk_forward(retrained(counting, challenge="unless_worse"), bars, policy=first)
    strict = walk_forward(retrained(counting, challenge="if_better"), bars, policy=first)

    assert len(lived_events(lenient, "challenger_promoted")) == 1
    assert len(lived_events(strict, "champion_kept")) == 1


def test_promoted_model_that_does_worse_is_rolled_back(turning, rising):
    """The second model has learned from more than 150 rows, and says the opposite of what happens."""
    config = retrained(turning, rollback_sessions=60, policy="never")

    result = walk_forward(config, rising, policy=On((rising.index[200],)))
    back = lived_events(result, "rolled_back")
    at = rising.index.get_loc(back["at"].iloc[0])
    expected = result.predictions["expected"]

    # the 30th outcome of the rows from 201 on is known at the close of 201 + 29 + 2
    assert at == 232
    assert json.loads(back["figures"].iloc[0])["n"] == 30
    assert set(expected.loc[rising.index[201] : rising.index[232]].round(9)) == {0.2}
    assert set(expected.loc[rising.index[233] :]) == {0.8}
    assert (result.events["kind"] == "trained").sum() == 2


def test_model_that_is_put_back_is_as_old_as_its_fit(turning, rising):
    config = retrained(turning, rollback_sessions=60, expires_after=150, policy="never")

    result = walk_forward(config, rising, policy=On((rising.index[200],)))

    # fitted at session 119, it is 150 sessions old at 269 and too old from 270 on
    assert list(lived_events(result, "expired")["at"]) == [rising.index[270]]
    assert (result.signals["reason"].iloc[270:] == "stale_model").all()
    assert not (result.signals["reason"].iloc[:270] == "stale_model").any()


# -- expiry ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("policy", ["schedule", {"any": ["schedule"]}])
def test_expired_model_says_nothing_until_the_next(linear_config, bars, policy):
    config = retrained(linear_config, policy=policy, expires_after=30)

    result = walk_forward(config, bars)
    stale = result.signals["reason"] == "stale_model"

    # fitted at 119, the model is 30 sessions old at 149; the next is fitted at 159
    assert list(np.flatnonzero(stale)[:11]) == [*range(150, 160), 190]
    assert (result.signals.loc[stale, "signal"] == "NEUTRAL").all()
    assert (result.signals.loc[stale, "target_weight"] == 0).all()
    assert result.signals.loc[stale, "confidence"].notna().all()
    assert [bars.index.get_loc(at) for at in lived_events(result, "expired")["at"]] == [150, 190, 230, 270]
    assert result.funnel["foreseen"] - result.funnel["in_date"] == stale.sum()


def test_model_that_goes_on_serving_expires_once(linear_config, bars):
    result = walk_forward(retrained(linear_config, policy="never", expires_after="60D"), bars)

    late = bars.index[120:][bars.index[120:] > bars.index[119] + pd.Timedelta(days=60)]
    assert list(lived_events(result, "expired")["at"]) == [late[0]]
    assert (result.signals.loc[late, "reason"] == "stale_model").all()


# -- what is known when ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("horizon", [1, 5])
@pytest.mark.parametrize("kind", ["direction", "triple_barrier"])
def test_every_policy_is_asked_on_what_was_known_by_then(linear_config, bars, horizon, kind):
    """The evidence's counts are those of a hand count over the bars."""
    policy = On((bars.index[180],))
    config = retrained(linear_config, prediction_horizon=horizon, label={"kind": kind})

    walk_forward(config, bars, policy=policy)
    dataset = create_model(config).prepare(bars)

    for evidence in policy.asked:
        fit = 180 if evidence.now > bars.index[180].to_datetime64() else 119
        session = int(np.searchsorted(dataset.known_at, evidence.now))
        known = dataset.is_labelled & (dataset.usable_from <= evidence.now)
        served = known & (np.arange(300) >= 120)
        assert evidence.latest_used <= evidence.now
        assert evidence.sessions_since_training == evidence.age_sessions == session - fit
        assert evidence.sessions_served == session - fit
        assert evidence.new_labels == (known & (dataset.usable_from > dataset.known_at[fit])).sum()
        assert evidence.live.n == (served & (np.arange(300) > fit)).sum()
        assert evidence.live.n_reference == served.sum() - evidence.live.n
    assert len(policy.asked) == 300 - 121  # not at the last session, whose training could serve nobody


class Bell:
    """A watch that rings at a decision time, and checks that it is shown nothing early."""

    def __init__(self, day, *, n_since=30):
        self.day = day
        self.n_since = n_since
        self.references = []
        self.learned = []

    def serve(self, learned_from):
        self.references.append(len(learned_from))

    def observe(self, now, *, served, forecast, learned):
        assert (served.known_at == now).all()
        assert len(forecast) == len(served)
        assert (learned.label_end <= now).all()
        self.learned += learned.known_at.tolist()
        rings = now == self.day.to_datetime64()
        figures = {"n_since": float(self.n_since)}
        return [Event(now, EventKind.CONCEPT_DRIFT, "it rings", figures=figures)] if rings else []


def test_drift_that_a_watch_notices_trains_at_the_same_session(counting, bars):
    config = retrained(counting, policy="drift")
    model = create_model(config)
    bell = Bell(bars.index[170])

    lived = live_through(model, model.prepare(bars), retraining_policy(config), watch=bell)

    assert [event.kind for event in lived.events] == [EventKind.CONCEPT_DRIFT, EventKind.RETRAIN_TRIGGERED]
    assert {event.at for event in lived.events} == {bars.index[170].to_datetime64()}
    assert [event.window for event in lived.events] == [1, 1]
    assert bell.references == [120 - 5 - 2, 171 - 5 - 2]
    assert len(bell.learned) == len(set(bell.learned))


@pytest.mark.parametrize(("n_since", "least", "n_learned"), [(40, 20, 40), (10, 20, 18), (100, None, 164)])
def test_a_training_after_a_rise_of_errors_learns_from_what_came_since(
    counting, bars, n_since, least, n_learned
):
    config = retrained(counting, policy="drift", min_after_change=least)
    model = create_model(config)
    bell = Bell(bars.index[170], n_since=n_since)

    live_through(model, model.prepare(bars), retraining_policy(config), watch=bell)

    # The outcome of bar 168 is the latest that is known at the close of bar 170.
    assert bell.references[1] == n_learned


def test_no_later_training_looks_behind_a_change(counting, bars):
    config = retrained(counting, policy={"any": ["drift", "schedule"]}, every=60, min_after_change=20)
    model = create_model(config)
    bell = Bell(bars.index[170], n_since=40)

    live_through(model, model.prepare(bars), retraining_policy(config), watch=bell)

    assert bell.references == [120 - 5 - 2, 40, 40 + 60, 40 + 120]


@pytest.mark.parametrize(
    ("policy", "fields"),
    [
        ("never", {"expires_after": 100}),
        ("schedule", {"challenge": "unless_worse", "rollback_sessions": 60}),
        ("skill", {}),
        ("accuracy", {"challenge": "if_better"}),
        ("drift", {"rollback_sessions": 60}),
        ("drift", {"min_after_change": 40}),
        ("data_quality", {}),
        ("age", {"challenge": "unless_worse"}),
        (
            {"any": ["skill", {"all": ["schedule", "accuracy"]}]},
            {"challenge": "unless_worse", "min_new_labels": 90},
        ),
    ],
)
def test_no_built_in_policy_peeks(linear_config, policy, fields):
    """For every cut, what was noticed and decided before it does not change with what comes after."""
    config = retrained(
        linear_config,
        policy=policy,
        max_age=120,
        cooldown=60,
        monitoring={"window": 30, "check_every": 10, "range_margin": 0.0},
        validation={"train_size": 300, "test_size": 100},
        **fields,
    )

    assert find_retraining_leaks(config, flipping().iloc[:700]) == []


class Peeking:
    """A policy that holds all outcomes, and trains before twenty bad ones."""

    def __init__(self, dataset):
        self.dataset = dataset

    def due(self, evidence):
        coming = self.dataset.target[self.dataset.known_at > evidence.now][:20]
        return Trigger("hard times are coming") if coming.sum() < 8 else None


class Patient(Peeking):
    """Its twin: it holds the same, and looks only at what is known."""

    def due(self, evidence):
        known = self.dataset.target[self.dataset.usable_from <= evidence.now][-20:]
        return Trigger("times are hard") if known.sum() < 8 else None


@pytest.mark.parametrize(("kind", "is_caught"), [(Peeking, True), (Patient, False)])
def test_policy_that_peeks_is_caught(linear_config, bars, kind, is_caught):
    config = retrained(linear_config, cooldown=5)

    def run(config, bars):
        return walk_forward(config, bars, policy=kind(create_model(config).prepare(bars)))

    leaks = find_retraining_leaks(config, bars, run=run)

    assert len(lived_events(run(config, bars), "retrain_triggered")) > 1
    assert bool(leaks) == is_caught


def test_signals_of_a_lived_walk_do_not_depend_on_later_bars(linear_config):
    config = retrained(
        linear_config,
        policy={"any": ["skill", "accuracy"]},
        cooldown=60,
        challenge="unless_worse",
        rollback_sessions=40,
        validation={"train_size": 350, "test_size": 100},
        gate={"mode": "block"},
    )

    assert find_walk_forward_leaks(config, flipping().iloc[:700]) == []


# -- run folders ----------------------------------------------------------------------------------------------------


class KilledError(Exception):
    """Stands for a run that is killed between two sessions."""


def killed_at(session):
    def progress(done, planned):
        if done == session:
            raise KilledError

    return progress


EVENTFUL = {"policy": {"any": ["schedule"]}, "challenge": "unless_worse", "rollback_sessions": 30}


@pytest.mark.parametrize("fields", [EVENTFUL, {"policy": "schedule", "every": 30, "warm_start": True}])
def test_killed_run_resumes_to_the_same_bytes(counting, bars, tmp_path, fields):
    config = retrained(counting, **fields)
    walk_forward(config, bars, out=tmp_path / "whole")
    with pytest.raises(KilledError):
        walk_forward(config, bars, out=tmp_path / "killed", progress=killed_at(95))
    n_finished = len(list((tmp_path / "killed" / "entries").iterdir()))

    walk_forward(config, bars, out=tmp_path / "killed")
    whole, resumed = files_of(tmp_path / "whole"), files_of(tmp_path / "killed")

    assert n_finished > 2
    assert len(list((tmp_path / "killed" / "runs").iterdir())) == 1
    assert {name for name in whole if whole[name] != resumed[name]} <= {"timings.json"}


def test_lived_windows_and_planned_ones_are_the_same_entries(linear_config, bars, tmp_path):
    walk_forward(linear_config, bars, out=tmp_path)

    walk_forward(retrained(linear_config, policy={"any": ["schedule"]}), bars, out=tmp_path)
    walk_forward(retrained(linear_config, expires_after=20), bars, out=tmp_path)

    assert len(list((tmp_path / "entries").iterdir())) == 5
    assert len(list((tmp_path / "runs").iterdir())) == 3


def test_finished_run_trains_nothing_again(own_plugins, counting, bars, tmp_path):
    config = retrained(counting, **EVENTFUL)
    walk_forward(config, bars, out=tmp_path)
    own_plugins.adapter("counting").__class__.train_model, honest = None, Counting.train_model
    try:
        again = walk_forward(config, bars, out=tmp_path)
    finally:
        Counting.train_model = honest

    assert len(again.windows) == 5


def test_progress_is_told_of_every_session(linear_config, bars):
    told = []

    walk_forward(
        retrained(linear_config, policy="never"),
        bars,
        progress=lambda done, planned: told.append((done, planned)),
    )

    assert told == [(number, 180) for number in range(1, 181)]


def test_models_of_one_symbol_are_trained_again_together(linear_config):
    panel = random_panel(2, 260, lives={"S001": (0, 230)})
    config = retrained(linear_config, pooling="per_symbol")
    day = panel.index.get_level_values("timestamp").unique()[170]

    result = walk_forward(config, panel, policy=On((day,)))

    assert list(result.events.query("kind == 'trained'")["symbol"]) == ["S000", "S001"] * 2
    assert result.predictions["baseline"].groupby("timestamp").nunique().max() == 2
