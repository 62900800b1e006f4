"""Labels: forward returns by hand and by an independent walk, label ends, delistings, and what no label may see."""

from dataclasses import replace
from typing import NamedTuple

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from backtester_model_core.bars import Panel
from backtester_model_core.config import ModelConfig
from backtester_model_core.exceptions import ConfigError, LabelError
from backtester_model_core.labels import LABELS, Label, LabelKind, compute_label, direction, label_kind

DAYS = pd.date_range("2024-01-01", periods=40, freq="D", name="timestamp")
LEGS = [("open", "open"), ("open", "close"), ("close", "close")]

# -- what the tests share -------------------------------------------------------------------------------------------


def frame(opens, closes, days=None):
    """One symbol's bars; only open and close matter to a label."""
    columns = {"open": opens, "high": np.maximum(opens, closes), "low": np.minimum(opens, closes)}
    columns |= {"close": closes, "volume": np.ones(len(opens))}
    index = DAYS[: len(opens)] if days is None else DAYS[list(days)]
    return pd.DataFrame(columns, index=index, dtype=np.float64)


def together(frames):
    return pd.concat(frames, names=["symbol", "timestamp"]).swaplevel().sort_index()


def config(**fields):
    label = {name: fields.pop(name) for name in list(fields) if name in LABEL_FIELDS}
    return ModelConfig(framework="any", label=label, **{"model_type": "regression", **fields})


LABEL_FIELDS = {"kind", "entry", "exit", "delisted_after", "delisting_return"}


def labelled(bars, **fields):
    """The labels as a frame on the bars' own index."""
    panel = Panel.of(bars)
    label = compute_label(panel, config(**fields))
    columns = {
        name: panel.to_rows(getattr(label, name)) for name in ("target", "label_end", "forward_return")
    }
    return pd.DataFrame(columns, index=bars.index)


def days(series):
    """Label ends as numbers of days since the first; -1 for NaT."""
    return [-1 if pd.isna(stamp) else (stamp - DAYS[0]).days for stamp in series]


# -- forward returns, by hand ---------------------------------------------------------------------------------------


OPENS = [100.0, 110.0, 121.0, 96.8, 96.8, 121.0]
CLOSES = [105.0, 120.0, 100.0, 98.0, 110.0, 132.0]


@pytest.mark.parametrize(
    ("entry", "exit_", "horizon", "returns", "ends"),
    [
        # open[t+2] / open[t+1] - 1: 121/110, 96.8/121, 96.8/96.8, 121/96.8
        ("open", "open", 1, [0.1, -0.2, 0.0, 0.25, None, None], [2, 3, 4, 5, -1, -1]),
        # open[t+4] / open[t+1] - 1: 96.8/110, 121/121
        ("open", "open", 3, [-0.12, 0.0, None, None, None, None], [4, 5, -1, -1, -1, -1]),
        # close[t+1] / open[t+1] - 1: 120/110, 100/121, 98/96.8, 110/96.8, 132/121
        (
            "open",
            "close",
            1,
            [10 / 110, -21 / 121, 1.2 / 96.8, 13.2 / 96.8, 11 / 121, None],
            [1, 2, 3, 4, 5, -1],
        ),
        # close[t+3] / open[t+1] - 1: 98/110, 110/121, 132/96.8
        ("open", "close", 3, [-12 / 110, -11 / 121, 35.2 / 96.8, None, None, None], [3, 4, 5, -1, -1, -1]),
        # close[t+1] / close[t] - 1: 120/105, 100/120, 98/100, 110/98, 132/110
        ("close", "close", 1, [15 / 105, -20 / 120, -0.02, 12 / 98, 0.2, None], [1, 2, 3, 4, 5, -1]),
        # close[t+3] / close[t] - 1: 98/105, 110/120, 132/100
        ("close", "close", 3, [-7 / 105, -10 / 120, 0.32, None, None, None], [3, 4, 5, -1, -1, -1]),
    ],
)
def test_forward_return_of_each_pair_of_legs_and_horizon(entry, exit_, horizon, returns, ends):
    found = labelled(frame(OPENS, CLOSES), entry=entry, exit=exit_, prediction_horizon=horizon)

    expected = np.array([np.nan if value is None else value for value in returns])
    assert np.allclose(found["target"], expected, rtol=0, atol=1e-12, equal_nan=True)
    assert np.array_equal(found["target"], found["forward_return"], equal_nan=True)
    assert days(found["label_end"]) == ends


def test_a_position_entered_at_a_close_cannot_be_left_at_an_open():
    with pytest.raises(ValueError, match="entry = 'close' goes with exit = 'close'"):
        config(entry="close", exit="open")


