"""How large a position a signal asks for: of itself, beside the other symbols, and within the whole portfolio."""

from __future__ import annotations

from dataclasses import dataclass
from math import inf, sqrt
from typing import Literal

import numpy as np
import pandas as pd

from backtester_model_core.bars.panel import symbol_codes
from backtester_model_core.config import ModelConfig
from backtester_model_core.dataset import Prediction
from backtester_model_core.signals.thresholds import Odds
from backtester_model_core.signals.types import Reason
from backtester_model_core.typing import BoolArray, FloatArray, IntArray

ROUNDING = 1e-12


@dataclass(frozen=True)
class Sizing:
    """From a confidence and a volatility to the size of a position, in units.

    Attributes:
        method: ``unit``, ``confidence``, ``kelly`` or ``volatility``.
        max_weight: Largest size.
        max_gross: Largest sum of the sizes of all weights at one time.
        n_selected: Symbols that are let through at each end of the scores; ``None`` for all.
        whole_at: Confidence at which ``confidence`` asks for a whole unit.
        win: Mean gain of ``kelly``'s bet after costs; zero where nothing is known of it.
        loss: Mean loss of that bet after costs.
        fraction: Share of Kelly's bet.
        target: Volatility over the horizon that ``volatility`` aims at.
    """

    method: Literal["unit", "confidence", "kelly", "volatility"] = "unit"
    max_weight: float = 1.0
    max_gross: float = 1.0
    n_selected: int | None = None
    whole_at: float = 1.0
    win: float = 0.0
    loss: float = 0.0
    fraction: float = 1.0
    target: float = 0.0

    @classmethod
    def of(cls, config: ModelConfig, *, strong: float, odds: Odds | None) -> Sizing:
        """Take what is configured, and the odds of earlier rows."""
        chosen, costs = config.sizing, config.costs
        return cls(
            method=chosen.method,
            max_weight=chosen.max_weight,
            max_gross=chosen.max_gross,
            n_selected=chosen.n_selected if chosen.selection == "top_bottom" else None,
            whole_at=strong,
            win=0.0 if odds is None else odds.win - 2 * costs.one_way,
            loss=0.0 if odds is None else odds.loss + 2 * costs.one_way,
            fraction=chosen.kelly_fraction,
            target=chosen.target_volatility * sqrt(config.prediction_horizon / costs.year),
        )

    @property
    def silence(self) -> Reason:
        """Why a row without a size is silent."""
        if self.method == "volatility":
            return Reason.NO_VOLATILITY
        return Reason.BELOW_COST if self.loss > 0 else Reason.NO_ODDS

    def sizes(self, confidence: FloatArray, scale: FloatArray | None) -> FloatArray:
        """Return (n,) the size of each row's position; zero where none can be said or none pays.

        Kelly's bet on a gain of W with probability p and a loss of L else is ``p/L - (1 - p)/W``
        (Kelly 1956; Thorp 2006, section 7).
        """
        if self.method == "unit":
            size = np.ones(len(confidence))
        elif self.method == "confidence":
            size = (confidence - 0.5) / self._whole
        elif self.method == "kelly":
            size = np.zeros(len(confidence))
            if self._has_odds:
                size = self.fraction * (confidence / self.loss - (1 - confidence) / self.win)
        elif scale is None:
            size = np.zeros(len(confidence))
        else:
            known = np.isfinite(scale) & (scale > 0)
            with np.errstate(over="ignore"):  # next to no volatility asks for the largest position
                size = np.where(known, self.target / np.where(known, scale, 1.0), 0.0)
        return np.clip(np.nan_to_num(size), 0.0, self.max_weight)

    def of_one(self, confidence: float, scale: float) -> float:
        """Return :meth:`sizes` of one row."""
        if self.method == "unit":
            return min(1.0, self.max_weight)
        if self.method == "confidence":
            size = (confidence - 0.5) / self._whole
        elif self.method == "kelly":
            size = 0.0
            if self._has_odds:
                size = self.fraction * (confidence / self.loss - (1 - confidence) / self.win)
        else:
            size = self.target / scale if 0 < scale < inf else 0.0
        return min(max(size, 0.0), self.max_weight)

    @property
    def _has_odds(self) -> bool:
        """Whether a bet may both win and lose: without either there is no bet to size."""
        return self.win > ROUNDING and self.loss > ROUNDING

    @property
    def _whole(self) -> float:
        """How far above one half the confidence of a whole unit is; a sure thing's where it is none."""
        return max(self.whole_at - 0.5, ROUNDING)

    def weights(self, side: FloatArray, size: FloatArray, prediction: Prediction) -> FloatArray:
        """Return (n,) weights: sides in units, each the portfolio over the symbols that share it, within the cap."""
        time = decision_time(prediction.index)
        foreseen = np.bincount(time, weights=~np.isnan(prediction.expected))
        sharing = foreseen if self.n_selected is None else np.minimum(foreseen, 2 * self.n_selected)
        weight = side * size / np.maximum(sharing, 1.0)[time]
        gross = np.bincount(time, weights=np.abs(weight))
        over = gross > self.max_gross * (1 + ROUNDING)
        shrink = np.where(over, self.max_gross / np.where(over, gross, 1.0), 1.0)
        return np.asarray(weight * shrink[time], dtype=np.float64)

    def is_selected(self, score: FloatArray, side: FloatArray, prediction: Prediction) -> BoolArray:
        """Return (n,) whether a row is among the highest scores of its time for a long, the lowest for a short.

        Equal scores are ranked by their symbols' names.
        """
        if self.n_selected is None:
            return np.ones(len(score), dtype=np.bool_)
        known = np.flatnonzero(~np.isnan(score))
        time = decision_time(prediction.index)[known]
        name = symbol_codes(prediction.index)[0][known]
        chosen = np.zeros(len(score), dtype=np.bool_)
        for sign in (1.0, -1.0):
            order = np.lexsort((name, -sign * score[known], time))
            first = np.flatnonzero(np.diff(time[order], prepend=-1) > 0)
            rank = np.arange(len(order)) - np.repeat(first, np.diff(np.append(first, len(order))))
            rows = known[order[rank < self.n_selected]]
            chosen[rows[side[rows] == sign]] = True
        return chosen


def decision_time(index: pd.Index) -> IntArray:
    """Return (n,) the number of each row's decision time; a plain index has one row at each."""
    if not isinstance(index, pd.MultiIndex):
        return np.arange(len(index))
    return np.asarray(index.codes[index.names.index("timestamp")], dtype=np.int64)
