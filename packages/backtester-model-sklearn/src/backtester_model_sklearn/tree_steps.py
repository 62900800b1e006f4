"""Fast answers to one row by trees, laid out as flat arrays whose thresholds are those of the raw features.

A step before the trees that takes each column by itself and never turns two values round, such as a scaler, need
not be computed for a row: there is a largest raw value that it, and then the rounding to single precision of
scikit-learn's trees, takes to at most a node's threshold. That value is found by bisection over all doubles, with
the fitted steps themselves, so a row goes the way it goes in ``predict``.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
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

from backtester_model_core.compiled import compile_function
from backtester_model_core.exceptions import ModelError
from backtester_model_core.row_steps import Link, exponential_link, logistic_link, softmax_link, value_link
from backtester_model_core.typing import FloatArray, IntArray, RowStep
from backtester_model_sklearn.model import SklearnModel

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

TOGETHER = 16
"""Trees that are walked at the same time, level by level: a processor fetches the node of one while it waits for
that of another."""


@dataclass(frozen=True)
class Trees:
    """Trees as flat arrays, one behind the other.

    Attributes:
        features: (n_nodes,) the column that a node looks at.
        thresholds: (n_nodes,) the largest value that goes left.
        children: (2 n_nodes,) the node to the left and the one to the right; of a leaf the leaf itself.
        values: (n_nodes, width) what a leaf adds to the scores.
        roots: (n_trees,) first nodes.
        depths: (n_trees,) steps from the root to the furthest leaf.
        columns: (n_trees,) the first score that a tree adds to.
        base: (n_scores,) what the scores begin with.
    """

    features: IntArray
    thresholds: FloatArray
    children: IntArray
    values: FloatArray
    roots: IntArray
    depths: IntArray
    columns: IntArray
    base: FloatArray


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
    walk = _compiled_walk(trees, model.pipeline[0].n_features_in_) if compiled else _plain_walk(trees)
    return lambda row: link(walk(row))


# -- walking -----------------------------------------------------------------------------------------------------


def walk_together(
    row: Any,
    features: Any,
    thresholds: Any,
    children: Any,
    values: Any,
    roots: Any,
    depths: Any,
    columns: Any,
    nodes: Any,
    scores: Any,
) -> None:
    """Add to scores what trees say of a row, ``len(nodes)`` of them at a time, level by level; to be compiled."""
    together = len(nodes)
    for first in range(0, len(roots), together):
        for tree in range(together):
            nodes[tree] = roots[first + tree]
        for _ in range(depths[first]):
            for tree in range(together):
                node = nodes[tree]
                nodes[tree] = children[2 * node + (row[features[node]] > thresholds[node])]
        for tree in range(together):
            for at in range(values.shape[1]):
                scores[columns[first + tree] + at] += values[nodes[tree], at]


WALK = (
    "void(float64[::1], uint32[::1], float64[::1], uint32[::1], float64[:, ::1], uint32[::1], int64[::1], "
    "int64[::1], uint32[::1], float64[::1])"
)


def _compiled_walk(trees: Trees, n_features: int) -> Callable[[Sequence[float]], list[float]]:
    walk = compile_function(walk_together, WALK)  # type: ignore[arg-type]  # a plain function is a FunctionType
    padded = _in_groups(trees)
    arrays = (
        padded.features.astype(np.uint32),
        padded.thresholds,
        padded.children.astype(np.uint32),
        padded.values,
        padded.roots.astype(np.uint32),
        padded.depths,
        padded.columns,
        np.empty(TOGETHER, dtype=np.uint32),
    )
    given, scores, base = np.empty(n_features), np.empty_like(trees.base), trees.base
    memory, put = given.data, struct.Struct(f"{n_features}d").pack_into

    def answer(row: Sequence[float]) -> list[float]:
        put(memory, 0, *row)
        scores[:] = base
        walk(given, *arrays, scores)
        answered: list[float] = scores.tolist()
        return answered

    return answer


def _plain_walk(trees: Trees) -> Callable[[Sequence[float]], list[float]]:
    features, thresholds = trees.features.tolist(), trees.thresholds.tolist()
    children, values = trees.children.tolist(), trees.values.tolist()
    starts = list(zip(trees.roots.tolist(), trees.columns.tolist(), strict=True))
    base: list[float] = trees.base.tolist()

    def answer(row: Sequence[float]) -> list[float]:
        scores = [*base]
        for root, column in starts:
            at, node = -1, root
            while node != at:
                at = node
                node = children[2 * at + (row[features[at]] > thresholds[at])]
            for place, value in enumerate(values[at], start=column):
                scores[place] += value
        return scores

    return answer


def _in_groups(trees: Trees) -> Trees:
    """Sort trees by depth, and walk each as far as the deepest of its group; a leaf of no value fills up the last."""
    order = np.argsort(trees.depths, kind="stable")
    spare = np.zeros(-len(order) % TOGETHER, dtype=np.int64)
    leaf = len(trees.features)
    depths = np.append(trees.depths[order], spare).reshape(-1, TOGETHER).max(axis=1)
    return Trees(
        features=np.append(trees.features, 0),
        thresholds=np.append(trees.thresholds, np.inf),
        children=np.append(trees.children, [leaf, leaf]),
        values=np.vstack([trees.values, np.zeros(trees.values.shape[1])]),
        roots=np.append(trees.roots[order], spare + leaf),
        depths=np.repeat(depths, TOGETHER),
        columns=np.append(trees.columns[order], spare),
        base=trees.base,
    )


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
