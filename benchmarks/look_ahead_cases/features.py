"""Features that look ahead, or seem to."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import numpy as np
import pandas as pd

from backtester_model_core.testing import (
    find_future_leaks,
    find_symbol_leaks,
    find_target_leaks,
    find_truncation_leaks,
    find_warm_up_leaks,
    random_bars,
    random_panel,
)
from look_ahead_cases.case import Checks, Pair

BARS = random_bars(110, seed=3)
HOURS = random_bars(96, seed=4, frequency="h")
LONG = random_bars(1200, seed=5)
PANEL = random_panel(3, 60, seed=6, lives={"S001": (5, 60)})
EVERY_FIFTH = np.arange(len(BARS)) % 5 == 0

Column = Callable[[pd.DataFrame], "pd.Series[float]"]


def checks(column: Column, bars: pd.DataFrame = BARS) -> Checks:
    """Return the checks of one column over bars: all cuts, and other futures at every tenth."""

    def compute(given: pd.DataFrame) -> pd.DataFrame:
        return pd.DataFrame({"x": column(given)})

    opens = bars["open"].groupby(level="symbol") if bars is PANEL else bars["open"]
    target = opens.shift(-2) / opens.shift(-1) - 1
    found: dict[str, Callable[[], list]] = {
        "T1": partial(find_truncation_leaks, compute, bars),
        "T2": partial(find_future_leaks, compute, bars, cuts=range(10, 60, 10)),
        "T9": lambda: find_target_leaks(compute(bars), target),
    }
    if bars is PANEL:
        found["T14"] = partial(find_symbol_leaks, compute, bars)
    return found


def remembering(column: Column, memory: int) -> Checks:
    """Return the checks of a column that declares how many earlier bars matter to it."""

    def compute(given: pd.DataFrame) -> pd.DataFrame:
        return pd.DataFrame({"x": column(given)})

    return {
        "T1": partial(find_truncation_leaks, compute, BARS),
        "T3": partial(find_warm_up_leaks, compute, LONG, memory_bars={"x": memory}),
    }


def pair(leak: str, leaky: Column, twin: str, clean: Column, bars: pd.DataFrame = BARS) -> Pair:
    return Pair(leak, twin, checks(leaky, bars), checks(clean, bars))


# -- columns that need more than a line -----------------------------------------------------------------------------


def returns(bars: pd.DataFrame) -> pd.Series[float]:
    return bars["close"].pct_change(fill_method=None)


def sparse(bars: pd.DataFrame) -> pd.Series[float]:
    """Return a figure that is published at every fifth bar."""
    return bars["volume"].where(EVERY_FIFTH[: len(bars)])


def week(bars: pd.DataFrame) -> pd.Index:
    return bars.index.to_period("W")


def last_weeks_close(bars: pd.DataFrame) -> pd.Series[float]:
    number = pd.Series(week(bars), bars.index)
    return bars["close"].shift(1).where(number != number.shift(1)).ffill()


def kernel(bars: pd.DataFrame, offsets: range) -> pd.Series[float]:
    """Return a weighted mean of closes at offsets from the row."""
    weights = [np.exp(-((offset / 3) ** 2)) for offset in offsets]
    moved = [weight * bars["close"].shift(-offset) for offset, weight in zip(offsets, weights, strict=True)]
    return sum(moved[1:], moved[0]) / sum(weights)


def detrended(bars: pd.DataFrame) -> pd.Series[float]:
    time = np.arange(len(bars))
    if len(bars) < 3:
        return bars["close"] * np.nan
    return bars["close"] - np.polyval(np.polyfit(time, bars["close"], 1), time)


def detrended_by_the_last_twenty(bars: pd.DataFrame) -> pd.Series[float]:
    def last_residual(window: np.ndarray) -> float:
        time = np.arange(len(window))
        return float(window[-1] - np.polyval(np.polyfit(time, window, 1), time[-1]))

    return bars["close"].rolling(20).apply(last_residual, raw=True)


def component(bars: pd.DataFrame, fitted_on: slice) -> pd.Series[float]:
    """Return the first principal component of four lagged returns, with loadings of some rows."""
    lags = pd.concat([returns(bars).shift(lag) for lag in range(4)], axis=1)
    fitted = lags.iloc[fitted_on].dropna()
    if len(fitted) < 20:
        return bars["close"] * np.nan
    loadings = np.linalg.svd(fitted - fitted.mean(), full_matrices=False)[2][0]
    score = sum(lags.iloc[:, k] * loadings[k] * np.sign(loadings[0]) for k in range(4))
    return score.where(np.arange(len(bars)) >= (fitted_on.stop or 0))


def low_pass(bars: pd.DataFrame) -> pd.Series[float]:
    spectrum = np.fft.rfft(bars["close"])
    spectrum[len(spectrum) // 4 + 1 :] = 0
    return pd.Series(np.fft.irfft(spectrum, len(bars)), bars.index)


def pivot(bars: pd.DataFrame, *, stamped_when_confirmed: bool) -> pd.Series[float]:
    """Return the last high that three bars on either side stay below."""
    window = bars["high"].rolling(7)
    is_pivot = bars["high"].shift(3) == window.max()
    confirmed = bars["high"].shift(3).where(is_pivot)
    return (confirmed if stamped_when_confirmed else confirmed.shift(-3)).ffill()


def balance(bars: pd.DataFrame) -> pd.Series[float]:
    return np.sign(bars["close"].diff()) * bars["volume"]


def by_symbol(panel: pd.DataFrame) -> pd.api.typing.SeriesGroupBy:
    return panel["close"].groupby(level="symbol")


def one_symbol_after_another(panel: pd.DataFrame) -> pd.Series[float]:
    """Return each symbol's last close, but a symbol's first from the symbol before it."""
    return panel["close"].swaplevel().sort_index().shift(1).swaplevel().reindex(panel.index)


def outside_column(bars: pd.DataFrame, *, of_later_bars: bool, noise_deviation: float = 0.001) -> Checks:
    """Return the checks of a column that came with the bars: a return, with noise, of later or earlier bars."""
    moves = bars["open"].shift(-2) / bars["open"].shift(-1) - 1
    noise = np.random.default_rng(7).normal(0, noise_deviation, len(bars))
    bought = (moves if of_later_bars else moves.shift(2)) + noise
    return checks(lambda given: given["bought"], bars.assign(bought=bought.fillna(0.0)))


def outside_direction(bars: pd.DataFrame, *, of_later_bars: bool) -> Checks:
    """Return the checks of a bought rating that is high before, or after, rises."""
    moves = bars["open"].shift(-2) / bars["open"].shift(-1) - 1
    rises = (moves if of_later_bars else moves.shift(2)) > 0
    rating = 3.0 * rises + np.random.default_rng(8).uniform(0, 2.9, len(bars))
    target = (moves > 0).astype(float).where(moves.notna())
    frame = pd.DataFrame({"rating": rating})
    return {"T9": partial(find_target_leaks, frame, target)}


PAIRS = [
    pair(
        "centred mean",
        lambda bars: bars["close"].rolling(5, center=True).mean(),
        "trailing mean",
        lambda bars: bars["close"].rolling(5).mean(),
    ),
    pair(
        "z-score by the whole sample",
        lambda bars: (bars["close"] - bars["close"].mean()) / bars["close"].std(),
        "z-score by all bars so far",
        lambda bars: (bars["close"] - bars["close"].expanding(2).mean()) / bars["close"].expanding(2).std(),
    ),
    pair(
        "shift(-1)",
        lambda bars: bars["close"].shift(-1),
        "shift(1)",
        lambda bars: bars["close"].shift(1),
    ),
    pair(
        "gap to the next open",
        lambda bars: bars["open"].shift(-1) / bars["close"] - 1,
        "gap from the last close",
        lambda bars: bars["open"] / bars["close"].shift(1) - 1,
    ),
    pair(
        "figure filled from behind",
        lambda bars: sparse(bars).bfill(),
        "figure carried on",
        lambda bars: sparse(bars).ffill(),
    ),
    pair(
        "figure interpolated",
        lambda bars: sparse(bars).interpolate(),
        "figure extrapolated from the last two",
        lambda bars: (sparse(bars) * 1.5 - sparse(bars).shift(5) * 0.5).ffill(),
    ),
    pair(
        "rank in the whole sample",
        lambda bars: bars["close"].rank(pct=True),
        "rank in a window",
        lambda bars: bars["close"].rolling(20).rank(pct=True),
    ),
    pair(
        "the week's close from Monday on",
        lambda bars: bars["close"].groupby(week(bars)).transform("last"),
        "last week's close",
        last_weeks_close,
    ),
    pair(
        "the day's high from its first hour on",
        lambda bars: bars["high"].groupby(bars.index.normalize()).transform("max"),
        "the day's high so far",
        lambda bars: bars["high"].groupby(bars.index.normalize()).cummax(),
        HOURS,
    ),
    pair(
        "kernel on both sides",
        lambda bars: kernel(bars, range(-6, 7)),
        "kernel on one side",
        lambda bars: kernel(bars, range(-6, 1)),
    ),
    pair(
        "trend fitted to all bars",
        detrended,
        "trend fitted to the last twenty",
        detrended_by_the_last_twenty,
    ),
    pair(
        "principal component of all rows",
        lambda bars: component(bars, slice(None)),
        "principal component of the first forty",
        lambda bars: component(bars, slice(0, 40)),
    ),
    pair(
        "clipped at quantiles of the sample",
        lambda bars: returns(bars).clip(returns(bars).quantile(0.05), returns(bars).quantile(0.95)),
        "clipped at quantiles so far",
        lambda bars: returns(bars).clip(
            returns(bars).expanding(10).quantile(0.05), returns(bars).expanding(10).quantile(0.95)
        ),
    ),
    pair(
        "scaled to the sample's range",
        lambda bars: (bars["close"] - bars["close"].min()) / (bars["close"].max() - bars["close"].min()),
        "scaled to a window's range",
        lambda bars: (
            (bars["close"] - bars["close"].rolling(20).min())
            / (bars["close"].rolling(20).max() - bars["close"].rolling(20).min())
        ),
    ),
    pair(
        "low-pass by Fourier transform",
        low_pass,
        "low-pass by exponential average",
        lambda bars: bars["close"].ewm(span=8, adjust=False).mean(),
    ),
    pair(
        "turning point stamped when it was",
        partial(pivot, stamped_when_confirmed=False),
        "turning point stamped when confirmed",
        partial(pivot, stamped_when_confirmed=True),
    ),
    pair(
        "regime by the sample's median",
        lambda bars: (bars["volume"] > bars["volume"].median()).astype(float),
        "regime by the median so far",
        lambda bars: (bars["volume"] > bars["volume"].expanding().median()).astype(float),
    ),
    pair(
        "fall from the highest later close",
        lambda bars: bars["close"] / bars["close"][::-1].cummax()[::-1] - 1,
        "fall from the highest earlier close",
        lambda bars: bars["close"] / bars["close"].cummax() - 1,
    ),
    pair(
        "deviation from a symbol's mean of all time",
        lambda panel: panel["close"] / by_symbol(panel).transform("mean") - 1,
        "deviation from a symbol's mean so far",
        lambda panel: panel["close"] / by_symbol(panel).cumsum() * (by_symbol(panel).cumcount() + 1) - 1,
        PANEL,
    ),
    pair(
        "last close across the border of symbols",
        one_symbol_after_another,
        "last close by symbol",
        lambda panel: by_symbol(panel).shift(1),
        PANEL,
    ),
    Pair(
        "running sum said to remember 20 bars",
        "sum over a window of 20 bars",
        remembering(lambda bars: balance(bars).cumsum(), 20),
        remembering(lambda bars: balance(bars).rolling(20).sum(), 20),
    ),
    Pair(
        "average said to remember its span only",
        "average said to remember seven spans",
        remembering(lambda bars: bars["close"].ewm(span=20, adjust=False).mean(), 20),
        remembering(lambda bars: bars["close"].ewm(span=20, adjust=False).mean(), 140),
    ),
    Pair(
        "bought column of later returns",
        "bought column of earlier returns",
        outside_column(BARS, of_later_bars=True),
        outside_column(BARS, of_later_bars=False),
    ),
    Pair(
        "rating given after the rise",
        "rating that follows the last rise",
        outside_direction(BARS, of_later_bars=True),
        outside_direction(BARS, of_later_bars=False),
    ),
]

UNSEEN = Pair(
    "bought column of later returns, in nine parts of noise",
    "bought column of earlier returns, in nine parts of noise",
    outside_column(BARS, of_later_bars=True, noise_deviation=0.03),
    outside_column(BARS, of_later_bars=False, noise_deviation=0.03),
)
"""A leak that no check finds: it came with the bars, and is too weak for an association to show."""