def test_bars_stamped_at_their_open_are_known_one_bar_later():
    panel = Panel.of(frame(OPENS, CLOSES), bar_stamp="open")

    label = compute_label(panel, config())

    assert days(label.label_end) == [3, 4, 5, 6, -1, -1]


def test_bars_shorter_than_the_horizon_have_no_label():
    found = labelled(frame(OPENS, CLOSES), prediction_horizon=6)

    assert found["target"].isna().all()
    assert found["label_end"].isna().all()


# -- classes --------------------------------------------------------------------------------------------------------


def test_direction_is_one_above_zero_and_zero_at_and_below_it():
    found = labelled(frame(OPENS, CLOSES), model_type="classification")

    # returns 0.1, -0.2, exactly 0, 0.25, unknown, unknown
    assert np.array_equal(found["target"], [1.0, 0.0, 0.0, 1.0, np.nan, np.nan], equal_nan=True)
    assert days(found["label_end"]) == [2, 3, 4, 5, -1, -1]


def test_an_unknown_label_is_never_a_class():
    found = labelled(
        frame([100.0] * 8, np.linspace(90, 120, 8)), model_type="classification", prediction_horizon=3
    )

    assert found["target"].isna().tolist() == found["label_end"].isna().tolist()
    assert found["target"].isna().sum() == 4


def test_a_label_for_the_other_kind_of_model_is_refused():
    with pytest.raises(
        LabelError, match=r"'direction' is for classification, but model_type is 'regression'"
    ):
        label_kind(config(kind="direction"))


def test_an_unknown_label_kind_answers_with_the_nearest():
    with pytest.raises(
        ConfigError, match=r"Unknown label kind 'forward_returns'\. Did you mean 'forward_return'\?"
    ):
        label_kind(config(kind="forward_returns"))


@pytest.mark.parametrize(
    ("model_type", "classes"),
    [
        ("regression", (0.0, 1.0)),
        ("classification", None),
        ("classification", ()),
        ("classification", (1.0, 0.0)),
        ("classification", (0.0, 0.0, 1.0)),
        ("classification", (1.0, 2.0)),
        ("classification", (-1.0, 0.0)),
        ("classification", (0.0, float("nan"))),
    ],
)
def test_classes_that_no_signal_could_follow_are_refused(model_type, classes):
    with pytest.raises(LabelError):
        LabelKind(direction, model_type, classes)


def test_three_classes_are_a_label_kind():
    assert LabelKind(direction, "classification", (-1.0, 0.0, 1.0)).classes == (-1.0, 0.0, 1.0)


# -- delistings -----------------------------------------------------------------------------------------------------


def listed_and_delisted():
    """A trades on ten days; B on the first four only, for ever at the prices of OPENS and CLOSES."""
    flat = [50.0] * 10
    return together({"A": frame(flat, flat), "B": frame(OPENS[:4], CLOSES[:4])})


def of_symbol(found, symbol):
    return found.xs(symbol, level="symbol")


def test_a_delisted_symbol_pays_its_last_close():
    found = of_symbol(labelled(listed_and_delisted(), delisted_after=3), "B")

    # bars 0 and 1 are held to an open; bar 2 enters at open[3] = 96.8 and is sold at close[3] = 98, which the
    # silence of days 4, 5 and 6 makes known; bar 3 has no next open to enter at
    assert np.allclose(found["target"], [0.1, -0.2, 1.2 / 96.8, np.nan], rtol=0, atol=1e-12, equal_nan=True)
    assert days(found["label_end"]) == [2, 3, 6, -1]


def test_the_delisting_return_is_taken_from_the_last_close():
    found = of_symbol(labelled(listed_and_delisted(), delisted_after=3, delisting_return=-0.3), "B")

    # 98 * 0.7 = 68.6
    assert found["target"].iloc[2] == pytest.approx(68.6 / 96.8 - 1)
    assert np.allclose(found["target"].iloc[:2], [0.1, -0.2])


def test_the_last_bar_itself_pays_the_delisting_return_when_it_is_entered_at_its_close():
    found = of_symbol(
        labelled(listed_and_delisted(), entry="close", exit="close", delisted_after=3, delisting_return=-0.3),
        "B",
    )

    assert found["target"].iloc[3] == pytest.approx(-0.3)
    assert days(found["label_end"])[3] == 6


def test_a_silence_that_is_not_long_enough_yet_is_no_delisting():
    bars = listed_and_delisted()
    found = of_symbol(
        labelled(bars[bars.index.get_level_values("timestamp") <= DAYS[5]], delisted_after=3), "B"
    )

    assert days(found["label_end"]) == [2, 3, -1, -1]
    assert found["target"].isna().tolist() == [False, False, True, True]


