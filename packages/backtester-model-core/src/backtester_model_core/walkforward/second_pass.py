"""The second pass, in time order: policies from what was known, signals, the skill gate, live figures."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd

from backtester_model_core.bars.panel import symbol_codes
from backtester_model_core.dataset import Dataset, Prediction
from backtester_model_core.evaluation import gate_opens, gate_statistic, mean_with_bound, skill_series
from backtester_model_core.events import Event, EventKind
from backtester_model_core.exceptions import PluginError
from backtester_model_core.model import BaseModel
from backtester_model_core.retraining import side_came_true
from backtester_model_core.signals import (
    SIGNAL_COLUMNS,
    FittedPolicy,
    Reason,
    ScoredRows,
    SignalFrame,
    SignalPolicy,
    fit_policy,
    neutral_signals,
    sides_after,
)
from backtester_model_core.splits import Window
from backtester_model_core.splits.spans import time_span
from backtester_model_core.typing import FloatArray, TimeArray
from backtester_model_core.walkforward.blocks import Block
from backtester_model_core.walkforward.expiry import expiry_events, silence, stale_rows
from backtester_model_core.walkforward.watching import watch_windows

MIN_GATE_HORIZONS = 30
"""Scored horizons below which the gate stays shut: so few understate how uncertain their mean is."""

INTERVAL = ("interval_low", "interval_high")
"""Columns of a regression's conformal interval."""


@dataclass(frozen=True, eq=False)
class SecondPass:
    """What the second pass made.

    Attributes:
        signals: One signal for every row of the dataset.
        foreseen: For every row of the dataset what its window's policy made of the forecast: ``probability_up``,
            and of a regression ``interval_low`` and ``interval_high``; NaN where it says nothing.
        events: In time order.
        live: One row of live figures for each window; no columns when monitoring is off.
        gate: For each window, the gate's statistic (NaN where undefined), whether it was open, and the policy's
            levels: ``entry``, ``exit``, ``strong``, ``break_even``.
        policies: The policy of each window.
    """

    signals: SignalFrame
    foreseen: pd.DataFrame
    events: tuple[Event, ...]
    live: pd.DataFrame
    gate: pd.DataFrame
    policies: tuple[SignalPolicy, ...]


def run_second_pass(
    model: BaseModel,
    bars: pd.DataFrame,
    dataset: Dataset,
    windows: Sequence[Window],
    blocks: Sequence[Block],
    *,
    logger: logging.Logger,
    lived_events: Sequence[Event] | None = None,
) -> SecondPass:
    """Walk the windows in time order; each window's signals use only outcomes known at its fit.

    Args:
        model: An untrained model, whose policy is set for each window.
        bars: Checked bars.
        dataset: All rows.
        windows: What was served when.
        blocks: What was foreseen in each window.
        logger: Where events are logged.
        lived_events: What was noticed and decided in the first pass; ``None`` where nobody watched.
    """
    columns = {
        name: values.to_numpy(copy=True)
        for name, values in neutral_signals(dataset.index, Reason.NOT_SERVED).items()
    }
    foreseen = {name: np.full(len(dataset), np.nan) for name in _foreseen_columns(model)}
    served = [_scored(dataset, window, block) for window, block in zip(windows, blocks, strict=True)]
    inner = [block.inner for block in blocks if block.inner is not None]
    stale = [stale_rows(model.config, dataset, window) for window in windows]
    events = [*(lived_events or ()), *expiry_events(model.config, dataset, windows, stale)]
    gate_rows: list[dict[str, Any]] = []
    live_rows: list[dict[str, Any]] = []
    policies: list[SignalPolicy] = []
    sessions = None if lived_events is None else np.unique(dataset.known_at)
    held: dict[str, int] = {}
    is_open = False
    for number, (window, block) in enumerate(zip(windows, blocks, strict=True)):
        events += _training_events(window, block)
        earlier = ScoredRows.joined(served[:number]).known_by(window.fit_at) if number else None
        statistic, opens = _gate(model, window, earlier, served[:number], sessions=sessions)
        if opens != is_open:
            events.append(_gate_event(window, statistic, opens=opens))
        is_open = opens
        may_trade = model.config.gate.mode != "block" or opens
        fitted = _policy(model, window, block, served[:number], inner, may_trade=may_trade)
        events += _policy_events(window, fitted)
        gate_rows.append({"gate_statistic": statistic, "gate_open": opens, **_levels(fitted)})
        model.policy = fitted.policy
        policies.append(fitted.policy)
        prediction = replace(_prediction(model, dataset, window, block), held=held)
        for column, made in _foreseen(model, prediction).items():
            foreseen[column][window.test_rows] = made
        frame = _block_signals(model, bars, dataset, window, block, prediction)
        silence(frame, stale[number])
        held = _held_after(held, frame)
        for name, values in columns.items():
            values[window.test_rows] = frame[name].to_numpy()
        if model.config.enable_monitoring:
            live_rows.append(_live_figures(model, served[number], earlier))
            events += _retraining_events(window, served[number], live_rows[-1])
    for event in events:
        logger.info("%s", event)
    if model.config.enable_monitoring and lived_events is None:
        events += watch_windows(model.config, dataset, windows, blocks, served, logger=logger)
    return SecondPass(
        pd.DataFrame(columns, index=dataset.index),
        pd.DataFrame(foreseen, index=dataset.index),
        tuple(sorted(events, key=lambda event: event.at)),
        pd.DataFrame(live_rows),
        pd.DataFrame(gate_rows),
        tuple(policies),
    )


