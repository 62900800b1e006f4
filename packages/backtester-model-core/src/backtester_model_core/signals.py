"""From what a model foresees to what to do: confidence, thresholds, and a reason for every abstention."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, TypeAlias

import numpy as np
import pandas as pd

from backtester_model_core.bars.panel import decision_index
from backtester_model_core.config import DataConfig, ModelConfig
from backtester_model_core.dataset import Prediction
from backtester_model_core.typing import BoolArray, FloatArray

SignalFrame: TypeAlias = pd.DataFrame
"""One signal a row on the bars' index: ``signal, confidence, score, target_weight, reason``."""

SIGNAL_COLUMNS = ("signal", "confidence", "score", "target_weight", "reason")
MAX_RESIDUALS = 1_000
MIN_RESIDUALS = 200


class ModelSignalType(StrEnum):
    """What a signal says to do."""

    LONG = "LONG"
    SHORT = "SHORT"
    NEUTRAL = "NEUTRAL"
    STRONG_BUY = "STRONG_BUY"
    STRONG_SELL = "STRONG_SELL"

    @property
    def side(self) -> int:
        """1 for a long position, -1 for a short one, 0 for none."""
        return _SIDE[self]


_SIDE = {
    ModelSignalType.LONG: 1,
    ModelSignalType.STRONG_BUY: 1,
    ModelSignalType.SHORT: -1,
    ModelSignalType.STRONG_SELL: -1,
    ModelSignalType.NEUTRAL: 0,
}
_ENGINE_TYPE = {1: "BUY", -1: "SELL", 0: "HOLD"}


class Reason(StrEnum):
    """Why a signal is NEUTRAL; empty where it is not."""

    ACTED = ""
    WARM_UP = "warm_up"
    NOT_SERVED = "not_served"
    NO_MODEL = "no_model"
    ONE_CLASS = "one_class"
    NO_RESIDUALS = "no_residuals"
    NO_VOLATILITY = "no_volatility"
    STALE_MODEL = "stale_model"
    NO_SKILL = "no_skill"
    BELOW_SIGNAL_THRESHOLD = "below_signal_threshold"
    BELOW_CONFIDENCE = "below_confidence"
    FLAT_LIKELIEST = "flat_likeliest"
    NO_SIDE = "no_side"


@dataclass(frozen=True)
class ModelSignal:
    """One signal for one symbol at one decision time; it can be acted on from the next bar's open.

    Attributes:
        timestamp: Instant at which the signal is given: its bar's close.
        symbol: The symbol; empty for one symbol's plain frame.
        signal: What to do.
        confidence: Probability of the likelier side, 0.5 to 1; NaN where nothing was foreseen.
        score: Probability of a rise; NaN where nothing was foreseen.
        target_weight: Weight of the position asked for in the portfolio: one over the number of symbols that
            were foreseen at that time, with the side's sign.
        reason: Why the signal is NEUTRAL; empty where it is not.
        metadata: What else an engine or a log may want.
    """

    timestamp: pd.Timestamp
    symbol: str
    signal: ModelSignalType
    confidence: float
    score: float
    target_weight: float
    reason: str
    metadata: Mapping[str, Any] = field(default_factory=dict)

    def as_engine_dict(self) -> dict[str, Any]:
        """Return the signal as event-driven engines take it.

        ``signal_type`` is BUY, SELL or HOLD, ``action`` the signal's name; a confidence that is not known is 0.
        """
        return {
            "timestamp": self.timestamp,
            "symbol": self.symbol,
            "signal_type": _ENGINE_TYPE[self.signal.side],
            "action": self.signal.value,
            "confidence": 0.0 if np.isnan(self.confidence) else self.confidence,
            "metadata": {**self.metadata, "score": self.score, "reason": self.reason},
        }


@dataclass(frozen=True, eq=False)
class Residuals:
    """How far a regression's earlier out-of-sample forecasts were off, in units of volatility.

    Attributes:
        shrinkage: Slope ``beta`` of outcomes on forecasts, both less the baseline, in [0, 1].
        sorted_sizes: Ascending sizes of the standardised residuals.
    """

    shrinkage: float
    sorted_sizes: FloatArray

    @classmethod
    def measure(
        cls, forecast: FloatArray, outcome: FloatArray, baseline: FloatArray, scale: FloatArray
    ) -> Residuals | None:
        """Measure earlier out-of-sample rows in order of time; ``None`` when fewer than 200 can be used.

        Args:
            forecast: (n,) what was foreseen.
            outcome: (n,) what happened.
            baseline: (n,) training mean of the model that foresaw.
            scale: (n,) volatility known at the row.
        """
        usable = np.isfinite(forecast - baseline) & np.isfinite(outcome) & np.isfinite(scale) & (scale > 0)
        lean, excess = (forecast - baseline)[usable], (outcome - baseline)[usable]
        if len(lean) < MIN_RESIDUALS:
            return None
        variance = float(lean @ lean)
        shrinkage = float(np.clip((lean @ excess) / variance, 0.0, 1.0)) if variance > 0 else 0.0
        middle = baseline[usable] + shrinkage * lean
        sizes = np.abs(outcome[usable] - middle) / scale[usable]
        return cls(shrinkage, np.sort(sizes[-MAX_RESIDUALS:]))


