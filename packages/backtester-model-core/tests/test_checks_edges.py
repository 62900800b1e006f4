"""What the checks say, refuse and leave alone at their edges, with the arithmetic written out."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from backtester_model_core.exceptions import EvaluationError
from backtester_model_core.splits import Window
from backtester_model_core.testing import (
    Leak,
    find_early_fills,
    find_fit_time_leaks,
    find_fold_leaks,
    find_label_leaks,
    find_skill_on_noise,
    find_survivorship,
    find_symbol_leaks,
    find_target_leaks,
    find_warm_up_leaks,
    find_window_leaks,
    random_bars,
    random_panel,
    recording_fits,
)
from backtester_model_core.walkforward import walk_forward

DAYS = np.datetime64("2020-01-01", "ns") + np.arange(10) * np.timedelta64(1, "D")
TWO_BARS_LATER = DAYS + np.timedelta64(2, "D")


def rows(*positions):
    return np.array(positions, dtype=np.int64)


# -- what is said ----------------------------------------------------------------------------------------------------


def test_leak_names_the_cut_only_where_there_was_one():
    cut = Leak("truncation", "x", "Monday", pd.Timestamp("2020-01-01"), "1.0 with, 2.0 without")
    other = Leak("survivorship", "SPY", None, None, "has no bars")

    assert str(cut) == (
        "truncation: 'x' at Monday depends on bars after 2020-01-01 00:00:00: 1.0 with, 2.0 without"
    )
    assert str(other) == "survivorship: 'SPY': has no bars"


# -- folds: rows of ten days, each label known two days later --------------------------------------------------------


@pytest.mark.parametrize(
    ("train", "is_clean"),
    [
        ([0, 1, 2], True),  # 2 ends on day 4, where 4 is decided
        ([0, 1, 3], False),  # 3 ends on day 5
        ([7, 8], True),  # 5, the last tested, ends on day 7
        ([6], False),
    ],
)
def test_label_may_end_where_the_test_begins_and_begin_where_it_ends(train, is_clean):
    found = find_fold_leaks([(rows(*train), rows(4, 5))], DAYS, TWO_BARS_LATER)

    assert (found == []) is is_clean


def test_embargo_counts_sessions_after_the_last_label_end():
    kept, early = [(rows(9), rows(4, 5))], [(rows(8), rows(4, 5))]

    assert find_fold_leaks(kept, DAYS, TWO_BARS_LATER, embargo=2) == []
    assert find_fold_leaks(early, DAYS, TWO_BARS_LATER, embargo=2)


def test_row_between_two_test_blocks_may_train_when_it_touches_neither():
    two_blocks = rows(0, 1, 8, 9)

    assert find_fold_leaks([(rows(3, 4, 5, 6), two_blocks)], DAYS, TWO_BARS_LATER) == []
    assert find_fold_leaks([(rows(2), two_blocks)], DAYS, TWO_BARS_LATER)
    assert find_fold_leaks([(rows(7), two_blocks)], DAYS, TWO_BARS_LATER)


def test_row_in_both_parts_and_row_without_a_label_are_found():
    label_end = TWO_BARS_LATER.copy()
    label_end[0] = np.datetime64("NaT")

    both = find_fold_leaks([(rows(1, 6), rows(6))], DAYS, label_end)
    unlabelled = find_fold_leaks([(rows(0), rows(6))], DAYS, label_end)

    assert "both train and are tested" in both[0].message
    assert "no known label" in unlabelled[0].message


def test_empty_training_is_clean():
    assert find_fold_leaks([(rows(), rows(4))], DAYS, TWO_BARS_LATER) == []


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"train_rows": rows(0, 1, 2)}, "labels end after the fit"),
        ({"train_rows": rows(4), "fit_at": DAYS[3]}, "later than the fit"),
        ({"test_rows": rows(3, 4)}, "served rows are not later than the fit"),
    ],
)
def test_window_that_learns_or_serves_at_the_wrong_time_is_found(change, said):
    window = Window(0, DAYS[3], DAYS[4], DAYS[5], rows(0, 1), rows(4, 5))

    assert find_window_leaks([window], DAYS, TWO_BARS_LATER) == []
    assert any(
        said in leak.message for leak in find_window_leaks([replace(window, **change)], DAYS, TWO_BARS_LATER)
    )


def test_row_that_two_windows_serve_is_found():
    window = Window(0, DAYS[3], DAYS[4], DAYS[5], rows(0, 1), rows(4, 5))

    found = find_window_leaks([window, window], DAYS, TWO_BARS_LATER)

    assert [leak.message.split(" at ")[0] for leak in found] == [
        "2 rows were served by an earlier window already"
    ]


# -- labels ----------------------------------------------------------------------------------------------------------


def test_label_that_ends_at_its_own_row_or_never_is_found():
    def labels(bars):
        known_at = bars.index.to_numpy(dtype="datetime64[ns]")
        label_end = known_at.copy()
        label_end[0] = np.datetime64("NaT")
        columns = {"target": np.ones(len(bars)), "label_end": label_end, "known_at": known_at}
        return pd.DataFrame(columns, index=bars.index)

    found = find_label_leaks(labels, random_bars(12), cuts=())

    assert [leak.message for leak in found] == [
        "a label that ends before anything follows its row",
        "a label that has no end",
    ]


def test_label_whose_end_moves_is_found():
    def labels(bars):
        known_at = bars.index.to_numpy(dtype="datetime64[ns]")
        lag = 2 if bars["close"].iloc[-1] > 200 else 1
        label_end = np.r_[known_at[lag:], np.repeat(np.datetime64("NaT"), lag)]
        target = np.where(np.isnat(label_end), np.nan, 1.0)
        return pd.DataFrame({"target": target, "label_end": label_end, "known_at": known_at}, bars.index)

    found = find_label_leaks(labels, random_bars(12), cuts=[6])

    assert {leak.column for leak in found} == {"label_end"}


# -- the target among the features -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "name", ["target", "Label", "y", "forward_return", "next_close", "fwd_5", "future_vol"]
)
def test_name_of_an_outcome_is_reported(name):
    noise = np.random.default_rng(0).normal(size=(2, 60))
    frame = pd.DataFrame({name: noise[0]})

    assert find_target_leaks(frame, pd.Series(noise[1]))[0].column == name


@pytest.mark.parametrize(
    "name", ["close", "yield", "volume_5", "forwarder", "nextdoor", "labelled", "delta_y"]
)
def test_name_that_only_looks_like_one_is_not(name):
    noise = np.random.default_rng(0).normal(size=(2, 60))

    assert find_target_leaks(pd.DataFrame({name: noise[0]}), pd.Series(noise[1])) == []


@pytest.mark.parametrize(
    ("made", "said"),
    [
        (lambda target: -2 * target + 7, "correlation -1.000 with the row's target"),
        (lambda target: np.exp(3 * target), "rank correlation 1.000 with the row's target"),
        (lambda target: target.shift(-2), "the target 2 rows later"),
        (lambda target: target.shift(1) * 5, "the target 1 rows earlier, before it was known,"),
    ],
)
def test_copy_of_the_target_is_found_in_any_linear_or_monotone_dress(made, said):
    target = pd.Series(np.random.default_rng(1).normal(size=200))

    found = find_target_leaks(pd.DataFrame({"x": made(target)}), target)

    assert any(said in leak.message for leak in found)


@pytest.mark.parametrize(("known_after_bars", "is_clean"), [(2, True), (3, False)])
def test_earlier_target_may_be_a_feature_once_it_is_known(known_after_bars, is_clean):
    target = pd.Series(np.random.default_rng(2).normal(size=200))
    copied = pd.DataFrame({"x": target.shift(2)})

    found = find_target_leaks(copied, target, known_after_bars=known_after_bars)

    assert (found == []) is is_clean


def test_constant_column_and_short_column_are_left_alone():
    target = pd.Series(np.random.default_rng(3).normal(size=100))
    frame = pd.DataFrame({"constant": np.ones(100), "short": target.where(np.arange(100) < 20)})

    assert find_target_leaks(frame, target) == []


def test_target_of_another_symbol_is_not_taken_for_a_shifted_one():
    panel = random_panel(2, 80)
    target = panel["close"].groupby(level="symbol").pct_change(fill_method=None)

    found = find_target_leaks(pd.DataFrame({"x": target.groupby(level="symbol").shift(-1)}), target)

    assert "1 rows later" in found[0].message


def test_column_that_separates_rare_classes_needs_five_of_them():
    target = pd.Series(np.r_[np.ones(4), np.zeros(96)])

    assert find_target_leaks(pd.DataFrame({"x": -np.arange(100.0)}), target, max_shift=0) == []


# -- refusals --------------------------------------------------------------------------------------------------------


def test_bars_too_few_to_prove_a_memory_are_refused():
    with pytest.raises(EvaluationError, match="30 bars cannot show that 'close' remembers no more than 40"):
        find_warm_up_leaks(lambda bars: bars, random_bars(30), memory_bars={"close": 40})


def test_column_that_declares_to_remember_everything_is_left_alone():
    def total(bars):
        return pd.DataFrame({"total": bars["volume"].cumsum()})

    assert find_warm_up_leaks(total, random_bars(30), memory_bars={"total": None}) == []
    assert find_warm_up_leaks(total, random_bars(30), memory_bars={"total": 5})


def test_one_symbol_alone_cannot_be_checked_for_others():
    with pytest.raises(EvaluationError, match="One symbol alone"):
        find_symbol_leaks(lambda panel: panel, random_panel(1, 20))


@pytest.mark.parametrize("seeds", [range(11), range(12)])
def test_too_few_seeds_or_an_undefined_score_are_refused(seeds):
    with pytest.raises(EvaluationError, match="at least 12 seeds"):
        find_skill_on_noise(lambda seed: float("nan") if seed == 3 else 0.0, seeds=seeds)


def test_same_score_under_every_seed_is_judged_by_its_sign():
    assert find_skill_on_noise(lambda seed: 0.3)
    assert find_skill_on_noise(lambda seed: -0.3) == []
    assert find_skill_on_noise(lambda seed: 0.0) == []


def test_run_that_trains_nothing_is_refused(linear_config):
    with pytest.raises(EvaluationError, match="no training hook"):
        find_fit_time_leaks(linear_config, random_bars(50), run=lambda config, bars: None)


def test_recorder_is_gone_after_its_block(linear_config, own_plugins):
    before = own_plugins.registered_in_code()

    with recording_fits() as recorder:
        walk_forward(linear_config, random_bars(200))

    assert own_plugins.registered_in_code() == before
    assert (
        recorder.n_fits == 3
    )  # the first window's policy is fitted to a tail that a model of the head foresees


# -- fills and universes ---------------------------------------------------------------------------------------------


def test_returns_that_come_a_bar_late_are_found_too():
    def a_bar_late(weights, opens, closes):
        return (weights[:-3] * (opens[3:] / opens[2:-1] - 1)).ravel()

    assert {leak.message.split(" earned")[0] for leak in find_early_fills(a_bar_late)} == {
        "a jump in the bar after the fill"
    }


@pytest.mark.parametrize("bars", [random_bars(30), random_panel(3, 30, lives={"S001": (0, 10)})])
def test_bars_without_a_universe_are_warned_about(bars):
    (warning,) = find_survivorship(bars)

    assert warning.severity == "warning"
    assert ("2 of 3" if isinstance(bars.index, pd.MultiIndex) else "1 of 1") in warning.message


def test_members_are_compared_within_the_bars_only():
    panel = random_panel(2, 30, lives={"S001": (0, 20)})
    sessions = panel.index.get_level_values("timestamp").unique()
    before, after = sessions[0] - pd.Timedelta("9D"), sessions[-1] + pd.Timedelta("9D")
    universe = pd.DataFrame(
        {
            "symbol": ["S000", "S001", "S001", "LONG_GONE"],
            "start": [before, sessions[5], sessions[10], before],
            "end": [after, sessions[19], pd.NaT, before],
        }
    )

    found = find_survivorship(panel, universe=universe)

    assert [leak.row for leak in found] == [sessions[10]]
    assert "bars for part of it only" in found[0].message
