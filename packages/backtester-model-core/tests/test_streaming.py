"""Live bars one at a time: a batch's features, forecasts and signals, and a rule for every bar that comes askew."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from backtester_model_core.adapter import ModelFrameworkAdapter
from backtester_model_core.config import ModelConfig
from backtester_model_core.evaluation import EVIDENCE_WANTED, SkillEvidence
from backtester_model_core.exceptions import (
    ArtifactError,
    BarsError,
    ModelError,
    NotTrainedError,
    PredictionError,
    TrainingError,
)
from backtester_model_core.factory import create_model
from backtester_model_core.hookspecs import hookimpl
from backtester_model_core.retraining import retraining_policy
from backtester_model_core.signals import Reason
from backtester_model_core.streaming import SignalStream
from backtester_model_core.streaming.incoming import rows_of
from backtester_model_core.testing import EchoAdapter, random_bars, random_panel
from backtester_model_core.walkforward import walk_forward

BARS = random_bars(300, seed=3, momentum=0.3)


@pytest.fixture
def model(linear_config):
    return trained(linear_config, BARS)


def trained(config, bars, **changes):
    model = create_model(config.model_copy(update=changes))
    dataset = model.prepare(bars)
    model.train_dataset(dataset.take(np.arange(len(dataset) // 2)))
    return model


def trained_to(model):
    return np.datetime64(model.report.trained_to.removesuffix("Z"))


def state_of(stream):
    """Return a stream's state without the time that predictions took, which is never the same."""
    state = stream.snapshot()
    if state["oversight"]["monitor"] is not None:
        del state["oversight"]["monitor"]["latency"]
    return json.dumps(state)


def live(stream, bars=BARS):
    return [stream.update(bar) for bar in rows_of(bars)]


# -- the same as a batch ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("kind", "n_bars"), [("classification", 300), ("regression", 2_200)])
def test_a_stream_gives_what_a_batch_gives(linear_config, kind, n_bars):
    bars = random_bars(n_bars, seed=3, momentum=0.3)
    model = trained(linear_config, bars, model_type=kind)
    batch = model.generate_signals(bars)

    signals = live(SignalStream(model, gate="policy"), bars)

    assert [signal.signal.value for signal in signals] == list(batch["signal"])
    assert [signal.reason for signal in signals] == list(batch["reason"])
    np.testing.assert_allclose([signal.score for signal in signals], batch["score"], rtol=0, atol=1e-9)
    assert (batch["signal"] != "NEUTRAL").sum() > 50


def test_features_agree_in_every_bit(model):
    stream = SignalStream(model)
    values = model.prepare(BARS).values

    for row, bar in zip(values, rows_of(BARS), strict=True):
        stream.update(bar)
        np.testing.assert_array_equal(row, stream.latest_features())


def test_a_panel_at_one_time_is_sized_together(linear_config):
    panel = random_panel(3, 200, seed=1, momentum=0.3, lives={"S001": (40, 200)})
    model = trained(linear_config, panel)
    batch = model.generate_signals(panel)
    stream = SignalStream(model, gate="policy")

    signals = [
        signal
        for _, together in panel.groupby(level="timestamp")
        for signal in stream.update_panel(rows_of(together))
    ]

    assert [signal.symbol for signal in signals] == list(batch.index.get_level_values("symbol"))
    np.testing.assert_allclose([signal.target_weight for signal in signals], batch["target_weight"])
    assert set(batch["target_weight"].abs().round(4)) == {0.0, 0.5, round(1 / 3, 4)}


def test_a_meta_model_follows_the_primary_side_live(linear_config):
    bars = BARS.assign(side=np.where(np.arange(len(BARS)) % 3 == 0, 0.0, 1.0))
    label = linear_config.label.model_copy(update={"kind": "meta", "side_column": "side"})
    model = trained(linear_config, bars, label=label)
    batch = model.generate_signals(bars)

    signals = live(SignalStream(model, gate="policy"), bars)

    assert [signal.signal.value for signal in signals] == list(batch["signal"])
    assert Reason.NO_SIDE in {signal.reason for signal in signals}


