"""Labels beyond the plain forward return, each with its arithmetic written out."""

import numpy as np
import pandas as pd
import pytest

from backtester_model_core.bars import Panel
from backtester_model_core.config import ModelConfig
from backtester_model_core.exceptions import LabelError
from backtester_model_core.features import evaluate, return_volatility
from backtester_model_core.labels import LABELS, Label, LabelKind, compute_label, direction, volatility

DAYS = pd.date_range("2024-01-01", periods=60, freq="D", name="timestamp")
NAN = np.nan

# -- what the tests share -------------------------------------------------------------------------------------------


def frame(opens, closes, *, highs=None, lows=None, days=None, **extra):
    columns = {
        "open": opens,
        "high": np.maximum(opens, closes) if highs is None else highs,
        "low": np.minimum(opens, closes) if lows is None else lows,
        "close": closes,
        "volume": np.ones(len(opens)),
        **extra,
    }
    return pd.DataFrame(columns, index=DAYS[: len(opens)] if days is None else days, dtype=np.float64)


def together(frames):
    return pd.concat(frames, names=["symbol", "timestamp"]).swaplevel().sort_index()


def config(kind=None, *, horizon=1, model_type="classification", target_column="close", **label):
    return ModelConfig(
        framework="any",
        model_type=model_type,
        prediction_horizon=horizon,
        target_column=target_column,
        label={"kind": kind, **label},
    )


def labelled(bars, kind=None, **settings):
    panel = Panel.of(bars)
    label = compute_label(panel, config(kind, **settings))
    settled = label.label_end if label.settled_at is None else label.settled_at
    columns = {"target": label.target, "label_end": label.label_end, "forward_return": label.forward_return}
    columns["settled_at"] = settled
    return pd.DataFrame({name: panel.to_rows(each) for name, each in columns.items()}, index=bars.index)


def of_symbol(found, symbol):
    return found.xs(symbol, level="symbol")


def days(series):
    return [-1 if pd.isna(stamp) else (stamp - DAYS[0]).days for stamp in series]


def assert_values(found, expected):
    assert np.allclose(found, expected, rtol=0, atol=1e-12, equal_nan=True), list(found)


OPENS = [100.0, 110.0, 121.0, 96.8, 96.8, 121.0]
CLOSES = [105.0, 120.0, 100.0, 98.0, 110.0, 132.0]
AT_CLOSES = {"entry": "close", "exit": "close"}

# -- forward returns in other forms ---------------------------------------------------------------------------------


def test_a_log_return_is_the_logarithm_of_the_ratio_of_prices():
    found = labelled(frame(OPENS, CLOSES), "forward_return", model_type="regression", form="log")

    # ln(121/110), ln(96.8/121), ln(96.8/96.8), ln(121/96.8)
    assert_values(found["target"], [np.log(1.1), np.log(0.8), 0.0, np.log(1.25), NAN, NAN])
    assert_values(found["forward_return"], [0.1, -0.2, 0.0, 0.25, NAN, NAN])


def test_a_total_loss_has_no_logarithm():
    with pytest.raises(ValueError, match="form = 'log' has no number for delisting_return = -1"):
        config(form="log", delisting_return=-1.0)


def test_the_excess_over_the_cross_section_is_taken_at_each_decision_time():
    flat = [50.0, 50.0, 50.0, 50.0, 50.0, 50.0]
    half = [10.0, 10.0, 12.0, 12.0, 9.0, 9.0]
    bars = together({"A": frame(OPENS, CLOSES), "B": frame(flat, flat), "C": frame(half, half)})

    found = labelled(bars, "forward_return", model_type="regression", excess_over="cross_section")

    # returns at day 0: A 0.1, B 0, C 12/10 - 1 = 0.2; mean 0.1
    # at day 1: A -0.2, B 0, C 0; mean -0.2/3.  at day 2: A 0, B 0, C 9/12 - 1 = -0.25; mean -0.25/3
    assert_values(of_symbol(found, "A")["target"][:3], [0.0, -0.2 + 0.2 / 3, 0.25 / 3])
    assert_values(of_symbol(found, "B")["target"][:3], [-0.1, 0.2 / 3, 0.25 / 3])
    assert_values(of_symbol(found, "C")["target"][:3], [0.1, 0.2 / 3, -0.25 + 0.25 / 3])
    assert_values(of_symbol(found, "A")["forward_return"][:4], [0.1, -0.2, 0.0, 0.25])


