"""How far ahead a leaking column looks."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pandas as pd

from backtester_model_core.testing.leak import Compute, sessions_of, until
from backtester_model_core.testing.verdict.answer import LookAheadVerdict

MAX_COLUMNS = 5


def with_reach(verdict: LookAheadVerdict, compute: Compute, bars: pd.DataFrame) -> LookAheadVerdict:
    """Add how far ahead the first leaking columns look, where cutting the bars shows it.

    Args:
        verdict: What was found.
        compute: From bars to the columns; a leak in something else is left as it is.
        bars: The bars that the rows of the leaks are of.
    """
    rows = {leak.column: leak.row for leak in verdict.first_leaks if leak.check == "truncation"}
    if not rows:
        return verdict
    columns = set(map(str, compute(bars).columns))
    measured = [(column, row) for column, row in rows.items() if column in columns][:MAX_COLUMNS]
    return replace(
        verdict, ahead=tuple((column, _reach(compute, bars, column, row)) for column, row in measured)
    )


def _reach(compute: Compute, bars: pd.DataFrame, column: str, row: Any) -> str:
    """Say how many sessions after its own a value needs, by halving what may be cut off without changing it."""
    sessions = sessions_of(bars)
    stamp = row[bars.index.names.index("timestamp")] if isinstance(row, tuple) else row
    own, last = int(sessions.searchsorted(stamp)), len(sessions) - 1

    def value(n_ahead: int) -> Any:
        return compute(until(bars, sessions[own + n_ahead])).at[row, column]

    whole = value(last - own)
    unsettled, settled = 0, last - own
    while settled - unsettled > 1:
        middle = (unsettled + settled) // 2
        found = value(middle)
        if found == whole or (pd.isna(found) and pd.isna(whole)):
            settled = middle
        else:
            unsettled = middle
    if settled == last - own:
        return "ahead to the end of the bars"
    return f"{settled} bar{'s' if settled > 1 else ''} ahead"