def test_an_extension_that_wraps_a_step_is_asked_on_the_stream_too(model, own_plugins):
    class Doubter:
        @hookimpl(wrapper=True)
        def backtester_predict(self, model, features):
            prediction = yield
            return replace(prediction, probability=np.full_like(prediction.probability, 0.5))

    own_plugins.register_extension("doubter", Doubter())

    signals = live(SignalStream(model, gate="policy"))

    assert {signal.score for signal in signals[20:]} == {0.5}


def test_bars_stamped_at_their_open_give_signals_at_their_close(linear_config):
    stamps = linear_config.data_config.model_copy(update={"bar_stamp": "open", "frequency": "1D"})
    model = trained(linear_config, BARS, data_config=stamps)

    signal = SignalStream(model).update(rows_of(BARS)[0])

    assert signal.timestamp == BARS.index[0] + pd.Timedelta("1D")


class SteppingAdapter(ModelFrameworkAdapter):
    """Answers single rows a little off, so that one can see who was asked."""

    def initialize_model(self, config):
        return None

    def train_model(self, model, features, target, *, classes=None, weight=None, validation=None, seed=None):
        return "trained"

    def predict(self, model, features):
        return np.tile([0.4, 0.6], (len(features), 1))

    def compile_step(self, model):
        return lambda row: (0.4 - 1e-7, 0.6 + 1e-7)


@pytest.mark.parametrize(("fast", "score"), [(True, 0.6 + 1e-7), (False, 0.6)])
def test_a_compiled_step_is_used_where_it_may(linear_config, own_plugins, fast, score):
    own_plugins.register_adapter("stepping", SteppingAdapter)
    stream = SignalStream(trained(linear_config, BARS, framework="stepping"), gate="policy", fast=fast)

    assert live(stream)[-1].score == score
    assert stream.has_fast_step is fast


# -- bars that come askew -----------------------------------------------------------------------------------------


def test_a_bar_that_comes_again_changes_nothing(model):
    once, twice = SignalStream(model), SignalStream(model)
    rows = rows_of(BARS)
    for bar in rows:
        once.update(bar)
        first = twice.update(bar)
        assert twice.update(bar) == first

    assert state_of(twice) == state_of(once)
    assert [event.kind.value for event in twice.events].count("bar_ignored") == len(rows)


def test_a_bar_that_comes_again_with_other_values_is_noted(model):
    stream = SignalStream(model)
    first, *_ = rows_of(BARS)
    stream.update(first)

    stream.update({**first, "volume": first["volume"] + 1})

    assert "with other values; the first stands" in stream.event_frame["message"].iloc[-1]


def test_a_late_bar_is_left_out_and_the_standing_signal_returned(model):
    stream = SignalStream(model)
    rows = rows_of(BARS)
    standing = [stream.update(bar) for bar in rows[:50]][-1]

    assert stream.update(rows[20]) == standing
    assert "came late" in stream.events[-1].message


def test_missing_bars_are_noted_and_not_filled_in(model):
    bars = BARS.drop(BARS.index[100:130])
    batch = model.generate_signals(bars)
    stream = SignalStream(model, gate="policy")

    signals = live(stream, bars)

    assert [event.kind.value for event in stream.events].count("bars_missing") == 1
    np.testing.assert_allclose([signal.score for signal in signals], batch["score"], rtol=0, atol=1e-9)


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"high": 1.0}, "high_below"),
        ({"close": float("nan")}, "missing_value"),
        ({"open": -1.0}, "not_positive"),
        ({"volume": -5.0}, "negative"),
        ({"close": float("inf")}, "inf"),
        ({"timestamp": 1_700_000_000}, "no_timestamp"),
        ({"timestamp": None}, "no_timestamp"),
        ({"timestamp": "yesterday-ish"}, "no_timestamp"),
    ],
)
def test_a_bar_that_a_frame_would_be_refused_for_is_refused(model, change, code):
    stream = SignalStream(model)
    live(stream, BARS.iloc[:60])
    before = stream.snapshot()

    with pytest.raises(BarsError) as refused:
        stream.update({**rows_of(BARS)[60], **change})

    assert any(code in fault.code for fault in refused.value.faults), refused.value
    assert stream.snapshot() == before


def test_a_missing_column_is_named(model):
    bar = rows_of(BARS)[0]
    del bar["volume"]

    with pytest.raises(BarsError, match="volume"):
        SignalStream(model).update(bar)


def test_title_case_columns_are_understood(model):
    titled = BARS.rename(columns=str.capitalize)

    assert [signal.score for signal in live(SignalStream(model), titled)][-1] == pytest.approx(
        live(SignalStream(model))[-1].score
    )