def test_an_excess_is_known_at_the_latest_of_the_ends_it_is_made_of():
    rare = [DAYS[0], DAYS[3], DAYS[5], DAYS[6], DAYS[7]]  # its next own bars are days 3 and 5
    prices = np.array([10.0, 10.0, 11.0, 11.0, 11.0])
    often = np.full(8, 50.0)
    bars = together({"A": frame(often, often), "B": frame(prices, prices, days=rare)})

    found = labelled(bars, "forward_return", model_type="regression", excess_over="cross_section")

    # at day 0 A's own return, 0, is known on day 2; B's, 11/10 - 1 = 0.1, on day 5: so is their mean, 0.05
    assert_values(found.loc[DAYS[0], "target"], [-0.05, 0.05])
    assert days(found.loc[DAYS[0], "label_end"]) == [5, 5]
    # on day 1 A stands alone: there is nothing to exceed
    assert_values(found.loc[DAYS[1], "target"], [NAN])
    assert days(found.loc[DAYS[1], "label_end"]) == [-1]


def test_a_symbol_that_can_never_enter_does_not_count_once_that_is_known():
    flat, doubled = np.full(9, 50.0), np.array([10.0, 10, 10, 20, 20, 20, 20, 20, 20])
    bars = together(
        {"A": frame(flat, flat), "B": frame(doubled, doubled), "C": frame(flat[:2], flat[:2], days=DAYS[:2])}
    )

    found = labelled(
        bars, "forward_return", model_type="regression", excess_over="cross_section", delisted_after=3
    )

    # day 1: C's last bar cannot be entered; the silence of days 2, 3, 4 says so. A 0, B 20/10 - 1 = 1, mean 0.5
    assert_values(found.loc[DAYS[1], "target"], [-0.5, 0.5, NAN])
    assert days(found.loc[DAYS[1], "label_end"]) == [4, 4, -1]


def test_the_cross_section_of_one_symbol_is_refused():
    with pytest.raises(LabelError, match="needs a panel of symbols"):
        labelled(frame(OPENS, CLOSES), "forward_return", model_type="regression", excess_over="cross_section")


def test_the_excess_over_a_benchmark_takes_its_change_off():
    bars = frame(OPENS, CLOSES, index_level=[100.0, 110.0, 99.0, 99.0, 100.0, 100.0])

    found = labelled(bars, "forward_return", model_type="regression", excess_over="index_level", **AT_CLOSES)

    # close[t+1]/close[t] - 1 less level[t+1]/level[t] - 1: 15/105 - 0.1, -20/120 + 0.1, -0.02 - 0, ...
    expected = [15 / 105 - 0.1, -20 / 120 + 0.1, -0.02, 12 / 98 - 1 / 99, 0.2, NAN]
    assert_values(found["target"], expected)
    assert days(found["label_end"]) == [1, 2, 3, 4, 5, -1]


def test_the_benchmark_of_a_delisted_symbol_stops_at_its_last_bar():
    flat = np.full(10, 50.0)
    bars = together(
        {
            "A": frame(flat, flat, level=flat),
            "B": frame(OPENS[:4], CLOSES[:4], level=[100.0, 100.0, 100.0, 110.0]),
        }
    )

    found = of_symbol(
        labelled(bars, "forward_return", model_type="regression", excess_over="level", horizon=3), "B"
    )

    # bar 2 enters at 96.8 and is sold at close[3] = 98, less 110/100 - 1
    assert found["target"].iloc[2] == pytest.approx(1.2 / 96.8 - 0.1)
    assert days(found["label_end"]) == [8, 8, 8, -1]


def test_a_benchmark_in_logarithms_is_taken_off_in_logarithms():
    bars = frame(OPENS, CLOSES, level=[100.0, 110.0, 99.0, 99.0, 100.0, 100.0])

    found = labelled(
        bars, "forward_return", model_type="regression", excess_over="level", form="log", **AT_CLOSES
    )

    assert found["target"].iloc[0] == pytest.approx(np.log(120 / 105) - np.log(1.1))


