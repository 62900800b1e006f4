"""Scores of one row, and what becomes of them."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from backtester_model_core.probabilities import softmax
from backtester_model_core.row_steps import (
    among_all_classes_step,
    exponential_link,
    linear_step,
    logistic_link,
    reference_link,
    softmax_link,
    value_link,
)


def test_one_score_is_a_weighted_sum_from_the_centre() -> None:
    step = linear_step(np.array([[2.0, 10.0]]), np.array([0.5]), value_link, centre=np.array([1.0, 3.0]))

    assert step([2.0, 3.5]) == 0.5 + 2.0 + 5.0


def test_without_a_centre_rows_are_taken_as_they_are() -> None:
    assert linear_step(np.array([[2.0, 10.0]]), np.array([0.5]), value_link)([1.0, 3.0]) == 32.5


@pytest.mark.parametrize("centre", [None, np.array([1.0])])
def test_several_scores_are_several_weighted_sums(centre: np.ndarray | None) -> None:
    step = linear_step(np.array([[1.0], [-1.0]]), np.array([0.0, 3.0]), list, centre=centre)

    assert step([2.0]) == ([2.0, 1.0] if centre is None else [1.0, 2.0])


def test_a_centre_keeps_digits_that_large_prices_would_lose() -> None:
    slope = 1e9
    step = linear_step(np.array([[slope]]), np.array([0.0]), value_link, centre=np.array([1e6]))

    assert step([1e6 + 2.0**-20]) == slope * 2.0**-20


@given(st.floats(-1e6, 1e6))
def test_two_probabilities_are_those_of_the_logistic_function(score: float) -> None:
    expected = softmax(np.array([[0.0, score]]))[0]

    assert logistic_link([score]) == pytest.approx(expected, abs=1e-15)


@given(st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=5))
def test_probabilities_of_several_classes_are_those_of_a_batch(scores: list[float]) -> None:
    assert softmax_link(scores) == pytest.approx(softmax(np.array([scores]))[0], abs=1e-15)
    assert reference_link(scores) == pytest.approx(softmax(np.array([[0.0, *scores]]))[0], abs=1e-15)


def test_the_exponential_link_undoes_a_logarithm() -> None:
    assert exponential_link([math.log(3.0)]) == pytest.approx(3.0)


def test_classes_that_were_not_seen_have_no_probability() -> None:
    step = among_all_classes_step(lambda row: [0.25, 0.75], seen=np.array([0, 2]), n_classes=4)

    assert step([]) == [0.25, 0.0, 0.75, 0.0]


def test_where_every_class_was_seen_nothing_is_added() -> None:
    def step(row: object) -> list[float]:
        return [0.25, 0.75]

    assert among_all_classes_step(step, seen=np.array([0, 1]), n_classes=2) is step
