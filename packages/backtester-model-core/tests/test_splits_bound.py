"""Splitters bound to the times of their rows: whole, in part, in another order, by symbol."""

import copy

import numpy as np
import pandas as pd
import pytest

from backtester_model_core.exceptions import SplitError
from backtester_model_core.splits import (
    BoundSplitter,
    ChronologicalSplit,
    CombinatorialPurgedCV,
    PurgedKFold,
    WalkForwardSplit,
)

DAYS = pd.date_range("2024-01-01", periods=12, name="timestamp")
ENDS = pd.Series(DAYS + pd.Timedelta("2D"), index=DAYS)
SPLITTERS = [ChronologicalSplit(3), PurgedKFold(3), CombinatorialPurgedCV(4, 2), WalkForwardSplit()]


def as_lists(splits):
    return [(train.tolist(), test.tolist()) for train, test in splits]


def frame(index):
    return pd.DataFrame({"feature": np.arange(len(index), dtype=float)}, index=index)


@pytest.mark.parametrize("splitter", SPLITTERS, ids=lambda splitter: type(splitter).__name__)
def test_a_bound_splitter_splits_as_the_splitter_does(splitter):
    cv = BoundSplitter(splitter, ENDS)

    expected = as_lists(splitter.split(DAYS.to_numpy(), ENDS.to_numpy()))

    assert as_lists(cv.split(frame(DAYS), y=np.zeros(12), groups=np.zeros(12))) == expected
    assert as_lists(cv.split(np.zeros((12, 2)))) == expected
    assert as_lists(cv.split([0] * 12)) == expected
    assert as_lists(cv.split()) == expected
    assert cv.get_n_splits() == cv.get_n_splits(frame(DAYS)) == len(expected)


@pytest.mark.parametrize("known_at", [DAYS, DAYS.to_numpy(), DAYS.to_series(), DAYS.as_unit("s")], ids=type)
def test_times_may_be_arrays(known_at):
    cv = BoundSplitter(PurgedKFold(3), ENDS.to_numpy(), known_at)

    assert as_lists(cv.split(frame(DAYS))) == as_lists(BoundSplitter(PurgedKFold(3), ENDS).split())


def test_times_of_two_zones_are_compared_as_instants():
    ends = ENDS.dt.tz_localize("UTC").dt.tz_convert("Asia/Tokyo")

    cv = BoundSplitter(PurgedKFold(3), ends, DAYS.tz_localize("UTC"))

    assert as_lists(cv.split()) == as_lists(BoundSplitter(PurgedKFold(3), ENDS).split())


def test_known_at_goes_before_the_index():
    opened = ENDS.set_axis(DAYS - pd.Timedelta("3D"))  # stamped three days before the row is known

    cv = BoundSplitter(PurgedKFold(3), opened, DAYS)

    assert as_lists(cv.split(frame(opened.index))) == as_lists(BoundSplitter(PurgedKFold(3), ENDS).split())


def test_some_of_the_rows_are_split_as_if_there_were_no_others():
    kept = [0, 1, 2, 5, 6, 7, 8, 11]

    splits = as_lists(BoundSplitter(PurgedKFold(2), ENDS).split(frame(DAYS[kept])))

    # the test of days 0, 1, 2 and 5 ends on day 7; that of days 6, 7, 8 and 11 begins on day 6
    assert splits == [([5, 6, 7], [0, 1, 2, 3]), ([0, 1, 2], [4, 5, 6, 7])]


def test_rows_in_another_order_keep_their_own_labels():
    order = [7, 2, 9, 0, 4, 11, 1, 3, 10, 5, 8, 6]

    shuffled = BoundSplitter(PurgedKFold(3), ENDS).split(frame(DAYS[order]))

    expected = as_lists(BoundSplitter(PurgedKFold(3), ENDS).split())
    assert [
        (sorted(order[row] for row in train), sorted(order[row] for row in test)) for train, test in shuffled
    ] == expected


def test_symbols_are_split_by_time_together():
    index = pd.MultiIndex.from_product([DAYS[:4], ["A", "B"]], names=["timestamp", "symbol"])
    ends = pd.Series(index.get_level_values("timestamp") + pd.Timedelta("1D"), index=index)

    splits = as_lists(BoundSplitter(PurgedKFold(2), ends).split(frame(index[[0, 2, 4, 5, 6]])))

    assert splits == [([2, 3, 4], [0, 1]), ([0, 1], [2, 3, 4])]


def test_rows_without_a_label_are_in_no_split():
    ends = ENDS.where(DAYS[9] > DAYS)

    splits = as_lists(BoundSplitter(PurgedKFold(4), ends).split(frame(DAYS)))

    assert len(splits) == 3
    assert not {9, 10, 11} & {row for train, test in splits for row in train + test}


def test_a_bound_splitter_can_be_copied():
    cv = BoundSplitter(CombinatorialPurgedCV(4, 2), ENDS)

    assert as_lists(copy.deepcopy(cv).split(frame(DAYS))) == as_lists(cv.split())


# -- what is refused ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "label_end",
    [
        ENDS.to_numpy(),
        ENDS.reset_index(drop=True),
        ENDS.set_axis(pd.MultiIndex.from_product([DAYS, ["A"]], names=["date", "symbol"])),
    ],
    ids=["an array", "numbered rows", "a level of another name"],
)
def test_label_ends_that_do_not_say_when_rows_are_known_are_refused(label_end):
    with pytest.raises(SplitError, match="Nothing tells when the rows are known"):
        BoundSplitter(PurgedKFold(3), label_end)


def test_times_of_differing_number_are_refused():
    with pytest.raises(SplitError, match="known_at has 11 rows and label_end 12"):
        BoundSplitter(PurgedKFold(3), ENDS, DAYS[:11])


@pytest.mark.parametrize("rows", [np.zeros((5, 2)), [0] * 5], ids=["an array", "a list"])
def test_some_of_the_rows_without_their_names_are_refused(rows):
    with pytest.raises(SplitError, match="X has 5 rows and label_end 12"):
        BoundSplitter(PurgedKFold(3), ENDS).get_n_splits(rows)


def test_a_row_without_a_label_end_of_its_own_is_refused():
    later = frame(DAYS + pd.Timedelta("1D"))

    with pytest.raises(SplitError, match="label_end has no row 2024-01-13"):
        next(BoundSplitter(PurgedKFold(3), ENDS).split(later))


def test_rows_that_share_a_name_are_told_apart_by_their_order_only():
    twice = ENDS.set_axis(DAYS.repeat(2)[:12])
    cv = BoundSplitter(PurgedKFold(3), twice)

    assert cv.get_n_splits(frame(twice.index)) == 3
    with pytest.raises(SplitError, match="names some rows twice"):
        cv.get_n_splits(frame(twice.index[:5]))


def test_a_split_with_nothing_to_train_on_is_refused():
    cv = BoundSplitter(PurgedKFold(3, embargo=3), pd.Series(DAYS + pd.Timedelta("30D"), index=DAYS))

    with pytest.raises(SplitError, match="No row is left to train on in split 0"):
        list(cv.split())
