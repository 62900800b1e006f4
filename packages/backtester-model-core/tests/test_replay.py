"""A finished run replayed bar by bar: equal, or the first thing that differs is named."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from backtester_model_core.exceptions import RunError
from backtester_model_core.factory import load_config
from backtester_model_core.features import FeatureStream
from backtester_model_core.replay import Difference, ReplayReport, replay_diff
from backtester_model_core.replay.beside import Replay
from backtester_model_core.retraining import Schedule, Spell
from backtester_model_core.runs import RunFolder
from backtester_model_core.streaming.serving import Serving
from backtester_model_core.testing import random_bars, random_panel
from backtester_model_core.walkforward import walk_forward

BARS = random_bars(320, seed=2, momentum=0.3)
PANEL = random_panel(3, 260, seed=2, momentum=0.3, lives={"S001": (60, 260), "S002": (0, 150)})

PER_SYMBOL = {"pooling": "per_symbol"}


def with_one_class(symbol: str, bars: pd.DataFrame) -> pd.DataFrame:
    """Return the bars with a symbol that does not move until after the first training."""
    stands = (bars.index.get_level_values("symbol") == symbol) & (
        bars.index.get_level_values("timestamp") < BARS.index[130]
    )
    still = bars.copy()
    still.loc[stands, ["open", "high", "low", "close"]] = 100.0
    return still


FIVE = with_one_class("S001", random_panel(5, 320, seed=2, momentum=0.3))


def contents_of(folder: Path) -> dict[Path, tuple[int, bytes]]:
    """Return when each file was written, and what it holds."""
    files = (path for path in folder.rglob("*") if path.is_file())
    return {path: (path.stat().st_mtime_ns, path.read_bytes()) for path in files}


@pytest.mark.parametrize(
    "bars", [BARS, PANEL, random_bars(320, seed=4, frequency="h")], ids=["one", "panel", "hours"]
)
@pytest.mark.parametrize("pooling", ["pooled", "per_symbol"])
def test_a_run_replayed_is_the_same(linear_config, tmp_path, bars, pooling):
    walk_forward(linear_config.model_copy(update={"pooling": pooling}), bars, out=tmp_path)

    report = replay_diff(tmp_path)

    assert report.is_equal, report.sentence
    assert report.n_bars == len(bars)
    assert report.worst_forecast < 1e-9
    assert "equals the backtest" in report.sentence


def test_a_regression_with_residuals_is_the_same(linear_config, tmp_path):
    bars = random_bars(900, seed=2, momentum=0.3)
    config = linear_config.model_copy(update={"model_type": "regression"})
    result = walk_forward(config, bars, out=tmp_path)

    report = replay_diff(tmp_path)

    assert report.is_equal, report.sentence
    assert (result.signals["target_weight"] != 0).any()


def test_what_the_gate_blocked_stays_blocked(linear_config, tmp_path):
    gate = linear_config.gate.model_copy(update={"mode": "block"})
    walk_forward(linear_config.model_copy(update={"gate": gate}), BARS, out=tmp_path)

    assert replay_diff(tmp_path).is_equal


def test_a_window_whose_training_was_refused_is_passed_over(linear_config, tmp_path):
    bars = BARS.copy()
    bars.iloc[:130, bars.columns.get_indexer(["open", "high", "low", "close"])] = (
        100.0  # one class in the first
    )
    result = walk_forward(linear_config, bars, out=tmp_path)
    assert "one_class" in set(result.signals["reason"])

    report = replay_diff(tmp_path)

    assert report.is_equal
    assert (report.n_signals, report.n_not_compared) == (160, 40)


@pytest.mark.parametrize("thresholds", [{}, {"hysteresis": 0.9}], ids=["plain", "hysteresis"])
def test_a_symbol_whose_training_was_refused_leaves_the_others_compared(linear_config, tmp_path, thresholds):
    """Five symbols of 200 served rows each; only the first window of one has no model."""
    config = load_config(
        {**linear_config.model_dump(exclude_unset=True), **PER_SYMBOL, "thresholds": thresholds}
    )
    result = walk_forward(config, FIVE, out=tmp_path)
    refused = result.signals[result.signals["reason"] == "one_class"]
    assert set(refused.index.get_level_values("symbol")) == {"S001"}

    report = replay_diff(tmp_path)

    assert report.is_equal, report.sentence
    assert (report.n_signals, report.n_not_compared) == (960, 40)
    assert "40 served rows were not compared: no model could be trained for them." in report.sentence


def test_a_refused_symbol_that_the_stream_serves_by_another_model_is_found(
    linear_config, tmp_path, monkeypatch
):
    """Planted: a stream that asks some other symbol's model."""
    walk_forward(linear_config.model_copy(update=PER_SYMBOL), FIVE, out=tmp_path)
    honest = Serving.of
    monkeypatch.setattr(Serving, "of", lambda self, symbol: honest(self, symbol) or self.first)

    report = replay_diff(tmp_path)

    assert report.counts["signal"] == 40  # and weights, which the symbols share
    assert (report.first["signal"].symbol, report.first["signal"].batch) == ("S001", "NEUTRAL (one_class)")