def test_a_delisted_symbol_is_labelled_as_falling():
    found = of_symbol(
        labelled(listed_and_delisted(), delisted_after=3, delisting_return=-0.3, model_type="classification"),
        "B",
    )

    assert np.array_equal(found["target"], [1.0, 0.0, 0.0, np.nan], equal_nan=True)


def test_a_symbol_that_comes_back_was_delisted_for_whoever_stood_there():
    flat = [50.0] * 12
    present = [0, 1, 2, 3, 8, 9, 10, 11]  # silent on days 4 to 7
    prices = np.arange(8) + 100.0
    bars = together({"A": frame(flat, flat), "B": frame(prices, prices + 0.5, present)})

    away = of_symbol(labelled(bars, delisted_after=4), "B")
    waits = of_symbol(labelled(bars, delisted_after=5), "B")

    # with four sessions the position of bar 2 is sold at close[3] = 103.5, known on day 3 + 4
    assert away["target"].iloc[2] == pytest.approx(103.5 / 103.0 - 1)
    assert days(away["label_end"]) == [2, 3, 7, -1, 9 + 1, 9 + 2, -1, -1]
    # with five it is held to the symbol's next own bar, day 8
    assert waits["target"].iloc[2] == pytest.approx(104.0 / 103.0 - 1)
    assert days(waits["label_end"]) == [2, 3, 8, 9, 10, 11, -1, -1]


def test_one_symbol_alone_is_never_delisted():
    gapped = frame(OPENS, CLOSES, [0, 1, 2, 20, 21, 22])

    found = labelled(gapped, delisted_after=1)

    assert np.allclose(found["target"].iloc[:4], [0.1, -0.2, 0.0, 0.25])
    assert days(found["label_end"]) == [2, 20, 21, 22, -1, -1]


def test_symbols_do_not_touch_each_other():
    bars = {"A": frame(OPENS, CLOSES), "B": frame(CLOSES, OPENS), "C": frame(OPENS[::-1], CLOSES[::-1])}
    alone = {name: labelled(bars[name]) for name in bars}

    panel = labelled(together(bars))

    for name, expected in alone.items():
        pd.testing.assert_frame_equal(of_symbol(panel, name), expected, check_freq=False)


def test_the_order_of_rows_within_a_time_does_not_matter():
    bars = together({"A": frame(OPENS, CLOSES), "B": frame(CLOSES, OPENS)})
    turned = bars.sort_index(level=["timestamp", "symbol"], ascending=[True, False])

    pd.testing.assert_frame_equal(labelled(turned).sort_index(), labelled(bars))


# -- other columns --------------------------------------------------------------------------------------------------


def test_another_column_is_foreseen_by_its_relative_change():
    bars = frame(OPENS, CLOSES).assign(spread=[1.0, 2.0, 4.0, 2.0, 1.0, 5.0])

    found = labelled(bars, target_column="spread", prediction_horizon=2)

    # x[t+2] / x[t] - 1, known at bar t+2; the forward return stays open[t+3] / open[t+1] - 1
    assert np.array_equal(found["target"], [3.0, 0.0, -0.75, 1.5, np.nan, np.nan], equal_nan=True)
    assert days(found["label_end"]) == [2, 3, 4, 5, -1, -1]
    assert np.allclose(found["forward_return"].iloc[:3], [-0.12, -0.2, 0.25])
    assert found["forward_return"].iloc[3:].isna().all()


def test_the_direction_of_another_column_follows_that_column():
    bars = frame(OPENS, CLOSES).assign(spread=[1.0, 2.0, 4.0, 2.0, 1.0, 5.0])

    found = labelled(bars, target_column="spread", model_type="classification")

    assert np.array_equal(found["target"], [1.0, 1.0, 0.0, 0.0, 1.0, np.nan], equal_nan=True)


def test_another_column_of_a_panel_stays_within_its_symbol():
    bars = together(
        {
            "A": frame(OPENS[:3], CLOSES[:3]).assign(spread=[1.0, 2.0, 6.0]),
            "B": frame(OPENS[:3], CLOSES[:3]).assign(spread=[8.0, 4.0, 1.0]),
        }
    )

    found = labelled(bars, target_column="spread")

    assert np.array_equal(of_symbol(found, "A")["target"], [1.0, 2.0, np.nan], equal_nan=True)
    assert np.array_equal(of_symbol(found, "B")["target"], [-0.5, -0.75, np.nan], equal_nan=True)