def test_bars_of_several_times_are_not_one_panel(model):
    with pytest.raises(BarsError, match="several_times"):
        SignalStream(model).update_panel(rows_of(BARS)[:2])


def test_a_panel_bar_that_comes_again_keeps_its_place(linear_config):
    panel = random_panel(2, 60, seed=1)
    model = trained(linear_config, panel)
    stream = SignalStream(model)
    bars = [rows_of(together) for _, together in panel.groupby(level="timestamp")]
    for together in bars[:40]:
        stream.update_panel(together)
    early = stream.update(bars[40][1])

    signals = stream.update_panel(bars[40])

    assert signals[1] == early
    assert [signal.symbol for signal in signals] == ["S000", "S001"]


# -- models -------------------------------------------------------------------------------------------------------


def test_a_symbol_without_a_model_says_so(linear_config):
    panel = random_panel(2, 100, seed=1)
    one = panel.xs("S000", level="symbol")
    stream = SignalStream({"S000": trained(linear_config, one)}, gate="policy")

    signals = [stream.update_panel(rows_of(together)) for _, together in panel.groupby(level="timestamp")][-1]

    assert [signal.reason == Reason.NO_MODEL for signal in signals] == [False, True]


def test_an_untrained_model_is_refused(linear_config):
    with pytest.raises(NotTrainedError):
        SignalStream(create_model(linear_config))


def test_another_model_takes_over_with_what_was_remembered(model, linear_config):
    other = trained(linear_config, random_bars(300, seed=9))
    stream = SignalStream(model, gate="policy")
    rows = rows_of(BARS)
    for bar in rows[:150]:
        stream.update(bar)

    stream.replace_model(other)

    scores = [stream.update(bar).score for bar in rows[150:]]
    np.testing.assert_allclose(scores, other.generate_signals(BARS)["score"].iloc[150:], rtol=0, atol=1e-9)


def test_a_model_of_other_features_may_not_take_over(model, linear_config):
    features = linear_config.features.model_copy(update={"expressions": {"r2": "close / ref(close, 2) - 1"}})
    other = trained(linear_config, BARS, features=features)

    with pytest.raises(ModelError, match="other features"):
        SignalStream(model).replace_model(other)


def test_a_model_of_features_that_bars_do_not_have_cannot_be_streamed(linear_config):
    model = create_model(linear_config)
    features, target = model.prepare_data(BARS)
    model.train(features.rename(columns={"r1": "sentiment"}), target)

    with pytest.raises(ModelError, match="sentiment"):
        SignalStream(model).update(rows_of(BARS)[0])


def test_a_forecast_that_is_not_finite_is_an_error(linear_config, own_plugins):
    class Diverged(SteppingAdapter):
        def compile_step(self, model):
            return lambda row: (float("nan"), float("nan"))

    own_plugins.register_adapter("diverged", Diverged)
    stream = SignalStream(trained(linear_config, BARS, framework="diverged"))

    with pytest.raises(PredictionError, match="NaN or infinite"):
        live(stream)


# -- the gate -----------------------------------------------------------------------------------------------------


def gated(config, mode, *, check_every=20, **changes):
    gate = config.gate.model_copy(update={"mode": mode})
    monitoring = config.monitoring.model_copy(update={"check_every": check_every})
    return config.model_copy(update={"gate": gate, "monitoring": monitoring, **changes})


def test_noise_is_blocked_until_evidence_shows_skill(linear_config):
    noise = random_bars(300, seed=8)
    stream = SignalStream(trained(gated(linear_config, "block"), noise))

    signals = live(stream, noise)

    assert {signal.reason for signal in signals} <= {Reason.WARM_UP, Reason.NO_SKILL}
    assert stream.evidence.n > 100
    assert stream.evidence.value < EVIDENCE_WANTED


def test_a_true_edge_opens_the_gate_and_says_when(linear_config):
    bars = random_bars(1_500, seed=3, momentum=0.4)
    stream = SignalStream(trained(gated(linear_config, "block", check_every=10), bars))

    signals = live(stream, bars)

    (opened,) = (event for event in stream.events if event.kind == "gate_opened")
    acted = [signal.timestamp for signal in signals if signal.target_weight]
    assert opened.figures["evidence"] >= EVIDENCE_WANTED
    assert min(acted) >= pd.Timestamp(opened.at)


