"""Checks of what is done about a forecast: fills after the decision, and monitoring by labels then known."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pandas as pd

from backtester_model_core.config import CostsConfig, ModelConfig
from backtester_model_core.evaluation import after_cost_return
from backtester_model_core.events import EventKind
from backtester_model_core.testing.leak import Leak, sessions_of, utc
from backtester_model_core.typing import FloatArray
from backtester_model_core.walkforward import WalkForwardResult, walk_forward

Follow = Callable[[FloatArray, FloatArray, FloatArray], FloatArray]
"""From target weights, opens and closes, (n, 1) each, to the net return of each bar."""

AT_FIT = [
    kind.value
    for kind in (
        EventKind.TRAINED,
        EventKind.REFUSED,
        EventKind.CALIBRATED,
        EventKind.GATE_OPENED,
        EventKind.GATE_CLOSED,
        EventKind.RETRAIN_TRIGGERED,
        EventKind.RETRAIN_WITHHELD,
        EventKind.CHALLENGER_PROMOTED,
        EventKind.CHAMPION_KEPT,
        EventKind.ROLLED_BACK,
    )
]
"""What happens at a fit, or is decided for what follows, and so only where a session follows."""

FREE = CostsConfig(commission_bps=0, half_spread_bps=0, slippage_bps=0)
JUMP = 1.5


def follow_weights(weights: FloatArray, opens: FloatArray, closes: FloatArray) -> FloatArray:
    """Follow target weights without costs, as the project does."""
    return after_cost_return(weights, open_price=opens, close_price=closes, costs=FREE).net


def find_early_fills(follow: Follow = follow_weights, *, n_sessions: int = 12) -> list[Leak]:
    """Let a signal with perfect foresight of its own bar trade, and refuse any gain from it (T12).

    Prices are flat but for one jump: within a bar, over a night, or after the fill. A weight decided at the
    close of the bar knows the jump of that bar; filled at the next open, it can earn neither that nor the
    night's, but must earn the first jump after the fill. Every bar is tried, in both directions. Finds fills at
    the decision's own close or open, weights applied to the bar that made them, and returns that are shifted
    by a bar, early or late. Cannot find foresight inside the weights themselves. Takes milliseconds.

    Args:
        follow: What turns weights into returns; without costs.
        n_sessions: Length of the bars that are tried.
    """
    leaks: list[Leak] = []
    for decided in range(1, n_sessions - 3):
        for side in (1.0, -1.0):
            weights = np.zeros((n_sessions, 1))
            weights[decided] = side
            for where, first_open, first_close, expected in (
                ("within the decision's bar", decided + 1, decided, 0.0),
                ("in the night before the fill", decided + 1, decided + 1, 0.0),
                ("in the bar after the fill", decided + 2, decided + 1, side * (JUMP - 1)),
            ):
                opens, closes = np.full((n_sessions, 1), 100.0), np.full((n_sessions, 1), 100.0)
                opens[first_open:] *= JUMP
                closes[first_close:] *= JUMP
                earned = float(np.prod(1 + follow(weights, opens, closes)) - 1)
                if abs(earned - expected) > 1e-9:
                    message = f"a jump {where} earned {earned:.3g}, where {expected:.3g} can be earned"
                    leaks.append(Leak("fills", "net return", decided, None, message))
    return leaks


def find_monitoring_leaks(
    config: ModelConfig,
    bars: pd.DataFrame,
    *,
    run: Callable[[ModelConfig, pd.DataFrame], WalkForwardResult] = walk_forward,
) -> list[Leak]:
    """Cut the bars at each event of a walk-forward, run it again, and look for the same event (T16).

    What monitoring says must be there with no bar after its own instant; what happens at a fit (a training,
    a refusal, the gate) with one more, since a window without a bar to serve is none. Finds an event that is
    stamped earlier than the labels it is drawn from were known. Cannot find a decision that leaves no event,
    and is no proof that monitoring is any use. Takes one walk-forward for each distinct instant.

    Args:
        config: What to run.
        bars: Checked bars.
        run: The walk-forward to check; another one may be given to see a planted leak found.
    """
    whole = run(config, bars)
    sessions, instants = sessions_of(bars), utc(sessions_of(bars))
    leaks: list[Leak] = []
    for at, at_fit, events in _by_instant(whole.events):
        position = int(np.searchsorted(instants, at.to_datetime64(), side="right")) + int(at_fit)
        position = min(max(position, 1), len(sessions))
        last = sessions[position - 1]
        stamps = bars.index.get_level_values("timestamp")
        part = run(whole.config, bars[np.asarray(stamps <= last)])
        known = {(row.at, row.kind, row.message) for row in part.events.itertuples()}
        leaks += [
            Leak("monitoring", str(row.kind), row.at, last, f"without those bars there is no {row.message!r}")
            for row in events.itertuples()
            if (row.at, row.kind, row.message) not in known
        ]
    return leaks


def _by_instant(events: pd.DataFrame) -> list[tuple[pd.Timestamp, bool, pd.DataFrame]]:
    """Group events by instant, those of a fit apart from those of monitoring."""
    at_fit = events["kind"].isin(AT_FIT)
    return [
        (at, is_at_fit, group)
        for is_at_fit, some in ((True, events[at_fit]), (False, events[~at_fit]))
        for at in pd.DatetimeIndex(some["at"].unique())
        for group in [some[some["at"] == at]]
    ]