@dataclass(frozen=True, eq=False)
class SignalPolicy:
    """How a model's predictions become signals; frozen, and kept with the model.

    Attributes:
        signal_threshold: Probability of a rise (or fall) from which a signal may be given.
        confidence_threshold: Confidence from which a signal is given.
        strong_confidence: Confidence from which it is strong.
        baseline: Training mean of the target, for regression; (n,) where each row's model has its own.
        residuals: Earlier out-of-sample residuals, for regression; ``None`` when there are too few.
        may_trade: Whether the skill gate lets signals through.
    """

    signal_threshold: float
    confidence_threshold: float
    strong_confidence: float
    baseline: float | FloatArray = 0.0
    residuals: Residuals | None = None
    may_trade: bool = True

    @classmethod
    def of(
        cls,
        config: ModelConfig,
        *,
        baseline: float | FloatArray = 0.0,
        residuals: Residuals | None = None,
        may_trade: bool = True,
    ) -> SignalPolicy:
        """Take the thresholds from a configuration."""
        return cls(
            config.signal_threshold,
            config.confidence_threshold,
            config.strong_confidence,
            baseline,
            residuals,
            may_trade,
        )

    def probability_up(self, prediction: Prediction) -> FloatArray:
        """Return (n,) the probability of a rise; NaN where nothing can be said.

        A classifier's is its probability of the classes above zero against those below, one half where it gives
        neither any; with the classes {0, 1}, zero is the fall. A regression's follows from the share of earlier
        residuals smaller than the forecast, both in units of volatility:
        ``1/2 + sign(m)/2 * share(|u| < |m|/sigma)`` with the shrunken forecast ``m = b + beta (f - b)``.
        """
        if prediction.probability is None:
            return self._probability_from_residuals(prediction)
        classes = np.asarray(prediction.classes)
        falls = classes < 0 if (classes < 0).any() else classes == 0
        up = prediction.probability[:, classes > 0].sum(axis=1)
        down = prediction.probability[:, falls].sum(axis=1)
        either = up + down
        return np.asarray(
            np.where(either == 0, 0.5, up / np.where(either == 0, 1.0, either)), dtype=np.float64
        )

    def signals(self, prediction: Prediction) -> SignalFrame:
        """Give one signal for every prediction row, NEUTRAL with a reason where it says nothing."""
        up = self.probability_up(prediction)
        confidence = np.maximum(up, 1.0 - up)
        reason = self._reasons(prediction, up, confidence)
        acted = reason == Reason.ACTED.value
        side = np.where(acted, np.where(up >= 0.5, 1.0, -1.0), 0.0)
        strong = acted & (confidence >= self.strong_confidence)
        return pd.DataFrame(
            {
                "signal": _names(side, strong),
                "confidence": confidence,
                "score": up,
                "target_weight": side / _eligible(prediction),
                "reason": reason,
            },
            index=prediction.index,
        )

    def _probability_from_residuals(self, prediction: Prediction) -> FloatArray:
        if self.residuals is None or prediction.scale is None:
            return np.full(len(prediction), np.nan)
        sizes = self.residuals.sorted_sizes
        middle = self.baseline + self.residuals.shrinkage * (prediction.expected - self.baseline)
        with np.errstate(invalid="ignore", divide="ignore", over="ignore"):
            distance = np.abs(middle) / prediction.scale
        share = np.searchsorted(sizes, distance, side="left") / len(sizes)
        known = np.isfinite(distance) & (prediction.scale > 0)
        return np.where(known, 0.5 + 0.5 * np.sign(middle) * share, np.nan)

    def _reasons(self, prediction: Prediction, up: FloatArray, confidence: FloatArray) -> Any:
        """Give each row the first reason that holds, or none where a signal is given."""
        unforeseen: BoolArray = np.isnan(prediction.expected)
        flat = self._is_flat_likeliest(prediction)
        below_signal = confidence < self.signal_threshold
        below_confidence = (confidence < self.confidence_threshold) | (up == 0.5)
        return np.select(
            [
                unforeseen,
                np.isnan(up) & (self.residuals is None),
                np.isnan(up),
                np.full(len(up), not self.may_trade),
                flat,
                below_signal,
                below_confidence,
            ],
            [
                Reason.WARM_UP.value,
                Reason.NO_RESIDUALS.value,
                Reason.NO_VOLATILITY.value,
                Reason.NO_SKILL.value,
                Reason.FLAT_LIKELIEST.value,
                Reason.BELOW_SIGNAL_THRESHOLD.value,
                Reason.BELOW_CONFIDENCE.value,
            ],
            default=Reason.ACTED.value,
        ).astype(object)

    @staticmethod
    def _is_flat_likeliest(prediction: Prediction) -> BoolArray:
        """Say where the middle class of a three-way label is the likeliest."""
        classes = np.asarray(prediction.classes if prediction.classes is not None else ())
        if prediction.probability is None or not (classes < 0).any() or not (classes == 0).any():
            return np.zeros(len(prediction), dtype=bool)
        flat = prediction.probability[:, classes == 0].max(axis=1)
        return np.asarray(flat >= prediction.probability.max(axis=1), dtype=np.bool_)