@pytest.mark.parametrize("value", [0.0, -2.0, np.nan, np.inf])
def test_a_column_that_is_not_positive_is_named_with_its_earliest_value(value):
    bars = together(
        {
            "A": frame(OPENS, CLOSES).assign(spread=[1.0, 2.0, 4.0, 2.0, value, 5.0]),
            "B": frame(OPENS, CLOSES).assign(spread=[1.0, 2.0, value, 2.0, 1.0, 5.0]),
        }
    )

    with pytest.raises(LabelError, match=rf"'spread' is {value:g} at 2024-01-03 00:00:00 \(B\)"):
        labelled(bars, target_column="spread")


def test_a_plain_frame_names_the_stamp_alone():
    bars = frame(OPENS, CLOSES).assign(spread=[1.0, 0.0, 4.0, 2.0, 1.0, 5.0])

    with pytest.raises(LabelError, match="'spread' is 0 at 2024-01-02 00:00:00, and"):
        labelled(bars, target_column="spread")


def test_prices_below_zero_have_no_return():
    with pytest.raises(LabelError, match="'open' is -3 at 2024-01-02"):
        labelled(frame([1.0, -3.0, 2.0, 4.0], [1.0, 1.0, 2.0, 4.0]))


def test_a_missing_column_is_named_with_those_there_are():
    with pytest.raises(
        LabelError, match="'spread' is not among the bars' columns: open, high, low, close, volume"
    ):
        labelled(frame(OPENS, CLOSES), target_column="spread")


# -- labels that extensions bring -----------------------------------------------------------------------------------


@pytest.fixture
def own_label():
    """Register a label kind for one test."""
    added = []

    def register(compute):
        LABELS.add("own", LabelKind(compute, "regression"))
        added.append("own")

    yield register
    for name in added:
        LABELS.discard(name)


def test_a_label_with_other_rows_than_the_bars_is_refused(own_label):
    own_label(lambda panel, config: Label(np.zeros(3), panel.known_at, np.zeros(panel.n_rows)))

    with pytest.raises(LabelError, match=r"'own' gave \[3, 6, 6\] rows for 6 bars"):
        labelled(frame(OPENS, CLOSES), kind="own")


def test_a_label_that_ends_before_its_row_is_refused(own_label):
    nothing = np.zeros(6)
    own_label(lambda panel, config: Label(nothing, panel.known_at - np.timedelta64(1, "h"), nothing))

    with pytest.raises(LabelError, match=r"of 2024-01-01T00:00:00\.0+ ends before, at 2023-12-31T23"):
        labelled(frame(OPENS, CLOSES), kind="own")


def test_a_label_known_at_once_is_allowed(own_label):
    nothing = np.zeros(6)
    own_label(lambda panel, config: Label(nothing, panel.known_at, nothing))

    assert (labelled(frame(OPENS, CLOSES), kind="own")["target"] == 0).all()


# -- for every panel ------------------------------------------------------------------------------------------------


class Case(NamedTuple):
    """A panel with lives and gaps, and how to label it."""

    bars: pd.DataFrame
    config: ModelConfig


@st.composite
def cases(draw):
    n_sessions = draw(st.integers(2, 14))
    n_symbols = draw(st.integers(1, 4))
    prices = np.random.default_rng(draw(st.integers(0, 2**20))).uniform(50, 150, (n_symbols, 2, n_sessions))
    presence = st.lists(st.booleans(), min_size=n_sessions, max_size=n_sessions).filter(any)
    frames = {}
    for number in range(n_symbols):
        there = np.flatnonzero(draw(presence))
        frames[f"S{number}"] = frame(prices[number, 0, there], prices[number, 1, there], there)
    entry, exit_ = draw(st.sampled_from(LEGS))
    return Case(
        together(frames) if n_symbols > 1 else frames["S0"],
        config(
            entry=entry,
            exit=exit_,
            prediction_horizon=draw(st.integers(1, 4)),
            delisted_after=draw(st.integers(1, 4)),
            delisting_return=draw(st.sampled_from([0.0, -0.3])),
        ),
    )


def walked_return(bars, sessions, row, settings):
    """One row's return and label end, by walking its symbol's bars one after another.

    Args:
        bars: One symbol's bars.
        sessions: All sessions of the panel.
        row: Number of the bar.
        settings: The configuration.
    """
    stamps = list(bars.index)
    numbers = [list(sessions).index(stamp) for stamp in stamps]
    legs, here = settings.label, row
    wanted = row + settings.prediction_horizon + (1 if legs.exit == "open" else 0)
    entry = row + (1 if legs.entry == "open" else 0)
    while here < wanted:
        silent_to = numbers[here + 1] if here + 1 < len(numbers) else len(sessions)
        if silent_to - numbers[here] - 1 >= legs.delisted_after:
            if entry > here:
                return np.nan, pd.NaT
            paid = bars[legs.entry].iloc[entry]
            payoff = bars["close"].iloc[here] * (1 + legs.delisting_return)
            return payoff / paid - 1, sessions[numbers[here] + legs.delisted_after]
        if here + 1 == len(numbers):
            return np.nan, pd.NaT
        here += 1
    return bars[legs.exit].iloc[wanted] / bars[legs.entry].iloc[entry] - 1, stamps[wanted]


