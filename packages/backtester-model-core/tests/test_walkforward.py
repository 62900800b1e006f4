"""Many windows: what is served, what is refused, what resumes, and what is written down."""

import json
import logging
import shutil

import numpy as np
import pandas as pd
import pytest

from backtester_model_core.config import ModelConfig
from backtester_model_core.exceptions import ConfigError, PluginError, RunError, SplitError, TrainingError
from backtester_model_core.factory import create_model
from backtester_model_core.hookspecs import hookimpl
from backtester_model_core.plugins import Plugins, use_plugins
from backtester_model_core.signals import signal_records
from backtester_model_core.testing import EchoAdapter, EchoModelConfig, random_bars, random_panel
from backtester_model_core.walkforward import plan_windows, second_pass, walk_forward
from backtester_model_core.walkforward.blocks import serve_window


@pytest.fixture
def bars():
    return random_bars(300, seed=8)


def changed(config, **fields):
    """Return a configuration with other fields; nested groups are given as mappings of what changes."""
    values = {
        name: getattr(config, name).model_copy(update=value) if isinstance(value, dict) else value
        for name, value in fields.items()
    }
    return config.model_copy(update=values)


def files_of(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}


# -- what is served -----------------------------------------------------------------------------------------------


def test_every_bar_has_a_signal_and_every_later_bar_a_prediction(linear_config, bars):
    result = walk_forward(linear_config, bars)

    assert result.signals.index.equals(bars.index)
    assert result.predictions.index.equals(bars.index[120:])
    assert (result.signals["reason"].iloc[:120] == "not_served").all()


def test_each_prediction_is_the_one_its_own_windows_model_would_have_made(linear_config, bars):
    result = walk_forward(linear_config, bars)
    returns = bars["close"].pct_change()
    features = np.column_stack([returns, bars["close"] / bars["close"].shift(5) - 1])
    label = (bars["open"].shift(-2) / bars["open"].shift(-1) > 1).to_numpy()
    train = slice(5, 160 - 2)  # labels of window 1's rows are known at its fit, the close of bar 159
    mean, deviation = features[train].mean(axis=0), features[train].std(axis=0)
    design = np.column_stack([np.ones(153), (features[train] - mean) / deviation])
    solution = np.linalg.lstsq(
        design, np.column_stack([~label[train], label[train]]).astype(float), rcond=None
    )[0]

    expected = (np.concatenate([[1.0], (features[170] - mean) / deviation]) @ solution)[1]

    assert result.predictions["window"].iloc[50] == 1
    assert result.predictions["expected"].iloc[50] == pytest.approx(expected, rel=1e-9)


def test_panel_is_served_by_one_model_or_one_for_each_symbol(linear_config):
    panel = random_panel(2, 260, lives={"S001": (50, 260)})

    pooled = walk_forward(linear_config, panel)
    own = walk_forward(changed(linear_config, pooling="per_symbol"), panel)

    assert (pooled.events["kind"] == "trained").sum() == 4
    assert (own.events["kind"] == "trained").sum() == 8
    assert own.predictions["baseline"].groupby(["timestamp"]).nunique().max() == 2


def test_per_symbol_model_does_not_see_another_symbol(linear_config):
    config = changed(linear_config, pooling="per_symbol")
    panel = random_panel(2, 260)
    alone = panel[panel.index.get_level_values("symbol") == "S000"]

    both, one = walk_forward(config, panel), walk_forward(config, alone)

    np.testing.assert_array_equal(
        both.predictions.xs("S000", level="symbol")["expected"], one.predictions["expected"]
    )


def test_symbol_that_lists_too_late_to_train_says_no_model(linear_config):
    config = changed(linear_config, pooling="per_symbol")
    panel = random_panel(2, 260, lives={"S001": (119, 260)})

    result = walk_forward(config, panel)
    first_block = result.signals.xs("S001", level="symbol").iloc[1:41]

    assert (first_block["reason"] == "no_model").all()
    assert (result.signals.xs("S000", level="symbol").iloc[120:]["reason"] != "no_model").all()
    assert "S001: None of 0 training rows" in result.events.query("kind == 'refused'")["message"].iloc[0]


