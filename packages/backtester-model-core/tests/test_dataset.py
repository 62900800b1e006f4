"""The values that travel: one entry for each row, and parts that stay together."""

import json
import pickle
from dataclasses import FrozenInstanceError, replace

import numpy as np
import pandas as pd
import pytest

from backtester_model_core.dataset import Dataset, Prediction, TrainReport
from backtester_model_core.exceptions import PredictionError, TrainingError

NAN = float("nan")
INDEX = pd.date_range("2024-01-01", periods=4, freq="D", name="timestamp")
STAMPS = INDEX.to_numpy(dtype="datetime64[ns]")
NEVER = np.datetime64("NaT", "ns")


def dataset(**columns):
    """Four rows, of which the first has incomplete features and the last no label."""
    given = {
        "values": np.array([[NAN, 1.0], [2.0, 3.0], [4.0, 5.0], [6.0, 7.0]]),
        "columns": ("a", "b"),
        "index": INDEX,
        "known_at": STAMPS,
        "symbol_codes": np.zeros(4, dtype=np.int64),
        "symbols": ("",),
        "target": np.array([1.0, 0.0, 1.0, NAN]),
        "label_end": np.append(STAMPS[1:], NEVER),
        "classes": (0.0, 1.0),
    }
    return Dataset(**{**given, **columns})


def test_rows_are_complete_and_labelled():
    rows = dataset()

    assert len(rows) == 4
    assert rows.is_complete.tolist() == [False, True, True, True]
    assert rows.is_labelled.tolist() == [True, True, True, False]


@pytest.mark.parametrize("value", [NAN, np.inf, -np.inf])
def test_a_row_with_anything_that_is_not_a_number_is_incomplete(value):
    values = np.ones((4, 2))
    values[2, 1] = value

    assert dataset(values=values).is_complete.tolist() == [True, True, False, True]


def test_a_label_counts_only_with_its_end():
    ends = dataset().label_end.copy()
    ends[1] = NEVER

    assert dataset(label_end=ends).is_labelled.tolist() == [True, False, True, False]


def test_features_and_labels_are_shown_on_the_bars_index():
    rows = dataset()

    assert rows.features.columns.tolist() == ["a", "b"]
    assert rows.features.index.equals(INDEX)
    assert rows.features.loc["2024-01-03"].tolist() == [4.0, 5.0]
    assert rows.target_series.loc["2024-01-02"] == 0.0
    assert rows.label_end_series.loc["2024-01-02"] == pd.Timestamp("2024-01-03")


def test_features_share_the_datasets_memory():
    rows = dataset()

    assert np.shares_memory(rows.features.to_numpy(), rows.values)


@pytest.mark.parametrize("rows", [np.array([2, 0]), np.array([True, False, True, False])])
def test_taken_rows_stay_together(rows):
    whole = dataset(forward_return=np.arange(4.0), scale=np.arange(4.0) + 10, weight=np.arange(4.0) + 20)

    part = whole.take(rows)

    kept = [2, 0] if rows.dtype == np.int64 else [0, 2]
    assert part.index.tolist() == [INDEX[row] for row in kept]
    assert part.known_at.tolist() == STAMPS[kept].tolist()
    assert np.array_equal(part.values, whole.values[kept], equal_nan=True)
    assert part.target.tolist() == [1.0, 1.0]
    assert part.label_end.tolist() == whole.label_end[kept].tolist()
    assert part.forward_return.tolist() == kept
    assert part.scale.tolist() == [row + 10 for row in kept]
    assert part.weight.tolist() == [row + 20 for row in kept]
    assert (part.columns, part.symbols, part.classes) == (whole.columns, whole.symbols, whole.classes)


def test_taken_rows_without_weights_have_none():
    part = dataset().take(np.array([1, 2]))

    assert (part.weight, part.scale, part.forward_return) == (None, None, None)
    assert part.values.flags.c_contiguous


def test_taken_rows_are_a_copy():
    whole = dataset()

    whole.take(np.array([1])).values[0, 0] = 99.0

    assert whole.values[1, 0] == 2.0


def test_a_dataset_stays_as_it_is():
    with pytest.raises(FrozenInstanceError):
        dataset().target = np.zeros(4)


def test_columns_of_other_lengths_are_refused():
    """A target shifted by the warm-up rows is the commonest way to train on the wrong labels."""
    with pytest.raises(
        TrainingError, match=r"values 4, index 4, known_at 4, symbol_codes 4, target 3, label_end 4"
    ):
        dataset(target=np.zeros(3))


@pytest.mark.parametrize("name", ["forward_return", "scale", "weight"])
def test_optional_columns_of_other_lengths_are_refused(name):
    with pytest.raises(TrainingError, match=f"{name} 5"):
        dataset(**{name: np.zeros(5)})


