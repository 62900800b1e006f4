"""Probabilities of all classes: from scores, and from those of the classes that were seen."""

import numpy as np
import pytest

from backtester_model_core.probabilities import among_all_classes, softmax


def test_scores_become_shares_of_their_exponentials():
    odds = np.array([[1.0, 3.0, 4.0], [2.0, 1.0, 1.0]])

    assert softmax(np.log(odds)) == pytest.approx(np.array([[0.125, 0.375, 0.5], [0.5, 0.25, 0.25]]))


def test_large_scores_do_not_overflow():
    assert softmax(np.array([[1000.0, 0.0], [-1000.0, -1000.0]])).tolist() == [[1.0, 0.0], [0.5, 0.5]]


def test_a_class_that_was_never_seen_has_probability_zero():
    probability = softmax(np.array([[0.0, 50.0, 0.0]]), seen=np.array([True, False, True]))

    assert probability.tolist() == [[0.5, 0.0, 0.5]]


def test_probabilities_of_seen_classes_find_their_places():
    seen = np.array([[0.3, 0.7], [0.9, 0.1]])

    whole = among_all_classes(seen, seen=np.array([0, 2]), n_classes=4)

    assert whole.tolist() == [[0.3, 0, 0.7, 0], [0.9, 0, 0.1, 0]]


def test_probabilities_of_all_classes_stay_the_very_same():
    probability = np.array([[0.3, 0.7]])

    assert among_all_classes(probability, seen=np.array([0, 1]), n_classes=2) is probability