def test_bars_too_few_for_a_window_are_refused(linear_config):
    with pytest.raises(SplitError, match="too few for a first training window of 120"):
        walk_forward(linear_config, random_bars(100))


def test_configuration_may_be_a_mapping_or_a_file(own_plugins, bars, tmp_path):
    fields = {"framework": "least_squares", "validation": {"train_size": 120}, "gate": {"mode": "off"}}
    (tmp_path / "model.json").write_text(json.dumps(fields))

    one, other = walk_forward(fields, bars), walk_forward(tmp_path / "model.json", bars)

    pd.testing.assert_frame_equal(one.signals, other.signals)


# -- what is refused ------------------------------------------------------------------------------------------------


def rising_then_random():
    """Bars whose first 130 opens only rise, so that the first windows hold one class."""
    bars = random_bars(300, seed=9)
    ramp = np.concatenate([np.linspace(1.0, 40.0, 130), np.full(170, 40.0)])
    return bars.assign(**{name: bars[name] * ramp for name in ("open", "high", "low", "close")})


def test_one_class_window_is_refused_and_the_walk_goes_on(linear_config):
    config = changed(linear_config, validation={"train_size": 60, "test_size": 40})

    result = walk_forward(config, rising_then_random())

    assert (result.signals["reason"].iloc[60:100] == "one_class").all()
    assert (result.signals["signal"].iloc[60:100] == "NEUTRAL").all()
    assert (result.signals["reason"].iloc[180:] != "one_class").all()
    assert (
        "All 53 training rows have the class 1" in result.events.query("kind == 'refused'")["message"].iloc[0]
    )
    assert result.windows["n_refused"].iloc[0] == 1


class Refusing(EchoAdapter):
    """An echo that cannot learn from anything."""

    config_class = ModelConfig

    def train_model(self, model, features, target, **options):
        raise TrainingError("the optimiser did not converge")


def test_walk_in_which_every_window_is_refused_still_answers(own_plugins, linear_config, bars):
    own_plugins.register_adapter("refusing", Refusing)

    result = walk_forward(changed(linear_config, framework="refusing"), bars)

    assert result.funnel["foreseen"] == 0
    assert result.metrics["n"] == 0
    assert str(result.verdict.outcome) == "no skill shown"
    assert (result.signals["reason"].iloc[120:] == "no_model").all()


class DropsRows:
    """An extension that gives fewer signals than rows."""

    @hookimpl(wrapper=True)
    def backtester_signal(self, model, data, prediction):
        signals = yield
        return signals[signals["signal"] == "LONG"]


class TurnsRows:
    """An extension that gives the signals of other bars."""

    @hookimpl(wrapper=True)
    def backtester_signal(self, model, data, prediction):
        signals = yield
        return signals.iloc[::-1]


def test_extension_that_turns_signals_round_is_refused(own_plugins, linear_config, bars):
    own_plugins.register_extension("turns", TurnsRows())

    with pytest.raises(PluginError, match="An extension that wraps backtester_signal is at fault"):
        walk_forward(linear_config, bars)


def test_extension_that_drops_signals_is_refused(own_plugins, linear_config, bars):
    own_plugins.register_extension("drops", DropsRows())

    with pytest.raises(PluginError, match="An extension that wraps backtester_signal is at fault"):
        walk_forward(linear_config, bars)


class Hears:
    """An extension that notes each finished walk-forward, and whether its files are there by then."""

    def __init__(self, folder):
        self.folder, self.heard = folder, []

    @hookimpl
    def backtester_result(self, model, result):
        self.heard.append((model.is_trained, result.verdict, (self.folder / "metrics.json").is_file()))


def test_extension_hears_once_of_a_finished_run_when_its_files_are_there(
    own_plugins, linear_config, bars, tmp_path
):
    hears = Hears(tmp_path)
    own_plugins.register_extension("hears", hears)

    result = walk_forward(linear_config, bars, out=tmp_path)

    assert hears.heard == [(False, result.verdict, True)]


