"""The core's splitters in scikit-learn's own tools."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.model_selection import GridSearchCV, cross_val_predict, cross_val_score, cross_validate

from backtester_model_core.config import ValidationConfig
from backtester_model_core.splits import (
    BoundSplitter,
    ChronologicalSplit,
    CombinatorialPurgedCV,
    PurgedKFold,
    Splitter,
    WalkForwardSplit,
)

SPLITTERS = {
    "chronological": (ChronologicalSplit(0.25), 1),
    "walk-forward": (WalkForwardSplit(ValidationConfig(train_size=60, test_size=20)), 7),
    "folds": (PurgedKFold(5, embargo=3), 5),
    "combinatorial": (CombinatorialPurgedCV(6, 2, embargo="3D"), 15),
}

each_splitter = pytest.mark.parametrize(("splitter", "n_splits"), SPLITTERS.values(), ids=SPLITTERS)


@pytest.fixture
def rows() -> tuple[pd.DataFrame, pd.Series, pd.Series]:
    """Two symbols on 200 days, labels of one to nine days: features, target and label ends."""
    rng = np.random.default_rng(7)
    days = pd.date_range("2023-01-01", periods=200, name="timestamp")
    index = pd.MultiIndex.from_product([days, ["A", "B"]], names=["timestamp", "symbol"])
    features = pd.DataFrame(rng.normal(size=(400, 3)), index=index, columns=list("abc"))
    target = (features["a"] + rng.normal(size=400) > 0).astype(int)
    length = pd.to_timedelta(rng.integers(1, 10, 400), unit="D")
    return features, target, pd.Series(index.get_level_values("timestamp") + length, index=index)


class Watcher(ClassifierMixin, BaseEstimator):
    """Remembers the rows it learned from and answers with whether any of them conflicts with a row it is asked."""

    def __init__(self, label_end: pd.Series | None = None) -> None:
        self.label_end = label_end

    def fit(self, X: pd.DataFrame, y: pd.Series) -> Watcher:
        self.classes_ = np.array([0, 1])
        self.trained_ = X.index
        return self

    def predict(self, X: pd.DataFrame) -> np.ndarray:
        assert self.label_end is not None
        known, ends = self.trained_.get_level_values("timestamp"), self.label_end[self.trained_].to_numpy()
        asked, until = X.index.get_level_values("timestamp"), self.label_end[X.index].to_numpy()
        overlaps = (known.to_numpy()[:, None] < until) & (asked.to_numpy() < ends[:, None])
        return overlaps.any(axis=0).astype(int)


@each_splitter
def test_cross_val_score_takes_every_splitter(splitter: Splitter, n_splits: int, rows) -> None:
    features, target, label_end = rows

    scores = cross_val_score(LogisticRegression(), features, target, cv=BoundSplitter(splitter, label_end))

    assert scores.shape == (n_splits,)
    assert 0.6 < scores.mean() < 0.95  # a signal to noise of one is right three times in four


@each_splitter
def test_no_model_is_trained_on_a_row_that_conflicts_with_its_test(
    splitter: Splitter, n_splits: int, rows
) -> None:
    features, _, label_end = rows
    no_conflict = pd.Series(0, index=features.index)

    scores = cross_val_score(
        Watcher(label_end), features, no_conflict, cv=BoundSplitter(splitter, label_end), scoring="accuracy"
    )

    assert scores.tolist() == [1.0] * n_splits


def test_the_watcher_sees_a_split_that_is_not_purged(rows) -> None:
    features, _, label_end = rows
    no_conflict = pd.Series(0, index=features.index)

    scores = cross_val_score(Watcher(label_end), features, no_conflict, cv=5, scoring="accuracy")

    assert scores.max() < 1


def test_a_search_inside_a_cross_validation_is_purged_on_both_levels(rows) -> None:
    features, target, label_end = rows
    cv = BoundSplitter(PurgedKFold(4), label_end)
    search = GridSearchCV(Ridge(), {"alpha": [0.1, 10.0]}, cv=cv)

    found = cross_validate(search, features, target, cv=cv, return_estimator=True)

    assert [each.n_splits_ for each in found["estimator"]] == [4] * 4
    assert np.isfinite(found["test_score"]).all()


def test_every_row_is_foreseen_once_by_folds(rows) -> None:
    features, target, label_end = rows

    foreseen = cross_val_predict(Ridge(), features, target, cv=BoundSplitter(PurgedKFold(5), label_end))

    assert foreseen.shape == (400,)
    assert np.corrcoef(foreseen, target)[0, 1] > 0.4


def test_paths_are_joined_from_models_of_scikit_learn(rows) -> None:
    features, target, label_end = rows
    cv, known_at = CombinatorialPurgedCV(5, 2), features.index.get_level_values("timestamp").to_numpy()

    forecasts = [
        Ridge().fit(features.iloc[train], target.iloc[train]).predict(features.iloc[test])
        for train, test in BoundSplitter(cv, label_end).split(features)
    ]
    paths = cv.join_paths(forecasts, known_at=known_at, label_end=label_end.to_numpy())

    assert paths.shape == (4, 400)
    assert min(np.corrcoef(path, target)[0, 1] for path in paths) > 0.4
