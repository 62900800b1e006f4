"""Labels from the first touch of a barrier above, below or in time (López de Prado 2018, section 3.4)."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from backtester_model_core.bars import Panel
from backtester_model_core.config import ModelConfig
from backtester_model_core.labels.kinds import LABELS, Label, LabelKind
from backtester_model_core.labels.lives import NOT_YET, Span, Track, positive, tracks, volatility
from backtester_model_core.typing import BoolArray, FloatArray, IntArray


@dataclass(frozen=True, eq=False)
class Walk:
    """How one symbol's positions meet their barriers.

    Attributes:
        side: (n,) 1 for the upper barrier, -1 for the lower, 0 for neither; NaN where the row has no label.
        price: (n,) price at which the position is left.
        bar: (n,) bar of the touch; -1 where there is none.
        ambiguous: (n,) whether one bar touched both barriers first.
    """

    side: FloatArray
    price: FloatArray
    bar: IntArray
    ambiguous: BoolArray


def triple_barrier(panel: Panel, config: ModelConfig) -> Label:
    """Label rows 1 when the upper barrier is touched first, -1 when the lower is, 0 when neither within h bars.

    The barriers are ``entry * (1 ± barrier_width * sigma)`` with the volatility known at the row. Bars t+1 to
    t+h are looked at: an open beyond a barrier is the exit, else the barrier itself. Without a touch the exit
    is ``close[t+h]``. The label ends at the bar of the touch, but may be used only once bar t+h is there, or
    the latest rows would hold nothing but fast touches. A row without a positive volatility has no label. A
    delisted symbol pays as in a forward return, and has the class of the barrier that this payoff is beyond.
    """
    opens, closes = (positive(panel, name) for name in ("open", "close"))
    width = config.label.barrier_width * volatility(panel, config.label.volatility_window)
    entry_price, entry_lag = (opens, 1) if config.label.entry == "open" else (closes, 0)
    target, returns = np.full(panel.n_rows, np.nan), np.full(panel.n_rows, np.nan)
    label_end, settled_at = np.full(panel.n_rows, NOT_YET), np.full(panel.n_rows, NOT_YET)
    n_ambiguous = 0
    for track in tracks(panel, config):
        span = track.span(entry_lag=entry_lag, exit_lag=config.prediction_horizon)
        entered = np.minimum(span.entry, len(track.known_at) - 1)
        base = entry_price[track.rows][entered]
        walk = _walk(panel, config, track, span, base=base, width=width[track.rows])
        known = ~np.isnan(walk.side)
        touched = walk.bar >= 0
        target[track.rows] = walk.side
        returns[track.rows] = np.where(known, walk.price / base - 1.0, np.nan)
        ends = np.where(touched, track.known_at[walk.bar], span.settled_at)
        label_end[track.rows] = np.where(known, ends, NOT_YET)
        settled_at[track.rows] = np.where(known, span.settled_at, NOT_YET)
        n_ambiguous += int(walk.ambiguous.sum())
    return Label(target, label_end, returns, settled_at, _notes(n_ambiguous, config))


def barrier_direction(panel: Panel, config: ModelConfig) -> Label:
    """Label rows 1 where the exit of :func:`triple_barrier` is above the entry and 0 where it is not."""
    label = triple_barrier(panel, config)
    rises = (label.forward_return > 0).astype(np.float64)
    return replace(label, target=np.where(np.isnan(label.target), np.nan, rises))


LABELS.add("triple_barrier", LabelKind(triple_barrier, "classification", (-1.0, 0.0, 1.0)))
LABELS.add("triple_barrier_direction", LabelKind(barrier_direction, "classification", (0.0, 1.0)))


def _walk(
    panel: Panel, config: ModelConfig, track: Track, span: Span, *, base: FloatArray, width: FloatArray
) -> Walk:
    """Look at bar after bar until each row's position has met a barrier, its horizon or its symbol's end."""
    opens, highs, lows, closes = (
        panel.columns[name][track.rows] for name in ("open", "high", "low", "close")
    )
    upper, lower = base * (1.0 + width), base * (1.0 - width)
    usable = (span.held | span.sold) & (width > 0)

    payoff = closes[span.exit] * np.where(span.sold, 1.0 + config.label.delisting_return, 1.0)
    beyond = (payoff >= upper).astype(np.float64) - (payoff <= lower)
    side = np.where(usable, np.where(span.sold, beyond, 0.0), np.nan)
    price = payoff.copy()
    bar = np.full(len(base), -1, dtype=np.int64)
    ambiguous = np.zeros(len(base), dtype=np.bool_)

    open_rows = np.flatnonzero(usable)
    for lag in range(1, config.prediction_horizon + 1):
        open_rows = open_rows[open_rows + lag <= span.exit[open_rows]]
        at = open_rows + lag
        above, below = upper[open_rows], lower[open_rows]
        gaps = (opens[at] >= above) | (opens[at] <= below)
        up, down = highs[at] >= above, lows[at] <= below
        touched = up | down
        rises = np.where(gaps, opens[at] >= above, up & ~down)
        left_at = np.where(gaps, opens[at], np.where(rises, above, below))
        met = open_rows[touched]
        side[met], price[met], bar[met] = np.where(rises, 1.0, -1.0)[touched], left_at[touched], at[touched]
        ambiguous[open_rows] = up & down & ~gaps
        open_rows = open_rows[~touched]
    if config.label.ambiguous == "nan":
        side[ambiguous] = np.nan
    return Walk(side, price, bar, ambiguous)


def _notes(n_ambiguous: int, config: ModelConfig) -> tuple[str, ...]:
    """Say how many rows' bars touched both barriers and what became of them."""
    if n_ambiguous == 0:
        return ()
    became = "taken as the lower" if config.label.ambiguous == "lower" else "left without a label"
    return (f"{n_ambiguous:,} labels first touched both barriers in one bar: {became}",)