def test_a_refused_symbol_whose_recorded_reason_is_another_is_found(linear_config, tmp_path, monkeypatch):
    """Planted: a batch that acts where no model was trained."""
    walk_forward(linear_config.model_copy(update=PER_SYMBOL), FIVE, out=tmp_path)
    honest = Replay.__init__

    def acting(self, walked, *, fast):
        honest(self, walked, fast=fast)
        self._signals["reason"] = np.full(len(walked.bars), "")

    monkeypatch.setattr(Replay, "__init__", acting)

    assert replay_diff(tmp_path).counts == {"signal": 40}


def test_a_run_without_any_model_has_nothing_to_compare(linear_config, tmp_path):
    bars = BARS.copy()
    bars.loc[:, ["open", "high", "low", "close"]] = 100.0
    walk_forward(linear_config, bars, out=tmp_path)

    report = replay_diff(tmp_path)

    assert (report.is_equal, report.n_signals, report.n_not_compared) == (True, 0, 200)
    assert (
        report.sentence == "Nothing was compared: no model could be trained for any of the 200 served rows."
    )


@pytest.mark.parametrize(
    "retraining",
    [
        {"policy": "age", "max_age": 35, "challenge": "unless_worse"},
        {"policy": "never", "expires_after": 50},
        {"policy": "schedule", "every": 50, "rollback_sessions": 40},
    ],
)
def test_a_run_that_decided_when_to_train_is_the_same(linear_config, tmp_path, retraining):
    config = load_config({**linear_config.model_dump(exclude_unset=True), "retraining": retraining})
    result = walk_forward(config, BARS, out=tmp_path)

    report = replay_diff(tmp_path)

    assert report.is_equal, report.sentence
    assert report.n_signals == len(result.predictions)


def test_policies_that_calibrate_choose_thresholds_and_size_are_the_same(linear_config, tmp_path):
    fields = {
        "thresholds": {"entry": "cost"},
        "sizing": {"method": "confidence"},
        "calibration": {"method": "sigmoid"},
    }
    config = load_config({**linear_config.model_dump(exclude_unset=True), **fields})
    walk_forward(config, random_bars(700, seed=2, momentum=0.3), out=tmp_path)

    report = replay_diff(tmp_path)

    assert report.is_equal, report.sentence


def test_models_that_continue_each_other_are_not_replayed(linear_config, tmp_path):
    walk_forward(linear_config, BARS, out=tmp_path)
    written = tmp_path / "config.json"
    written.write_text(written.read_text().replace('"warm_start": false', '"warm_start": true'))

    with pytest.raises(RunError, match="warm_start"):
        replay_diff(tmp_path)


def test_a_replay_leaves_the_run_as_it_is(linear_config, tmp_path):
    walk_forward(linear_config, BARS, out=tmp_path)
    before = contents_of(tmp_path)

    replay_diff(tmp_path)

    assert contents_of(tmp_path) == before