def test_a_missing_benchmark_is_named_with_the_columns_there_are():
    with pytest.raises(LabelError, match=r"label\.excess_over 'spx' is not among the bars' columns: open"):
        labelled(frame(OPENS, CLOSES), excess_over="spx")


def test_the_excess_of_another_column_is_refused():
    bars = frame(OPENS, CLOSES, spread=np.ones(6))

    with pytest.raises(
        LabelError, match="excess_over is for the traded price, but target_column is 'spread'"
    ):
        labelled(bars, target_column="spread", excess_over="cross_section")


def test_direction_follows_the_excess():
    bars = frame(OPENS, CLOSES, level=[100.0, 110.0, 80.0, 99.0, 100.0, 100.0])

    found = labelled(bars, "direction", excess_over="level", **AT_CLOSES)

    # 15/105 > 0.1; -20/120 > -30/110; -0.02 < 19/80; 12/98 > 1/99; 0.2 > 0
    assert_values(found["target"], [1, 1, 0, 1, 1, NAN])


# -- sessions -------------------------------------------------------------------------------------------------------


def intraday(zone=None):
    """Two trading days of four hourly bars, stamped at their close."""
    stamps = [pd.Timestamp(f"2024-01-0{day} {hour}:00") for day in (2, 3) for hour in (10, 11, 12, 13)]
    index = pd.DatetimeIndex(stamps, name="timestamp", tz=zone)
    prices = [100.0, 101, 102, 103, 110, 111, 112, 113]
    return frame(prices, prices, days=index)


@pytest.mark.parametrize(
    ("legs", "within"),
    [
        # open[t+1] and open[t+2] on the day of t: rows 0, 1 and 4, 5
        ({}, [True, True, False, False, True, True, False, False]),
        # open[t+1] and close[t+1]: rows 0, 1, 2 and 4, 5, 6
        ({"exit": "close"}, [True, True, True, False, True, True, True, False]),
        (AT_CLOSES, [True, True, True, False, True, True, True, False]),
    ],
)
def test_an_entry_or_exit_on_another_day_has_no_label_within_a_session(legs, within):
    anyhow = labelled(intraday(), "forward_return", model_type="regression", **legs)
    found = labelled(intraday(), "forward_return", model_type="regression", session="within", **legs)

    assert found["target"].notna().tolist() == within
    assert found["label_end"].notna().tolist() == within
    assert_values(found["target"][within], anyhow["target"][within])


def test_a_label_spans_nights_by_default():
    found = labelled(intraday(), "forward_return", model_type="regression")

    # row 2: open[3] = 103 to open[4] = 110 of the next day
    assert found["target"].iloc[2] == pytest.approx(110 / 103 - 1)


def test_a_bar_that_closes_at_midnight_belongs_to_the_day_it_ends():
    index = pd.date_range("2024-01-01 22:00", periods=5, freq="h", name="timestamp")
    prices = [100.0, 101, 102, 103, 104]

    found = labelled(frame(prices, prices, days=index), "direction", session="within", **AT_CLOSES)

    # 22:00, 23:00, 00:00 | 01:00, 02:00
    assert found["target"].notna().tolist() == [True, True, False, True, False]


def test_the_day_is_that_of_the_time_zone_asked_for_or_of_the_bars():
    index = pd.date_range("2024-01-01 22:00", periods=5, freq="h", name="timestamp", tz="UTC")
    prices = [100.0, 101, 102, 103, 104]
    utc = frame(prices, prices, days=index)

    tokyo = labelled(utc, "direction", session="within", session_timezone="Asia/Tokyo", **AT_CLOSES)
    own = labelled(utc.tz_convert("Asia/Tokyo"), "direction", session="within", **AT_CLOSES)

    # in Tokyo the bars close from 07:00 to 11:00 of one day
    assert tokyo["target"].notna().tolist() == [True, True, True, True, False]
    assert own["target"].notna().tolist() == [True, True, True, True, False]


def test_an_unknown_time_zone_is_refused():
    with pytest.raises(ValueError, match="'Mars/Olympus' is not a time zone"):
        config(session_timezone="Mars/Olympus")


