"""Thresholds chosen on earlier rows: those that would have paid most after costs, or a quantile of confidences."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from backtester_model_core.config import CostsConfig
from backtester_model_core.signals.hysteresis import kept_sides
from backtester_model_core.typing import BoolArray, FloatArray, IntArray, TimeArray

MIN_HELD = 30
"""Horizons that a choice of thresholds must have been in a position for: fewer are luck."""
ENTRY_QUANTILES = np.linspace(0.0, 0.95, 20)
EXIT_SHARES = (1.0, 0.75, 0.5, 0.25, 0.0)
"""Shares of the way from one half up to the entry at which a held side may be left."""


@dataclass(frozen=True)
class Levels:
    """The confidences at which something changes.

    Attributes:
        entry: From which a side is taken.
        leave: Down to which a side that is held is kept.
        strong: From which a signal is strong.
        utility: Mean return after costs of a row on the rows they were chosen on; NaN where they were not chosen by it.
    """

    entry: float
    leave: float
    strong: float
    utility: float = float("nan")


@dataclass(frozen=True)
class Odds:
    """What the side that a model leans to has paid, before costs.

    Attributes:
        win: Mean return where it gained.
        loss: Mean loss where it did not, as a positive number.
    """

    win: float
    loss: float

    @classmethod
    def measure(cls, paid: FloatArray) -> Odds | None:
        """Measure returns on the side leant to; ``None`` where nothing was gained or nothing lost."""
        gains, losses = paid[paid > 0], paid[paid < 0]
        return cls(float(gains.mean()), float(-losses.mean())) if len(gains) and len(losses) else None

    def break_even(self, *, one_way: float) -> float:
        """Return the probability of a gain at which entering and leaving pays for itself.

        ``(L + 2k) / (W + L)``, with W and L the mean win and loss and k the cost one way.
        """
        return (self.loss + 2 * one_way) / (self.win + self.loss)


@dataclass(frozen=True, eq=False)
class Lane:
    """Rows as positions are followed: symbol by symbol, in order of time.

    Attributes:
        score: (n,) probability of a rise.
        returned: (n,) forward return.
        first: (n,) whether the row is its symbol's first.
        horizon: Bars that a forward return covers.
        costs: What trading costs.
    """

    score: FloatArray
    returned: FloatArray
    first: BoolArray
    horizon: int
    costs: CostsConfig

    @classmethod
    def of(
        cls,
        score: FloatArray,
        returned: FloatArray,
        *,
        symbol: IntArray,
        known_at: TimeArray,
        horizon: int,
        costs: CostsConfig,
    ) -> Lane:
        """Order rows whose score and return are known."""
        known = np.flatnonzero(np.isfinite(score) & np.isfinite(returned))
        order = known[np.lexsort((known_at[known], symbol[known]))]
        first = np.diff(symbol[order], prepend=-1) > 0
        return cls(score[order], returned[order], first, horizon, costs)

    @cached_property
    def confidence(self) -> FloatArray:
        """(n,) probability of the likelier side."""
        return np.maximum(self.score, 1 - self.score)

    @property
    def paid(self) -> FloatArray:
        """(n,) return on the side leant to."""
        return np.asarray(np.sign(self.score - 0.5) * self.returned, dtype=np.float64)

    def sides(self, entry: float, leave: float) -> FloatArray:
        """Return (n,) the side held after each row."""
        leans = self.score != 0.5
        return kept_sides(
            self.score,
            enters=leans & (self.confidence >= entry),
            keeps=leans & (self.confidence >= leave),
            held=0.0,
            first=self.first,
        )

    def utility(self, sides: FloatArray) -> float:
        """Return the mean over rows of what the sides earn less what changing them costs.

        A row's side earns its forward return's share of one bar, and pays one way for each change: entering and
        leaving cost twice that, keeping nothing. Where positions are averages of overlapping tranches, each row's
        side replaces the one a horizon before. Whatever is held in the end is left.
        """
        lag, fresh, closing = self._changes
        before = np.zeros(len(sides))
        before[lag:] = sides[:-lag]
        before[fresh] = 0.0
        changed = float(np.abs(sides - before).sum() + np.abs(sides[closing]).sum()) / lag
        earned = float(sides @ self.returned) / self.horizon
        if self.costs.borrow_rate:
            earned -= float(np.sum(sides < 0)) * self.costs.borrow_rate / self.costs.year
        return (earned - self.costs.one_way * changed) / len(sides)

    @cached_property
    def _changes(self) -> tuple[int, BoolArray, BoolArray]:
        """How many rows later a side is replaced, and which rows replace none and which are never replaced."""
        lag = self.horizon if self.costs.holding == "tranches" else 1
        starts = np.flatnonzero(self.first)
        lengths = np.diff(np.append(starts, len(self.first)))
        place = np.arange(len(self.first)) - np.repeat(starts, lengths)
        return lag, place < lag, place >= np.repeat(lengths, lengths) - lag


def levels_by_cost(lane: Lane) -> Levels | None:
    """Return the levels with the largest utility, or ``None`` when none pays.

    Entries are tried at quantiles of the confidences, exits between one half and the entry. The strong level is the
    one from which signals would pay most if each paid for entering and leaving by itself; one where none would.
    """
    confidence = lane.confidence
    best: Levels | None = None
    for entry, leave in _candidates(confidence):
        sides = lane.sides(entry, leave)
        if np.abs(sides).sum() < MIN_HELD * lane.horizon:
            continue
        utility = lane.utility(sides)
        if utility > (0.0 if best is None else best.utility):
            best = Levels(entry, leave, 1.0, utility)
    return None if best is None else Levels(best.entry, best.leave, _strong(lane, best.entry), best.utility)


def levels_by_quantile(confidence: FloatArray, share: float, *, hysteresis: float) -> Levels:
    """Return the levels at a quantile of earlier confidences; strong is a quarter of the way from it to the largest."""
    entry, strong = np.quantile(confidence, [share, share + (1 - share) / 4]).tolist()
    return Levels(entry, kept_down_to(entry, hysteresis), strong)


def kept_down_to(entry: float, hysteresis: float) -> float:
    """Return the confidence down to which a side is kept: a share of the way from its entry to one half."""
    return entry - hysteresis * max(entry - 0.5, 0.0)


def _candidates(confidence: FloatArray) -> Iterator[tuple[float, float]]:
    for entry in np.unique(np.quantile(confidence, ENTRY_QUANTILES)).tolist():
        for leave in sorted({0.5 + share * (entry - 0.5) for share in EXIT_SHARES}):
            yield entry, leave


def _strong(lane: Lane, entry: float) -> float:
    """Return the level from which round trips that pay for themselves have paid most together."""
    order = np.argsort(-lane.confidence, kind="stable")
    gained = np.cumsum(lane.paid[order] - 2 * lane.costs.one_way)
    confidence = lane.confidence[order]
    whole = np.append(confidence[1:] < confidence[:-1], True) & (confidence >= entry)
    gained = np.where(whole, gained, -np.inf)
    best = int(gained.argmax())
    return float(confidence[best]) if gained[best] > 0 else 1.0
