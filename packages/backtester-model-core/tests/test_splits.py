"""Splits: windows by hand, and for every panel no training row that conflicts and none dropped needlessly."""

from dataclasses import replace
from typing import NamedTuple

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from backtester_model_core.config import ValidationConfig
from backtester_model_core.exceptions import SplitError
from backtester_model_core.splits import PurgedKFold, purged_tail, resolve_train_size, walk_forward_windows

ZERO = np.datetime64("2024-01-01", "ns")
NEVER = np.datetime64("NaT", "ns")
HOUR = np.timedelta64(3_600_000_000_000, "ns")
DAY = 24 * HOUR

# -- what the tests share -------------------------------------------------------------------------------------------


def day(number):
    return ZERO + np.asarray(number) * DAY


def daily(n_rows, horizon=1):
    """One symbol with a row a day whose labels end ``horizon`` days later; the last are unknown."""
    number = np.arange(n_rows)
    ends = day(number + horizon)
    ends[number + horizon >= n_rows] = NEVER
    return day(number), ends


def walk(known_at, label_end, **fields):
    return walk_forward_windows(known_at, label_end, validation=ValidationConfig(**fields))


def layout(windows):
    """Each window as (day of the fit, first and last training day, first and last served day)."""
    return [
        (
            int((window.fit_at - ZERO) // DAY),
            (int(window.train_rows[0]), int(window.train_rows[-1])),
            (int(window.test_rows[0]), int(window.test_rows[-1])),
        )
        for window in windows
    ]


# -- walk-forward, by hand ------------------------------------------------------------------------------------------


def test_expanding_windows_keep_their_first_row():
    windows = walk(*daily(12), train_size=5, test_size=3)

    # fitted at the close of day 4: labels of days 0 to 3 are known; the last block is what is left
    assert layout(windows) == [(4, (0, 3), (5, 7)), (7, (0, 6), (8, 10)), (10, (0, 9), (11, 11))]
    assert [window.number for window in windows] == [0, 1, 2]


def test_rolling_windows_keep_their_length():
    windows = walk(*daily(12), scheme="rolling", train_size=5, test_size=3)

    # days 0 to 4, 3 to 7 and 6 to 10, of which the last is not labelled yet
    assert layout(windows) == [(4, (0, 3), (5, 7)), (7, (3, 6), (8, 10)), (10, (6, 9), (11, 11))]


def test_longer_labels_purge_more_rows():
    windows = walk(*daily(12, horizon=3), train_size=5, test_size=6)

    assert layout(windows) == [(4, (0, 1), (5, 10)), (10, (0, 7), (11, 11))]


def test_sizes_may_be_time_spans():
    windows = walk(*daily(12), scheme="rolling", train_size="5D", test_size="72h")

    assert layout(windows) == [(4, (0, 3), (5, 7)), (7, (3, 6), (8, 10)), (10, (6, 9), (11, 11))]


def test_time_spans_count_time_and_not_sessions():
    known_at = day([0, 1, 2, 3, 7, 8, 9, 10, 14, 15])  # four sessions a week, a Monday first
    ends = np.append(known_at[1:], NEVER)

    windows = walk(known_at, ends, train_size="7D", test_size="7D")

    assert layout(windows) == [(3, (0, 2), (4, 7)), (10, (0, 6), (8, 9))]


def test_a_time_span_shorter_than_a_gap_is_one_session():
    known_at = day([0, 1, 2, 10, 20, 30])
    ends = np.append(known_at[1:], NEVER)

    windows = walk(known_at, ends, train_size="2D", test_size="12h")

    assert [int((window.fit_at - ZERO) // DAY) for window in windows] == [1, 2, 10, 20]


def test_the_old_model_serves_until_the_new_one_is_ready():
    windows = walk(*daily(14), train_size=5, test_size=4, retrain_delay="60h")

    # fitted on days 4, 8 and 12; ready 2.5 days later, so they serve from days 7 and 11, and the last never does
    assert layout(windows) == [(4, (0, 3), (7, 10)), (8, (0, 7), (11, 13))]


def test_a_delay_that_a_session_meets_exactly_is_over():
    windows = walk(*daily(14), train_size=5, test_size=4, retrain_delay="2D")

    assert [(window.serves_from, window.serves_to) for window in windows] == [
        (day(6), day(9)),
        (day(10), day(13)),
    ]


def test_a_model_that_is_overtaken_before_it_is_ready_serves_nothing():
    known_at = day([0, 1, 2, 3, 4, 20, 21, 22])
    ends = np.append(known_at[1:], NEVER)

    windows = walk(known_at, ends, train_size=2, test_size=1, retrain_delay="5D")

    # the fits of days 1 to 3 wait for day 20, as the fit of day 4 does; those of days 20 and 21 are never ready
    assert layout(windows) == [(4, (0, 3), (5, 7))]
    assert windows[0].number == 0


def test_symbols_of_one_time_are_served_together():
    known_at, ends = (np.repeat(column, 3) for column in daily(8))

    windows = walk(known_at, ends, train_size=3, test_size=2)

    assert [list(window.test_rows) for window in windows] == [
        list(range(9, 15)),
        list(range(15, 21)),
        list(range(21, 24)),
    ]
    assert list(windows[0].train_rows) == list(range(6))


def test_a_label_of_another_symbol_is_purged_by_its_own_end():
    known_at = np.repeat(day(np.arange(6)), 2)
    ends = known_at + DAY
    ends[0] = day(4)  # the first symbol's first label takes four days

    first, second = walk(known_at, ends, train_size=3, test_size=2)

    assert list(first.train_rows) == [1, 2, 3]
    assert list(second.train_rows) == list(range(8))


def test_a_label_that_is_known_with_its_row_trains_at_once():
    known_at = day(np.arange(6))

    first, _ = walk(known_at, known_at, train_size=3, test_size=2)

    assert list(first.train_rows) == [0, 1, 2]


def test_rows_without_a_label_are_served_but_never_trained_on():
    known_at, ends = daily(10)
    ends[[1, 6]] = NEVER

    windows = walk(known_at, ends, train_size=4, test_size=3)

    assert list(windows[0].train_rows) == [0, 2]
    assert list(windows[0].test_rows) == [4, 5, 6]


def test_the_first_window_is_the_splits_share_where_no_size_is_given():
    windows = walk_forward_windows(*daily(20), validation=ValidationConfig(test_size=3), train_test_split=0.7)

    assert [window.fit_at for window in windows] == [day(13), day(16)]


@pytest.mark.parametrize(
    ("share", "n_sessions", "size"),
    [(0.8, 10, 8), (0.29, 100, 29), (0.57, 100, 57), (0.5, 7, 3), (0.01, 5, 1)],
)
def test_a_share_is_the_whole_sessions_in_it(share, n_sessions, size):
    assert resolve_train_size(ValidationConfig(), train_test_split=share, n_sessions=n_sessions) == size


def test_a_given_size_goes_before_the_share():
    assert resolve_train_size(ValidationConfig(train_size="5D"), train_test_split=0.5, n_sessions=9) == "5D"


@pytest.mark.parametrize("size", [12, 10**9, "12D", "9999D"])
def test_too_few_sessions_for_one_window_are_refused(size):
    with pytest.raises(
        SplitError, match=rf"12 sessions are too few for a first training window of {size} and"
    ):
        walk(*daily(12), train_size=size, test_size=3)


@pytest.mark.parametrize("size", [12, "12D", None])
def test_no_sessions_at_all_are_refused(size):
    with pytest.raises(SplitError, match="0 sessions are too few for a first training window"):
        walk(*daily(0), train_size=size, test_size=3)


def test_one_session_to_serve_is_enough():
    assert layout(walk(*daily(12), train_size=11, test_size=3)) == [(10, (0, 9), (11, 11))]


def test_a_model_that_is_never_ready_is_refused():
    with pytest.raises(SplitError, match="when a model waits 30D after its fit"):
        walk(*daily(12), train_size=5, test_size=3, retrain_delay="30D")


# -- for every panel ------------------------------------------------------------------------------------------------


class Rows(NamedTuple):
    """Rows of a panel: when they are known and when their labels are."""

    known_at: np.ndarray
    label_end: np.ndarray


@st.composite
def panels(draw):
    """Sessions hours to weeks apart, one to three symbols at each, labels of any length or none."""
    n_sessions = draw(st.integers(4, 16))
    gaps = draw(
        st.lists(st.sampled_from([1, 7, 24, 24, 24, 72, 200]), min_size=n_sessions, max_size=n_sessions)
    )
    sessions = ZERO + np.cumsum(gaps) * HOUR
    known_at, label_end = [], []
    for number, session in enumerate(sessions):
        for _ in range(draw(st.integers(1, 3))):
            length = draw(st.integers(0, 6))
            end = sessions[number + length] if 0 < length < n_sessions - number else NEVER
            late = draw(st.booleans()) and not np.isnat(end)
            known_at.append(session)
            label_end.append(end + 5 * HOUR if late else end)
    order = draw(st.permutations(range(len(known_at))))
    return Rows(np.array(known_at)[order], np.array(label_end, dtype="datetime64[ns]")[order])


SIZES = st.one_of(st.integers(1, 6), st.sampled_from(["6h", "1D", "3D", "10D"]))


@st.composite
def validations(draw):
    return ValidationConfig(
        scheme=draw(st.sampled_from(["expanding", "rolling"])),
        train_size=draw(SIZES),
        test_size=draw(SIZES),
        retrain_delay=draw(st.sampled_from([None, "6h", "2D"])),
    )


def conflicts(rows, train, test, embargo_end=lambda end: end):
    """Pairs of a training and a test row whose labels share information: a_j < e_i + E and a_i < e_j.

    Args:
        rows: All rows.
        train: Rows that are learned from.
        test: Rows that are served.
        embargo_end: From a test row's label end to the end of its embargo.
    """
    found = []
    for j in train:
        for i in test:
            if np.isnat(rows.label_end[i]) or np.isnat(rows.label_end[j]):
                continue
            starts_before = rows.known_at[j] < embargo_end(rows.label_end[i])
            if starts_before and rows.known_at[i] < rows.label_end[j]:
                found.append((j, i))
    return found


def span(text):
    number, unit = int(text[:-1]), text[-1]
    return number * {"h": HOUR, "D": DAY}[unit]


def expected_fits(sessions, validation):
    """Fit after a first stretch, then after each further one, while a session is left to serve."""
    fits, begin, size = [], 0, validation.train_size
    while begin < len(sessions):
        if isinstance(size, int):
            last = begin + size - 1
        else:
            last = max(k for k in range(begin, len(sessions)) if sessions[k] < sessions[begin] + span(size))
        if last >= len(sessions) - 1:
            break
        fits.append(last)
        begin, size = last + 1, validation.test_size
    return fits


def expected_windows(rows, validation):
    """The fit that serves each session, and the rows that each fit may learn from, by looking at all of them."""
    sessions = sorted(set(rows.known_at))
    delay = span(validation.retrain_delay) if validation.retrain_delay else 0 * HOUR
    fits = expected_fits(sessions, validation)
    serving = {}
    for number, session in enumerate(sessions):
        ready = [fit for fit in fits if fit < number and session >= sessions[fit] + delay]
        if ready:
            serving.setdefault(max(ready), []).append(session)
    windows = []
    for fit, served in sorted(serving.items()):
        train = []
        for row, (known_at, end) in enumerate(zip(*rows, strict=True)):
            size = validation.train_size
            if validation.scheme == "expanding":
                begins = True
            elif isinstance(size, int):
                begins = known_at in sessions[max(fit - size + 1, 0) : fit + 1]
            else:
                begins = known_at > sessions[fit] - span(size)
            if begins and not np.isnat(end) and end <= sessions[fit]:
                train.append(row)
        test = [row for row, known_at in enumerate(rows.known_at) if known_at in served]
        windows.append((sessions[fit], train, test))
    return windows


@settings(max_examples=200)
@given(panels(), validations())
def test_every_window_trains_on_exactly_the_rows_it_may(rows, validation):
    expected = expected_windows(rows, validation)
    assume(expected)

    windows = walk_forward_windows(*rows, validation=validation)

    assert [
        (window.fit_at, window.train_rows.tolist(), window.test_rows.tolist()) for window in windows
    ] == expected
    assert all(conflicts(rows, window.train_rows, window.test_rows) == [] for window in windows)


@settings(max_examples=100)
@given(panels(), validations())
def test_every_row_after_the_first_decision_is_served_once(rows, validation):
    assume(expected_windows(rows, validation))

    windows = walk_forward_windows(*rows, validation=validation)

    served = np.concatenate([window.test_rows for window in windows])
    assert sorted(served) == np.flatnonzero(rows.known_at >= windows[0].serves_from).tolist()
    for window in windows:
        known_at = rows.known_at[window.test_rows]
        assert (window.serves_from, window.serves_to) == (known_at.min(), known_at.max())


@settings(max_examples=50)
@given(panels(), validations())
def test_windows_of_bars_that_end_earlier_are_the_same_until_then(rows, validation):
    assume(expected_windows(rows, validation))
    windows = walk_forward_windows(*rows, validation=validation)

    cut = windows[-1].serves_from
    kept = np.flatnonzero(rows.known_at <= cut)
    earlier = walk_forward_windows(rows.known_at[kept], rows.label_end[kept], validation=validation)

    assert [window.fit_at for window in earlier] == [window.fit_at for window in windows]
    for one, other in zip(earlier, windows, strict=True):
        assert kept[one.train_rows].tolist() == other.train_rows.tolist()


@settings(max_examples=150)
@given(panels(), st.integers(2, 5), st.integers(0, 3))
def test_every_fold_trains_on_exactly_the_rows_without_conflict(rows, n_folds, embargo):
    sessions = sorted(set(rows.known_at))
    assume(len(sessions) >= n_folds)
    far = sessions[-1] + 10_000 * DAY

    def embargo_end(end):
        later = [number for number, session in enumerate(sessions) if session >= end]
        reached = later[0] + embargo if later else len(sessions)
        return sessions[reached] if reached < len(sessions) else far

    labelled = [row for row, end in enumerate(rows.label_end) if not np.isnat(end)]
    tested = []
    for train, test in PurgedKFold(n_folds, embargo).split(*rows):
        others = [row for row in labelled if row not in set(test)]
        free = [row for row in others if not conflicts(rows, [row], test, embargo_end)]
        assert train.tolist() == free
        tested += test.tolist()
    assert sorted(tested) == labelled


@settings(max_examples=100)
@given(panels(), st.floats(0, 0.99))
def test_every_tail_is_the_latest_sessions_and_its_head_is_known_before(rows, share):
    sessions = sorted(set(rows.known_at))
    n_tail = int(len(sessions) * share + 1e-9)
    assume(n_tail > 0)

    head, tail = purged_tail(*rows, share=share)

    last = sessions[len(sessions) - n_tail - 1]
    known = [row for row, end in enumerate(rows.label_end) if not np.isnat(end) and end <= last]
    assert tail.tolist() == [row for row, known_at in enumerate(rows.known_at) if known_at > last]
    assert head.tolist() == known
    assert conflicts(rows, head, tail) == []


# -- planted leaks --------------------------------------------------------------------------------------------------


def unpurged_windows(rows, validation):
    """A leak: training rows go by when they are known, not by when their labels are."""
    return [
        replace(window, train_rows=np.flatnonzero(rows.known_at <= window.fit_at))
        for window in walk_forward_windows(*rows, validation=validation)
    ]


def purged_by_a_fixed_number(rows, n_folds, n_sessions):
    """A leak: a fixed number of sessions on the near side only, however long the labels are."""
    sessions = np.unique(rows.known_at)
    for _, test in PurgedKFold(n_folds).split(*rows):
        near = np.searchsorted(sessions, rows.known_at[test].min())
        before = rows.known_at < sessions[max(near - n_sessions, 0)]
        after = rows.known_at > rows.known_at[test].max()
        yield np.flatnonzero(before | after), test


def test_a_walk_forward_without_purging_is_found_by_the_same_check():
    rows = Rows(*daily(40, horizon=3))
    validation = ValidationConfig(train_size=10, test_size=10)

    purged = walk_forward_windows(*rows, validation=validation)

    assert all(conflicts(rows, window.train_rows, window.test_rows) == [] for window in purged)
    assert all(
        conflicts(rows, window.train_rows, window.test_rows) for window in unpurged_windows(rows, validation)
    )


def test_folds_purged_by_a_fixed_number_are_found_by_the_same_check():
    known_at, _ = daily(60)
    rows = Rows(known_at, known_at + np.tile([1, 9, 3], 20) * DAY)

    assert all(conflicts(rows, train, test) == [] for train, test in PurgedKFold(4).split(*rows))
    assert any(conflicts(rows, train, test) for train, test in purged_by_a_fixed_number(rows, 4, 3))


# -- folds and tails, by hand ---------------------------------------------------------------------------------------


def test_five_folds_without_an_embargo_are_the_default():
    assert PurgedKFold() == PurgedKFold(n_folds=5, embargo=0)


def test_folds_are_contiguous_and_train_on_both_sides():
    folds = [(list(train), list(test)) for train, test in PurgedKFold(3).split(*daily(9))]

    # labels end a day later: day 2 is known as the fold's first decision falls, and day 6 as its last label ends
    assert folds == [
        ([3, 4, 5, 6, 7], [0, 1, 2]),
        ([0, 1, 2, 6, 7], [3, 4, 5]),
        ([0, 1, 2, 3, 4, 5], [6, 7]),
    ]


def test_an_embargo_drops_sessions_on_the_far_side_only():
    folds = [list(train) for train, _ in PurgedKFold(3, embargo=2).split(*daily(9))]

    assert folds == [[5, 6, 7], [0, 1, 2], [0, 1, 2, 3, 4, 5]]


def test_a_fold_without_a_label_is_left_out():
    known_at, ends = daily(9)
    ends[3:6] = NEVER

    assert [list(test) for _, test in PurgedKFold(3).split(known_at, ends)] == [[0, 1, 2], [6, 7]]


def test_fewer_sessions_than_folds_are_refused():
    with pytest.raises(SplitError, match=r"4 sessions cannot make 5 folds\. Lower cv_folds"):
        list(PurgedKFold(5).split(*daily(4)))


@pytest.mark.parametrize(("n_folds", "embargo"), [(1, 0), (0, 0), (5, -1)])
def test_folds_that_make_no_sense_are_refused(n_folds, embargo):
    with pytest.raises(SplitError, match="at least two folds, and an embargo of zero or more"):
        PurgedKFold(n_folds, embargo)


def test_no_share_keeps_every_row_in_the_head():
    head, tail = purged_tail(*daily(10), share=0.05)

    assert head.tolist() == list(range(10))
    assert tail.tolist() == []


def test_a_tail_never_takes_the_whole():
    head, tail = purged_tail(*daily(5), share=1 - 1e-12)

    assert head.tolist() == []
    assert tail.tolist() == [1, 2, 3, 4]


@pytest.mark.parametrize("share", [-0.1, 1.0, 1.5])
def test_a_share_that_cannot_be_held_back_is_refused(share):
    with pytest.raises(SplitError, match="cannot be held back"):
        purged_tail(*daily(10), share=share)