@pytest.mark.parametrize("values", [np.zeros((4, 3)), np.zeros(4), np.zeros((4, 2, 1))])
def test_values_that_are_not_one_column_a_name_are_refused(values):
    with pytest.raises(TrainingError, match=r"its values have shape \(4.*\) for 2 names"):
        dataset(values=values)


def test_a_dataset_travels_to_a_worker():
    twin = pickle.loads(pickle.dumps(dataset()))

    pd.testing.assert_frame_equal(twin.features, dataset().features)


# -- predictions ----------------------------------------------------------------------------------------------------


def test_a_classifiers_prediction_is_shown_with_its_classes():
    probability = np.array([[0.2, 0.3, 0.5], [NAN, NAN, NAN]])
    prediction = Prediction(INDEX[:2], np.array([0.3, NAN]), probability, (-1.0, 0.0, 1.0))

    frame = prediction.frame

    assert list(frame.columns) == ["expected", "probability_-1", "probability_0", "probability_1"]
    assert frame.iloc[0].tolist() == [0.3, 0.2, 0.3, 0.5]
    assert frame.index.equals(INDEX[:2])


def test_a_regressions_prediction_is_one_column():
    assert list(Prediction(INDEX, np.zeros(4)).frame.columns) == ["expected"]


def test_a_blank_prediction_says_nothing():
    blank = Prediction.blank(INDEX, (0.0, 1.0))

    assert len(blank) == 4
    assert np.isnan(blank.expected).all()
    assert blank.probability.shape == (4, 2)
    assert np.isnan(blank.probability).all()
    assert Prediction.blank(INDEX, None).probability is None


def test_taken_predictions_stay_together():
    probability = np.array([[0.9, 0.1], [0.8, 0.2], [0.7, 0.3], [0.6, 0.4]])
    whole = Prediction(INDEX, probability[:, 1], probability, (0.0, 1.0), np.arange(4.0))

    part = whole.take(np.array([3, 1]))

    assert part.index.tolist() == [INDEX[3], INDEX[1]]
    assert part.expected.tolist() == [0.4, 0.2]
    assert part.probability.tolist() == [[0.6, 0.4], [0.8, 0.2]]
    assert part.scale.tolist() == [3.0, 1.0]
    assert replace(whole, scale=None).take(np.array([0])).scale is None


@pytest.mark.parametrize(
    "columns",
    [
        {"expected": np.zeros(3)},
        {"expected": np.zeros((4, 1))},
        {"expected": np.zeros(4), "scale": np.zeros(3)},
        {"expected": np.zeros(4), "classes": (0.0, 1.0)},
        {"expected": np.zeros(4), "probability": np.zeros((4, 2))},
        {"expected": np.zeros(4), "probability": np.zeros((4, 3)), "classes": (0.0, 1.0)},
        {"expected": np.zeros(4), "probability": np.zeros((3, 2)), "classes": (0.0, 1.0)},
    ],
)
def test_a_prediction_of_other_rows_or_classes_is_refused(columns):
    with pytest.raises(PredictionError, match="A prediction of 4 rows"):
        Prediction(INDEX, **columns)


# -- reports --------------------------------------------------------------------------------------------------------


def test_a_report_is_plain_data():
    report = TrainReport(90, 10, 0, ("a", "b"), 0.5, (0.5, 0.5), "2024-01-01T00:00:00Z", 7, ("a note",))

    facts = json.loads(json.dumps(report.as_dict()))

    assert facts == {
        "n_rows": 90,
        "n_dropped": 10,
        "n_validation": 0,
        "columns": ["a", "b"],
        "baseline": 0.5,
        "class_share": [0.5, 0.5],
        "trained_to": "2024-01-01T00:00:00Z",
        "seed": 7,
        "notes": ["a note"],
    }


@pytest.mark.parametrize(
    ("before", "ends", "after"),
    [
        ("2024-01-03T00:00:00Z", STAMPS[[0, 0, 1, 1]], "2024-01-03T00:00:00Z"),
        ("2024-01-03T00:00:00Z", [*STAMPS[[1, 3]], NEVER, NEVER], "2024-01-04T00:00:00.000000000Z"),
        ("unknown", STAMPS, "2024-01-04T00:00:00.000000000Z"),
        ("unknown", [NEVER] * 4, "unknown"),
    ],
)
def test_a_training_that_goes_on_never_knows_less_than_before(before, ends, after):
    report = TrainReport(90, 10, 0, ("a", "b"), 0.5, None, before, 7)

    assert report.extended(dataset(label_end=np.array(ends), target=np.ones(4))).trained_to == after