def test_a_barrier_that_may_be_reached_only_on_another_day_has_no_label():
    bars = intraday()
    bars["high"] += 100  # every bar touches any upper barrier

    found = labelled(
        bars, "triple_barrier", horizon=2, session="within", volatility_window=2, barrier_width=0.1
    )

    # rows 2 and 3 touch at once, but bar t+2 is another day's: they would keep the fast ones alone
    assert found["target"].notna().tolist() == [False, False, False, False, True, True, False, False]


# -- three ways -----------------------------------------------------------------------------------------------------


def test_three_way_is_zero_within_the_band_and_on_its_edge():
    closes = [1.0, 1.5, 0.75, 0.75, 1.25, 0.5]

    found = labelled(frame(closes, closes), "three_way", band=0.5, band_unit="return", **AT_CLOSES)

    # returns 0.5 and -0.5 on the edge, 0 within, 2/3 above, -0.6 below
    assert_values(found["target"], [0, 0, 0, 1, -1, NAN])


def test_a_band_in_volatilities_is_scaled_by_what_is_known_at_the_row():
    # returns 0.1, -0.1 | 0.25: the deviation of 0.1 and -0.1 is sqrt(0.02) = 0.1414, of -0.1 and 0.25 0.2475
    closes = [100.0, 110.0, 99.0, 123.75, 148.5]

    wide = labelled(frame(closes, closes), "three_way", band=2.0, volatility_window=2, **AT_CLOSES)
    narrow = labelled(frame(closes, closes), "three_way", band=1.0, volatility_window=2, **AT_CLOSES)

    # row 2: 0.25 against 0.2828 and 0.1414.  row 3: 0.2 against 0.495 and 0.2475
    assert_values(wide["target"], [NAN, NAN, 0, 0, NAN])
    assert_values(narrow["target"], [NAN, NAN, 1, 0, NAN])
    assert days(narrow["label_end"]) == [-1, -1, 3, 4, -1]


def test_the_volatility_of_labels_is_that_of_the_features():
    closes = 100 * np.exp(np.cumsum(np.random.default_rng(3).normal(0, 0.02, 60)))
    panel = Panel.of(frame(closes, closes))

    expected = evaluate({"v": return_volatility()}, panel)[:, 0]

    assert np.allclose(volatility(panel, 20), expected, rtol=1e-9, atol=0, equal_nan=True)


# -- triple barrier -------------------------------------------------------------------------------------------------

# Returns 0.1 and -0.1 before row 2 give sigma = sqrt(0.02); with width 0.1 / sqrt(0.02) the barriers are 10 % away.
TEN_PERCENT = 0.1 / np.sqrt(0.02)


def barrier(bars_after, kind="triple_barrier", *, horizon=3, **settings):
    """Label row 2, whose close is 99 and sigma sqrt(0.02), by the bars after it: (open, high, low, close) each."""
    head = [(100.0, 100.0, 100.0, 100.0), (110.0, 110.0, 110.0, 110.0), (99.0, 99.0, 99.0, 99.0)]
    opens, highs, lows, closes = np.array(head + bars_after).T
    bars = frame(opens, closes, highs=highs, lows=lows)
    return labelled(
        bars, kind, horizon=horizon, **{"volatility_window": 2, "barrier_width": TEN_PERCENT, **settings}
    ).iloc[2]


QUIET = (100.0, 101.0, 99.0, 100.0)


@pytest.mark.parametrize(
    ("bars_after", "side", "payoff", "end"),
    [
        # entry 100, barriers 110 and 90
        ([(100, 111, 99, 100), QUIET, QUIET], 1, 0.1, 3),  # in the entry bar itself
        ([QUIET, (100, 112, 99, 105), QUIET], 1, 0.1, 4),
        ([QUIET, (100, 101, 89, 95), QUIET], -1, -0.1, 4),
        ([QUIET, QUIET, (100, 111, 99, 100)], 1, 0.1, 5),  # in the last bar
        ([QUIET, (115, 120, 112, 118), QUIET], 1, 0.15, 4),  # gaps above: left at that open
        ([QUIET, (80, 85, 75, 82), QUIET], -1, -0.2, 4),  # gaps below
        ([QUIET, (115, 120, 80, 100), QUIET], 1, 0.15, 4),  # the gap comes first: not ambiguous
        ([QUIET, QUIET, (100, 104, 99, 103)], 0, 0.03, 5),  # neither: close[t+3] = 103
        ([QUIET, (100, 112, 85, 100), QUIET], -1, -0.1, 4),  # both in one bar: the lower
    ],
)
def test_the_first_touch_decides(bars_after, side, payoff, end):
    row = barrier(bars_after)

    assert row["target"] == side
    assert row["forward_return"] == pytest.approx(payoff, abs=1e-12)
    assert days([row["label_end"]]) == [end]
    assert days([row["settled_at"]]) == [5]