def _scored(dataset: Dataset, window: Window, block: Block) -> ScoredRows:
    return ScoredRows.of(
        dataset.take(window.test_rows),
        forecast=block.expected,
        baseline=block.baseline,
        probability=block.probability,
    )


def _policy(
    model: BaseModel,
    window: Window,
    block: Block,
    earlier: Sequence[ScoredRows],
    inner: Sequence[ScoredRows],
    *,
    may_trade: bool,
) -> FittedPolicy:
    """Fit the policy to inner rows and to the out-of-sample rows of earlier windows whose outcomes are known."""
    pool = [rows.known_by(window.fit_at) for rows in (*inner, *earlier)]
    known = ScoredRows.joined(pool).latest_last() if pool else None
    baseline = block.baseline if model.config.pooling == "per_symbol" else _single(block.baseline)
    return fit_policy(model.config, known, baseline=baseline, may_trade=may_trade)


def _policy_events(window: Window, fitted: FittedPolicy) -> list[Event]:
    if not fitted.message:
        return []
    return [Event(window.fit_at, EventKind.CALIBRATED, fitted.message, window.number, figures=fitted.figures)]


def _levels(fitted: FittedPolicy) -> dict[str, float]:
    return {name: fitted.figures[name] for name in ("entry", "exit", "strong", "break_even")}


def _prediction(model: BaseModel, dataset: Dataset, window: Window, block: Block) -> Prediction:
    rows = window.test_rows
    scale = None if dataset.scale is None else dataset.scale[rows]
    return Prediction(dataset.index[rows], block.expected, block.probability, model.classes, scale)


def _foreseen_columns(model: BaseModel) -> tuple[str, ...]:
    return ("probability_up", *(INTERVAL if model.classes is None else ()))


def _foreseen(model: BaseModel, prediction: Prediction) -> dict[str, FloatArray]:
    """Return what a block's policy makes of its forecasts."""
    made = {"probability_up": model.policy.probability_up(prediction)}
    if model.classes is None:
        interval = model.policy.interval(prediction, coverage=model.config.calibration.coverage)
        made |= dict(zip(INTERVAL, interval, strict=True))
    return made


def _held_after(held: dict[str, int], signals: SignalFrame) -> dict[str, int]:
    """Return the sides held after a block; a symbol without a row in it goes on holding what it held."""
    present = set(symbol_codes(signals.index)[1])
    return {symbol: side for symbol, side in held.items() if symbol not in present} | sides_after(signals)


def _single(baseline: Any) -> float:
    """Return the one baseline of a pooled block; zero where the window was refused."""
    known = baseline[~np.isnan(baseline)]
    return float(known[0]) if len(known) else 0.0


def _gate(
    model: BaseModel,
    window: Window,
    earlier: ScoredRows | None,
    served: Sequence[ScoredRows],
    *,
    sessions: TimeArray | None,
) -> tuple[float, bool]:
    """Return the gate's statistic over earlier rows and whether it lets signals through.

    Progress is counted in decision times that were scored, in units of a window: one that was refused, or whose
    outcomes are still to come, has shown nothing.

    Args:
        model: Whose gate it is.
        window: The window that it is asked about.
        earlier: Rows of earlier windows whose outcomes are known.
        served: What was served in earlier windows.
        sessions: All sessions where windows were lived; ``None`` where they were planned.
    """
    settings = model.config.gate
    if settings.mode == "off":
        return float("nan"), True
    if earlier is None or len(earlier) == 0:
        return float("nan"), False
    statistic = gate_statistic(
        earlier.known_at,
        outcome=earlier.outcome,
        forecast=earlier.forecast,
        baseline=earlier.baseline,
        horizon=model.config.prediction_horizon,
    )
    n_scored = len(np.unique(earlier.known_at))
    a_window = _mean_length(served) if sessions is None else _planned_length(model, window, sessions)
    opens = n_scored >= MIN_GATE_HORIZONS * model.config.prediction_horizon and gate_opens(
        statistic, windows_done=n_scored / a_window, planned_windows=settings.planned_windows
    )
    return statistic, opens


