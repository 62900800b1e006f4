"""Features that look ahead, or seem to, through figures merged, bars resampled, prices adjusted and answers kept."""

from __future__ import annotations

from functools import partial

import numpy as np
import pandas as pd

from backtester_model_core.testing import find_truncation_leaks, forgetting, random_bars, random_panel
from look_ahead_cases.case import Checks, Pair
from look_ahead_cases.features import BARS, HOURS, checks

SPLIT_BARS = random_bars(110, seed=15).assign(split=1.0)
SPLIT_BARS.iloc[[40, 80], SPLIT_BARS.columns.get_loc("split")] = (2.0, 3.0)
GAPPED = random_bars(140, seed=16).drop(random_bars(140, seed=16).index[[20, 21, 60, 99, 100, 101]])
LISTED = random_panel(4, 60, seed=17, lives={"S001": (0, 35), "S003": (10, 50)})


# -- figures from elsewhere -------------------------------------------------------------------------------------------


def quarterly(bars: pd.DataFrame) -> pd.DataFrame:
    """Return a figure for each twenty bars: when its period ended, when it was published, and the mean volume."""
    ends = bars.index[19::20]
    figures = bars["volume"].rolling(20).mean()[ends].to_numpy()
    return pd.DataFrame({"ended": ends, "published": ends + pd.Timedelta(days=9), "figure": figures})


def merged(bars: pd.DataFrame, *, by: str, direction: str) -> pd.Series[float]:
    """Return the figure that ended or was published last, or is nearest, at each bar."""
    figures = quarterly(bars)
    joined = pd.merge_asof(
        pd.DataFrame({by: bars.index}), figures[[by, "figure"]], on=by, direction=direction
    )
    return joined["figure"].set_axis(bars.index)


def figure_of_period(bars: pd.DataFrame, *, published: bool) -> pd.Series[float]:
    """Return the figure of the twenty bars that a bar is in, or the last one that was published."""
    if published:
        return merged(bars, by="published", direction="backward")
    period = np.arange(len(bars)) // 20
    return quarterly(bars)["figure"].reindex(period).set_axis(bars.index)


def daily(hours: pd.DataFrame, *, label: str) -> pd.Series[float]:
    """Return each day's mean close, stamped at the day's begin or at its end, carried on to the hours."""
    return hours["close"].resample("D", label=label).mean().reindex(hours.index, method="ffill")


# -- what is divided by ----------------------------------------------------------------------------------------------


def adjusted(bars: pd.DataFrame, *, by_later_splits: bool) -> pd.Series[float]:
    """Return the close adjusted to the shares of the last bar, or to those of the first."""
    so_far = bars["split"].cumprod()
    return bars["close"] / (so_far.iloc[-1] / so_far) if by_later_splits else bars["close"] * so_far


def weekday_mean(bars: pd.DataFrame, *, of_all: bool) -> pd.Series[float]:
    """Return the mean return of a bar's weekday, over all bars, or over the earlier ones."""
    returns = bars["close"].pct_change(fill_method=None)
    by_weekday = returns.groupby(pd.DatetimeIndex(bars.index).day_of_week)
    if of_all:
        return by_weekday.transform("mean")
    return by_weekday.transform(lambda some: some.shift(1).expanding().mean())


def less_the_mean(panel: pd.DataFrame, *, of_survivors: bool) -> pd.Series[float]:
    """Return the last return less the mean of the symbols that live to the end, or of those there are."""
    returns = panel["close"].groupby(level="symbol").pct_change(fill_method=None)
    stamps = panel.index.get_level_values("timestamp")
    last = pd.Series(stamps, index=panel.index).groupby(level="symbol").transform("max")
    counted = returns.where(last == stamps.max()) if of_survivors else returns
    return returns - counted.groupby(level="timestamp").transform("mean")


# -- answers kept between calls ---------------------------------------------------------------------------------------


class Keeping:
    """A feature that keeps its answers: by the first bar, or by all of the bars."""

    def __init__(self, *, by_first_bar: bool) -> None:
        self.by_first_bar = by_first_bar
        self.kept: dict[object, pd.DataFrame] = {}

    def __call__(self, bars: pd.DataFrame) -> pd.DataFrame:
        key = bars.index[0] if self.by_first_bar else tuple(bars["close"])
        if key not in self.kept:
            lag = -1 if self.by_first_bar else 1
            self.kept[key] = pd.DataFrame({"x": bars["close"].shift(lag)})
        return self.kept[key].reindex(bars.index)


def cache_checks(*, by_first_bar: bool) -> Checks:
    """Return the check of a feature that keeps its answers, itself and loaded anew for each call."""
    keeping = partial(Keeping, by_first_bar=by_first_bar)
    return {
        "T1 of one instance": lambda: find_truncation_leaks(keeping(), BARS),
        "T1": lambda: find_truncation_leaks(forgetting(keeping), BARS),
    }


PAIRS = [
    Pair(
        "nearest figure merged",
        "last figure merged",
        checks(partial(merged, by="ended", direction="nearest")),
        checks(partial(merged, by="ended", direction="backward")),
    ),
    Pair(
        "figure known from its period's first day",
        "figure known when published",
        checks(partial(figure_of_period, published=False)),
        checks(partial(figure_of_period, published=True)),
    ),
    Pair(
        "resampled to days, labelled on the left",
        "resampled to days, labelled on the right",
        checks(partial(daily, label="left"), HOURS),
        checks(partial(daily, label="right"), HOURS),
    ),
    Pair(
        "adjusted by later splits",
        "adjusted by splits so far",
        checks(partial(adjusted, by_later_splits=True), SPLIT_BARS),
        checks(partial(adjusted, by_later_splits=False), SPLIT_BARS),
    ),
    Pair(
        "as a share of the last close",
        "as a share of the first close",
        checks(lambda bars: bars["close"] / bars["close"].iloc[-1]),
        checks(lambda bars: bars["close"] / bars["close"].iloc[0]),
    ),
    Pair(
        "days until the next bar",
        "days since the last bar",
        checks(lambda bars: -bars.index.to_series().diff(-1).dt.days.astype(float), GAPPED),
        checks(lambda bars: bars.index.to_series().diff(1).dt.days.astype(float), GAPPED),
    ),
    Pair(
        "weekday's mean return of all weeks",
        "weekday's mean return of earlier weeks",
        checks(partial(weekday_mean, of_all=True)),
        checks(partial(weekday_mean, of_all=False)),
    ),
    Pair(
        "less the mean of those that survive",
        "less the mean of those that are there",
        {"T1": checks(partial(less_the_mean, of_survivors=True), LISTED)["T1"]},
        {"T1": checks(partial(less_the_mean, of_survivors=False), LISTED)["T1"]},
    ),
    Pair(
        "tomorrow's close, kept by the first bar",
        "yesterday's close, kept by all bars",
        cache_checks(by_first_bar=True),
        cache_checks(by_first_bar=False),
    ),
]