# entry 1; 2-bar returns 0.5 and -0.5 make sigma sqrt(0.5), and a width of 0.5 / sqrt(0.5) barriers at 1.5 and 0.5
HALF = 0.5 / np.sqrt(0.5)
UPPER, LOWER = 1.0 + HALF * np.sqrt(0.5), 1.0 - HALF * np.sqrt(0.5)


@pytest.mark.parametrize(
    ("bar", "side"),
    [
        ((1.0, UPPER, 1.0, 1.0), 1),
        ((1.0, 1.0, LOWER, 1.0), -1),
        ((UPPER, UPPER, 0.4, 1.0), 1),  # opens there, so the rest of the bar does not matter
        ((LOWER, 1.6, LOWER, 1.0), -1),
    ],
)
def test_a_touch_is_at_the_barrier_not_only_beyond_it(bar, side):
    opens, highs, lows, closes = np.array([(2.0,) * 4, (3.0,) * 4, (1.5,) * 4, (1.0,) * 4, bar]).T
    bars = frame(opens, closes, highs=highs, lows=lows)

    found = labelled(
        bars, "triple_barrier", horizon=2, volatility_window=2, barrier_width=HALF, ambiguous="nan"
    )

    assert found["target"].iloc[2] == side


def test_a_bar_that_touches_both_may_be_left_unlabelled_and_is_counted():
    both = [QUIET, (100.0, 112.0, 85.0, 100.0), QUIET]

    row = barrier(both, ambiguous="nan")

    assert np.isnan(row["target"])
    assert pd.isna(row["label_end"])
    opens, highs, lows, closes = np.array([(100.0,) * 4, (110.0,) * 4, (99.0,) * 4, *both]).T
    panel = Panel.of(frame(opens, closes, highs=highs, lows=lows))
    settings = {"horizon": 3, "volatility_window": 2, "barrier_width": TEN_PERCENT}
    lower = compute_label(panel, config("triple_barrier", **settings))
    unknown = compute_label(panel, config("triple_barrier", ambiguous="nan", **settings))
    assert lower.notes == ("1 labels first touched both barriers in one bar: taken as the lower",)
    assert unknown.notes == ("1 labels first touched both barriers in one bar: left without a label",)
    wide = compute_label(panel, config("triple_barrier", **settings | {"barrier_width": 5.0}))
    assert wide.notes == ()


def test_the_last_rows_have_no_label_even_when_an_early_touch_is_seen():
    row = barrier([(100.0, 120.0, 99.0, 100.0), QUIET])  # t+3 is not there yet

    assert np.isnan(row["target"])
    assert pd.isna(row["label_end"])
    assert pd.isna(row["settled_at"])


def test_without_a_positive_volatility_there_is_no_barrier():
    flat = frame([100.0] * 8, [100.0] * 8)

    found = labelled(flat, "triple_barrier", horizon=2, volatility_window=2)

    assert found["target"].isna().all()  # rows 0 and 1 have no sigma, the others sigma 0


def test_barriers_may_stand_around_the_decision_bars_close():
    # close[2] = 99: barriers at 108.9 and 89.1; the next open of 110 gaps above
    row = barrier([(110.0, 111.0, 109.0, 110.0), QUIET, QUIET], **AT_CLOSES)

    assert row["target"] == 1
    assert row["forward_return"] == pytest.approx(110 / 99 - 1)
    assert days([row["label_end"]]) == [3]


def test_the_direction_of_a_triple_barrier_is_that_of_its_exit():
    up = barrier([QUIET, QUIET, (100.0, 104.0, 99.0, 103.0)], "triple_barrier_direction")
    level = barrier([QUIET, QUIET, QUIET], "triple_barrier_direction")

    assert (up["target"], level["target"]) == (1, 0)  # exits at 103 and at exactly 100


