"""Fast answers to one row by trees, laid out as flat arrays whose thresholds are those of the raw features.

A step before the trees that takes each column by itself and never turns two values round, such as a scaler, need
not be computed for a row: there is a largest raw value that it, and then the rounding to single precision of
scikit-learn's trees, takes to at most a node's threshold. That value is found by bisection over all doubles, with
the fitted steps themselves, so a row goes the way it goes in ``predict``.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, NamedTuple, Self

import numpy as np
from numpy.typing import NDArray
from sklearn.base import is_classifier
from sklearn.ensemble import (
    ExtraTreesClassifier,
    ExtraTreesRegressor,
    GradientBoostingClassifier,
    GradientBoostingRegressor,
    HistGradientBoostingClassifier,
    HistGradientBoostingRegressor,
    RandomForestClassifier,
    RandomForestRegressor,
)
from sklearn.feature_selection import SelectorMixin
from sklearn.impute import SimpleImputer
from sklearn.preprocessing import MinMaxScaler, QuantileTransformer, RobustScaler, StandardScaler
from sklearn.tree import DecisionTreeClassifier, DecisionTreeRegressor

from backtester_model_core.exceptions import ModelError
from backtester_model_core.row_steps import Link, exponential_link, logistic_link, softmax_link, value_link
from backtester_model_core.typing import FloatArray, IntArray, RowStep
from backtester_model_sklearn.model import SklearnModel
from backtester_model_sklearn.tree_walks import Trees, compiled_walk, plain_walk

SINGLE_TREES = (DecisionTreeClassifier, DecisionTreeRegressor)  # extra trees among them
FORESTS = (ExtraTreesClassifier, ExtraTreesRegressor, RandomForestClassifier, RandomForestRegressor)
BOOSTED = (GradientBoostingClassifier, GradientBoostingRegressor)
HISTOGRAM_BOOSTED = (HistGradientBoostingClassifier, HistGradientBoostingRegressor)

COLUMN_BY_COLUMN = (
    *(MinMaxScaler, QuantileTransformer, RobustScaler, SelectorMixin, SimpleImputer, StandardScaler),
)
"""Steps that choose columns, or take each by itself without turning two values round."""

FURTHEST = 1e100
"""The largest raw value that is tried; scikit-learn refuses what a scaler would make infinite."""


def has_trees(estimator: Any) -> bool:
    """Say whether an estimator is one of trees that are walked here."""
    return isinstance(estimator, (*SINGLE_TREES, *FORESTS, *BOOSTED, *HISTOGRAM_BOOSTED))


def tree_step(model: SklearnModel, *, compiled: bool) -> RowStep:
    """Return a step that walks a model's trees.

    Args:
        model: A trained model of trees.
        compiled: Whether the walk is compiled code, which needs the core's extra ``fast``.

    Raises:
        ModelError: When a step before the trees mixes columns, or the trees split by categories.
    """
    for transformer in model.transformers:
        if not isinstance(transformer, COLUMN_BY_COLUMN) or (
            isinstance(transformer, SimpleImputer) and not keeps_complete_rows(transformer)
        ):
            raise no_form(f"{type(transformer).__name__}, as it is configured, does not take columns apart")
    trees, link = _laid_out(model)
    walk = compiled_walk(trees, model.pipeline[0].n_features_in_) if compiled else plain_walk(trees)
    return lambda row: link(walk(row))


# -- laying out --------------------------------------------------------------------------------------------------


class _Tree(NamedTuple):
    """One tree: of each node its feature, threshold, children and values, and of a leaf itself as its children."""

    features: IntArray
    thresholds: FloatArray
    left: IntArray
    right: IntArray
    values: FloatArray
    depth: int

    @classmethod
    def of(cls, tree: Any) -> Self:
        """Take a tree of ``sklearn.tree``."""
        own, is_leaf = np.arange(tree.node_count), tree.children_left < 0
        return cls(
            np.where(is_leaf, 0, tree.feature),
            np.where(is_leaf, np.inf, tree.threshold),
            np.where(is_leaf, own, tree.children_left),
            np.where(is_leaf, own, tree.children_right),
            tree.value[:, 0, :],
            int(tree.max_depth),
        )

    @classmethod
    def of_histograms(cls, predictor: Any) -> Self:
        """Take a tree of histogram boosting."""
        nodes = predictor.nodes
        own, is_leaf = np.arange(len(nodes)), nodes["is_leaf"].astype(bool)
        if (nodes["is_categorical"].astype(bool) & ~is_leaf).any():
            raise no_form("histogram boosting that splits by categories is not walked here")
        return cls(
            np.where(is_leaf, 0, nodes["feature_idx"]),
            np.where(is_leaf, np.inf, nodes["num_threshold"]),
            np.where(is_leaf, own, nodes["left"]),
            np.where(is_leaf, own, nodes["right"]),
            nodes["value"][:, np.newaxis],
            int(nodes["depth"].max()),
        )


def _laid_out(model: SklearnModel) -> tuple[Trees, Link]:
    """Return a model's trees over raw features, and what becomes of their scores."""
    estimator = model.estimator
    if isinstance(estimator, HISTOGRAM_BOOSTED):
        trees = [_Tree.of_histograms(one) for stage in estimator._predictors for one in stage]  # noqa: SLF001
        base, share = np.ravel(estimator._baseline_prediction), 1.0  # noqa: SLF001
    elif isinstance(estimator, BOOSTED):
        trees = [_Tree.of(one.tree_) for one in estimator.estimators_.flat]
        base, share = _start_of(estimator), float(estimator.learning_rate)
    else:
        members = estimator.estimators_ if isinstance(estimator, FORESTS) else [estimator]
        trees = [_Tree.of(member.tree_) for member in members]
        base, share = np.zeros(trees[0].values.shape[1]), 1.0 / len(trees)
    is_halved = (
        isinstance(estimator, BOOSTED) and estimator.loss == "exponential"
    )  # its score is half the log odds
    scale = 2.0 if is_halved else 1.0
    joined = _joined(trees, base * scale, share * scale)
    is_single = not isinstance(estimator, HISTOGRAM_BOOSTED)
    thresholds, features = _raw_splits(model, joined, is_single=is_single)
    return replace(joined, thresholds=thresholds, features=features), _link_of(estimator, len(base))


