"""Purging beside the independent implementation of purgedcv; skipped where that is not installed."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from backtester_model_core.splits import CombinatorialPurgedCV, LabelSpans, PurgedKFold

purgedcv = pytest.importorskip("purgedcv")

FIRST = pd.Timestamp("2024-01-01")
ROWS = st.lists(st.tuples(st.integers(0, 20), st.integers(1, 9), st.booleans()), min_size=2, max_size=40)


def times(rows):
    known_at = FIRST + pd.to_timedelta([day for day, _, _ in rows], unit="D")
    label_end = known_at + pd.to_timedelta([length for _, length, _ in rows], unit="D")
    return known_at, label_end


@settings(max_examples=200)
@given(ROWS, st.sampled_from([None, "1h", "48h", "100h"]))
def test_for_every_panel_both_purge_the_same_rows(rows, embargo):
    known_at, label_end = times(rows)
    test = np.array([is_test for _, _, is_test in rows])

    ours = LabelSpans.of(known_at.to_numpy(), label_end.to_numpy()).purged_rows(test, embargo=embargo or 0)

    both = np.flatnonzero(~test), np.flatnonzero(test), pd.Series(known_at), pd.Series(label_end)
    theirs = purgedcv.purge(*both)
    if embargo:
        # theirs still drops the row that is known as the embargo ends
        last = pd.Timedelta(embargo) - pd.Timedelta(1, unit="ns")
        theirs = purgedcv.apply_embargo(theirs, *both[1:], last)
    assert ours.tolist() == theirs.tolist()


@pytest.mark.parametrize("longest", [1, 5, 19])
def test_folds_and_paths_are_the_same(longest):
    known_at = pd.date_range(FIRST, periods=120)
    label_end = known_at + pd.to_timedelta(np.random.default_rng(3).integers(1, longest + 1, 120), unit="D")
    bound = {"prediction_times": pd.Series(known_at), "evaluation_times": pd.Series(label_end)}
    pairs = [
        (PurgedKFold(5), purgedcv.PurgedKFold(5, **bound)),
        (CombinatorialPurgedCV(6, 2), purgedcv.CombinatorialPurgedCV(6, 2, **bound)),
        (CombinatorialPurgedCV(5, 3), purgedcv.CombinatorialPurgedCV(5, 3, **bound)),
    ]

    for ours, theirs in pairs:
        splits = list(ours.split(known_at.to_numpy(), label_end.to_numpy()))

        for (train, test), (their_train, their_test) in zip(
            splits, theirs.split(np.zeros((120, 1))), strict=True
        ):
            assert (train.tolist(), test.tolist()) == (their_train.tolist(), their_test.tolist())
        if isinstance(ours, CombinatorialPurgedCV):
            forecasts = [test + 1000.0 * number for number, (_, test) in enumerate(splits)]
            paths = ours.join_paths(forecasts, known_at=known_at.to_numpy(), label_end=label_end.to_numpy())
            np.testing.assert_array_equal(paths, theirs.reconstruct_paths(forecasts))
