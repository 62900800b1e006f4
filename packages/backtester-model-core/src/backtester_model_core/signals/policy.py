"""How predictions become signals: for a whole frame at once, and for one live bar."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from functools import cached_property
from math import isnan
from typing import Any, Protocol

import numpy as np
import pandas as pd

from backtester_model_core.bars.panel import symbol_codes
from backtester_model_core.calibration import Calibrator
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
from backtester_model_core.signals.sizing import Sizing
from backtester_model_core.signals.thresholds import kept_down_to
from backtester_model_core.signals.types import Decision, ModelSignalType, Reason, SignalFrame
from backtester_model_core.typing import BoolArray, FloatArray

_NAN = float("nan")
_NEUTRAL = ModelSignalType.NEUTRAL
_ACTED, _NO_SKILL, _FLAT = Reason.ACTED.value, Reason.NO_SKILL.value, Reason.FLAT_LIKELIEST.value
_BELOW_COST = Reason.BELOW_COST.value
_BELOW = (Reason.BELOW_SIGNAL_THRESHOLD.value, Reason.BELOW_CONFIDENCE.value)
_UNFORESEEN, _WITHOUT_RESIDUALS, _WITHOUT_VOLATILITY = (
    Decision(_NEUTRAL, _NAN, _NAN, 0.0, reason.value)
    for reason in (Reason.WARM_UP, Reason.NO_RESIDUALS, Reason.NO_VOLATILITY)
)
_UNIT = Sizing()
_PLAIN = {1: ModelSignalType.LONG, -1: ModelSignalType.SHORT}
_STRONG = {1: ModelSignalType.STRONG_BUY, -1: ModelSignalType.STRONG_SELL}


class Decide(Protocol):
    """Gives the signal of one row for one symbol by itself."""

    def __call__(
        self, expected: float, probability: Sequence[float] | None, scale: float, *, held: int = 0
    ) -> Decision:
        """Decide.

        Args:
            expected: What is foreseen; NaN for nothing.
            probability: Probability of each class, for a classifier.
            scale: Volatility of what is foreseen; NaN when unknown.
            held: The side that the symbol was left with before: 1, -1, or 0 for none.
        """


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
        calibrator: What turns a classifier's probability into one that means it; ``None`` to take it as it is.
        pays: Whether the thresholds were chosen by cost, and then whether any paid; ``None`` when they were not.
        sizing: How large a position a signal asks for.
    """

    signal_threshold: float
    confidence_threshold: float
    strong_confidence: float
    baseline: float | FloatArray = 0.0
    residuals: Residuals | None = None
    may_trade: bool = True
    classes: tuple[float, ...] | None = None
    exit_confidence: float | None = None
    calibrator: Calibrator | None = None
    pays: bool | None = None
    sizing: Sizing = _UNIT

    @classmethod
    def of(
        cls,
        config: ModelConfig,
        *,
        baseline: float | FloatArray = 0.0,
        residuals: Residuals | None = None,
        may_trade: bool = True,
    ) -> SignalPolicy:
        """Take thresholds and sizes from a configuration: what there is before any earlier row."""
        entry = max(config.signal_threshold, config.confidence_threshold)
        hysteresis = config.thresholds.hysteresis
        return cls(
            config.signal_threshold,
            config.confidence_threshold,
            config.strong_confidence,
            baseline,
            residuals,
            may_trade,
            label_kind(config).classes,
            exit_confidence=kept_down_to(entry, hysteresis) if hysteresis else None,
            sizing=Sizing.of(config, strong=config.strong_confidence, odds=None),
        )

    def probability_up(self, prediction: Prediction) -> FloatArray:
        """Return (n,) the probability of a rise; NaN where nothing can be said.

        A classifier's is its probability of the classes above zero against those below, calibrated; a regression's
        follows from the sizes of its earlier residuals.
        """
        if prediction.probability is not None and prediction.classes is not None:
            raw = rise_share(prediction.probability, prediction.classes)
            return raw if self.calibrator is None else self.calibrator(raw)
        if self.residuals is None or prediction.scale is None:
            return np.full(len(prediction), np.nan)
        return self.residuals.probability_up(prediction.expected, self.baseline, prediction.scale)

    def interval(self, prediction: Prediction, *, coverage: float) -> tuple[FloatArray, FloatArray]:
        """Return (n,) the lower and upper end of a regression's conformal intervals; NaN where none can be said."""
        if self.residuals is None or prediction.scale is None:
            unknown = np.full(len(prediction), np.nan)
            return unknown, unknown
        middle = self.residuals.middle(prediction.expected, self.baseline)
        known = np.isfinite(prediction.scale) & (prediction.scale > 0)
        reach = self.residuals.half_width(coverage) * np.where(known, prediction.scale, np.nan)
        return middle - reach, middle + reach

    def signals(self, prediction: Prediction) -> SignalFrame:
        """Give one signal for every prediction row, NEUTRAL with a reason where it says nothing."""
        up = self.probability_up(prediction)
        confidence = np.maximum(up, 1.0 - up)
        size = self.sizing.sizes(confidence, prediction.scale)
        reason = self._silences(prediction, up)
        side = self._sides(prediction, up, confidence, may_take=(reason == _ACTED) & (size > 0))
        idle = (reason == _ACTED) & (side == 0)
        reason = np.where(idle, self._reasons_not_to_take(up, confidence, size), reason)
        selected = self.sizing.is_selected(up, side, prediction)
        reason = np.where((side != 0) & ~selected, Reason.NOT_SELECTED.value, reason)
        side = np.where(selected, side, 0.0)
        return pd.DataFrame(
            {
                "signal": signal_names(side, confidence >= self.strong_confidence),
                "confidence": confidence,
                "score": up,
                "target_weight": self.sizing.weights(side, size, prediction),
                "reason": reason.astype(object),
            },
            index=prediction.index,
        )

    @cached_property
    def decide(self) -> Decide:
        """What gives the signal of one row for one symbol by itself: what :meth:`signals` says of it, fast.

        Composed once: at every bar, looking all of this up takes longer than deciding.
        """
        up_of_value, up_of_one, size_of_one = self._up_of_value, self._up_of_one, self.sizing.of_one
        may_trade, flat, is_too_dear = self.may_trade, self._columns.flat, self.pays is False
        entry, leave, strong, most = self.entry, self.leave, self.strong_confidence, self.sizing.max_gross
        unknown = _WITHOUT_RESIDUALS if self.residuals is None else _WITHOUT_VOLATILITY
        reason_not_to_take = self._reason_not_to_take

        def decide(
            expected: float, probability: Sequence[float] | None, scale: float, *, held: int = 0
        ) -> Decision:
            if isnan(expected):
                return _UNFORESEEN
            up = up_of_value(expected, scale) if probability is None else up_of_one(probability)
            if isnan(up):
                return unknown
            lean = 1 if up > 0.5 else -1 if up < 0.5 else 0
            confidence = up if lean > 0 else 1.0 - up
            signal, weight = _NEUTRAL, 0.0
            if not may_trade:
                reason = _NO_SKILL
            elif flat is not None and probability is not None and probability[flat] >= max(probability):
                reason = _FLAT
            elif is_too_dear:
                reason = _BELOW_COST
            else:
                size = size_of_one(confidence, scale)
                if lean == 0 or size <= 0 or confidence < (leave if held == lean else entry):
                    reason = reason_not_to_take(up, confidence, size)
                else:
                    signal = (_STRONG if confidence >= strong else _PLAIN)[lean]
                    weight, reason = lean * min(size, most), _ACTED
            # a named tuple's constructor is a detour to this
            return tuple.__new__(Decision, (signal, confidence, up, weight, reason))

        return decide

    def __getstate__(self) -> dict[str, Any]:
        """Return the fields: what was composed of them is composed anew in another process."""
        return {each.name: getattr(self, each.name) for each in fields(self)}

    def _up_of_value(self, expected: float, scale: float) -> float:
        if self.residuals is None:
            return _NAN
        return self.residuals.probability_up_of_one(expected, self.baseline, scale)  # type: ignore[arg-type]

    @cached_property
    def _up_of_one(self) -> Callable[[Sequence[float]], float]:
        """What turns the probabilities of one row into that of a rise; composed once, as it is called at every bar."""
        raw = rise_share_of_one(self._columns)
        if self.calibrator is None:
            return raw
        calibrated = self.calibrator.of_one
        return lambda probability: calibrated(raw(probability))

    @cached_property
    def _columns(self) -> ClassColumns:
        return class_columns(self.classes or (0.0, 1.0))

    @cached_property
    def entry(self) -> float:
        """Confidence from which a side is taken."""
        return max(self.signal_threshold, self.confidence_threshold)

    @cached_property
    def leave(self) -> float:
        """Confidence down to which a side is kept."""
        return self.entry if self.exit_confidence is None else min(self.exit_confidence, self.entry)

    @cached_property
    def _below(self) -> tuple[str, str]:
        """Reasons below the signal threshold and below the confidence threshold, however these were chosen."""
        return _BELOW if self.pays is None else (_BELOW_COST, _BELOW_COST)

    def _reason_not_to_take(self, up: float, confidence: float, size: float) -> str:
        """Say why a row that might speak takes no side."""
        if size <= 0 and up != 0.5 and confidence >= self.entry:
            return self.sizing.silence.value
        return self._below[0] if confidence < self.signal_threshold else self._below[1]

    def _reasons_not_to_take(self, up: FloatArray, confidence: FloatArray, size: FloatArray) -> Any:
        """Return :meth:`_reason_not_to_take` of many rows."""
        below = np.where(confidence < self.signal_threshold, *self._below)
        no_size = (size <= 0) & (up != 0.5) & (confidence >= self.entry)
        return np.where(no_size, self.sizing.silence.value, below)

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
                np.full(len(up), self.pays is False),
            ],
            [
                Reason.WARM_UP.value,
                Reason.NO_RESIDUALS.value,
                Reason.NO_VOLATILITY.value,
                _NO_SKILL,
                _FLAT,
                _BELOW_COST,
            ],
            default=_ACTED,
        )

    def _sides(
        self, prediction: Prediction, up: FloatArray, confidence: FloatArray, *, may_take: BoolArray
    ) -> FloatArray:
        """Return (n,) the side that each row takes or keeps."""
        leans = may_take & (up != 0.5)
        enters = leans & (confidence >= self.entry)
        if self.leave == self.entry:
            return np.where(enters, np.sign(up - 0.5), 0.0)
        codes, symbols = symbol_codes(prediction.index)
        order = np.lexsort((prediction.index.get_level_values("timestamp"), codes))
        held = np.array([(prediction.held or {}).get(symbol, 0) for symbol in symbols], dtype=np.float64)
        sides = np.empty(len(up))
        sides[order] = kept_sides(
            up[order],
            enters=enters[order],
            keeps=(leans & (confidence >= self.leave))[order],
            held=held[codes[order]],
            first=np.diff(codes[order], prepend=-1) > 0,
        )
        return sides