def test_a_replay_of_older_results_is_no_trial_and_keeps_its_bars_to_itself(linear_config, tmp_path):
    walk_forward(linear_config, BARS, out=tmp_path)
    for run in (tmp_path / "runs").iterdir():
        shutil.rmtree(run)
    written = (tmp_path / "bars.npz").stat().st_mtime_ns

    replay_diff(tmp_path)

    assert RunFolder(tmp_path).runs() == {}
    assert (tmp_path / "bars.npz").stat().st_mtime_ns == written


def test_a_run_whose_policy_was_given_in_code_is_refused_by_its_name(linear_config, tmp_path):
    walk_forward(linear_config, BARS, out=tmp_path, policy=Schedule(Spell.of(37)))

    with pytest.raises(RunError, match=r"Schedule.*in code"):
        replay_diff(tmp_path)

    assert len(RunFolder(tmp_path).runs()) == 1


def test_of_two_runs_of_one_configuration_the_one_with_a_policy_in_code_is_found_out(linear_config, tmp_path):
    """The folder's results are those of the second run, which the configuration alone does not give."""
    walk_forward(linear_config, BARS, out=tmp_path)
    walk_forward(linear_config, BARS, out=tmp_path, policy=Schedule(Spell.of(37)))

    with pytest.raises(RunError, match=r"predictions\.csv .* a policy given in code"):
        replay_diff(tmp_path)


@pytest.mark.parametrize(
    ("file", "column", "told"),
    [
        ("predictions.csv", "expected", "'0.123'"),
        ("predictions.csv", "expected", "'elsewhere'"),
        ("signals.csv", "signal", "'elsewhere'"),
        ("signals.csv", "target_weight", "'0.123'"),
        ("signals.csv", "reason", "'elsewhere'"),
    ],
)
@pytest.mark.parametrize("bars", [BARS, PANEL], ids=["one", "panel"])
def test_results_that_the_configuration_does_not_give_are_refused(
    linear_config, tmp_path, bars, file, column, told
):
    """Planted: results of other code."""
    walk_forward(linear_config, bars, out=tmp_path)
    recorded = pd.read_csv(tmp_path / file, dtype=str, keep_default_na=False)
    recorded.loc[recorded.index[-1], column] = told.strip("'")
    recorded.to_csv(tmp_path / file, index=False)

    with pytest.raises(RunError, match=f"{column} at .* is {told} in {file}"):
        replay_diff(tmp_path)


def test_results_that_lack_a_row_are_refused(linear_config, tmp_path):
    walk_forward(linear_config, BARS, out=tmp_path)
    lines = (tmp_path / "signals.csv").read_text().splitlines(keepends=True)
    (tmp_path / "signals.csv").write_text("".join(lines[:-1]))

    with pytest.raises(RunError, match=r"signals\.csv has other rows"):
        replay_diff(tmp_path)


def test_a_run_that_was_killed_while_it_wrote_is_refused(linear_config, tmp_path):
    walk_forward(linear_config, BARS, out=tmp_path)
    (tmp_path / "signals.csv").unlink()

    with pytest.raises(RunError, match="holds no finished run"):
        replay_diff(tmp_path)


@pytest.mark.parametrize(("bars", "rows"), [(BARS, "200"), (FIVE, "1,000")], ids=["one", "panel"])
def test_it_is_said_how_many_signals_of_how_many_served_rows_were_compared(
    linear_config, tmp_path, bars, rows
):
    walk_forward(linear_config, bars, out=tmp_path)
    edited = bars.copy()
    edited.iloc[-1, edited.columns.get_loc("close")] *= 1.0001

    equal, differs = replay_diff(tmp_path), replay_diff(tmp_path, edited)

    assert f"{len(bars):,} bars, {rows} signals of {rows} served rows; forecasts" in equal.sentence
    assert differs.sentence.endswith(f"Compared were {rows} signals of {rows} served rows.")
    assert equal.n_served == int(rows.replace(",", ""))


def test_a_served_row_whose_bar_is_missing_is_not_compared(linear_config, tmp_path):
    walk_forward(linear_config, BARS, out=tmp_path)

    report = replay_diff(tmp_path, BARS.drop(BARS.index[[200, -1]]))

    assert report.n_not_compared == 2
    assert "Compared were 198 signals of 200 served rows." in report.sentence


