"""The verdict on feature expressions, which also declare what they remember and run on live bars."""

from __future__ import annotations

from collections.abc import Mapping

import pandas as pd

from backtester_model_core.features import Expression
from backtester_model_core.testing.checks.features import (
    feature_values,
    find_stream_leaks,
    find_symbol_leaks,
    find_warm_up_leaks,
    memory_of,
)
from backtester_model_core.testing.leak import sessions_of
from backtester_model_core.testing.verdict.answer import Check, LookAheadVerdict, Progress, run_checks
from backtester_model_core.testing.verdict.columns import of_columns
from backtester_model_core.testing.verdict.reach import with_reach

STREAMED = 400
"""Sessions that are streamed one by one, and that several symbols are compared over."""
WARM = 3
"""How often the longest memory fits into the bars over which memories are tried."""


def check_expressions(
    expressions: Mapping[str, Expression], bars: pd.DataFrame, *, name: str, progress: Progress | None = None
) -> LookAheadVerdict:
    """Answer whether expressions look ahead, remember more than they declare, or differ on live bars.

    Args:
        expressions: Column name to expression.
        bars: Checked bars of one symbol or a panel. One symbol's are cut; all are there to see that none takes
            anything from another.
        name: What to call them.
        progress: Called with (checks done, checks in all).
    """
    compute, one = feature_values(expressions), one_symbol(bars)
    checks = [*of_columns(compute, one), *of_expressions(expressions, bars)]
    return with_reach(LookAheadVerdict(name, run_checks(checks, progress=progress)), compute, one)


def of_expressions(expressions: Mapping[str, Expression], bars: pd.DataFrame) -> list[Check]:
    """Return what is asked of expressions alone: their memory, live bars, and other symbols."""
    compute, one = feature_values(expressions), one_symbol(bars)
    memory = memory_of(expressions)
    longest = max((n_bars for n_bars in memory.values() if n_bars is not None), default=0)
    recent = one.iloc[-max(WARM * longest, STREAMED) :]
    denied = {column: 1 for column, n_bars in memory.items() if n_bars is not None and n_bars > 1}
    checks = [
        Check(
            "T3",
            "Is the last value the same from the declared memory as from the full history?",
            lambda: find_warm_up_leaks(compute, recent, memory_bars=memory, n_ends=1),
            (lambda: find_warm_up_leaks(compute, recent, memory_bars=denied, n_ends=1)) if denied else None,
        ),
        Check(
            "T8",
            "Do bars that come one at a time get the same bits?",
            lambda: find_stream_leaks(expressions, one.iloc[-STREAMED:]),
        ),
    ]
    if isinstance(bars.index, pd.MultiIndex):
        last = bars[bars.index.get_level_values("timestamp") >= sessions_of(bars)[-STREAMED:][0]]
        checks.append(
            Check("T14", "Does another symbol change anything?", lambda: find_symbol_leaks(compute, last))
        )
    return checks


def one_symbol(bars: pd.DataFrame) -> pd.DataFrame:
    """Return the bars of a panel's first symbol with most bars, or all of one symbol's."""
    if not isinstance(bars.index, pd.MultiIndex):
        return bars
    of_symbol = bars.index.get_level_values("symbol")
    return bars[of_symbol == of_symbol.value_counts().idxmax()].droplevel("symbol")
