"""Permutation importance: what is lost when a column is shuffled."""

import numpy as np
import pytest

from backtester_model_core.importance import permutation_importance


def test_a_column_that_is_not_looked_at_does_not_matter():
    features = np.random.default_rng(0).normal(size=(500, 3))

    importance = permutation_importance(
        lambda rows, at: 2 * rows[at, 1], features, 2 * features[:, 1], n_classes=None, seed=0
    )

    # The mean square of the difference of two independent values is twice the variance: 2 * 2**2 = 8.
    assert importance[[0, 2]].tolist() == [0, 0]
    assert importance[1] == pytest.approx(8, rel=0.15)


def test_a_column_whose_shuffling_helps_counts_zero():
    features = np.arange(100.0).reshape(-1, 1)

    importance = permutation_importance(
        lambda rows, at: rows[at, 0], features, -features[:, 0], n_classes=None, seed=0
    )

    assert importance.tolist() == [0]


def test_the_error_of_a_classifier_is_that_of_its_probabilities():
    features = np.tile([[0.0], [1.0]], (200, 1))
    target = features[:, 0].astype(np.int64)

    importance = permutation_importance(
        lambda rows, at: np.column_stack([1 - rows[at, 0], rows[at, 0]]),
        features,
        target,
        n_classes=2,
        seed=0,
    )

    # Half of the shuffled rows are wrong, by 1 in both columns.
    assert importance[0] == pytest.approx(0.5, abs=0.1)


def test_the_same_seed_shuffles_alike():
    features = np.random.default_rng(1).normal(size=(60, 2))

    first, again, other = (
        permutation_importance(
            lambda rows, at: rows[at].sum(axis=1), features, features.sum(axis=1), n_classes=None, seed=seed
        )
        for seed in (3, 3, 4)
    )

    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)


def test_many_rows_are_asked_about_in_an_even_choice():
    asked = []

    def predict(rows, at):
        asked.append(at)
        return rows[at, 0]

    permutation_importance(predict, np.zeros((10_001, 1)), np.zeros(10_001), n_classes=None, seed=0)

    assert len(asked) == 1 + 3
    assert all(len(at) == 2000 and (at[0], at[-1]) == (0, 10_000) for at in asked)
    assert set(np.diff(asked[0]).tolist()) == {5, 6}


def test_only_the_ends_are_asked_about():
    features = np.arange(10.0).reshape(-1, 1)
    ends = np.array([4, 7])
    errors = []

    def predict(rows, at):
        assert at.tolist() == [4, 7]
        errors.append(abs(rows[at, 0] - [4.0, 7.0]).sum())
        return rows[at, 0]

    permutation_importance(predict, features, np.array([4.0, 7.0]), n_classes=None, seed=0, ends=ends)

    assert errors[0] == 0
    assert max(errors) > 0
