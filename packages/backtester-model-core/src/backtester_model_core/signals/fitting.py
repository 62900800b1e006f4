"""A policy from what was foreseen earlier and is known to have happened since."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np

from backtester_model_core.calibration import Calibration, calibrate
from backtester_model_core.config import ModelConfig
from backtester_model_core.labels import label_kind
from backtester_model_core.signals.policy import SignalPolicy
from backtester_model_core.signals.probability import is_flat_likeliest, rise_share, rose
from backtester_model_core.signals.residuals import Residuals
from backtester_model_core.signals.scored import ScoredRows
from backtester_model_core.signals.sizing import Sizing
from backtester_model_core.signals.thresholds import Lane, Levels, Odds, levels_by_cost, levels_by_quantile
from backtester_model_core.typing import FloatArray

MIN_INDEPENDENT = 200
"""Independent rows (distinct decision times over the horizon) that a choice of thresholds or odds needs."""


@dataclass(frozen=True)
class FittedPolicy:
    """A policy, and what its fit has to say.

    Attributes:
        policy: How predictions become signals.
        message: What was fitted to how many rows, and what was not and why; empty where nothing was to be.
        figures: The numbers of that, among them ``entry``, ``exit``, ``strong`` and ``break_even``.
    """

    policy: SignalPolicy
    message: str
    figures: Mapping[str, float]


def fit_policy(
    config: ModelConfig,
    rows: ScoredRows | None,
    *,
    baseline: float | FloatArray = 0.0,
    may_trade: bool = True,
) -> FittedPolicy:
    """Fit calibrator or residuals, thresholds and odds to rows whose outcomes are known.

    Nothing else is looked at: whoever calls decides, by the rows, what may be known.

    Args:
        config: What is to be fitted.
        rows: Out-of-sample rows with known outcomes, the latest known last; ``None`` for none.
        baseline: Training mean of the model that the policy is for; (n,) where each row's model has its own.
        may_trade: Whether the skill gate lets signals through.
    """
    policy = SignalPolicy.of(config, baseline=baseline, may_trade=may_trade)
    if rows is None or len(rows) == 0:
        wanted = config.calibration.method if policy.classes is not None else "none"
        missing = "no earlier out-of-sample rows" if wanted != "none" or _looks_back(config) else ""
        return FittedPolicy(policy, missing, _figures(policy, None, config))
    n_independent = len(np.unique(rows.known_at)) / config.prediction_horizon
    said: list[str] = []
    measured: dict[str, float] = {}
    if policy.classes is None:
        residuals = Residuals.measure(rows.forecast, rows.outcome, rows.baseline, rows.scale)
        policy = replace(policy, residuals=residuals)
    else:
        found = _calibration(config, rows, policy.classes)
        policy = replace(policy, calibrator=found.calibrator)
        measured = dict(found.figures)
        said += [found.message] if config.calibration.method != "none" else []
    score = _scores(policy, rows)
    odds = _odds(config, rows, score) if n_independent >= MIN_INDEPENDENT else None
    policy, choice = _with_levels(policy, config, rows, score, n_independent=n_independent)
    said += [choice] if choice else []
    sizing = Sizing.of(config, strong=policy.strong_confidence, odds=odds)
    fitted = replace(policy, sizing=sizing)
    return FittedPolicy(fitted, "; ".join(said), measured | _figures(fitted, odds, config))


def _looks_back(config: ModelConfig) -> bool:
    """Say whether thresholds or sizes are made of earlier rows."""
    return config.thresholds.entry != "fixed" or config.sizing.method == "kelly"


def _calibration(config: ModelConfig, rows: ScoredRows, classes: tuple[float, ...]) -> Calibration:
    came = rose(rows.outcome, classes)
    n_times = len(np.unique(rows.known_at[~np.isnan(came)]))
    return calibrate(
        config.calibration.method,
        rise_share(rows.probability, classes),
        came,
        n_independent=n_times / config.prediction_horizon,
    )


def _scores(policy: SignalPolicy, rows: ScoredRows) -> FloatArray:
    """Return (n,) what the policy's score would have been; NaN where it would have been silent."""
    score = replace(policy, baseline=rows.baseline).probability_up(rows.prediction(policy.classes))
    if policy.classes is None:
        return score
    return np.where(is_flat_likeliest(rows.probability, policy.classes), np.nan, score)


def _odds(config: ModelConfig, rows: ScoredRows, score: FloatArray) -> Odds | None:
    """Measure what the side leant to has paid; of a meta-model, what acting has."""
    paid = np.sign(score - 0.5) * rows.forward_return
    if label_kind(config).is_meta:
        paid = np.where(rows.outcome > 0, 1.0, -1.0) * np.abs(rows.forward_return)
    return Odds.measure(paid[np.isfinite(paid)])


def _with_levels(
    policy: SignalPolicy,
    config: ModelConfig,
    rows: ScoredRows,
    score: FloatArray,
    *,
    n_independent: float,
) -> tuple[SignalPolicy, str]:
    """Set the thresholds that are chosen on earlier rows, and say which; the configured ones where they are few."""
    chosen, confidence = config.thresholds, np.maximum(score, 1 - score)
    known = np.isfinite(confidence)
    if chosen.entry == "fixed":
        return policy, ""
    if n_independent < MIN_INDEPENDENT or not known.any():
        few = f"{n_independent:,.0f} independent rows are too few to choose thresholds by {chosen.entry}"
        return policy, f"{few}, which needs {MIN_INDEPENDENT}: the configured ones hold"
    if chosen.entry == "quantile":
        levels = levels_by_quantile(confidence[known], chosen.quantile, hysteresis=chosen.hysteresis)
        return _at(policy, levels, pays=None), f"by quantile: {_said(levels)}"
    lane = Lane.of(
        score,
        rows.forward_return,
        symbol=rows.symbol,
        known_at=rows.known_at,
        horizon=config.prediction_horizon,
        costs=config.costs,
    )
    best = levels_by_cost(lane)
    if best is None:
        return replace(policy, pays=False), f"by cost: no threshold has paid on {len(lane.score):,} rows"
    return _at(policy, best, pays=True), f"by cost: {_said(best)}, {best.utility * 1e4:.2f} bps a row"


def _at(policy: SignalPolicy, levels: Levels, *, pays: bool | None) -> SignalPolicy:
    return replace(
        policy,
        signal_threshold=0.0,
        confidence_threshold=levels.entry,
        exit_confidence=levels.leave,
        strong_confidence=levels.strong,
        pays=pays,
    )


def _said(levels: Levels) -> str:
    return f"entry {levels.entry:.4f}, exit {levels.leave:.4f}, strong {levels.strong:.4f}"


def _figures(policy: SignalPolicy, odds: Odds | None, config: ModelConfig) -> dict[str, float]:
    nothing = float("nan")
    return {
        "entry": nothing if policy.pays is False else policy.entry,
        "exit": nothing if policy.pays is False else policy.leave,
        "strong": policy.strong_confidence,
        "break_even": nothing if odds is None else odds.break_even(one_way=config.costs.one_way),
    }