# -- run folders ----------------------------------------------------------------------------------------------------


class KilledError(Exception):
    """Stands for a run that is killed between two windows."""


def killed_after(n_windows):
    def progress(done, planned):
        if done == n_windows:
            raise KilledError

    return progress


def test_killed_run_resumes_to_the_same_bytes(linear_config, bars, tmp_path):
    walk_forward(linear_config, bars, out=tmp_path / "whole")
    with pytest.raises(KilledError):
        walk_forward(linear_config, bars, out=tmp_path / "killed", progress=killed_after(2))
    finished = list((tmp_path / "killed" / "entries").iterdir())

    walk_forward(linear_config, bars, out=tmp_path / "killed")
    whole, resumed = files_of(tmp_path / "whole"), files_of(tmp_path / "killed")

    assert len(finished) == 2
    assert {name for name in whole if whole[name] != resumed[name]} <= {"timings.json"}


def test_finished_windows_are_not_trained_again(own_plugins, linear_config, bars, tmp_path):
    walk_forward(linear_config, bars, out=tmp_path)
    adapter = own_plugins.adapter("least_squares")
    trained = []
    type(adapter).train_model, honest = (lambda self, *a, **k: trained.append(1)), type(adapter).train_model
    try:
        again = walk_forward(linear_config, bars, out=tmp_path)
    finally:
        type(adapter).train_model = honest

    assert trained == []
    assert len(again.windows) == 5


@pytest.mark.parametrize(
    "fields",
    [
        {"random_state": 7},
        {"label": {"exit": "close"}},
        {"features": {"expressions": {"r1": "close / ref(close, 2) - 1"}}},
        {"normalize_features": False},
    ],
)
def test_other_configuration_is_another_entry(linear_config, bars, tmp_path, fields):
    walk_forward(linear_config, bars, out=tmp_path)

    walk_forward(changed(linear_config, **fields), bars, out=tmp_path)

    assert len(list((tmp_path / "entries").iterdir())) == 10


class Quiet:
    """An extension that changes nothing, but could."""

    @hookimpl(wrapper=True)
    def backtester_train(self, model, dataset, validation):
        return (yield)


class QuietExtension:
    @hookimpl(wrapper=True)
    def backtester_train(self):
        return (yield)


def test_other_data_or_other_code_is_another_entry(own_plugins, linear_config, bars, tmp_path, monkeypatch):
    walk_forward(linear_config, bars, out=tmp_path)
    edited = bars.copy()
    edited.iloc[60, edited.columns.get_loc("close")] *= 1.0001
    walk_forward(linear_config, edited, out=tmp_path)
    own_plugins.register_extension("quiet", Quiet())
    walk_forward(linear_config, bars, out=tmp_path)

    assert len(list((tmp_path / "entries").iterdir())) == 15


def test_renamed_symbol_is_another_entry_for_models_of_one_symbol(linear_config, tmp_path):
    config = changed(linear_config, pooling="per_symbol")
    panel = random_panel(2, 260)
    walk_forward(config, panel, out=tmp_path)

    renamed = walk_forward(
        config, panel.rename(index={"S000": "T000"}, level="symbol").sort_index(), out=tmp_path
    )

    assert set(renamed.signals.index.get_level_values("symbol")) == {"T000", "S001"}
    assert len(list((tmp_path / "entries").iterdir())) == 8


def test_threshold_changes_use_finished_windows_again(linear_config, bars, tmp_path):
    walk_forward(linear_config, bars, out=tmp_path)

    walk_forward(changed(linear_config, confidence_threshold=0.55, model_name="stricter"), bars, out=tmp_path)

    assert len(list((tmp_path / "entries").iterdir())) == 5
    assert len(list((tmp_path / "runs").iterdir())) == 2


def test_the_same_bars_from_another_place_use_finished_windows_again(linear_config, bars, tmp_path):
    walk_forward(linear_config, bars, out=tmp_path)

    walk_forward(
        changed(linear_config, data_config={"path": "elsewhere.csv", "start": "2001-01-01"}),
        bars,
        out=tmp_path,
    )

    assert len(list((tmp_path / "entries").iterdir())) == 5


