"""Labels that say when they end, and folds that respect it, or do neither."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import partial

import numpy as np
import pandas as pd

from backtester_model_core.splits import PurgedKFold
from backtester_model_core.testing import find_fold_leaks, find_label_leaks, random_bars
from backtester_model_core.testing.checks.splits import Fold
from backtester_model_core.typing import FloatArray, IntArray, TimeArray
from look_ahead_cases.case import Checks, Pair

BARS = random_bars(60, seed=9)
N_ROWS = 300

# -- labels -----------------------------------------------------------------------------------------------------------


def label_checks(label: Callable[[pd.DataFrame], tuple[FloatArray, IntArray]]) -> Checks:
    """Return the check of a label, given as its targets and the number of bars until each is known."""

    def compute(bars: pd.DataFrame) -> pd.DataFrame:
        target, known_after = label(bars)
        known_at = bars.index.to_numpy(dtype="datetime64[ns]")
        ends_in = np.arange(len(bars)) + known_after
        known = ~np.isnan(target) & (ends_in < len(bars))
        label_end = np.full(len(bars), np.datetime64("NaT"), dtype="datetime64[ns]")
        label_end[known] = known_at[ends_in[known]]
        columns = {"target": np.where(known, target, np.nan), "label_end": label_end, "known_at": known_at}
        return pd.DataFrame(columns, index=bars.index)

    return {"T4": partial(find_label_leaks, compute, BARS)}


def forward_return(bars: pd.DataFrame, *, known_after: int) -> tuple[FloatArray, IntArray]:
    opens = bars["open"]
    return (opens.shift(-4) / opens.shift(-1) - 1).to_numpy(), np.full(len(bars), known_after)


def barrier(bars: pd.DataFrame, *, width: Callable[[pd.Series[float]], float | pd.Series[float]]) -> tuple:
    """Return which of two barriers the next ten closes touch first, and after how many bars."""
    close = bars["close"].to_numpy()
    wide = np.broadcast_to(width(bars["close"].pct_change(fill_method=None)), len(bars))
    target, known_after = np.full(len(bars), np.nan), np.full(len(bars), 10)
    for row in range(len(bars) - 10):
        moves = close[row + 1 : row + 11] / close[row] - 1
        touched = np.flatnonzero(np.abs(moves) >= 2 * wide[row])
        known_after[row] = touched[0] + 1 if len(touched) else 10
        if np.isfinite(wide[row]):
            target[row] = np.sign(moves[touched[0]]) if len(touched) else 0.0
    return target, known_after


def clearest_trend(bars: pd.DataFrame, *, ends_with_the_search: bool) -> tuple[FloatArray, IntArray]:
    """Return the sign of the clearest of the moves over 3, 6 and 12 bars, known at its end or the longest's."""
    log_close = np.log(bars["close"])
    spans = (3, 6, 12)
    moves = np.column_stack([(log_close.shift(-span) - log_close) / np.sqrt(span) for span in spans])
    searched = np.isfinite(moves).all(axis=1)
    best = np.argmax(np.abs(np.nan_to_num(moves)), axis=1)
    target = np.where(searched, np.sign(moves[np.arange(len(bars)), best]), np.nan)
    return target, np.full(len(bars), 12) if ends_with_the_search else np.asarray(spans)[best]


def excess_return(bars: pd.DataFrame, *, over_all: bool) -> tuple[FloatArray, IntArray]:
    """Return the next move less the mean move, of all bars or of those so far."""
    moves = bars["close"].shift(-1) / bars["close"] - 1
    mean = moves.mean() if over_all else moves.shift(1).expanding().mean()
    return (moves - mean).to_numpy(), np.ones(len(bars), dtype=np.int64)


def sample_deviation(moves: pd.Series[float]) -> float:
    return float(moves.std())


def trailing_deviation(moves: pd.Series[float]) -> pd.Series[float]:
    return moves.rolling(10).std()


# -- folds ------------------------------------------------------------------------------------------------------------


