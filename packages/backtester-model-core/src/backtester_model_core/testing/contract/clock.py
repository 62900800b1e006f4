"""Checks against look-ahead, from bars to signals: T1 to T14 as far as an adapter can break them."""

from __future__ import annotations

import numpy as np
import pandas as pd

from backtester_model_core.config import ModelConfig
from backtester_model_core.dataset import Dataset
from backtester_model_core.factory import load_config
from backtester_model_core.model import BaseModel
from backtester_model_core.signals import ModelSignalType
from backtester_model_core.streaming import SignalStream
from backtester_model_core.streaming.incoming import rows_of
from backtester_model_core.testing.checks.features import find_symbol_leaks
from backtester_model_core.testing.checks.fitting import find_fit_leaks, find_fit_time_leaks, fit_model
from backtester_model_core.testing.contract.adapter_checks import BARS, N_BARS_TRAINED, AdapterChecks
from backtester_model_core.testing.contract.case import TOLERANCE
from backtester_model_core.testing.contract.contract import check
from backtester_model_core.testing.leak import Compute
from backtester_model_core.testing.lookahead import (
    find_future_leaks,
    find_truncation_leaks,
    find_walk_forward_leaks,
)
from backtester_model_core.testing.samples import random_panel

CUTS = range(100, len(BARS), 11)
FEW_BARS = BARS.iloc[:140]
LIVE_BARS = 30


class ClockChecks(AdapterChecks):
    """Checks against look-ahead, from bars to signals."""

    @check
    def test_truncated_bars_change_no_features(self) -> None:
        """Look at a prepare hook of the adapter's own: features may not know later bars (T1)."""
        for trained in self.trained_on_bars():
            assert find_truncation_leaks(_features_of(trained.model), BARS, cuts=CUTS) == []

    @check
    def test_truncated_bars_change_no_forecasts(self) -> None:
        """Look at forecasts that depend on later rows of the same call (T1)."""
        for trained in self.trained_on_bars():
            compute = _forecasts_of(trained.model)

            assert find_truncation_leaks(compute, BARS, cuts=CUTS, tolerance=TOLERANCE) == []

    @check
    def test_truncated_bars_change_no_signals(self) -> None:
        """Look at a signal hook of the adapter's own: thresholds may not be taken from the rows of a call (T1)."""
        for trained in self.trained_on_bars():
            compute = _signals_of(trained.model)

            assert find_truncation_leaks(compute, BARS, cuts=CUTS, tolerance=TOLERANCE) == []

    @check
    def test_another_future_changes_nothing_before(self) -> None:
        """Look at features, forecasts or signals that depend on later rows, and hide it where the bars end (T2)."""
        for trained in self.trained_on_bars():
            compute = _signals_of(trained.model)

            assert find_future_leaks(compute, BARS, cuts=(90, 120), tolerance=TOLERANCE) == []

    @check
    def test_garbage_outside_training_changes_no_fit(self) -> None:
        """Look at scalers, selections and thresholds that are fitted to rows outside training (T6)."""
        for trained in self.trained_on_bars():
            rows = _training_rows(trained.dataset)

            assert find_fit_leaks(fit_model(trained.model.config), trained.dataset, rows) == []

    @check
    def test_outlier_in_the_test_block_changes_no_scaler(self) -> None:
        """Look at statistics that training takes from anywhere but its rows: one planted spike moves none (T6)."""
        for trained in self.trained_on_bars():
            dataset, rows = trained.dataset, _training_rows(trained.dataset)
            fit, probe = fit_model(trained.model.config), dataset.features.iloc[rows]
            spiked = dataset.values.copy()
            spiked[rows.max() + 5 :] = 1e9
            others = Dataset(**{**vars(dataset), "values": spiked, "history": None})

            assert fit(dataset, rows)(probe).equals(fit(others, rows)(probe))

    @check
    def test_walk_forward_ends_the_same_at_each_boundary(self) -> None:
        """Look at anything that a window's fit takes from rows it serves, or from labels not yet known (T7)."""
        for config in self._walking():
            assert find_walk_forward_leaks(config, FEW_BARS, tolerance=TOLERANCE) == []

    @check
    def test_no_label_is_learned_before_it_is_known(self) -> None:
        """Look at a prepare or train hook of the adapter's own that changes rows or their label ends (T13)."""
        for config in self._walking():
            assert find_fit_time_leaks(config, FEW_BARS) == []

    @check
    def test_live_bars_get_the_signals_of_the_batch(self) -> None:
        """Look at forecasts of one row that differ from those of many, and at ``compile_step`` (T8)."""
        for trained in self.trained_on_bars():
            batch = trained.model.generate_signals(BARS)["score"].to_numpy(dtype=np.float64)[-LIVE_BARS:]
            stream = SignalStream(trained.model, gate="policy")
            stream.warm_up(BARS.iloc[:-LIVE_BARS])
            live = [stream.update(bar).score for bar in rows_of(BARS.iloc[-LIVE_BARS:])]

            assert np.allclose(live, batch, rtol=TOLERANCE, atol=TOLERANCE, equal_nan=True)

    @check
    def test_other_symbols_change_no_forecast(self) -> None:
        """Look at ranks and means over the symbols of a call, and at windows that run from one into the next (T14)."""
        panel = random_panel(3, 60, seed=4)
        for trained in self.trained_on_bars():
            compute = _forecasts_of(trained.model, digits=4)

            assert find_symbol_leaks(compute, panel) == []

    @check
    def test_every_bar_has_a_signal(self) -> None:
        """Look at a signal hook of the adapter's own: a bar is never dropped, and NEUTRAL has a reason."""
        for trained in self.trained_on_bars():
            signals = trained.model.generate_signals(BARS)

            assert signals.index.equals(BARS.index)
            assert set(signals["signal"]) <= {str(name) for name in ModelSignalType}
            assert (signals.loc[signals["signal"] == "NEUTRAL", "reason"] != "").all()

    def _walking(self) -> list[ModelConfig]:
        """Return each configuration as a short walk-forward, once all could be trained."""
        for _ in self.trained():
            pass
        short = {
            "validation": {"train_size": 80, "test_size": 25},
            "validation_split": 0.0,
            "confidence_threshold": 0.5,
            "gate": {"mode": "off"},
            "enable_monitoring": False,
        }
        return [load_config({**fields, **short}) for fields in self.fields()]


def _training_rows(dataset: Dataset) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
    first = np.arange(len(dataset)) < N_BARS_TRAINED
    return np.flatnonzero(dataset.is_complete & dataset.is_labelled & first)


def _features_of(model: BaseModel) -> Compute:
    return lambda bars: model.prepare(bars).features


def _forecasts_of(model: BaseModel, *, digits: int | None = None) -> Compute:
    """Return what forecasts every bar; rounded where the batches compared are of different length."""

    def compute(bars: pd.DataFrame) -> pd.DataFrame:
        answers = model.predict_distribution(model.prepare(bars).features).frame
        return answers if digits is None else answers.round(digits)

    return compute


def _signals_of(model: BaseModel) -> Compute:
    return lambda bars: model.generate_signals(bars)[["confidence", "score"]]
