"""For every kind of label: nothing after its end moves it, and it may not be used before it is settled."""

from dataclasses import replace
from typing import NamedTuple

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from backtester_model_core.bars import Panel
from backtester_model_core.config import ModelConfig
from backtester_model_core.labels import LABELS, compute_label
from backtester_model_core.labels.lives import volatility

pytestmark = pytest.mark.exhaustive

DAYS = pd.date_range("2024-01-01", periods=40, freq="D", name="timestamp")
HALF_DAYS = pd.date_range("2024-01-01 08:00", periods=40, freq="12h", name="timestamp")
LEGS = [("open", "open"), ("open", "close"), ("close", "close")]
PRICES = ["open", "high", "low", "close", "level"]


class Case(NamedTuple):
    """A panel with lives and gaps, and how to label it."""

    bars: pd.DataFrame
    config: ModelConfig


def frame(rng, stamps):
    """One symbol's random bars with a benchmark's level and a primary side."""
    prices = np.sort(rng.uniform(80, 120, (len(stamps), 4)), axis=1)
    columns = {"open": prices[:, 1], "high": prices[:, 3], "low": prices[:, 0], "close": prices[:, 2]}
    swapped = rng.random(len(stamps)) < 0.5
    columns["open"], columns["close"] = (
        np.where(swapped, columns["close"], columns["open"]),
        np.where(swapped, columns["open"], columns["close"]),
    )
    columns |= {"volume": np.ones(len(stamps)), "level": rng.uniform(80, 120, len(stamps))}
    return pd.DataFrame(columns | {"side": rng.choice([-1.0, 0.0, 1.0], len(stamps))}, index=stamps)


def panel_of(rng, calendar, presence):
    frames = {f"S{number}": frame(rng, calendar[there]) for number, there in enumerate(presence)}
    if len(frames) == 1:
        return frames["S0"]
    return pd.concat(frames, names=["symbol", "timestamp"]).swaplevel().sort_index()


@st.composite
def cases(draw, kind):
    n_sessions, n_symbols = draw(st.integers(2, 14)), draw(st.integers(1, 4))
    there = st.lists(st.booleans(), min_size=n_sessions, max_size=n_sessions).filter(any)
    presence = [np.flatnonzero(draw(there)) for _ in range(n_symbols)]
    rng = np.random.default_rng(draw(st.integers(0, 2**20)))
    entry, exit_ = draw(st.sampled_from(LEGS))
    forms = ["forward_return", "direction", "three_way"]
    excess = [None, "level", *(["cross_section"] if n_symbols > 1 else [])]
    label = {
        "kind": kind,
        "entry": entry,
        "exit": exit_,
        "delisted_after": draw(st.integers(1, 4)),
        "delisting_return": draw(st.sampled_from([0.0, -0.3])),
        "session": draw(st.sampled_from(["any", "within"])),
        "form": draw(st.sampled_from(["simple", "log"])),
        "excess_over": draw(st.sampled_from(excess)) if kind in forms else None,
        "volatility_window": draw(st.integers(2, 3)),
        "barrier_width": draw(st.sampled_from([0.2, 1.0])),
        "ambiguous": draw(st.sampled_from(["lower", "nan"])),
        "trend_min_span": 2,
        "side_column": "side",
    }
    calendar = draw(st.sampled_from([DAYS, HALF_DAYS]))
    return Case(panel_of(rng, calendar, presence), settings_of(draw(st.integers(2, 4)), label))


def settings_of(horizon, label):
    model_type = LABELS[label["kind"]].model_type
    return ModelConfig(framework="any", model_type=model_type, prediction_horizon=horizon, label=label)


def table(compute, bars, settings):
    panel = Panel.of(bars)
    label = compute(panel, settings)
    settled = label.label_end if label.settled_at is None else label.settled_at
    columns = {"target": label.target, "forward_return": label.forward_return}
    columns |= {"label_end": label.label_end, "settled_at": settled}
    return pd.DataFrame({name: panel.to_rows(each) for name, each in columns.items()}, index=bars.index)


def differing(part, expected):
    same = (part == expected) | (part.isna() & expected.isna())
    return list(part.index[~same])


def moved_by_truncation(compute, bars, settings):
    """Cut a panel at each of its times and return the rows that then have another label.

    A label that is settled by the cut must be the same; one that is not must be unknown.
    """
    whole, moved = table(compute, bars, settings), []
    stamps = bars.index.get_level_values("timestamp")
    for cut in stamps.unique():
        part = table(compute, bars[stamps <= cut], settings)
        expected = whole.loc[part.index]
        moved += differing(part["target"], expected["target"].where(expected["settled_at"] <= cut))
    return moved