def _start_of(estimator: Any) -> FloatArray:
    """Return what gradient boosting begins with, where that is the same for every row."""
    if estimator.init not in (None, "zero"):
        raise no_form("boosting that begins with another estimator is not walked here")
    anywhere = np.zeros((1, estimator.n_features_in_), dtype=np.float32)
    return np.ravel(estimator._raw_predict_init(anywhere))  # noqa: SLF001


def _link_of(estimator: Any, n_scores: int) -> Link:
    if isinstance(estimator, (*SINGLE_TREES, *FORESTS)):
        return list if is_classifier(estimator) else value_link  # a forest's scores are probabilities
    if is_classifier(estimator):
        return logistic_link if n_scores == 1 else softmax_link
    return exponential_link if estimator.loss in ("gamma", "poisson") else value_link


def _joined(trees: Sequence[_Tree], base: FloatArray, share: float) -> Trees:
    """Lay trees out one behind the other; those of one value add to the scores in turn, others to all of them."""
    sizes = [len(tree.features) for tree in trees]
    roots = np.cumsum([0, *sizes[:-1]])
    width = trees[0].values.shape[1]
    children = [
        np.column_stack([tree.left, tree.right]).ravel() + root
        for tree, root in zip(trees, roots, strict=True)
    ]
    return Trees(
        features=np.concatenate([tree.features for tree in trees]),
        thresholds=np.concatenate([tree.thresholds for tree in trees]),
        children=np.concatenate(children),
        values=np.concatenate([tree.values for tree in trees]) * share,
        roots=roots,
        depths=np.array([tree.depth for tree in trees]),
        columns=np.arange(len(trees)) * width % len(base),
        base=base,
    )


# -- thresholds of the raw features ------------------------------------------------------------------------------


def _raw_splits(model: SklearnModel, trees: Trees, *, is_single: bool) -> tuple[FloatArray, IntArray]:
    """Return each node's largest raw value that goes left, and the raw feature it is compared with."""
    n_features = model.pipeline[0].n_features_in_
    raw = np.arange(n_features)
    for transformer in model.transformers:
        if isinstance(transformer, SelectorMixin):
            raw = raw[transformer.get_support()]
    order = np.lexsort((trees.thresholds, trees.features))
    counts = np.bincount(trees.features, minlength=len(raw))
    rank = np.empty(len(order), dtype=np.int64)  # of each node among those of its feature
    rank[order] = np.arange(len(order)) - np.repeat(np.cumsum(counts) - counts, counts)
    wanted = np.full((counts.max(), len(raw)), np.inf)
    wanted[rank, trees.features] = trees.thresholds

    def goes_left(values: FloatArray) -> NDArray[np.bool_]:
        rows = np.zeros((len(values), n_features))
        rows[:, raw] = values
        seen = model.transform(rows)
        return np.asarray((seen.astype(np.float32) if is_single else seen) <= wanted)

    with np.errstate(all="ignore"):
        largest = _largest_where(goes_left, wanted.shape)
    return largest[rank, trees.features], raw[trees.features]


def _largest_where(holds: Callable[[FloatArray], NDArray[np.bool_]], shape: tuple[int, ...]) -> FloatArray:
    """Return for each place the largest double for which something holds that holds for all smaller ones.

    It is infinite where it holds even at ``FURTHEST``, or not even at minus that.
    """
    low = np.full(shape, _as_order(np.float64(-np.inf)))
    high = np.full(shape, _as_order(np.float64(FURTHEST)))
    while (low < high).any():
        middle = (low | high) - ((low ^ high) >> 1)  # their mean rounded up, which does not overflow
        is_held = holds(np.maximum(_as_double(middle), -FURTHEST))
        low = np.where(is_held, middle, low)
        high = np.where(is_held, high, np.maximum(middle - 1, low))
    found = _as_double(low)
    return np.where(np.abs(found) < FURTHEST, found, np.copysign(np.inf, found))


def _as_order(doubles: Any) -> Any:
    """Return doubles as integers in the same order."""
    bits = np.asarray(doubles).view(np.int64)
    return np.where(bits < 0, bits ^ np.iinfo(np.int64).max, bits)


def _as_double(order: IntArray) -> FloatArray:
    return np.where(order < 0, order ^ np.iinfo(np.int64).max, order).view(np.float64)


# -- what has no such form ---------------------------------------------------------------------------------------


def keeps_complete_rows(imputer: SimpleImputer) -> bool:
    """Say whether an imputer leaves complete rows as they are: it fills in what is NaN, and nothing else."""
    return isinstance(imputer.missing_values, float) and bool(np.isnan(imputer.missing_values))


def no_form(reason: str) -> ModelError:
    """Say why a model has no fast answer to one row."""
    return ModelError(f"No fast answer to one row: {reason}. It is asked through predict.")
