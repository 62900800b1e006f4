"""Combinatorial purged cross-validation: its groups, its purging and its paths, after the book's own figure."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from backtester_model_core.exceptions import SplitError
from backtester_model_core.splits import CombinatorialPurgedCV

DAY = np.timedelta64(1, "D")
FIRST = np.datetime64("2024-01-01", "ns")
NOT_YET = np.datetime64("NaT", "ns")


def daily(n_rows, horizon=1):
    """A row a day whose labels end ``horizon`` days later."""
    known_at = FIRST + np.arange(n_rows) * DAY
    return known_at, known_at + horizon * DAY


def split_numbers(cv, known_at, label_end):
    """Forecasts that say which split made them."""
    return [
        np.full(len(test), float(number)) for number, (_, test) in enumerate(cv.split(known_at, label_end))
    ]


# -- by hand --------------------------------------------------------------------------------------------------------


def test_every_choice_of_groups_is_a_test_once():
    splits = [(train.tolist(), test.tolist()) for train, test in CombinatorialPurgedCV(4, 2).split(*daily(8))]

    # groups of two days with labels of one day, which overlap nothing: known as the next row is
    assert splits == [
        ([4, 5, 6, 7], [0, 1, 2, 3]),
        ([2, 3, 6, 7], [0, 1, 4, 5]),
        ([2, 3, 4, 5], [0, 1, 6, 7]),
        ([0, 1, 6, 7], [2, 3, 4, 5]),
        ([0, 1, 4, 5], [2, 3, 6, 7]),
        ([0, 1, 2, 3], [4, 5, 6, 7]),
    ]


def test_rows_are_purged_on_both_sides_of_every_test_group():
    splits = list(CombinatorialPurgedCV(5, 2).split(*daily(25, horizon=3)))

    # test days 5 to 9 and 15 to 19; a label of three days reaches two days into them, and theirs two days out
    train, test = splits[5]
    assert test.tolist() == [*range(5, 10), *range(15, 20)]
    assert train.tolist() == [0, 1, 2, 12, 22, 23, 24]


def test_the_embargo_follows_every_test_group():
    splits = list(CombinatorialPurgedCV(5, 2, embargo=2).split(*daily(25)))

    train, test = splits[5]
    assert test.tolist() == [*range(5, 10), *range(15, 20)]
    assert train.tolist() == [*range(5), 12, 13, 14, 22, 23, 24]


def test_groups_are_stretches_of_sessions_over_all_symbols():
    known_at = FIRST + np.repeat(np.arange(4), [5, 1, 1, 1]) * DAY
    label_end = known_at + DAY

    first, _ = CombinatorialPurgedCV(2, 1).split(known_at, label_end)

    assert first[1].tolist() == [0, 1, 2, 3, 4, 5]
    assert first[0].tolist() == [6, 7]


def test_pairs_of_six_groups_without_an_embargo_are_the_default():
    assert CombinatorialPurgedCV() == CombinatorialPurgedCV(n_groups=6, n_test_groups=2, embargo=0)


@pytest.mark.parametrize(
    ("n_groups", "n_test_groups", "n_splits", "n_paths"),
    [(6, 2, 15, 5), (6, 1, 6, 1), (6, 5, 6, 5), (10, 2, 45, 9), (5, 3, 10, 6), (2, 1, 2, 1)],
)
def test_splits_and_paths_are_as_many_as_the_book_counts(n_groups, n_test_groups, n_splits, n_paths):
    cv = CombinatorialPurgedCV(n_groups, n_test_groups)

    assert (cv.n_splits, cv.n_paths) == (n_splits, n_paths)
    assert cv.path_splits.shape == (n_paths, n_groups)


def test_paths_are_those_of_the_books_figure():
    # figure 12.2: of six groups, two held back, the path that each group's forecast of each split belongs to
    assert CombinatorialPurgedCV(6, 2).path_splits.tolist() == [
        [0, 0, 1, 2, 3, 4],
        [1, 5, 5, 6, 7, 8],
        [2, 6, 9, 9, 10, 11],
        [3, 7, 10, 12, 12, 13],
        [4, 8, 11, 13, 14, 14],
    ]


def test_forecasts_join_into_whole_histories():
    cv, rows = CombinatorialPurgedCV(3, 2), daily(6)

    paths = cv.join_paths(split_numbers(cv, *rows), known_at=rows[0], label_end=rows[1])

    assert paths.tolist() == [[0, 0, 0, 0, 1, 1], [1, 1, 2, 2, 2, 2]]


def test_a_row_without_a_label_has_no_forecast_in_any_path():
    known_at, label_end = daily(6)
    label_end[5] = NOT_YET
    cv = CombinatorialPurgedCV(3, 1)

    paths = cv.join_paths(split_numbers(cv, known_at, label_end), known_at=known_at, label_end=label_end)

    np.testing.assert_array_equal(paths, [[0, 0, 1, 1, 2, np.nan]])


# -- for every panel ------------------------------------------------------------------------------------------------


@st.composite
def panels(draw):
    """At least one row with a label in each of a dozen sessions or more, in any order, some without a label."""
    n_sessions = draw(st.integers(12, 20))
    extra = draw(st.lists(st.tuples(st.integers(0, n_sessions - 1), st.integers(0, 9)), max_size=20))
    rows = [(session, 1 + session % 4) for session in range(n_sessions)] + extra
    rows = draw(st.permutations(rows))
    known_at = np.array([FIRST + session * DAY for session, _ in rows])
    label_end = np.array([FIRST + (session + length) * DAY for session, length in rows])
    return known_at, np.where([length == 0 for _, length in rows], NOT_YET, label_end)


@settings(max_examples=100)
@given(panels(), st.integers(2, 6), st.data())
def test_every_path_foresees_every_labelled_row_once_by_a_model_that_held_it_back(rows, n_groups, data):
    cv = CombinatorialPurgedCV(n_groups, data.draw(st.integers(1, n_groups - 1)))
    splits = list(cv.split(*rows))

    paths = cv.join_paths(split_numbers(cv, *rows), known_at=rows[0], label_end=rows[1])

    labelled = np.flatnonzero(~np.isnat(rows[1]))
    assert paths.shape == (cv.n_paths, len(rows[0]))
    assert np.isnan(np.delete(paths, labelled, axis=1)).all()
    for row in labelled:
        used = paths[:, row].tolist()
        assert sorted(used) == [number for number, (_, test) in enumerate(splits) if row in test]
        assert not any(row in splits[int(number)][0] for number in used)


@settings(max_examples=50)
@given(st.integers(2, 8), st.data())
def test_paths_are_the_share_of_splits_that_hold_a_group_back(n_groups, data):
    n_test_groups = data.draw(st.integers(1, n_groups - 1))

    cv = CombinatorialPurgedCV(n_groups, n_test_groups)

    assert cv.n_paths == math.comb(n_groups, n_test_groups) * n_test_groups // n_groups  # section 12.4.1


# -- what is refused ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("n_groups", "n_test_groups"), [(1, 1), (5, 5), (5, 6), (5, 0), (0, 0)])
def test_groups_that_leave_nothing_to_train_on_or_to_test_are_refused(n_groups, n_test_groups):
    with pytest.raises(SplitError, match=f"{n_test_groups} of {n_groups} groups cannot be held back"):
        CombinatorialPurgedCV(n_groups, n_test_groups)


def test_more_trainings_than_anyone_would_wait_for_are_refused():
    assert CombinatorialPurgedCV(10_000, 1).n_splits == 10_000
    with pytest.raises(SplitError, match="chosen in 10,001 ways"):
        CombinatorialPurgedCV(10_001, 1)


def test_a_group_without_a_label_is_refused():
    known_at, label_end = daily(9)
    label_end[3:6] = NOT_YET

    with pytest.raises(SplitError, match="9 sessions in 3 groups, group 1 holds no row"):
        next(CombinatorialPurgedCV(3, 1).split(known_at, label_end))


def test_fewer_sessions_than_groups_are_refused():
    with pytest.raises(SplitError, match="4 sessions in 6 groups, group 0 holds no row"):
        next(CombinatorialPurgedCV().split(*daily(4)))


def test_forecasts_of_too_few_splits_are_refused():
    known_at, label_end = daily(6)

    with pytest.raises(SplitError, match="2 forecasts were given for 3 splits"):
        CombinatorialPurgedCV(3, 1).join_paths([np.zeros(2)] * 2, known_at=known_at, label_end=label_end)


def test_forecasts_of_too_few_rows_are_refused():
    known_at, label_end = daily(6)
    forecasts = [np.zeros(2), np.zeros(1), np.zeros(2)]

    with pytest.raises(SplitError, match="Split 1 has 2 test rows and 1 forecasts"):
        CombinatorialPurgedCV(3, 1).join_paths(forecasts, known_at=known_at, label_end=label_end)