def _mean_length(served: Sequence[ScoredRows]) -> float:
    """Return the mean number of decision times of the windows served so far."""
    return float(np.mean([len(np.unique(block.known_at)) for block in served]))


def _planned_length(model: BaseModel, window: Window, sessions: TimeArray) -> float:
    """Return the sessions of a window as planned: of a time span, as many as it has had on average by the fit.

    A policy ends windows when it likes. Counted by the piece, short ones would use up the gate's plan too soon.
    """
    size = model.config.validation.test_size
    if isinstance(size, int):
        return float(size)
    known = sessions[sessions <= window.fit_at]
    per_session = (known[-1] - known[0]) / (len(known) - 1)
    return max(1.0, float(time_span(size) / per_session))


def _gate_event(window: Window, statistic: float, *, opens: bool) -> Event:
    if opens:
        said = "off" if np.isnan(statistic) else f"t(g) = {statistic:.2f}"
        message, kind = f"the skill gate lets signals through ({said})", EventKind.GATE_OPENED
    else:
        message = f"the skill gate has closed again (t(g) = {statistic:.2f})"
        kind = EventKind.GATE_CLOSED
    return Event(window.fit_at, kind, message, window.number, figures={"t_g": statistic})


def _block_signals(
    model: BaseModel,
    bars: pd.DataFrame,
    dataset: Dataset,
    window: Window,
    block: Block,
    prediction: Prediction,
) -> SignalFrame:
    """Ask the signal hook about one block; rows whose model was refused say so."""
    rows = window.test_rows
    frame = model.signal(bars.iloc[rows], prediction)
    missing = [name for name in SIGNAL_COLUMNS if name not in frame]
    if missing or not frame.index.equals(prediction.index):
        raise PluginError(
            f"The signal step answered with {len(frame)} rows of {', '.join(map(str, frame))}, where the {len(rows)} "
            f"rows of the prediction's index with {', '.join(SIGNAL_COLUMNS)} were asked for. "
            "An extension that wraps backtester_signal is at fault."
        )
    for refusal in block.refusals:
        refused = np.ones(len(rows), dtype=bool)
        if refusal.symbol:
            refused = dataset.symbol_codes[rows] == dataset.symbols.index(refusal.symbol)
        frame.loc[refused, "reason"] = refusal.reason.value
    return frame


def _training_events(window: Window, block: Block) -> list[Event]:
    events: list[Event] = []
    if window.trained_at is not None:
        return events
    for report in block.reports:
        whose = f"{report['symbol']}: " if report["symbol"] else ""
        notes = f"; {'; '.join(report['notes'])}" if report["notes"] else ""
        message = f"{whose}{report['n_rows']:,} rows with labels known to {report['trained_to']}{notes}"
        events.append(
            Event(
                window.fit_at,
                EventKind.TRAINED,
                message,
                window.number,
                report["symbol"],
                {"n_rows": report["n_rows"]},
            )
        )
    for refusal in block.refusals:
        whose = f"{refusal.symbol}: " if refusal.symbol else ""
        message = f"{whose}{refusal.message}"
        events.append(Event(window.fit_at, EventKind.REFUSED, message, window.number, refusal.symbol))
    return events


def _live_figures(model: BaseModel, block: ScoredRows, earlier: ScoredRows | None) -> dict[str, Any]:
    """Measure a window once all its labels are known, beside what came before it."""
    known = block.take(~np.isnan(block.forecast) & ~np.isnan(block.outcome))
    right = side_came_true(known.forecast, known.outcome, model.classes)
    horizon = model.config.prediction_horizon
    skill, upper, _ = mean_with_bound(_skill(known), horizon=horizon)
    reference = float(_skill(earlier).mean()) if earlier is not None and len(earlier) else float("nan")
    suggests = reference > 0 and upper < model.config.retrain_threshold * reference
    return {
        "live_n": len(known),
        "live_accuracy": float(right.mean()) if len(known) else float("nan"),
        "live_skill": skill,
        "live_skill_upper": upper,
        "reference_skill": reference,
        "retrain_suggested": bool(suggests),
    }


def _skill(rows: ScoredRows) -> FloatArray:
    """Return g for each decision time."""
    return skill_series(rows.known_at, outcome=rows.outcome, forecast=rows.forecast, baseline=rows.baseline).g


def _retraining_events(window: Window, block: ScoredRows, figures: dict[str, Any]) -> list[Event]:
    if not figures["retrain_suggested"]:
        return []
    at = block.label_end[~np.isnat(block.label_end)].max()
    upper, reference = figures["live_skill_upper"], figures["reference_skill"]
    message = f"live skill is at most {upper:.3g}, its reference {reference:.3g}"
    return [
        Event(
            at,
            EventKind.RETRAIN_SUGGESTED,
            message,
            window.number,
            figures={"live_skill_upper": upper, "reference_skill": reference},
        )
    ]