@pytest.mark.parametrize("delay", ["1D", "7D"])
def test_models_that_serve_some_days_after_their_fit_are_compared_on_every_served_row(
    linear_config, tmp_path, delay
):
    validation = linear_config.validation.model_copy(update={"retrain_delay": delay})
    result = walk_forward(linear_config.model_copy(update={"validation": validation}), BARS, out=tmp_path)

    report = replay_diff(tmp_path)

    assert report.is_equal, report.sentence
    assert report.n_signals == report.n_served == len(result.predictions)


def test_an_edited_bar_is_named_with_the_first_feature_and_forecast_that_follow(linear_config, tmp_path):
    walk_forward(linear_config, BARS, out=tmp_path)
    edited = BARS.copy()
    edited.iloc[200, edited.columns.get_loc("close")] *= 1.0001

    report = replay_diff(tmp_path, edited)

    assert not report.is_equal
    assert report.counts["bar"] == 1
    assert report.first["bar"].at == BARS.index[200]
    assert (report.first["feature"].what, report.first["feature"].at) == ("r1", BARS.index[200])
    assert report.first["forecast"].at == BARS.index[200]
    assert f"First: close at {BARS.index[200]}" in report.sentence


def test_bars_that_are_missing_or_new_are_named(linear_config, tmp_path):
    walk_forward(linear_config, PANEL, out=tmp_path)
    one_less = PANEL.drop(PANEL.index[-1])
    extra = pd.concat(
        [PANEL.iloc[[-1]].rename(index={PANEL.index[-1][1]: "S009"}, level="symbol"), PANEL]
    ).sort_index()

    fewer, more = replay_diff(tmp_path, one_less), replay_diff(tmp_path, extra)

    assert "'one' in the backtest, 'none' in the stream" in str(fewer.first["bar"])
    assert more.first["bar"].symbol == "S009"


def test_a_stream_that_computes_a_feature_otherwise_is_found(linear_config, tmp_path, monkeypatch):
    """Planted: a live feature that is one bit off."""
    walk_forward(linear_config, BARS, out=tmp_path)
    honest = FeatureStream.update
    monkeypatch.setattr(
        FeatureStream,
        "update",
        lambda self, symbol, bar: [np.nextafter(value, np.inf) for value in honest(self, symbol, bar)],
    )

    report = replay_diff(tmp_path)

    assert report.counts["feature"] > 500
    assert report.first["feature"].what == "r1"


def test_a_signal_that_differs_without_reason_is_found(linear_config, tmp_path):
    """Planted: a policy that turns sides round on the stream only."""
    walk_forward(linear_config, BARS, out=tmp_path)
    policies = Replay._policies

    def turned(self, number, trained):
        return {
            symbol: replace(policy, confidence_threshold=0.99, signal_threshold=0.99, strong_confidence=0.99)
            for symbol, policy in policies(self, number, trained).items()
        }

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Replay, "_policies", turned)
        report = replay_diff(tmp_path)

    assert set(report.counts) == {"signal"}


def test_the_bars_are_replayed_window_by_window(linear_config, tmp_path):
    told = []
    walk_forward(linear_config, BARS, out=tmp_path)

    replay_diff(tmp_path, progress=lambda done, total: told.append((done, total)))

    assert told == [(number, 5) for number in range(1, 6)]


def test_a_folder_without_a_run_is_refused(tmp_path):
    with pytest.raises(RunError, match="holds no finished run"):
        replay_diff(tmp_path)


def test_signals_at_a_threshold_are_counted_apart():
    report = ReplayReport(1e-9, n_bars=10, n_served=5, n_signals=5, n_at_threshold=1)

    assert report.is_equal
    assert "1 of them at a threshold" in report.sentence


def test_several_differences_are_counted_and_the_first_kept():
    report = ReplayReport(1e-9)
    for day in (3, 2):
        report.note("bar", Difference(pd.Timestamp(2024, 1, day), "A", "close", 1.0, 2.0))

    assert report.counts == {"bar": 2}
    assert report.sentence.startswith(
        "The stream differs from the backtest in 2 bars. First: close at 2024-01-03"
    )