def delisted(bars_after, **settings):
    """Label row 2 of a symbol that ends with ``bars_after`` while another goes on to day 14."""
    flat = np.full(15, 50.0)
    head = [(100.0,) * 4, (110.0,) * 4, (99.0,) * 4]
    opens, highs, lows, closes = np.array(head + bars_after).T
    own = frame(opens, closes, highs=highs, lows=lows)
    found = labelled(
        together({"A": frame(flat, flat), "B": own}),
        "triple_barrier",
        horizon=4,
        volatility_window=2,
        barrier_width=TEN_PERCENT,
        delisted_after=3,
        **settings,
    )
    return of_symbol(found, "B").iloc[2]


@pytest.mark.parametrize(
    ("bars_after", "loss", "side", "payoff", "end"),
    [
        (
            [QUIET, QUIET],
            0.0,
            0,
            0.0,
            7,
        ),  # sold at close[4] = 100, which the silence of days 5, 6, 7 makes known
        ([QUIET, QUIET], -0.3, -1, -0.3, 7),  # 100 * 0.7 is beyond the lower barrier
        ([QUIET, (100.0, 112.0, 99.0, 100.0)], -0.3, 1, 0.1, 4),  # touched before it went
    ],
)
def test_a_delisted_symbol_pays_and_has_the_class_of_its_payoff(bars_after, loss, side, payoff, end):
    row = delisted(bars_after, delisting_return=loss)

    assert row["target"] == side
    assert row["forward_return"] == pytest.approx(payoff)
    assert days([row["label_end"]]) == [end]
    assert days([row["settled_at"]]) == [7]


# -- trend scanning -------------------------------------------------------------------------------------------------


def slope_t_value(prices):
    """The t-value of a least-squares slope, from the residuals of the fitted line."""
    x = np.arange(len(prices), dtype=np.float64)
    slope, intercept = np.polyfit(x, prices, 1)
    residual = prices - intercept - slope * x
    return slope / np.sqrt(residual @ residual / (len(x) - 2) / ((x - x.mean()) ** 2).sum())


def test_the_trend_is_that_of_the_span_with_the_largest_t_value():
    closes = 100 * np.exp(np.cumsum(np.random.default_rng(8).normal(0, 0.02, 40)))

    found = labelled(frame(closes, closes), "trend_scanning", horizon=9, trend_min_span=3, **AT_CLOSES)

    for row in range(40 - 9):
        values = [slope_t_value(closes[row : row + span + 1]) for span in range(3, 10)]
        clearest = values[int(np.argmax(np.abs(values)))]
        assert found["target"].iloc[row] == (clearest > 0), row
    assert found["target"].iloc[31:].isna().all()


def test_a_t_value_counts_the_two_numbers_of_its_line():
    closes = [12.0, 10.0, 13.0, 10.0]

    found = labelled(frame(closes, closes), "trend_scanning", horizon=3, trend_min_span=2, **AT_CLOSES)

    # of 12, 10, 13:     b = 0.5,  SSE = 25/6, Sxx = 2; t =  0.5 / sqrt(25/6 / (1 * 2)) =  0.346
    # of 12, 10, 13, 10: b = -0.3, SSE = 6.3,  Sxx = 5; t = -0.3 / sqrt(6.3 / (2 * 5)) = -0.378
    # with one degree of freedom more they would be 0.490 and -0.463
    assert found["target"].iloc[0] == 0


def test_a_trend_ends_with_the_longest_span_though_a_short_one_was_chosen():
    # close[0..2] = 100, 101, 102 is a perfect rise: its t-value over two bars is infinite, whatever comes
    closes = [100.0, 101.0, 102.0, 80.0, 60.0, 40.0]

    found = labelled(frame(closes, closes), "trend_scanning", horizon=4, trend_min_span=2, **AT_CLOSES)

    assert found["target"].iloc[0] == 1
    assert days(found["label_end"]) == [4, 5, -1, -1, -1, -1]


def test_prices_that_stand_still_do_not_rise():
    found = labelled(frame([7.0] * 8, [7.0] * 8), "trend_scanning", horizon=4, trend_min_span=2)

    assert found["target"].dropna().tolist() == [0, 0, 0, 0]


