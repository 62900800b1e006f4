"""The check of who is in the bars: survivorship cannot be proven from bars alone."""

from __future__ import annotations

import pandas as pd

from backtester_model_core.bars.panel import SINGLE_SYMBOL
from backtester_model_core.testing.leak import Leak, sessions_of


def find_survivorship(bars: pd.DataFrame, *, universe: pd.DataFrame | None = None) -> list[Leak]:
    """Ask who should have been in the bars, and warn where nobody says (T15).

    Bars cannot tell who is missing from them, so without a universe there is always a warning, stronger when
    no symbol ever ends. With one, reports symbols that should be there and are not, and those whose bars do
    not reach their membership's first or last session. Cannot find that the universe itself was chosen with
    hindsight. Takes milliseconds.

    Args:
        bars: Checked bars of one symbol or a panel.
        universe: One row for each membership: ``symbol``, and ``start`` and ``end`` (NaT: still a member), made
            from what was known then. A symbol's plain bars carry no name: it is a panel that is compared.
    """
    sessions = sessions_of(bars)
    lives = {SINGLE_SYMBOL: sessions}
    if isinstance(bars.index, pd.MultiIndex):
        lives = {str(symbol): sessions_of(own) for symbol, own in bars.groupby(level="symbol")}
    if universe is None:
        n_survivors = sum(life[-1] == sessions[-1] for life in lives.values())
        message = (
            f"{n_survivors} of {len(lives)} symbols live to the last bar, and nobody says who else there was. "
            "Give a universe with the memberships as they were known."
        )
        return [Leak("survivorship", "universe", None, None, message, severity="warning")]
    leaks: list[Leak] = []
    memberships = universe[["symbol", "start", "end"]].itertuples(index=False, name=None)
    for symbol, start, end in memberships:
        is_member = (sessions >= start) & (pd.isna(end) | (sessions <= end))
        expected = sessions[is_member]
        if not len(expected):
            continue
        if symbol not in lives:
            message = f"a member from {expected[0]} to {expected[-1]} has no bars"
        elif lives[symbol][0] > expected[0] or lives[symbol][-1] < expected[-1]:
            message = f"a member from {expected[0]} to {expected[-1]} has bars for part of it only"
        else:
            continue
        leaks.append(Leak("survivorship", symbol, expected[0], None, message))
    return leaks