def neutral_signals(index: pd.Index, reason: Reason) -> SignalFrame:
    """Return one NEUTRAL signal a row, all for the same reason."""
    nothing = np.full(len(index), np.nan)
    return pd.DataFrame(
        {
            "signal": np.full(len(index), ModelSignalType.NEUTRAL.value, dtype=object),
            "confidence": nothing,
            "score": nothing,
            "target_weight": np.zeros(len(index)),
            "reason": np.full(len(index), reason.value, dtype=object),
        },
        index=index,
    )


def follow_side(signals: SignalFrame, side: FloatArray) -> SignalFrame:
    """Turn signals on a gain of acting into signals on the primary side that is acted on.

    Where a gain is likely enough the signal takes the primary side; where a loss is, it says nothing, since the
    other side was not judged. The score becomes the probability of a rise.

    Args:
        signals: What a policy made of a meta-model's predictions.
        side: (n,) primary side of each row: 1 long, -1 short, NaN none.
    """
    gain = signals["score"].to_numpy(dtype=np.float64)
    weight = signals["target_weight"].to_numpy(dtype=np.float64)
    strong = signals["signal"].isin([ModelSignalType.STRONG_BUY.value, ModelSignalType.STRONG_SELL.value])
    acts, has_side = weight > 0, ~np.isnan(side)
    taken = np.where(acts & has_side, side, 0.0)
    reason = np.where(weight < 0, Reason.BELOW_CONFIDENCE.value, signals["reason"])
    return pd.DataFrame(
        {
            "signal": _names(taken, strong.to_numpy(dtype=np.bool_)),
            "confidence": signals["confidence"],
            "score": np.where(side < 0, 1.0 - gain, gain),
            "target_weight": taken * np.abs(weight),
            "reason": np.where(acts & ~has_side, Reason.NO_SIDE.value, reason),
        },
        index=signals.index,
    )


def signal_records(
    signals: SignalFrame,
    *,
    data_config: DataConfig | None = None,
    metadata: Mapping[str, Any] | None = None,
) -> list[ModelSignal]:
    """Return a signal frame's rows as :class:`ModelSignal` values, in the frame's order.

    Args:
        signals: Signals on the bars' index.
        data_config: How the bars are stamped; at their close when not given. Bars stamped at their open need it,
            with a ``frequency`` where the frame is too short to show one.
        metadata: What each record carries along.
    """
    index = signals.index
    if data_config is not None:
        index = decision_index(index, bar_stamp=data_config.bar_stamp, frequency=data_config.frequency)
    is_panel = isinstance(index, pd.MultiIndex)
    stamps = index.get_level_values("timestamp") if is_panel else index
    symbols = index.get_level_values("symbol") if is_panel else [""] * len(signals)
    columns = [signals[name] for name in SIGNAL_COLUMNS]
    return [
        ModelSignal(
            stamp,
            str(symbol),
            ModelSignalType(signal),
            float(confidence),
            float(score),
            float(weight),
            str(reason),
            dict(metadata or {}),
        )
        for stamp, symbol, signal, confidence, score, weight, reason in zip(
            stamps, symbols, *columns, strict=True
        )
    ]


def _eligible(prediction: Prediction) -> FloatArray:
    """Count the symbols that were foreseen at each row's time, at least one."""
    index = prediction.index
    if not isinstance(index, pd.MultiIndex):
        return np.ones(len(prediction))
    times = index.codes[index.names.index("timestamp")]
    foreseen = np.bincount(times, weights=~np.isnan(prediction.expected), minlength=len(index.levels[0]))
    return np.maximum(foreseen[times], 1.0)


def _names(side: FloatArray, strong: BoolArray) -> Any:
    """Name each row's signal type."""
    return np.select(
        [strong & (side > 0), strong & (side < 0), side > 0, side < 0],
        [
            ModelSignalType.STRONG_BUY.value,
            ModelSignalType.STRONG_SELL.value,
            ModelSignalType.LONG.value,
            ModelSignalType.SHORT.value,
        ],
        default=ModelSignalType.NEUTRAL.value,
    ).astype(object)