def test_stamps_that_mean_another_time_are_another_entry(linear_config, bars, tmp_path):
    walk_forward(linear_config, bars, out=tmp_path)

    walk_forward(changed(linear_config, data_config={"bar_stamp": "open"}), bars, out=tmp_path)

    assert len(list((tmp_path / "entries").iterdir())) == 10


def test_later_bars_use_finished_windows_again(linear_config, tmp_path):
    bars = random_bars(400, seed=8)
    walk_forward(linear_config, bars.iloc[:280], out=tmp_path)

    walk_forward(linear_config, bars, out=tmp_path)

    assert len(list((tmp_path / "entries").iterdir())) == 4 + 3


def test_damaged_entry_is_named_and_not_used(linear_config, bars, tmp_path):
    walk_forward(linear_config, bars, out=tmp_path)
    arrays = next((tmp_path / "entries").iterdir()) / "prediction.npz"
    content = bytearray(arrays.read_bytes())
    content[len(content) // 2] ^= 1
    arrays.write_bytes(bytes(content))

    with pytest.raises(RunError, match="Delete that folder and run again"):
        walk_forward(linear_config, bars, out=tmp_path)


def test_resolved_configuration_repeats_the_run_on_its_own(own_plugins, linear_config, bars, tmp_path):
    config = changed(linear_config, validation={"train_size": None}, random_state=None, train_test_split=0.5)
    first = walk_forward(config, bars, out=tmp_path)

    again = walk_forward(tmp_path / "config.json", bars)

    pd.testing.assert_frame_equal(first.signals, again.signals)
    assert again.config.validation.train_size == 150
    assert again.config.random_state is not None


def test_result_files_are_what_they_say(linear_config, bars, tmp_path):
    result = walk_forward(linear_config, bars, out=tmp_path)

    metrics = json.loads((tmp_path / "metrics.json").read_text())
    read = pd.read_csv(tmp_path / "signals.csv", index_col=0, parse_dates=True, keep_default_na=False)

    assert metrics["verdict"]["outcome"] == "no skill shown"
    assert metrics["funnel"] == dict(result.funnel)
    assert list(read["signal"]) == list(result.signals["signal"])
    pd.testing.assert_frame_equal(
        pd.read_parquet(tmp_path / "signals.parquet"), result.signals, check_freq=False
    )


def test_parallel_windows_give_the_same_bytes(linear_config, bars, tmp_path):
    config = EchoModelConfig(**linear_config.model_dump(exclude={"framework"}))  # a worker can import it
    with use_plugins(Plugins(discover=False, environ={})) as importable:
        importable.register_adapter("echo", EchoAdapter)
        walk_forward(config, bars, out=tmp_path / "one")
        walk_forward(config, bars, out=tmp_path / "two", n_jobs=2)

    one, two = files_of(tmp_path / "one"), files_of(tmp_path / "two")

    assert {name for name in one if one[name] != two[name]} <= {"timings.json"}


def test_progress_is_told_of_every_window(linear_config, bars):
    told = []

    walk_forward(linear_config, bars, progress=lambda done, planned: told.append((done, planned)))

    assert told == [(number, 5) for number in range(1, 6)]


def test_failed_run_leaves_earlier_results_whole(linear_config, bars, tmp_path):
    walk_forward(linear_config, bars, out=tmp_path)
    before = files_of(tmp_path)

    with pytest.raises(ConfigError):
        walk_forward(changed(linear_config, feature_columns=("no_such",)), bars, out=tmp_path)

    assert files_of(tmp_path) == before


def test_run_folder_that_was_removed_is_made_again(linear_config, bars, tmp_path):
    walk_forward(linear_config, bars, out=tmp_path / "out")
    shutil.rmtree(tmp_path / "out")

    walk_forward(linear_config, bars, out=tmp_path / "out")

    assert (tmp_path / "out" / "metrics.json").exists()


# -- what is judged -------------------------------------------------------------------------------------------------


def test_skill_is_found_where_it_was_planted_and_trades_follow(linear_config):
    bars = random_bars(1200, seed=3, momentum=0.4)
    config = changed(linear_config, gate={"mode": "block", "planned_windows": 27})

    result = walk_forward(config, bars)

    assert str(result.verdict.outcome) == "skill"
    assert result.funnel["acted"] > 0
    assert "gate_opened" in set(result.events["kind"])
    assert (
        result.return_metrics["signals"]["total_return"]
        > result.return_metrics["buy_and_hold"]["total_return"]
    )


def test_gate_blocks_noise_warns_or_stays_out_of_it(linear_config, bars):
    acted = {
        mode: walk_forward(changed(linear_config, gate={"mode": mode}), bars).funnel["acted"]
        for mode in ("block", "warn", "off")
    }

    assert acted["block"] == 0
    assert acted["warn"] == acted["off"] > 0


def test_gate_stays_shut_until_thirty_horizons_are_scored(linear_config):
    bars = random_bars(600, seed=3, momentum=0.9)
    config = changed(
        linear_config,
        validation={"train_size": 120, "test_size": 5},
        gate={"mode": "block", "planned_windows": 1},
    )

    result = walk_forward(config, bars)
    first_open = result.windows["gate_open"].to_numpy().argmax()

    # six windows of five have 30 rows, of which two labels are not known at the next fit
    assert first_open == 7


def test_latest_known_residuals_are_the_latest_of_all_symbols(linear_config):
    config = changed(linear_config, model_type="regression", pooling="per_symbol")
    panel = random_panel(12, 400)
    model = create_model(config)
    dataset = model.prepare(panel)
    windows = plan_windows(config, dataset)
    block = serve_window(model, dataset, windows[0], measure_residuals=True)
    turned = block.inner.take(np.arange(len(block.inner))[::-1])
    policies = [
        second_pass._policy(model, windows[1], block, [], [rows], may_trade=True).policy
        for rows in (block.inner, turned)
    ]

    assert not (np.diff(block.inner.known_at) >= np.timedelta64(0)).all()
    np.testing.assert_array_equal(*(policy.residuals.sorted_sizes for policy in policies))


def test_blocked_signals_say_no_skill(linear_config, bars):
    result = walk_forward(changed(linear_config, gate={"mode": "block"}), bars)

    assert (result.signals["reason"].iloc[120:] == "no_skill").all()
    assert result.funnel["past_gate"] == 0


def test_regression_signals_wait_for_two_hundred_residuals(linear_config):
    config = changed(linear_config, model_type="regression", validation={"train_size": 120, "test_size": 40})

    result = walk_forward(config, random_bars(500, seed=2))
    silent = (result.signals["reason"] == "no_residuals").to_numpy()

    # the first window's inner tail has 22 rows, each later one adds 40; two labels a window are not known at a fit
    assert list(np.flatnonzero(silent)) == list(range(120, 320))


def test_events_happen_when_they_could_be_known(linear_config):
    result = walk_forward(linear_config, random_bars(1200, seed=3, momentum=0.4))
    windows = result.windows.loc[result.events["window"]].reset_index(drop=True)
    at = result.events["at"]
    is_late = result.events["kind"] == "retrain_suggested"
    is_at_fit = result.events["kind"].isin(["trained", "gate_opened", "gate_closed"])

    assert (at[is_at_fit] == windows["fit_at"][is_at_fit]).all()
    assert (at[is_late] > windows["serves_to"][is_late]).all()
    assert (at >= windows["fit_at"]).all()
    assert at.is_monotonic_increasing


def test_retraining_is_suggested_where_skill_is_lost(linear_config):
    good, bad = random_bars(900, seed=3, momentum=0.6), random_bars(900, seed=4, momentum=-0.6)
    join = float(good["close"].iloc[-1]) / 100.0
    prices = ["open", "high", "low", "close"]
    bars = pd.concat([good, bad.assign(**{name: bad[name] * join for name in prices})])
    bars.index = pd.bdate_range("2000-01-03", periods=len(bars), name="timestamp", unit="us")

    result = walk_forward(changed(linear_config, validation={"train_size": 300, "test_size": 100}), bars)
    suggested = result.windows["retrain_suggested"].to_numpy()

    assert not suggested[:5].any()
    assert suggested[6:9].all()


@pytest.mark.parametrize(("model_type", "middle"), [("classification", 0.5), ("regression", 0.0)])
def test_live_accuracy_is_the_share_of_rows_whose_side_came_true(linear_config, model_type, middle):
    result = walk_forward(changed(linear_config, model_type=model_type), random_panel(2, 300, seed=4))
    known = result.predictions.dropna(subset=["expected", "outcome"])

    is_right = (known["expected"] > middle) == (known["outcome"] > middle)

    assert list(result.windows["live_accuracy"]) == pytest.approx(
        list(is_right.groupby(known["window"]).mean())
    )


def test_monitoring_off_records_no_live_figures(linear_config, bars):
    result = walk_forward(changed(linear_config, enable_monitoring=False), bars)

    assert "live_accuracy" not in result.windows
    assert "retrain_suggested" not in set(result.events["kind"])


def test_baselines_stand_beside_every_figure(linear_config, bars):
    result = walk_forward(linear_config, bars)

    assert {"log_loss", "naive_log_loss", "accuracy", "naive_accuracy"} <= set(result.windows)
    assert set(result.baselines) == {"class_prior", "last_value"}
    assert set(result.return_metrics) == {"signals", "always_long", "buy_and_hold"}
    assert set(result.baselines["class_prior"]) <= set(result.metrics)


def test_target_weight_is_one_column_a_symbol(linear_config, bars):
    single = walk_forward(linear_config, bars).target_weight
    panel = walk_forward(linear_config, random_panel(2, 260)).target_weight

    assert single.index.equals(bars.index)
    assert list(panel.columns) == ["S000", "S001"]
    assert panel.abs().sum(axis=1).max() <= 1.0


def test_events_are_logged_through_the_injected_logger(linear_config, bars, caplog):
    with caplog.at_level(logging.INFO, logger="mine"):
        walk_forward(linear_config, bars, logger=logging.getLogger("mine"))

    assert caplog.text.count("trained") == 5


def test_bars_in_a_year_are_counted_where_they_are_not_given(linear_config):
    hourly = random_bars(400, seed=1, frequency="h")

    counted = walk_forward(linear_config, hourly)
    given = walk_forward(changed(linear_config, costs={"bars_per_year": 252.0}), hourly)

    assert counted.config.costs.bars_per_year == pytest.approx(365.25 * 24, rel=1e-3)
    assert given.config.costs.bars_per_year == 252.0


def test_notes_of_the_bars_say_what_and_where(linear_config, bars):
    noted = bars.assign(**{"Adj Close": bars["close"]})

    notes = walk_forward(linear_config, noted).bars_notes

    assert any("adj_close" in note for note in notes)


def test_weights_of_bars_stamped_at_their_open_are_decided_at_their_close(linear_config):
    bars = random_panel(2, 220, seed=3)
    by_close = walk_forward(linear_config, bars)
    at_open = bars.set_axis(
        bars.index.set_levels(bars.index.levels[0] - pd.Timedelta("1D"), level="timestamp")
    )

    by_open = walk_forward(changed(linear_config, data_config={"bar_stamp": "open"}), at_open)

    pd.testing.assert_frame_equal(by_open.target_weight, by_close.target_weight, check_freq=False)
    assert by_open.signals.index.equals(at_open.index)
    last = signal_records(by_open.signals.tail(1), data_config=by_open.config.data_config)[0]
    assert last.timestamp == bars.index[-1][0]


def test_what_a_signal_on_another_column_means_is_said(linear_config):
    bars = random_bars(220, seed=3).assign(level=lambda bars: bars["high"] + bars["low"])

    result = walk_forward(changed(linear_config, target_column="level"), bars)

    assert any("LONG foresees its rise" in note for note in result.bars_notes)