@settings(max_examples=150)
@given(cases())
def test_every_return_is_what_a_walk_along_the_bars_finds(case):
    bars = case.bars
    label = compute_label(Panel.of(bars), case.config)
    level = bars.index.get_level_values("timestamp")
    symbols = (
        bars.index.get_level_values("symbol").unique().sort_values() if bars.index.nlevels > 1 else [None]
    )

    expected = []
    for symbol in symbols:
        own = bars if symbol is None else bars.xs(symbol, level="symbol")
        expected += [
            walked_return(own, level.unique().sort_values(), row, case.config) for row in range(len(own))
        ]

    returns, ends = zip(*expected, strict=True)
    assert np.allclose(label.target, returns, rtol=0, atol=1e-12, equal_nan=True)
    assert pd.DatetimeIndex(label.label_end).equals(pd.DatetimeIndex(ends))


def moved_labels(compute, bars, settings):
    """Cut a panel after each label end and return the rows whose label is then another one.

    A label must be the same when nothing after its end is there, and unknown when its end is not.
    """

    def table(given):
        panel = Panel.of(given)
        label = compute(panel, settings)
        columns = {name: panel.to_rows(getattr(label, name)) for name in ("target", "label_end")}
        return pd.DataFrame(columns, index=given.index)

    whole, moved = table(bars), []
    stamps = bars.index.get_level_values("timestamp")
    for end in whole["label_end"].dropna().unique():
        part = table(bars[stamps <= end])
        expected = whole.loc[part.index].copy()
        expected.loc[expected["label_end"].isna() | (expected["label_end"] > end), "target"] = np.nan
        differs = ~(
            (part["target"] == expected["target"]) | (part["target"].isna() & expected["target"].isna())
        )
        moved += list(part.index[differs])
    return moved


@settings(max_examples=100)
@given(cases())
def test_nothing_after_a_label_end_moves_the_label(case):
    assert moved_labels(compute_label, case.bars, case.config) == []


def too_early(panel, settings):
    """A leak: labels that say to be known one bar before they are."""
    label = compute_label(panel, settings)
    sessions = np.unique(panel.known_at)
    known = ~np.isnat(label.label_end)
    ends = label.label_end.copy()
    ends[known] = sessions[np.searchsorted(sessions, ends[known]) - 1]
    return replace(label, label_end=ends)


def above_the_median(panel, settings):
    """A leak: classes by the median of the whole sample."""
    label = compute_label(panel, settings)
    above = (label.target > np.nanmedian(label.target)).astype(np.float64)
    return replace(label, target=np.where(np.isnan(label.target), np.nan, above))


def last_rows_as_zero(panel, settings):
    """A leak: rows whose outcome is not known yet count as no change."""
    label = compute_label(panel, settings)
    return replace(label, target=np.nan_to_num(label.target))


def hindsight_of_return(panel, settings):
    """A leak: a silence ends a life only when the symbol never comes back."""
    forgiving = settings.model_copy(
        update={"label": settings.label.model_copy(update={"delisted_after": 250})}
    )
    label, strict = compute_label(panel, forgiving), compute_label(panel, settings)
    unknown = np.isnan(label.target)
    return replace(
        label,
        target=np.where(unknown, strict.target, label.target),
        label_end=np.where(unknown | ~np.isnat(strict.label_end), strict.label_end, label.label_end),
    )


@pytest.mark.parametrize("leaky", [too_early, above_the_median, last_rows_as_zero, hindsight_of_return])
def test_a_planted_leak_is_found_by_the_same_check(leaky):
    prices = np.random.default_rng(4).uniform(50, 150, (4, 12))
    away_on_days_4_to_7 = [0, 1, 2, 3, 8, 9, 10, 11]
    bars = together(
        {"A": frame(prices[0], prices[1]), "B": frame(prices[2, :8], prices[3, :8], away_on_days_4_to_7)}
    )
    settings = config(delisted_after=3)

    assert moved_labels(compute_label, bars, settings) == []
    assert moved_labels(leaky, bars, settings) != []