def moved_by_another_future(compute, bars, settings):
    """Give the bars after each time other prices and return the rows whose label, ended by then, is another."""
    whole, moved = table(compute, bars, settings), []
    stamps = bars.index.get_level_values("timestamp")
    factors = np.random.default_rng(5).uniform(0.5, 2.0, len(bars))
    for cut in stamps.unique():
        other = bars.copy()
        other.loc[stamps > cut, PRICES] = bars[PRICES].mul(factors, axis=0)[stamps > cut]
        other.loc[stamps > cut, "side"] = -bars["side"][stamps > cut]
        ended = (whole["label_end"] <= cut).to_numpy()
        found = table(compute, other, settings)[ended]
        moved += differing(found["target"], whole["target"][ended])
    return moved


@pytest.mark.parametrize("kind", list(LABELS))
def test_nothing_after_its_end_moves_a_label(kind):
    @settings(max_examples=25, database=None)
    @given(cases(kind))
    def check(case):
        assert moved_by_another_future(compute_label, case.bars, case.config) == []
        assert moved_by_truncation(compute_label, case.bars, case.config) == []

    check()


@pytest.mark.parametrize("kind", list(LABELS))
def test_a_label_has_an_end_exactly_where_it_is_known_and_is_settled_no_earlier(kind):
    @settings(max_examples=25, database=None)
    @given(cases(kind))
    def check(case):
        found = table(compute_label, case.bars, case.config)
        assert (found["target"].isna() == found["label_end"].isna()).all()
        assert (found["label_end"].isna() == found["settled_at"].isna()).all()
        known = found.dropna(subset="target")
        assert (known["settled_at"] >= known["label_end"]).all()
        classes = LABELS[kind].classes
        assert classes is None or set(known["target"]) <= set(classes)

    check()


# -- planted leaks --------------------------------------------------------------------------------------------------


def touch_at_once(panel, settings):
    """A leak: a row whose barrier is touched early is used before the rows beside it can be."""
    return replace(compute_label(panel, settings), settled_at=None)


def early_touch_as_known(panel, settings):
    """A leak: a label of h bars that says to be known at its second."""
    label = compute_label(panel, settings)
    known = ~np.isnat(label.label_end)
    ends = label.label_end.copy()
    ends[known] = panel.known_at[known] + np.timedelta64(2, "D")
    return replace(label, label_end=np.minimum(ends, label.label_end))


def own_end_of_an_excess(panel, settings):
    """A leak: an excess over others that says to be known when its own return is."""
    plain = settings.model_copy(update={"label": settings.label.model_copy(update={"excess_over": None})})
    label, own = compute_label(panel, settings), compute_label(panel, plain)
    return replace(label, label_end=np.where(np.isnat(label.label_end), label.label_end, own.label_end))


def band_of_the_whole_sample(panel, settings):
    """A leak: classes by the mean volatility of all bars."""
    plain = settings.model_copy(
        update={"label": settings.label.model_copy(update={"band_unit": "return", "band": 0})}
    )
    label, band = compute_label(panel, plain), np.nanmean(volatility(panel, 2))
    side = (label.forward_return > band).astype(float) - (label.forward_return < -band)
    return replace(label, target=np.where(np.isnan(label.target), np.nan, side))


def side_of_next_week(panel, settings):
    """A leak: the side that a later bar than the label's last brings."""
    sides = np.roll(panel.columns["side"], -7)
    return compute_label(replace(panel, columns={**panel.columns, "side": sides}), settings)


@pytest.mark.parametrize(
    ("leaky", "label", "check"),
    [
        (touch_at_once, {"kind": "triple_barrier", "barrier_width": 0.5}, moved_by_truncation),
        (early_touch_as_known, {"kind": "trend_scanning"}, moved_by_another_future),
        (early_touch_as_known, {"kind": "trend_scanning"}, moved_by_truncation),
        (
            own_end_of_an_excess,
            {"kind": "forward_return", "excess_over": "cross_section"},
            moved_by_another_future,
        ),
        (band_of_the_whole_sample, {"kind": "three_way"}, moved_by_another_future),
        (side_of_next_week, {"kind": "meta_triple_barrier", "barrier_width": 0.2}, moved_by_another_future),
    ],
)
def test_a_planted_leak_is_found(leaky, label, check):
    rng = np.random.default_rng(11)
    often, rare = np.arange(20), np.array([0, 1, 3, 4, 7, 8, 11, 14, 17, 18])
    bars = panel_of(rng, DAYS, [often, rare])
    common = {"volatility_window": 2, "trend_min_span": 2, "side_column": "side", "delisted_after": 4}
    config = settings_of(4, {**common, **label})

    assert check(compute_label, bars, config) == []
    assert check(leaky, bars, config) != []
