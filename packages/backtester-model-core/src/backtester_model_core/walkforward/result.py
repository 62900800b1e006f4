"""What a walk-forward found, and how it is written down."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from backtester_model_core.bars.panel import decision_index
from backtester_model_core.config import ModelConfig
from backtester_model_core.evaluation import Verdict
from backtester_model_core.runs import RunFolder, encode_json
from backtester_model_core.signals import SignalFrame


@dataclass(frozen=True, eq=False)
class WalkForwardResult:
    """Out-of-sample predictions and signals for every row, and what they were worth.

    Attributes:
        config: The configuration as resolved: sizes and seed filled in, so that it repeats the run.
        predictions: One row for each served bar: what was foreseen, by which window, beside what happened; a
            regression's with its conformal interval.
        signals: One signal for every bar, NEUTRAL with a reason where nothing is said.
        windows: One row for each window: dates, training, metrics, what its signals earned, gate and live figures.
        metrics: Metrics of all out-of-sample forecasts together.
        baselines: The same metrics of what needs no model.
        calibration: Brier score, log loss and calibration error of the probability of a rise: of a classifier as the
            model said it (``raw``) and as its signals had it (``calibrated``).
        reliability: What was said and what came, by bins of either probability.
        verdict: Skill, no skill shown, or worse than naive.
        order_verdict: The same of the order of the symbols at each time; ``None`` for one symbol.
        symbol_verdicts: The same of each symbol, adjusted for their number; empty for one symbol.
        signal_table: Hit rate and mean forward return by signal type.
        returns: Net return of each bar after costs, of the signals, always long and buy-and-hold.
        return_metrics: Figures of those returns.
        funnel: Rows that pass each stage, from bars to signals.
        events: What happened and when: trainings, refusals, the gate, suggestions to retrain.
        bars_notes: What ``check_bars`` normalised or found worth saying, and what the label counted.
        timings: Seconds spent in each stage.
    """

    config: ModelConfig
    predictions: pd.DataFrame
    signals: SignalFrame
    windows: pd.DataFrame
    metrics: Mapping[str, float]
    baselines: Mapping[str, Mapping[str, float]]
    calibration: Mapping[str, Mapping[str, float]]
    reliability: pd.DataFrame
    verdict: Verdict
    order_verdict: Verdict | None
    symbol_verdicts: Mapping[str, Verdict]
    signal_table: pd.DataFrame
    returns: pd.DataFrame
    return_metrics: Mapping[str, Mapping[str, float]]
    funnel: Mapping[str, int]
    events: pd.DataFrame
    bars_notes: tuple[str, ...]
    timings: Mapping[str, float]

    @property
    def target_weight(self) -> pd.DataFrame | pd.Series[float]:
        """The weight asked for at each decision time, one column a symbol; it can be filled from the next open.

        The decision time is the bar's close, also where bars are stamped at their open.
        """
        stamps = self.config.data_config
        decided = decision_index(self.signals.index, bar_stamp=stamps.bar_stamp, frequency=stamps.frequency)
        weight = self.signals["target_weight"].set_axis(decided)
        is_panel = isinstance(weight.index, pd.MultiIndex)
        return weight.unstack("symbol") if is_panel else weight  # noqa: PD010 - the index has no duplicates to pivot

    def summary(self) -> dict[str, Any]:
        """Return the figures as plain data: what ``metrics.json`` holds."""
        return {
            "model_name": self.config.model_name,
            "verdict": _plain(self.verdict),
            "order_verdict": None if self.order_verdict is None else _plain(self.order_verdict),
            "symbol_verdicts": {name: _plain(verdict) for name, verdict in self.symbol_verdicts.items()},
            "metrics": self.metrics,
            "baselines": self.baselines,
            "calibration": self.calibration,
            "returns": self.return_metrics,
            "signals": self.signal_table.to_dict(orient="index"),
            "funnel": self.funnel,
            "n_windows": len(self.windows),
            "bars_notes": self.bars_notes,
        }

    def write(self, folder: str | Path) -> dict[str, Path]:
        """Write the result's files into a folder, each whole or not at all.

        Returns:
            The path of each file by its name. Parquet files need the ``parquet`` extra and are left out without.
        """
        store = RunFolder(folder)
        files = {
            "config.json": encode_json(self.config.model_dump(mode="json")),
            "metrics.json": encode_json(self.summary()),
            "timings.json": encode_json(self.timings),
            "windows.csv": _csv(self.windows),
            "events.csv": _csv(self.events),
            "returns.csv": _csv(self.returns),
            "reliability.csv": _csv(self.reliability),
            "predictions.csv": _csv(self.predictions),
            "signals.csv": _csv(self.signals),
        }
        parquet = _parquet(self.signals)
        if parquet is not None:
            files["signals.parquet"] = parquet
        return {name: store.write_result(name, content) for name, content in files.items()}


def _plain(verdict: Verdict) -> dict[str, Any]:
    return {
        "outcome": str(verdict.outcome),
        "detail": verdict.detail,
        "sentence": verdict.sentence,
        "t_g": verdict.t_g,
        "t_d": verdict.t_d,
        "critical": verdict.critical,
        "p_g": verdict.p_g,
        "p_d": verdict.p_d,
        "n_decision_times": verdict.n,
    }


def _csv(frame: pd.DataFrame) -> bytes:
    return frame.to_csv(lineterminator="\n").encode()


def _parquet(frame: pd.DataFrame) -> bytes | None:
    try:
        content: bytes = frame.to_parquet()
    except ImportError:
        return None
    return content