def probe(*, fixed: bool) -> tuple[TimeArray, TimeArray]:
    """Return instants and label ends of 300 rows: labels of 5 bars each, or of 1 to 19."""
    known_at = np.datetime64("2020-01-01", "ns") + np.arange(N_ROWS) * np.timedelta64(1, "D")
    length = 5 if fixed else np.random.default_rng(10).integers(1, 20, N_ROWS)
    return known_at, known_at + length * np.timedelta64(1, "D")


def plain_folds(n_rows: int, *, gap: int = 0, far_gap: int = 0) -> Iterable[Fold]:
    """Yield five contiguous folds, with rows left out before and after each."""
    for test in np.array_split(np.arange(n_rows), 5):
        rows = np.arange(n_rows)
        yield rows[(rows < test[0] - gap) | (rows > test[-1] + far_gap)], test


def shuffled_folds(n_rows: int) -> Iterable[Fold]:
    rows = np.random.default_rng(11).permutation(n_rows)
    for test in np.array_split(rows, 5):
        yield np.setdiff1d(rows, test), np.sort(test)


def fold_checks(
    folds: Callable[[TimeArray, TimeArray], Iterable[Fold]], *, fixed: bool, embargo: int = 0
) -> Checks:
    known_at, label_end = probe(fixed=fixed)
    return {"T5": lambda: find_fold_leaks(folds(known_at, label_end), known_at, label_end, embargo=embargo)}


def purged(known_at: TimeArray, label_end: TimeArray) -> Iterable[Fold]:
    return PurgedKFold(5).split(known_at, label_end)


def embargoed(known_at: TimeArray, label_end: TimeArray) -> Iterable[Fold]:
    return PurgedKFold(5, embargo=10).split(known_at, label_end)


PAIRS = [
    Pair(
        "return said to be known before its exit",
        "return known at its exit",
        label_checks(partial(forward_return, known_after=3)),
        label_checks(partial(forward_return, known_after=4)),
    ),
    Pair(
        "barriers as wide as the sample's deviation",
        "barriers as wide as the trailing deviation",
        label_checks(partial(barrier, width=sample_deviation)),
        label_checks(partial(barrier, width=trailing_deviation)),
    ),
    Pair(
        "clearest trend known at its own end",
        "clearest trend known when the search ends",
        label_checks(partial(clearest_trend, ends_with_the_search=False)),
        label_checks(partial(clearest_trend, ends_with_the_search=True)),
    ),
    Pair(
        "excess over the mean of all moves",
        "excess over the mean of earlier moves",
        label_checks(partial(excess_return, over_all=True)),
        label_checks(partial(excess_return, over_all=False)),
    ),
    Pair(
        "k-fold without purging",
        "k-fold with purging",
        fold_checks(lambda known_at, end: plain_folds(len(end)), fixed=True),
        fold_checks(purged, fixed=True),
    ),
    Pair(
        "k-fold of shuffled rows",
        "k-fold with gaps as long as the labels",
        fold_checks(lambda known_at, end: shuffled_folds(len(end)), fixed=True),
        fold_checks(lambda known_at, end: plain_folds(len(end), gap=5, far_gap=5), fixed=True),
    ),
    Pair(
        "k-fold purged on one side",
        "k-fold with just enough rows left out",
        fold_checks(lambda known_at, end: plain_folds(len(end), gap=5), fixed=True),
        fold_checks(lambda known_at, end: plain_folds(len(end), gap=4, far_gap=4), fixed=True),
    ),
    Pair(
        "five bars left out where labels last 1 to 19",
        "rows left out by the label's end",
        fold_checks(lambda known_at, end: plain_folds(len(end), gap=5, far_gap=5), fixed=False),
        fold_checks(purged, fixed=False),
    ),
    Pair(
        "k-fold without its embargo",
        "k-fold with its embargo",
        fold_checks(purged, fixed=False, embargo=10),
        fold_checks(embargoed, fixed=False, embargo=10),
    ),
]
