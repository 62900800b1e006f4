"""The verdict on a user's own function from bars to columns."""

from __future__ import annotations

from collections.abc import Callable

import pandas as pd

from backtester_model_core.exceptions import EvaluationError
from backtester_model_core.testing.leak import Compute, differences
from backtester_model_core.testing.verdict.answer import LookAheadVerdict, Progress, run_checks
from backtester_model_core.testing.verdict.columns import of_columns
from backtester_model_core.testing.verdict.reach import with_reach


def check_function(
    compute: Compute, bars: pd.DataFrame, *, name: str, progress: Progress | None = None
) -> LookAheadVerdict:
    """Answer whether a function from bars to columns looks ahead.

    Args:
        compute: From bars to a frame, or a series, with one row for each of them. Called many times, on bars that
            end earlier or go on differently; what keeps anything between calls is handed in :func:`forgetting`.
        bars: Checked bars of one symbol or a panel.
        name: What to call it.
        progress: Called with (checks done, checks in all).

    Raises:
        EvaluationError: When it does not answer on the index of the bars, or differently to the same bars.
    """
    framed = _framed(compute, name)
    if differences("repetition", framed(bars), framed(bars), None):
        raise EvaluationError(
            f"{name} gives other values to the same bars when it is asked again, so no difference means anything. "
            "Seed what is random, and keep nothing between calls."
        )
    verdict = LookAheadVerdict(name, run_checks(of_columns(framed, bars), progress=progress))
    return with_reach(verdict, framed, bars)


def forgetting(load: Callable[[], Compute]) -> Compute:
    """Return a function that is loaded anew for each call, so that no cache of its own carries the future back."""

    def afresh(bars: pd.DataFrame) -> pd.DataFrame:
        return load()(bars)

    return afresh


def _framed(compute: Compute, name: str) -> Compute:
    """Return the function with its answer as a frame on the bars' index, whose bars it cannot change."""

    def framed(given: pd.DataFrame) -> pd.DataFrame:
        answer: object = compute(given.copy())
        if isinstance(answer, pd.Series):
            answer = answer.to_frame(name if answer.name is None else str(answer.name))
        if not isinstance(answer, pd.DataFrame) or not answer.index.equals(given.index):
            raise EvaluationError(
                f"{name} answers with {_kind(answer)} to {len(given)} bars. A function that can be checked takes "
                "a frame of bars and returns a frame, or a series, with one row for each of them, on their index."
            )
        return answer

    return framed


def _kind(answer: object) -> str:
    if isinstance(answer, (pd.DataFrame, pd.Series)):
        return f"a {type(answer).__name__} of {len(answer)} rows on another index"
    return f"a {type(answer).__name__}"
