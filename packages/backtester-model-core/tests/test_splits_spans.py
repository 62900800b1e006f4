"""Conflicts between rows: the definition by hand and, for every panel and every test, pair by pair."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from backtester_model_core.exceptions import SplitError
from backtester_model_core.splits import CombinatorialPurgedCV, LabelSpans, PurgedKFold

HOUR = np.timedelta64(3_600_000_000_000, "ns")
DAY = 24 * HOUR
FIRST = np.datetime64("2024-01-01", "ns")
NOT_YET = np.datetime64("NaT", "ns")
FAR = np.datetime64("2200-01-01", "ns")


def days(*numbers):
    return FIRST + np.array(numbers) * DAY


def spans_of(known, ends):
    return LabelSpans.of(days(*known), days(*ends))


def marked(n_rows, *rows):
    test = np.zeros(n_rows, dtype=bool)
    test[list(rows)] = True
    return test


# -- by hand --------------------------------------------------------------------------------------------------------


def test_labels_are_counted_in_sessions_over_all_symbols():
    label_end = days(7, 2, 9, 3)
    label_end[3] = NOT_YET

    spans = LabelSpans.of(days(0, 1, 1, 7), label_end)

    # sessions are days 0, 1 and 7: day 2 is first reached by the third, and day 9 by none
    assert spans.sessions.tolist() == days(0, 1, 7).tolist()
    assert spans.start.tolist() == [0, 1, 1, 2]
    assert spans.stop[:3].tolist() == [2, 2, 3]
    assert spans.is_labelled.tolist() == [True, True, True, False]


@pytest.mark.parametrize(
    ("ends", "trains"),
    [((4, 9), True), ((5, 9), True), ((6, 9), False), ((9, 9), False)],
    ids=["known before the test", "known with the test", "known after it begins", "wraps the test"],
)
def test_a_row_before_the_test_trains_when_its_label_is_known_by_then(ends, trains):
    spans = spans_of((3, 5), ends)

    assert spans.purged_rows(marked(2, 1)).tolist() == ([0] if trains else [])


@pytest.mark.parametrize(("known", "trains"), [(6, False), (7, False), (8, True), (9, True)])
def test_a_row_after_the_test_trains_when_the_tests_label_is_known(known, trains):
    spans = spans_of((5, 6, 7, 8, 9, known), (8, 6, 7, 8, 9, 20))

    assert (5 in spans.purged_rows(marked(6, 0))) == trains


def test_rows_of_one_session_conflict_across_symbols():
    spans = spans_of((0, 0, 5, 5), (1, 1, 6, 6))

    assert spans.purged_rows(marked(4, 2)).tolist() == [0, 1]


def test_between_two_tests_only_those_that_conflict_with_one_are_dropped():
    known = range(12)
    spans = spans_of(known, [day + 2 for day in known])

    # labels of two days: around test days 2 and 8, one day on each side shares information
    assert spans.purged_rows(marked(12, 2, 8)).tolist() == [0, 4, 5, 6, 10, 11]


def test_a_row_may_lie_within_the_span_of_a_test_that_is_known_in_time():
    # the label of day 0 ends before day 4, though day 3's test label runs on to day 9
    spans = spans_of((0, 3, 4, 6), (2, 9, 5, 10))

    assert spans.purged_rows(marked(4, 1)).tolist() == [0]


def test_an_embargo_counts_sessions_from_the_end_of_the_tests_label():
    known = (0, 1, 2, 3, 10, 11, 12)
    spans = spans_of(known, [day + 1 for day in known])

    assert spans.purged_rows(marked(7, 2), embargo=2).tolist() == [0, 1, 5, 6]


def test_an_embargo_of_time_counts_time():
    known = (0, 1, 2, 3, 10, 11, 12)
    spans = spans_of(known, [day + 1 for day in known])

    assert spans.purged_rows(marked(7, 2), embargo="1D").tolist() == [0, 1, 4, 5, 6]
    assert spans.purged_rows(marked(7, 2), embargo="7D").tolist() == [0, 1, 4, 5, 6]
    assert spans.purged_rows(marked(7, 2), embargo="169h").tolist() == [0, 1, 5, 6]


def test_an_embargo_does_not_reach_back():
    known = range(8)
    spans = spans_of(known, [day + 1 for day in known])

    assert spans.purged_rows(marked(8, 7), embargo=5).tolist() == [0, 1, 2, 3, 4, 5, 6]


def test_rows_without_a_label_never_train():
    label_end = days(1, 2, 3)
    label_end[1] = NOT_YET

    assert LabelSpans.of(days(0, 1, 2), label_end).purged_rows(marked(3)).tolist() == [0, 2]


def test_rows_of_differing_number_are_refused():
    with pytest.raises(SplitError, match="known_at has 2 rows and label_end 1"):
        LabelSpans.of(days(0, 1), days(1))


def test_a_row_that_is_never_known_is_refused():
    known_at = days(0, 1, 2)
    known_at[[1, 2]] = NOT_YET  # the first is named

    with pytest.raises(SplitError, match="Row 1 has no known_at"):
        LabelSpans.of(known_at, days(1, 2, 3))


def test_a_label_that_ends_before_its_row_is_refused():
    with pytest.raises(SplitError, match=r"label of row 2, known at 2024-01-03.*ends before, at 2024-01-02"):
        spans_of((0, 1, 2, 3), (1, 1, 1, 1))  # the first is named


@pytest.mark.parametrize("splitter", [PurgedKFold, CombinatorialPurgedCV])
@pytest.mark.parametrize(("embargo", "said"), [(-1, "zero or more"), ("-1D", "is not a time span")])
def test_an_embargo_that_makes_no_sense_is_refused(splitter, embargo, said):
    with pytest.raises(SplitError, match=said):
        splitter(embargo=embargo)


# -- for every panel ------------------------------------------------------------------------------------------------


@st.composite
def panels(draw):
    """Rows of several symbols on calendars with gaps; labels of any length, ended between sessions, or unknown."""
    n_sessions = draw(st.integers(3, 24))
    gaps = st.lists(st.sampled_from([1, 6, 24, 24, 72, 500]), min_size=n_sessions, max_size=n_sessions)
    sessions = FIRST + np.cumsum(draw(gaps)) * HOUR
    rows = draw(
        st.lists(
            st.tuples(st.integers(0, n_sessions - 1), st.sampled_from([0, 1, 5, 24, 100, 400, 3000, None])),
            min_size=1,
            max_size=40,
        )
    )
    known_at = np.array([sessions[session] for session, _ in rows])
    lengths = [length for _, length in rows]
    label_end = np.array(
        [
            NOT_YET if length is None else at + length * HOUR
            for at, length in zip(known_at, lengths, strict=True)
        ],
        dtype="datetime64[ns]",
    )
    return known_at, label_end


def embargo_end(known_at, end, embargo):
    """The instant from which rows train again after a label's end, by looking through the calendar."""
    if isinstance(embargo, str):
        return end + int(embargo[:-1]) * HOUR
    if embargo == 0:
        return end
    sessions = sorted(set(known_at))
    later = [session for session in sessions if session >= end]
    return later[embargo] if embargo < len(later) else FAR


