"""What a signal is: what it says to do, how sure it is, and why it abstains."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, NamedTuple, TypeAlias

import numpy as np
import pandas as pd

SignalFrame: TypeAlias = pd.DataFrame
"""One signal a row on the bars' index: ``signal, confidence, score, target_weight, reason``."""

SIGNAL_COLUMNS = ("signal", "confidence", "score", "target_weight", "reason")


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
    BELOW_COST = "below_cost"
    NO_ODDS = "no_odds"
    NOT_SELECTED = "not_selected"
    FLAT_LIKELIEST = "flat_likeliest"
    NO_SIDE = "no_side"


@dataclass(frozen=True, init=False)
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
    metadata: Mapping[str, Any]

    def __init__(
        self,
        timestamp: pd.Timestamp,
        symbol: str,
        signal: ModelSignalType,
        confidence: float,
        score: float,
        target_weight: float,
        reason: str,
        metadata: Mapping[str, Any] | None = None,
    ) -> None:
        # a frozen dataclass of its own accord calls object.__setattr__ eight times: longer than deciding takes
        own = self.__dict__
        own["timestamp"], own["symbol"], own["signal"] = timestamp, symbol, signal
        own["confidence"], own["score"], own["target_weight"] = confidence, score, target_weight
        own["reason"], own["metadata"] = reason, {} if metadata is None else metadata

    def as_engine_dict(self) -> dict[str, Any]:
        """Return the signal as event-driven engines take it.

        ``signal_type`` is BUY, SELL or HOLD, ``action`` the signal's name; a confidence that is not known is 0. The
        ``metadata`` hold ``target_weight``, for engines that size by it.
        """
        return {
            "timestamp": self.timestamp,
            "symbol": self.symbol,
            "signal_type": _ENGINE_TYPE[self.signal.side],
            "action": self.signal.value,
            "confidence": 0.0 if np.isnan(self.confidence) else self.confidence,
            "metadata": {
                **self.metadata,
                "score": self.score,
                "target_weight": self.target_weight,
                "reason": self.reason,
            },
        }


class Decision(NamedTuple):
    """One signal for one symbol by itself: the row of a signal frame, without its stamp.

    Attributes:
        signal: What to do.
        confidence: Probability of the likelier side, 0.5 to 1; NaN where nothing was foreseen.
        score: Probability of a rise; NaN where nothing was foreseen.
        target_weight: Weight asked for, with the side's sign.
        reason: Why the signal is NEUTRAL; empty where it is not.
    """

    signal: ModelSignalType
    confidence: float
    score: float
    target_weight: float
    reason: str