@pytest.mark.parametrize("mode", ["warn", "off"])
def test_a_gate_that_does_not_block_lets_signals_through(linear_config, mode):
    stream = SignalStream(trained(gated(linear_config, mode), BARS))

    assert any(signal.target_weight for signal in live(stream))


def test_a_backtests_evidence_may_be_brought_along(linear_config):
    bars = random_bars(1_500, seed=3, momentum=0.4)
    config = gated(linear_config, "block")
    shown = walk_forward(config, bars).predictions

    stream = SignalStream(trained(config, bars), history=shown)

    assert stream.may_trade
    assert stream.evidence.n == shown.dropna(subset=["expected", "outcome", "label_end"]).shape[0]


def test_live_evidence_is_that_of_the_labels(linear_config):
    model = trained(gated(linear_config, "block", check_every=1), BARS)
    dataset = model.prepare(BARS)
    forecast = model.predict_dataset(dataset).expected
    stream = SignalStream(model)
    live(stream)

    known = (dataset.usable_from <= dataset.known_at[-2]) & (dataset.known_at >= trained_to(model))
    wanted = SkillEvidence.of(
        dataset.known_at[known],
        outcome=dataset.target[known],
        forecast=forecast[known],
        baseline=model.baseline,
        horizon=1,
    )

    assert stream.evidence.n == wanted.n
    assert stream.evidence.value == pytest.approx(wanted.value)


def test_no_outcome_counts_before_its_label_is_known(linear_config):
    """Planted: with the label's end ignored the evidence would be a bar ahead."""
    model = trained(gated(linear_config, "block", check_every=1), BARS)
    label_end = model.prepare(BARS).label_end
    stream = SignalStream(model)

    for place, bar in enumerate(rows_of(BARS)):
        stream.update(bar)
        by_now = (label_end <= np.datetime64(BARS.index[max(place - 1, 0)])).sum()
        assert stream.evidence.n <= by_now


def test_bars_that_the_model_learned_from_are_no_evidence(linear_config):
    """Planted: a model streamed over its own training bars would show skill that it does not have."""
    model = trained(gated(linear_config, "block", check_every=1), BARS)
    fed, warmed = SignalStream(model), SignalStream(model)
    live(fed, BARS.loc[: trained_to(model)].iloc[:-1])
    warmed.warm_up(BARS)

    assert fed.evidence.n == warmed.evidence.n == 0


def test_bars_that_stopped_a_training_early_are_no_evidence(linear_config, own_plugins):
    class EarlyStopper(EchoAdapter):
        config_class = ModelConfig

        def uses_validation(self, config):
            return True

    own_plugins.register_adapter("early", EarlyStopper)
    model = create_model(gated(linear_config, "block", check_every=1, framework="early"))
    model.train_dataset(model.prepare(BARS))
    stream = SignalStream(model)

    live(stream)

    assert model.report.n_validation > 0
    assert stream.evidence.n == 0


def test_memory_does_not_grow_with_history(linear_config):
    model = trained(gated(linear_config, "block"), BARS)
    stream = SignalStream(model)
    live(stream, random_bars(1_300, seed=1))
    before = len(json.dumps(stream.snapshot()))

    live(stream, random_bars(1_300, seed=1, start="2021-01-01"))

    assert len(json.dumps(stream.snapshot())) < 1.1 * before


# -- watched and trained again --------------------------------------------------------------------------------------


def wild(n_calm=400, n_wild=200):
    """Return bars whose moves become three times as large."""
    calm = random_bars(n_calm, seed=1)
    start = str((calm.index[-1] + pd.offsets.BDay(1)).date())
    rough = random_bars(n_wild, seed=2, start=start)
    prices = ["open", "high", "low", "close"]
    rough[prices] = calm["close"].iloc[-1] * (rough[prices] / rough["open"].iloc[0]) ** 3
    return pd.concat([calm, rough])


def test_drift_is_said_on_the_stream(linear_config):
    bars = wild()
    model = create_model(gated(linear_config, "off"))
    model.train_dataset(model.prepare(bars.iloc[:300]))
    stream = SignalStream(model)
    stream.warm_up(bars.iloc[:300])

    live(stream, bars.iloc[300:])

    (first, *_) = (event for event in stream.events if event.kind == "feature_drift")
    assert first.at > np.datetime64(bars.index[400])
    assert stream.monitor.drifted