def free_rows(known_at, label_end, test, embargo):
    """Rows that conflict with no test row, pair by pair: not (a_j < e_i + E and a_i < e_j)."""
    tests = [
        (known_at[i], embargo_end(known_at, label_end[i], embargo))
        for i in np.flatnonzero(test)
        if not np.isnat(label_end[i])
    ]
    return [
        j
        for j, (known, end) in enumerate(zip(known_at, label_end, strict=True))
        if not np.isnat(end)
        and not test[j]
        and not any(known < until and since < end for since, until in tests)
    ]


EMBARGOES = st.one_of(st.integers(0, 6), st.sampled_from(["0h", "1h", "5h", "30h", "800h"]))


@settings(max_examples=400)
@given(panels(), EMBARGOES, st.data())
def test_for_every_test_exactly_the_rows_without_conflict_train(rows, embargo, data):
    known_at, label_end = rows
    n_rows = len(known_at)
    labelled = ~np.isnat(label_end)
    test = labelled & np.array(data.draw(st.lists(st.booleans(), min_size=n_rows, max_size=n_rows)))

    train = LabelSpans.of(known_at, label_end).purged_rows(test, embargo=embargo)

    assert train.tolist() == free_rows(known_at, label_end, test, embargo)


@settings(max_examples=200)
@given(panels(), EMBARGOES, st.integers(2, 6), st.data())
def test_for_every_panel_combinatorial_splits_train_on_exactly_the_rows_without_conflict(
    rows, embargo, n_groups, data
):
    known_at, label_end = rows
    n_test_groups = data.draw(st.integers(1, n_groups - 1))
    cv = CombinatorialPurgedCV(n_groups, n_test_groups, embargo)

    try:
        splits = list(cv.split(known_at, label_end))
    except SplitError:
        return
    assert len(splits) == cv.n_splits
    for train, test_rows in splits:
        test = np.isin(np.arange(len(known_at)), test_rows)
        assert train.tolist() == free_rows(known_at, label_end, test, embargo)


@settings(max_examples=100)
@given(panels(), EMBARGOES, st.integers(2, 6))
def test_for_every_panel_one_test_group_is_a_purged_k_fold(rows, embargo, n_groups):
    try:
        splits = list(CombinatorialPurgedCV(n_groups, 1, embargo).split(*rows))
    except SplitError:
        return

    folds = list(PurgedKFold(n_groups, embargo).split(*rows))

    assert [(a.tolist(), b.tolist()) for a, b in splits] == [(a.tolist(), b.tolist()) for a, b in folds]


# -- planted leaks --------------------------------------------------------------------------------------------------


def test_purging_by_the_longest_stretch_of_a_test_is_found_to_drop_rows_needlessly():
    known = range(30)
    rows = days(*known), days(*(day + 2 for day in known))
    test = marked(30, *range(5), *range(20, 25))

    hull = (rows[0] >= rows[1][test].max()) | (rows[1] <= rows[0][test].min())

    assert set(free_rows(*rows, test, 0)) - set(np.flatnonzero(hull)) == set(range(6, 19))
    assert LabelSpans.of(*rows).purged_rows(test).tolist() == free_rows(*rows, test, 0)


def test_purging_by_a_fixed_number_of_rows_is_found_to_leak():
    known = range(30)
    label_end = days(*(day + (19 if day == 2 else 2) for day in known))
    test = marked(30, *range(10, 15))

    by_number = [row for row in known if row < 8 or row >= 17]

    assert set(by_number) - set(free_rows(days(*known), label_end, test, 0)) == {2}
    assert 2 not in LabelSpans.of(days(*known), label_end).purged_rows(test)
