"""Splits of time that only look back: anchored windows, windows as folds, one chronological split."""

import numpy as np
import pytest

from backtester_model_core.config import ValidationConfig
from backtester_model_core.exceptions import SplitError
from backtester_model_core.splits import ChronologicalSplit, WalkForwardSplit, walk_forward_windows

DAY = np.timedelta64(1, "D")
FIRST = np.datetime64("2024-01-01", "ns")
NOT_YET = np.datetime64("NaT", "ns")


def daily(n_rows, horizon=1):
    """A row a day whose labels end ``horizon`` days later; the last are unknown."""
    known_at = FIRST + np.arange(n_rows) * DAY
    label_end = known_at + horizon * DAY
    label_end[n_rows - horizon :] = NOT_YET
    return known_at, label_end


def rows_of(splitter, known_at, label_end):
    return [(train.tolist(), test.tolist()) for train, test in splitter.split(known_at, label_end)]


# -- walk-forward ---------------------------------------------------------------------------------------------------


def test_anchored_is_another_word_for_expanding():
    expanding, anchored = (
        walk_forward_windows(
            *daily(40), validation=ValidationConfig(scheme=scheme, train_size=10, test_size=5)
        )
        for scheme in ("expanding", "anchored")
    )

    assert len(expanding) == 6
    assert [window.train_rows.tolist() for window in anchored] == [
        window.train_rows.tolist() for window in expanding
    ]


def test_anchored_windows_keep_their_first_row():
    validation = ValidationConfig(scheme="anchored", train_size=5, test_size=3)

    windows = walk_forward_windows(*daily(12), validation=validation)

    assert [(window.train_rows[0], window.train_rows[-1]) for window in windows] == [(0, 3), (0, 6), (0, 9)]


@pytest.mark.parametrize(
    ("scheme", "train_rows"),
    [("rolling", [[0, 1, 2, 3], [3, 4, 5, 6]]), ("expanding", [[0, 1, 2, 3], [0, 1, 2, 3, 4, 5, 6]])],
)
def test_windows_as_folds_leave_out_rows_without_a_label(scheme, train_rows):
    walk = WalkForwardSplit(ValidationConfig(scheme=scheme, train_size=5, test_size=3))

    folds = rows_of(walk, *daily(12))

    # fitted on days 4 and 7; the label of day 11 is unknown, so the window of that day alone is none
    assert folds == [(train_rows[0], [5, 6, 7]), (train_rows[1], [8, 9, 10])]


def test_the_share_of_the_first_window_is_the_walks_own():
    assert rows_of(WalkForwardSplit(ValidationConfig(test_size=3), train_test_split=0.5), *daily(8)) == [
        ([0, 1, 2], [4, 5, 6])
    ]


def test_the_first_window_has_four_fifths_of_the_sessions_by_default():
    (window,) = walk_forward_windows(*daily(10), validation=ValidationConfig())

    assert (window.fit_at, window.test_rows.tolist()) == (FIRST + 7 * DAY, [8, 9])
    assert rows_of(WalkForwardSplit(), *daily(10)) == [([0, 1, 2, 3, 4, 5, 6], [8])]


# -- chronological --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("test_size", [0.4, 4, "4D", "96h"])
def test_the_test_is_the_latest_stretch_and_the_training_known_before(test_size):
    ((train, test),) = rows_of(ChronologicalSplit(test_size), *daily(10, horizon=2))

    # the test begins on day 6, so the model is fitted on day 5, when the labels of days 0 to 3 are known
    assert train == [0, 1, 2, 3]
    assert test == [6, 7]


def test_a_test_is_a_fifth_of_the_sessions_by_default():
    ((train, test),) = rows_of(ChronologicalSplit(), *daily(10))

    assert (train, test) == (list(range(7)), [8])


def test_sessions_count_once_however_many_symbols_have_them():
    known_at, label_end = (np.repeat(column, 3) for column in daily(10))

    ((train, test),) = rows_of(ChronologicalSplit(2), known_at, label_end)

    assert (train, test) == (list(range(21)), [24, 25, 26])


def test_labels_of_any_length_are_purged_by_their_own_end():
    known_at, _ = daily(8)
    label_end = known_at + np.array([1, 5, 2, 4, 1, 1, 1, 1]) * DAY

    ((train, test),) = rows_of(ChronologicalSplit(3), known_at, label_end)

    # fitted on day 4: the labels of days 0 and 2 end on days 1 and 4, those of the others later
    assert (train, test) == ([0, 2], [5, 6, 7])


@pytest.mark.parametrize("test_size", [1, "1min", 0.1])
def test_one_session_is_the_smallest_test(test_size):
    known_at, label_end = daily(10)
    label_end[-1] = known_at[-1] + DAY

    ((train, test),) = rows_of(ChronologicalSplit(test_size), known_at, label_end)

    assert (train, test) == (list(range(8)), [9])


def test_one_session_is_the_smallest_training():
    known_at, label_end = daily(4)
    label_end[0] = known_at[0]

    assert rows_of(ChronologicalSplit(3), known_at, label_end) == [([0], [1, 2])]


@pytest.mark.parametrize("test_size", [0, -3, 0.0, -0.2, 1.0, 1.5, "0D"])
def test_a_size_that_is_no_length_is_refused(test_size):
    with pytest.raises(SplitError, match=r"cannot be made\. Name a share"):
        ChronologicalSplit(test_size)


@pytest.mark.parametrize("test_size", ["", "5", "1M", "five days"])
def test_a_size_that_is_no_time_span_is_refused(test_size):
    with pytest.raises(SplitError, match="is not a time span"):
        ChronologicalSplit(test_size)


@pytest.mark.parametrize(("n_rows", "test_size"), [(5, 5), (5, 9), (5, "5D"), (5, 0.1), (0, 1), (0, "1D")])
def test_a_part_without_a_session_is_refused(n_rows, test_size):
    known_at = FIRST + np.arange(n_rows) * DAY

    with pytest.raises(SplitError, match=f"made of {n_rows} sessions: both parts need one"):
        next(ChronologicalSplit(test_size).split(known_at, known_at + DAY))