def test_monitoring_that_is_off_leaves_nothing_behind(linear_config):
    stream = SignalStream(trained(gated(linear_config, "off", enable_monitoring=False), wild()))

    live(stream, wild())

    assert stream.monitor is None
    assert stream.events == ()


def test_a_schedule_asks_for_a_training_and_its_model_takes_over(linear_config):
    reasons = []
    other = trained(linear_config, random_bars(300, seed=9))

    def retrain(trigger):
        reasons.append(trigger.reason)
        return other if len(reasons) == 1 else None

    stream = SignalStream(trained(gated(linear_config, "off"), BARS), on_retrain=retrain)

    live(stream)

    assert "the last training was" in reasons[0]
    trainings = ("retrain_triggered", "model_replaced")
    kinds = [event.kind.value for event in stream.events if event.kind in trainings]
    assert kinds[:2] == ["retrain_triggered", "model_replaced"]


def test_without_anybody_to_train_the_time_is_noted_once(linear_config):
    stream = SignalStream(trained(gated(linear_config, "off"), BARS))

    live(stream)

    assert [event.kind.value for event in stream.events].count("retrain_suggested") == 1


def test_a_policy_of_ones_own_is_asked_with_what_is_known(linear_config):
    asked = []

    class Listening:
        def due(self, evidence):
            asked.append(evidence)

    model = trained(gated(linear_config, "off"), BARS)
    stream = SignalStream(model, retraining=retraining_policy(model.config, wish=Listening()))

    live(stream)

    assert all(evidence.latest_used <= evidence.now for evidence in asked)
    assert asked[-1].new_labels > 100
    assert asked[-1].live.n > 100


def test_an_expired_model_is_not_followed(linear_config):
    retraining = linear_config.retraining.model_copy(update={"expires_after": 30})
    model = trained(gated(linear_config, "off", retraining=retraining), BARS)
    stream = SignalStream(model, gate="policy")

    signals = live(stream)

    stale = [signal.timestamp for signal in signals if signal.reason == Reason.STALE_MODEL]
    fitted = trained_to(model)
    assert stale[0] == BARS.index[BARS.index > pd.Timestamp(fitted)][30]
    assert len(stale) == (BARS.index >= stale[0]).sum()
    assert [event.at for event in stream.events if event.kind == "expired"] == [np.datetime64(stale[0])]


# -- state --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("n_before", [0, 3, 151])
def test_a_restored_stream_goes_on_where_it_stopped(linear_config, n_before):
    model = trained(gated(linear_config, "block"), BARS)
    rows = rows_of(BARS)
    whole, before, after = (SignalStream(model) for _ in range(3))
    for bar in rows[:n_before]:
        before.update(bar)
    after.restore(json.loads(json.dumps(before.snapshot())))

    ahead = [whole.update(bar) for bar in rows][n_before:]

    assert str([after.update(bar) for bar in rows[n_before:]]) == str(ahead)
    assert state_of(after) == state_of(whole)


def test_a_saved_stream_is_loaded_with_its_model(model, tmp_path):
    rows = rows_of(BARS)
    stream = SignalStream(model, gate="policy")
    stream.warm_up(BARS.iloc[:200])
    stream.save(tmp_path)
    stream.save(tmp_path)

    again = SignalStream.load(tmp_path, gate="policy")

    assert [again.update(bar) for bar in rows[200:]] == [stream.update(bar) for bar in rows[200:]]
    assert len(list((tmp_path / "model" / "versions").iterdir())) == 1


def versions_in(folder):
    return len(list((folder / "model" / "versions").iterdir()))


def test_a_model_whose_training_went_on_is_saved_anew(linear_config, own_plugins, tmp_path):
    class Averaging(type(own_plugins.adapter("least_squares"))):
        config_class = ModelConfig

        def update_model(self, model, features, target, *, weight=None, seed=None):
            new = self.train_model({}, features, target, classes=model["classes"], weight=weight)
            return {**model, "solution": (model["solution"] + new["solution"]) / 2}

    own_plugins.register_adapter("average", Averaging)
    model = trained(gated(linear_config, "off", framework="average"), BARS)
    stream = SignalStream(model, gate="policy")
    stream.warm_up(BARS.iloc[:270])
    stream.save(tmp_path)
    stream.replace_model(model.continued(model.prepare(BARS.iloc[150:270])))
    stream.save(tmp_path)
    stream.save(tmp_path)

    again = SignalStream.load(tmp_path, gate="policy")

    assert live(again, BARS.iloc[270:]) == live(stream, BARS.iloc[270:])
    assert state_of(again) == state_of(stream)
    assert versions_in(tmp_path) == 2


