"""How predictions become signals: for a whole frame at once, and for one live bar."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from math import isnan
from typing import Any

import numpy as np
import pandas as pd

from backtester_model_core.bars.panel import symbol_codes
from backtester_model_core.config import ModelConfig
from backtester_model_core.dataset import Prediction
from backtester_model_core.labels import label_kind
from backtester_model_core.signals.frames import signal_names
from backtester_model_core.signals.hysteresis import kept_sides
from backtester_model_core.signals.probability import (
    ClassColumns,
    class_columns,
    is_flat_likeliest,
    rise_share,
    rise_share_of_one,
)
from backtester_model_core.signals.residuals import Residuals
from backtester_model_core.signals.types import Decision, ModelSignalType, Reason, SignalFrame
from backtester_model_core.typing import BoolArray, FloatArray

_NAN = float("nan")
_ACTED, _NO_SKILL, _FLAT = Reason.ACTED.value, Reason.NO_SKILL.value, Reason.FLAT_LIKELIEST.value
_BELOW = (Reason.BELOW_SIGNAL_THRESHOLD.value, Reason.BELOW_CONFIDENCE.value)
_UNFORESEEN, _WITHOUT_RESIDUALS, _WITHOUT_VOLATILITY = (
    Decision(ModelSignalType.NEUTRAL, _NAN, _NAN, 0.0, reason.value)
    for reason in (Reason.WARM_UP, Reason.NO_RESIDUALS, Reason.NO_VOLATILITY)
)
_PLAIN = {1: ModelSignalType.LONG, -1: ModelSignalType.SHORT}
_STRONG = {1: ModelSignalType.STRONG_BUY, -1: ModelSignalType.STRONG_SELL}


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
        classes: The model's classes in their fixed order; ``None`` for regression.
        exit_confidence: Confidence down to which a side that is held is kept; ``None`` for the one it is entered at.
    """

    signal_threshold: float
    confidence_threshold: float
    strong_confidence: float
    baseline: float | FloatArray = 0.0
    residuals: Residuals | None = None
    may_trade: bool = True
    classes: tuple[float, ...] | None = None
    exit_confidence: float | None = None

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
            label_kind(config).classes,
        )

    def probability_up(self, prediction: Prediction) -> FloatArray:
        """Return (n,) the probability of a rise; NaN where nothing can be said.

        A classifier's is its probability of the classes above zero against those below, a regression's follows from
        the sizes of its earlier residuals.
        """
        if prediction.probability is not None and prediction.classes is not None:
            return rise_share(prediction.probability, prediction.classes)
        if self.residuals is None or prediction.scale is None:
            return np.full(len(prediction), np.nan)
        return self.residuals.probability_up(prediction.expected, self.baseline, prediction.scale)

    def signals(self, prediction: Prediction) -> SignalFrame:
        """Give one signal for every prediction row, NEUTRAL with a reason where it says nothing."""
        up = self.probability_up(prediction)
        confidence = np.maximum(up, 1.0 - up)
        silence = self._silences(prediction, up)
        side = self._sides(prediction, up, confidence, speaks=silence == Reason.ACTED.value)
        below = np.where(confidence < self.signal_threshold, *_BELOW)
        reason = np.where((silence == Reason.ACTED.value) & (side == 0), below, silence)
        return pd.DataFrame(
            {
                "signal": signal_names(side, confidence >= self.strong_confidence),
                "confidence": confidence,
                "score": up,
                "target_weight": side / _eligible(prediction),
                "reason": reason.astype(object),
            },
            index=prediction.index,
        )

    def decide(
        self, expected: float, probability: Sequence[float] | None, scale: float, *, held: int = 0
    ) -> Decision:
        """Give the signal of one row for one symbol by itself: what :meth:`signals` says of it, fast.

        Args:
            expected: What is foreseen; NaN for nothing.
            probability: Probability of each class, for a classifier.
            scale: Volatility of what is foreseen; NaN when unknown.
            held: The side that the symbol was left with before: 1, -1, or 0 for none.
        """
        if isnan(expected):
            return _UNFORESEEN
        up = self._one_probability_up(expected, probability, scale)
        if isnan(up):
            return _WITHOUT_RESIDUALS if self.residuals is None else _WITHOUT_VOLATILITY
        lean = 1 if up > 0.5 else -1 if up < 0.5 else 0
        confidence = up if lean > 0 else 1.0 - up
        if not self.may_trade:
            return Decision(ModelSignalType.NEUTRAL, confidence, up, 0.0, _NO_SKILL)
        flat = self._columns.flat
        if probability is not None and flat is not None and probability[flat] >= max(probability):
            return Decision(ModelSignalType.NEUTRAL, confidence, up, 0.0, _FLAT)
        if lean == 0 or confidence < (self._exit if held == lean else self._entry):
            below = _BELOW[0] if confidence < self.signal_threshold else _BELOW[1]
            return Decision(ModelSignalType.NEUTRAL, confidence, up, 0.0, below)
        names = _STRONG if confidence >= self.strong_confidence else _PLAIN
        return Decision(names[lean], confidence, up, float(lean), _ACTED)

    def _one_probability_up(
        self, expected: float, probability: Sequence[float] | None, scale: float
    ) -> float:
        if probability is not None:
            return rise_share_of_one(probability, self._columns)
        if self.residuals is None:
            return _NAN
        return self.residuals.probability_up_of_one(expected, self.baseline, scale)  # type: ignore[arg-type]

    @cached_property
    def _columns(self) -> ClassColumns:
        return class_columns(self.classes or (0.0, 1.0))

    @cached_property
    def _entry(self) -> float:
        """Confidence from which a side is taken."""
        return max(self.signal_threshold, self.confidence_threshold)

    @cached_property
    def _exit(self) -> float:
        """Confidence down to which a side is kept."""
        return self._entry if self.exit_confidence is None else min(self.exit_confidence, self._entry)

    def _silences(self, prediction: Prediction, up: FloatArray) -> Any:
        """Give each row the first reason to say nothing however likely a side is; empty where there is none."""
        flat = np.zeros(len(up), dtype=np.bool_)
        if prediction.probability is not None and prediction.classes is not None:
            flat = is_flat_likeliest(prediction.probability, prediction.classes)
        unknown: BoolArray = np.isnan(up)
        return np.select(
            [
                np.isnan(prediction.expected),
                unknown & (self.residuals is None),
                unknown,
                np.full(len(up), not self.may_trade),
                flat,
            ],
            [
                Reason.WARM_UP.value,
                Reason.NO_RESIDUALS.value,
                Reason.NO_VOLATILITY.value,
                Reason.NO_SKILL.value,
                Reason.FLAT_LIKELIEST.value,
            ],
            default=Reason.ACTED.value,
        )

    def _sides(
        self, prediction: Prediction, up: FloatArray, confidence: FloatArray, *, speaks: BoolArray
    ) -> FloatArray:
        """Return (n,) the side that each row takes or keeps."""
        leans = speaks & (up != 0.5)
        enters = leans & (confidence >= self._entry)
        if self._exit == self._entry:
            return np.where(enters, np.sign(up - 0.5), 0.0)
        codes, symbols = symbol_codes(prediction.index)
        order = np.lexsort((prediction.index.get_level_values("timestamp"), codes))
        held = np.array([(prediction.held or {}).get(symbol, 0) for symbol in symbols], dtype=np.float64)
        sides = np.empty(len(up))
        sides[order] = kept_sides(
            up[order],
            enters=enters[order],
            keeps=(leans & (confidence >= self._exit))[order],
            held=held[codes[order]],
            first=np.diff(codes[order], prepend=-1) > 0,
        )
        return sides


def _eligible(prediction: Prediction) -> FloatArray:
    """Count the symbols that were foreseen at each row's time, at least one."""
    index = prediction.index
    if not isinstance(index, pd.MultiIndex):
        return np.ones(len(prediction))
    times = index.codes[index.names.index("timestamp")]
    foreseen = np.bincount(times, weights=~np.isnan(prediction.expected), minlength=len(index.levels[0]))
    return np.maximum(foreseen[times], 1.0)
