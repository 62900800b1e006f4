"""Checks of when a model is trained again: decided by what was then known, and by nothing later."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import numpy as np
import pandas as pd

from backtester_model_core.bars import Panel
from backtester_model_core.config import ModelConfig
from backtester_model_core.events import EventKind
from backtester_model_core.testing.leak import Leak, sessions_of, until
from backtester_model_core.walkforward import WalkForwardResult, walk_forward

DECIDED = {
    EventKind.FEATURE_DRIFT,
    EventKind.PREDICTION_DRIFT,
    EventKind.CONCEPT_DRIFT,
    EventKind.DATA_QUALITY,
    EventKind.RETRAIN_TRIGGERED,
    EventKind.RETRAIN_WITHHELD,
    EventKind.CHALLENGER_PROMOTED,
    EventKind.CHAMPION_KEPT,
    EventKind.ROLLED_BACK,
    EventKind.EXPIRED,
}
"""Kinds of events that are noticed or decided at a session's close, each from what was known by then."""

MAX_CUTS = 8

Said = tuple[pd.Timestamp, str, str]
"""An event's instant, kind and message."""


def find_retraining_leaks(
    config: ModelConfig,
    bars: pd.DataFrame,
    *,
    cuts: Iterable[int] | None = None,
    run: Callable[[ModelConfig, pd.DataFrame], WalkForwardResult] = walk_forward,
) -> list[Leak]:
    """Cut the bars, walk forward again, and compare every decision to retrain before the cut (T16).

    Without the bars after a session all that was noticed and decided before it must be there as it was, and
    nothing else. Finds a policy, a drift detector, a contest or a rollback that uses outcomes which were not yet
    known. Cannot find a peek that changes no decision at one of the cuts, or one into something that a run does
    not draw from the bars it is given. Takes one walk-forward for each cut.

    Args:
        config: What to run.
        bars: Checked bars.
        cuts: Numbers of sessions to keep; by default up to eight, one session after events or between them.
        run: The walk-forward to check; another one may be given to see a planted leak found.
    """
    whole = run(config, bars)
    sessions, stamps = sessions_of(bars), whole.config.data_config
    known_at = np.unique(Panel.of(bars, bar_stamp=stamps.bar_stamp, frequency=stamps.frequency).known_at)
    leaks: list[Leak] = []
    for n_kept in _cuts_at_events(whole, pd.DatetimeIndex(known_at)) if cuts is None else cuts:
        last = sessions[n_kept - 1]
        decided_by = pd.Timestamp(
            known_at[n_kept - 2]
        )  # nobody decides at the last session: it serves no other
        before, after = (
            _decided(result, decided_by) for result in (whole, run(whole.config, until(bars, last)))
        )
        leaks += [_leak(said, last, "without those bars there is no") for said in sorted(before - after)]
        leaks += [_leak(said, last, "only without those bars there is") for said in sorted(after - before)]
    return leaks


def _cuts_at_events(whole: WalkForwardResult, known_at: pd.DatetimeIndex) -> list[int]:
    """Return numbers of sessions to keep: one more than an event needs, some in between, spread over the run."""
    first = int(known_at.searchsorted(whole.windows["serves_from"].iloc[0])) + 2
    decided = whole.events[whole.events["kind"].isin(DECIDED)]
    at_events = known_at.searchsorted(pd.DatetimeIndex(decided["at"])) + 2
    between = np.linspace(first, len(known_at) - 1, MAX_CUTS // 3, dtype=np.int64)
    places = np.unique(at_events[(at_events >= first) & (at_events < len(known_at))])
    step = -(-len(places) // (MAX_CUTS - len(between))) if len(places) else 1
    return [int(place) for place in np.unique(np.concatenate([places[::step], between]))]


def _decided(result: WalkForwardResult, last: pd.Timestamp) -> set[Said]:
    """Return what was noticed and decided by an instant."""
    events = result.events[result.events["kind"].isin(DECIDED) & (result.events["at"] <= last)]
    return set(zip(events["at"], events["kind"], events["message"], strict=True))


def _leak(said: Said, last: pd.Timestamp, how: str) -> Leak:
    at, kind, message = said
    return Leak("retraining", kind, at, last, f"{how} {message!r}")