def test_the_policy_in_force_is_saved(model, tmp_path):
    stream = SignalStream(model, gate="policy")
    stream.warm_up(BARS.iloc[:200])
    stream.save(tmp_path)
    stream.replace_model(model, policy=replace(model.policy, confidence_threshold=0.53, may_trade=False))
    stream.save(tmp_path)

    again = SignalStream.load(tmp_path, gate="policy")

    assert live(again, BARS.iloc[200:]) == live(stream, BARS.iloc[200:])
    assert not again.may_trade
    assert versions_in(tmp_path) == 2


def test_a_gate_that_evidence_opens_makes_no_other_version(linear_config, tmp_path):
    bars = random_bars(1_500, seed=3, momentum=0.4)
    stream = SignalStream(trained(gated(linear_config, "block"), bars))
    stream.update(rows_of(bars)[0])
    stream.save(tmp_path)
    assert not stream.may_trade

    live(stream, bars.iloc[1:])
    stream.save(tmp_path)

    assert stream.may_trade
    assert SignalStream.load(tmp_path).may_trade
    assert versions_in(tmp_path) == 1


def test_a_damaged_state_is_refused(model, tmp_path):
    SignalStream(model).save(tmp_path)
    state = tmp_path / "state.json"
    state.write_text(state.read_text().replace("n_bars", "n_cars").replace("evidence", "evidents"))

    with pytest.raises(ArtifactError, match="damaged"):
        SignalStream.load(tmp_path)


def test_a_folder_without_a_state_is_refused(model, tmp_path):
    model.save(tmp_path / "model")

    with pytest.raises(ArtifactError, match=r"state\.json"):
        SignalStream.load(tmp_path)


def test_a_state_of_another_format_or_model_is_refused(model, linear_config):
    state = SignalStream(model).snapshot()

    with pytest.raises(ModelError, match="format 7"):
        SignalStream(model).restore({**state, "format": 7})
    with pytest.raises(ModelError, match="other features"):
        SignalStream(model).restore({**state, "model": {"features": ["x"], "context_rows": 0}})


def test_a_stream_of_several_models_is_not_saved_in_one_folder(linear_config, tmp_path):
    stream = SignalStream({"S000": trained(linear_config, BARS)})

    with pytest.raises(ModelError, match="each symbol"):
        stream.save(tmp_path)


def test_a_reset_stream_begins_again(model):
    stream = SignalStream(model, gate="policy")
    first = live(stream)

    stream.reset()

    assert str(live(stream)) == str(first)


def test_warming_up_is_what_the_bars_would_have_done(model):
    stream = SignalStream(model, gate="policy")
    stream.warm_up(BARS.iloc[:200])
    batch = model.generate_signals(BARS)["score"].iloc[200:]

    np.testing.assert_allclose([signal.score for signal in live(stream, BARS.iloc[200:])], batch, atol=1e-9)


def test_a_bar_repeated_after_warming_up_has_a_signal_that_says_nothing(model):
    stream = SignalStream(model)
    stream.warm_up(BARS.iloc[:50])

    assert stream.update(rows_of(BARS)[49]).signal.value == "NEUTRAL"


# -- engines ------------------------------------------------------------------------------------------------------


def test_an_engine_may_pass_one_row_at_a_time_or_a_frame_that_grows(model):
    by_row, by_frame = SignalStream(model, gate="policy"), SignalStream(model, gate="policy")

    rows = [by_row.generate_signals(BARS.iloc[[place]], "ACME") for place in range(60)]
    frames = [by_frame.generate_signals(BARS.iloc[: place + 1], "ACME") for place in range(60)]

    assert str(rows) == str(frames)
    assert set(rows[-1][0]) == {"timestamp", "symbol", "signal_type", "action", "confidence", "metadata"}
    assert rows[-1][0]["symbol"] == "ACME"


