"""A walk-forward beside a stream of the same models, compared bar by bar."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd

from backtester_model_core.model import BaseModel
from backtester_model_core.replay.report import Difference, ReplayReport
from backtester_model_core.signals import ModelSignal, ModelSignalType, Reason, SignalPolicy
from backtester_model_core.streaming import SignalStream
from backtester_model_core.streaming.incoming import rows_of
from backtester_model_core.walkforward import Walked
from backtester_model_core.walkforward.blocks import models_of

PLAIN_TOLERANCE = 1e-9
COMPILED_TOLERANCE = 1e-6
MAX_LISTED = 20
NEUTRAL = ModelSignalType.NEUTRAL.value

Progress = Callable[[int, int], None]
"""Called with (windows replayed, windows in all) as they are."""


class Replay:
    """A walk-forward beside the stream that replays it.

    Args:
        walked: The walk-forward.
        fast: Whether compiled steps may be used.
    """

    def __init__(self, walked: Walked, *, fast: bool) -> None:
        self._walked = walked
        self._fast = fast
        self._is_single = not isinstance(walked.bars.index, pd.MultiIndex)
        dataset = walked.dataset
        stamps = walked.bars.index.get_level_values("timestamp") if not self._is_single else walked.bars.index
        self._at = pd.DatetimeIndex(stamps).as_unit("ns").asi8
        symbols = [dataset.symbols[code] for code in dataset.symbol_codes]
        self._row = {key: row for row, key in enumerate(zip(self._at.tolist(), symbols, strict=True))}
        self._forecast = np.full(len(dataset), np.nan)
        self._window = np.zeros(len(dataset), dtype=np.int64)
        self._refused = [
            {refusal.symbol: refusal.reason for refusal in block.refusals} for block in walked.blocks
        ]
        for window, block in zip(walked.windows, walked.blocks, strict=True):
            self._forecast[window.test_rows] = block.expected
            self._window[window.test_rows] = window.number
        self._largest = float(np.nanmax(np.abs(self._forecast), initial=0.0)) or 1.0
        self._signals = {name: walked.second.signals[name].to_numpy() for name in walked.second.signals}
        self._values = {str(name): walked.bars[name].to_numpy() for name in walked.bars}

    def over(self, bars: pd.DataFrame, progress: Progress | None = None) -> ReplayReport:
        """Replay bars and return what differs."""
        served = sum(len(window.test_rows) for window in self._walked.windows)
        report = ReplayReport(PLAIN_TOLERANCE, n_served=served)
        rows = rows_of(bars)
        stream: SignalStream | None = None
        for number, bars_of_window in self._parts(rows):
            stream = self._serving(stream, number)
            if stream is None:
                continue
            report.tolerance = COMPILED_TOLERANCE if stream.has_fast_step else report.tolerance
            is_served = number >= 0 and self._has_model(number)
            for together in bars_of_window:
                if is_served:
                    signals = (
                        stream.update_panel(together) if not self._is_single else [stream.update(together[0])]
                    )
                    self._compare(report, together, stream, signals)
                else:
                    stream.warm_up(together)
                    self._compare(report, together, stream, None)
            if progress is not None and number >= 0:
                progress(number + 1, len(self._walked.windows))
        self._note_missing(report, rows)
        return report

    def _parts(self, rows: list[dict[str, Any]]) -> Iterator[tuple[int, list[list[dict[str, Any]]]]]:
        """Yield (window, its bars time by time), -1 for the bars before the first window."""
        starts = [self._at[window.test_rows[0]] for window in self._walked.windows]
        number, last = -1, None
        part: list[list[dict[str, Any]]] = []
        for row in rows:
            at = pd.Timestamp(row["timestamp"]).value
            if at != last:
                while number + 1 < len(starts) and at >= starts[number + 1]:
                    yield number, part
                    number, part = number + 1, []
                part.append([])
                last = at
            part[-1].append(row)
        yield number, part

    def _has_model(self, number: int) -> bool:
        """Say whether any model of a window could be trained."""
        return bool(self._walked.blocks[number].reports)

    def _serving(self, stream: SignalStream | None, number: int) -> SignalStream | None:
        """Put a window's models in force; the first that there are also see the bars before them."""
        walked = self._walked
        usable = [place for place in range(len(walked.blocks)) if self._has_model(place)]
        if not usable:
            return None
        place = max(number, usable[0])
        if stream is not None and (number <= usable[0] or not self._has_model(number)):
            return stream
        window = walked.windows[place]
        trained = models_of(walked.model, walked.dataset, window, without=self._refused[place])
        policies = self._policies(place, trained)
        is_pooled = walked.model.config.pooling == "pooled"
        models: Any = trained[""] if is_pooled else trained
        policy: Any = policies[""] if is_pooled else policies
        if stream is None:
            stream = SignalStream(models, gate="policy", fast=self._fast)
        stream.replace_model(models, policy=policy, fitted_at=window.model_from)
        return stream

    def _policies(self, number: int, trained: Mapping[str, BaseModel]) -> dict[str, SignalPolicy]:
        """Return the policy of each of a window's models: the window's own, with the model's baseline."""
        policy = self._walked.second.policies[number]
        if np.ndim(policy.baseline) == 0:
            return dict.fromkeys(trained, policy)
        return {symbol: replace(policy, baseline=model.baseline) for symbol, model in trained.items()}

    def _compare(
        self,
        report: ReplayReport,
        bars: list[dict[str, Any]],
        stream: SignalStream,
        signals: list[ModelSignal] | None,
    ) -> None:
        dataset = self._walked.dataset
        for place, bar in enumerate(bars):
            stamp, symbol = bar["timestamp"], bar.get("symbol", "")
            report.n_bars += 1
            row = self._row.get((pd.Timestamp(stamp).value, symbol))
            if row is None:
                report.note("bar", Difference(stamp, symbol, "the bar", "none", "one"))
                continue
            for name, column in self._values.items():
                if not _same(column[row], bar.get(name, np.nan)):
                    report.note("bar", Difference(stamp, symbol, name, float(column[row]), bar.get(name)))
            found = stream.latest_features(symbol)
            if not np.array_equal(dataset.values[row], found, equal_nan=True):
                self._note_features(report, stamp, symbol, dataset.values[row], found)
            if signals is None:
                continue
            refusal = self._refused[self._window[row]].get(symbol)
            if refusal is not None:
                self._check_refused(report, row, stamp, signals[place], refusal)
            else:
                self._compare_signal(
                    report, row, stamp, symbol, stream.latest_forecast(symbol), signals[place]
                )

    def _note_features(self, report: ReplayReport, stamp: Any, symbol: str, batch: Any, found: Any) -> None:
        for name, expected, value in zip(self._walked.dataset.columns, batch, found, strict=True):
            if not _same(expected, value):
                report.note("feature", Difference(stamp, symbol, name, float(expected), float(value)))

    def _check_refused(
        self, report: ReplayReport, row: int, stamp: Any, signal: ModelSignal, refusal: Reason
    ) -> None:
        """See to it that neither says anything of a row whose model was refused."""
        batch = _said(self._signals["signal"][row], self._signals["reason"][row])
        stream = _said(signal.signal.value, signal.reason)
        if (batch, stream) != (_said(NEUTRAL, refusal), _said(NEUTRAL, Reason.NO_MODEL)):
            report.note("signal", Difference(stamp, signal.symbol, "signal", batch, stream))

    def _compare_signal(
        self, report: ReplayReport, row: int, stamp: Any, symbol: str, forecast: float, signal: ModelSignal
    ) -> None:
        report.n_signals += 1
        batch = float(self._forecast[row])
        distance = abs(forecast - batch) / self._largest
        if np.isnan(distance):
            distance = 0.0 if np.isnan(forecast) and np.isnan(batch) else np.inf
        report.worst_forecast = max(report.worst_forecast, distance)
        if distance > report.tolerance:
            report.note("forecast", Difference(stamp, symbol, "forecast", batch, forecast))
        expected = self._signals["signal"][row]
        if signal.signal.value != expected:
            difference = Difference(stamp, symbol, "signal", expected, signal.signal.value)
            if self._lies_at_threshold(row, signal, report.tolerance):
                report.n_at_threshold += 1
                report.at_threshold = [*report.at_threshold, difference][:MAX_LISTED]
            else:
                report.note("signal", difference)
        elif abs(signal.target_weight - self._signals["target_weight"][row]) > COMPILED_TOLERANCE:
            weight = float(self._signals["target_weight"][row])
            report.note(
                "target_weight", Difference(stamp, symbol, "target_weight", weight, signal.target_weight)
            )

    def _lies_at_threshold(self, row: int, signal: ModelSignal, tolerance: float) -> bool:
        """Say whether a threshold lies between two confidences, or within the tolerance of both."""
        low, high = sorted((float(self._signals["confidence"][row]), signal.confidence))
        policy = self._walked.second.policies[self._window[row]]
        levels = [0.5, policy.signal_threshold, policy.confidence_threshold, policy.strong_confidence]
        levels += [] if policy.exit_confidence is None else [policy.exit_confidence]
        return any(low - tolerance <= level <= high + tolerance for level in levels)

    def _note_missing(self, report: ReplayReport, rows: list[dict[str, Any]]) -> None:
        """Note the bars that the run had and the replay has not."""
        given = {(pd.Timestamp(row["timestamp"]).value, row.get("symbol", "")) for row in rows}
        for at, symbol in self._row:
            if (at, symbol) not in given:
                report.note("bar", Difference(pd.Timestamp(at), symbol, "the bar", "one", "none"))


def _same(one: Any, other: Any) -> bool:
    return bool(one == other) or bool(np.isnan(one) and np.isnan(other))


def _said(signal: str, reason: str) -> str:
    return f"{signal} ({reason})" if reason else signal