def test_a_delisted_symbol_falls_to_its_payoff_and_stays_there():
    flat, rising = np.full(12, 50.0), np.array([100.0, 101.0, 102.0])
    bars = together({"A": frame(flat, flat), "B": frame(rising, rising)})

    sold, lost = (
        of_symbol(
            labelled(
                bars, "trend_scanning", horizon=4, trend_min_span=4, delisted_after=3, delisting_return=loss
            ),
            "B",
        )
        for loss in (0.0, -0.5)
    )

    # row 0: 100, 101, 102, 102, 102 rises; 100, 101, 102, 51, 51 falls.  row 2 cannot be entered
    assert_values(sold["target"], [1, 1, NAN])
    assert_values(lost["target"], [0, 0, NAN])
    assert days(lost["label_end"]) == [5, 5, -1]


def test_a_horizon_below_the_shortest_span_is_refused():
    with pytest.raises(LabelError, match="over 5 to prediction_horizon bars, and that is 3"):
        labelled(frame(OPENS, CLOSES), "trend_scanning", horizon=3)


# -- meta-labels ----------------------------------------------------------------------------------------------------


def test_a_meta_label_says_whether_acting_on_the_side_pays():
    bars = frame(OPENS, CLOSES, side=[1.0, -1.0, 1.0, -2.0, 1.0, 1.0])

    found = labelled(bars, "meta", side_column="side")

    # returns 0.1, -0.2, 0, 0.25: long gains, short gains, long nothing, short loses
    assert_values(found["target"], [1, 1, 0, 0, NAN, NAN])
    assert_values(found["forward_return"], [0.1, -0.2, 0.0, 0.25, NAN, NAN])


def test_a_gain_below_the_cost_does_not_pay():
    bars = frame(OPENS, CLOSES, side=[1.0, -1.0, 1.0, -1.0, 1.0, 1.0])

    found = labelled(bars, "meta", side_column="side", pays_above=0.15)

    assert_values(found["target"], [0, 1, 0, 0, NAN, NAN])


def test_a_row_without_a_side_has_no_meta_label():
    bars = frame(OPENS, CLOSES, side=[1.0, 0.0, 1.0, 0.0, 1.0, 1.0])

    found = labelled(bars, "meta", side_column="side")

    assert_values(found["target"], [1, NAN, 0, NAN, NAN, NAN])
    assert days(found["label_end"]) == [2, -1, 4, -1, -1, -1]


def test_a_meta_label_of_barriers_pays_at_their_exit():
    bars = frame([100.0, 110, 99, 100, 100, 100], [100.0, 110, 99, 100, 85, 100], side=-np.ones(6))

    found = labelled(
        bars,
        "meta_triple_barrier",
        horizon=3,
        side_column="side",
        volatility_window=2,
        barrier_width=TEN_PERCENT,
    )

    # row 2 enters at 100 and meets 90 on day 4: the short side gains
    assert found["target"].iloc[2] == 1
    assert days(found["label_end"]) == [-1, -1, 4, -1, -1, -1]
    assert days(found["settled_at"]) == [-1, -1, 5, -1, -1, -1]


def test_a_meta_label_without_a_side_column_is_refused():
    with pytest.raises(LabelError, match=r"Name its bars column in label\.side_column"):
        labelled(frame(OPENS, CLOSES), "meta")


def test_a_missing_side_column_is_named():
    with pytest.raises(LabelError, match=r"label\.side_column 'bet' is not among the bars' columns"):
        labelled(frame(OPENS, CLOSES), "meta", side_column="bet")


# -- what an extension may answer -----------------------------------------------------------------------------------


@pytest.mark.parametrize("shift", [-1, 1])
def test_a_label_may_be_held_back_but_not_used_before_its_end(shift, monkeypatch):
    def compute(panel, settings):
        label = direction(panel, settings)
        return Label(
            label.target, label.label_end, label.forward_return, label.label_end + np.timedelta64(shift, "D")
        )

    LABELS.add("held_back", LabelKind(compute, "classification", (0.0, 1.0)))
    try:
        if shift < 0:
            with pytest.raises(LabelError, match="'held_back' is settled before it ends"):
                labelled(frame(OPENS, CLOSES), "held_back")
        else:
            assert days(labelled(frame(OPENS, CLOSES), "held_back")["settled_at"]) == [3, 4, 5, 6, -1, -1]
    finally:
        LABELS.discard("held_back")