def test_a_whole_frame_gives_a_signal_for_each_row(model):
    stream = SignalStream(model, gate="policy")

    signals = stream.generate_signals(BARS, "ACME")

    assert len(signals) == len(BARS)
    assert stream.generate_signals(BARS, "ACME") == signals[-1:]


def test_a_strategys_name_is_the_models_unless_given(model):
    assert SignalStream(model).name == model.config.model_name
    assert SignalStream(model, name="momentum").name == "momentum"


def test_outcomes_over_the_cross_section_are_those_of_the_labels(linear_config):
    panel = random_panel(3, 120, seed=1, momentum=0.3)
    label = linear_config.label.model_copy(update={"excess_over": "cross_section"})
    config = gated(linear_config, "block", check_every=1, label=label, model_type="regression")
    model = trained(config, panel)
    dataset = model.prepare(panel)
    stream = SignalStream(model)
    for _, together in panel.groupby(level="timestamp"):
        stream.update_panel(rows_of(together))

    forecast = model.predict_dataset(dataset).expected
    known = (dataset.usable_from <= dataset.known_at[-4]) & (dataset.known_at >= trained_to(model))
    wanted = SkillEvidence.of(
        dataset.known_at[known],
        outcome=dataset.target[known],
        forecast=forecast[known],
        baseline=model.baseline,
        horizon=1,
    )

    assert stream.evidence.n == wanted.n
    assert stream.evidence.value == pytest.approx(wanted.value)


# -- what once went wrong ---------------------------------------------------------------------------------------


def test_each_symbols_own_policy_decides_also_together(linear_config):
    panel = random_panel(2, 200, seed=1, momentum=0.3)
    models = {name: trained(linear_config, panel.xs(name, level="symbol")) for name in ("S000", "S001")}
    models["S001"].policy = replace(models["S001"].policy, signal_threshold=0.999, confidence_threshold=0.999)
    stream = SignalStream(models, gate="policy")

    signals = [
        signal
        for _, together in panel.groupby(level="timestamp")
        for signal in stream.update_panel(rows_of(together))
    ]

    acted = {
        name: [s.target_weight for s in signals if s.symbol == name and s.target_weight] for name in models
    }
    assert set(np.abs(acted["S000"])) == {0.5}
    assert acted["S001"] == []


def test_scores_of_policies_that_differ_are_not_ranked(linear_config):
    panel = random_panel(2, 200, seed=1)
    sizing = linear_config.sizing.model_copy(update={"selection": "top_bottom", "n_selected": 1})
    config = linear_config.model_copy(update={"sizing": sizing})
    models = {name: trained(config, panel.xs(name, level="symbol")) for name in ("S000", "S001")}
    models["S001"].policy = replace(models["S001"].policy, signal_threshold=0.9, confidence_threshold=0.9)
    stream = SignalStream(models, gate="policy")
    stream.warm_up(panel.iloc[:-2])

    with pytest.raises(ModelError, match="policies that differ"):
        stream.update_panel(rows_of(panel.iloc[-2:]))


def test_a_training_that_led_to_nothing_is_asked_for_again(linear_config):
    asked = []
    retraining = linear_config.retraining.model_copy(update={"every": 40})
    model = trained(gated(linear_config, "off", check_every=10, retraining=retraining), BARS)

    live(SignalStream(model, on_retrain=asked.append))

    assert len(asked) == 3  # after 40, 80 and 120 of the 148 sessions since the training


def test_a_training_that_is_refused_leaves_the_model_in_force(linear_config):
    def refuse(trigger):
        raise TrainingError("one class only")

    retraining = linear_config.retraining.model_copy(update={"every": 40})
    stream = SignalStream(
        trained(gated(linear_config, "off", check_every=10, retraining=retraining), BARS), on_retrain=refuse
    )

    signals = live(stream)

    assert [event.message for event in stream.events if event.kind == "refused"] == ["one class only"] * 3
    assert signals[-1].reason != Reason.NO_MODEL


def test_a_policy_is_asked_also_where_nothing_is_watched(linear_config):
    asked = []
    retraining = linear_config.retraining.model_copy(update={"every": 40})
    config = gated(linear_config, "off", retraining=retraining, enable_monitoring=False)

    live(SignalStream(trained(config, BARS), on_retrain=asked.append))

    assert asked


