"""Scaling: a mean and deviation of some rows, in chunks, by which all are standardised."""

import numpy as np
import pytest

from backtester_model_core.scaling import Scaling


def test_a_scaling_is_that_of_the_rows_it_is_measured_on():
    columns = np.array([[1.0, 5.0], [3.0, 5.0], [100.0, 7.0]])

    scaling = Scaling.of(columns, np.array([0, 1]))

    assert (scaling.centre.tolist(), scaling.width.tolist()) == ([2, 5], [1, 1])
    assert scaling.apply(columns).tolist() == [[-1, 0], [1, 0], [98, 2]]


def test_a_scaling_of_many_rows_is_that_of_numpy():
    columns = np.random.default_rng(0).normal(3.0, 2.0, size=(150_000, 2))

    scaling = Scaling.of(columns)

    assert scaling.centre == pytest.approx(columns.mean(axis=0), rel=1e-12)
    assert scaling.width == pytest.approx(columns.std(axis=0), rel=1e-12)


def test_chunks_leave_no_row_out(monkeypatch):
    monkeypatch.setattr("backtester_model_core.scaling.CHUNK", 3)
    rows = np.random.default_rng(0).normal(size=(20, 3))
    rows[:, 2] = 7.0
    learned = np.arange(5, 20)

    scaling = Scaling.of(rows, learned)

    assert scaling.centre == pytest.approx(rows[5:].mean(axis=0))
    assert scaling.width == pytest.approx([*rows[5:, :2].std(axis=0), 1.0])
    assert scaling.apply(rows) == pytest.approx((rows - scaling.centre) / scaling.width, abs=1e-6)


def test_no_scaling_leaves_columns_as_they_are_in_single_precision():
    scaled = Scaling.none(2).apply(np.array([[0.1, -4.0]]))

    assert scaled.dtype == np.float32
    assert scaled.tolist() == [[np.float32(0.1), -4.0]]


def test_rows_that_no_window_holds_may_hold_anything():
    scaled = Scaling.none(1).apply(np.array([[np.inf], [np.nan], [1e300]]))

    assert np.array_equal(scaled, [[np.inf], [np.nan], [np.inf]], equal_nan=True)