def test_warming_up_trains_nothing(linear_config):
    asked = []
    stream = SignalStream(trained(gated(linear_config, "off"), BARS), on_retrain=asked.append)

    stream.warm_up(BARS)

    assert asked == []


def test_what_a_backtest_brought_is_not_counted_again(linear_config):
    config = gated(linear_config, "block")
    shown = walk_forward(config, BARS).predictions
    stream = SignalStream(trained(config, BARS), history=shown)
    n_brought = stream.evidence.n

    live(stream)

    assert stream.evidence.n == n_brought


def test_one_time_is_one_piece_of_evidence_however_late_its_symbols(linear_config):
    panel = random_panel(2, 200, seed=1)
    gaps = np.random.default_rng(0).random(200) < 0.3
    gone = [(stamp, "S001") for stamp in panel.index.levels[0][gaps]]
    panel = panel.drop(gone)
    config = gated(linear_config, "block", check_every=1)
    model = trained(config, panel)
    dataset = model.prepare(panel)
    forecast = model.predict_dataset(dataset).expected
    stream = SignalStream(model)
    for _, together in panel.groupby(level="timestamp"):
        stream.update_panel(rows_of(together))

    known = (dataset.known_at >= trained_to(model)) & ~np.isnan(forecast) & ~np.isnan(dataset.target)
    assert stream.evidence.n <= len(np.unique(dataset.known_at[known]))


def test_bars_stamped_at_their_open_are_known_one_spacing_later_from_the_first_on(linear_config):
    stamps = linear_config.data_config.model_copy(update={"bar_stamp": "open"})
    bars = random_bars(300, seed=3, frequency="h")
    model = trained(gated(linear_config, "block", data_config=stamps), bars)

    signals = live(SignalStream(model), bars)

    assert [signal.timestamp for signal in signals] == list(bars.index + pd.Timedelta("1h"))


def test_symbols_may_come_one_after_the_other(linear_config):
    stream = SignalStream(trained(linear_config, BARS), gate="policy")

    one = stream.generate_signals(BARS, "A")
    other = stream.generate_signals(BARS, "B")

    assert [signal["action"] for signal in one] == [signal["action"] for signal in other]


def test_an_old_model_is_old_also_for_a_stream_that_begins_late(linear_config):
    bars = random_bars(800, seed=3, momentum=0.3)
    retraining = linear_config.retraining.model_copy(update={"expires_after": 100})
    model = create_model(gated(linear_config, "off", retraining=retraining))
    model.train_dataset(model.prepare(bars.iloc[:200]))
    stream = SignalStream(model, gate="policy")
    stream.warm_up(bars.iloc[700:720])

    signals = live(stream, bars.iloc[720:])

    assert {signal.reason for signal in signals} == {Reason.STALE_MODEL}


def test_text_beside_a_bar_is_no_column(linear_config):
    model = trained(gated(linear_config, "block", check_every=1), BARS)
    plain, named = SignalStream(model), SignalStream(model)

    signals = [named.update({**bar, "exchange": "NYSE"}) for bar in rows_of(BARS)]

    assert str(signals) == str(live(plain))


def test_a_needed_column_that_a_bar_lacks_is_named_before_anything_changes(linear_config):
    bars = BARS.assign(vwap=BARS["close"])
    features = linear_config.features.model_copy(update={"expressions": {"gap": "close / vwap - 1"}})
    stream = SignalStream(trained(linear_config, bars, features=features))
    live(stream, bars.iloc[:50])
    before = state_of(stream)
    bar = rows_of(bars)[50]
    del bar["vwap"]

    with pytest.raises(BarsError, match="vwap"):
        stream.update(bar)
    assert stream.update(rows_of(bars)[50]).timestamp == bars.index[50]
    assert before != state_of(stream)


def test_drift_is_not_lost_at_a_restart(linear_config):
    bars = wild()
    model = create_model(gated(linear_config, "off"))
    model.train_dataset(model.prepare(bars.iloc[:300]))
    stream = SignalStream(model)
    stream.warm_up(bars.iloc[:300])
    kinds = set()
    for bar in rows_of(bars.iloc[300:]):
        stream.update(bar)
        kinds |= {event.kind.value for event in stream.events}
        again = SignalStream(model)
        again.restore(json.loads(json.dumps(stream.snapshot())))
        stream = again

    assert "feature_drift" in kinds
