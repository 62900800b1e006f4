"""What compiled code of scikit-learn would read without bounds, checked once before it may.

Trees, boosted trees, support vectors, nearest neighbours and random states hold positions: of children, features,
classes and vectors. A crafted one would make ``predict`` read, or write, outside its arrays.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np
from sklearn.base import BaseEstimator, is_classifier
from sklearn.ensemble._gb import BaseGradientBoosting
from sklearn.ensemble._hist_gradient_boosting.gradient_boosting import BaseHistGradientBoosting
from sklearn.ensemble._hist_gradient_boosting.predictor import TreePredictor
from sklearn.neighbors import BallTree, KDTree
from sklearn.neighbors._base import NeighborsBase
from sklearn.pipeline import Pipeline
from sklearn.svm._base import BaseLibSVM
from sklearn.tree._tree import Tree

from backtester_model_core.typing import BoolArray

SEARCH_TREES = {"ball_tree": BallTree, "kd_tree": KDTree}
MT19937_WORDS = 624


def check_soundness(pipeline: Pipeline, *, n_features: int | None = None) -> None:
    """Check every part of a fitted pipeline.

    Raises:
        ValueError: With the first part that is not sound.
    """
    if n_features is not None:
        fitted = next((step for _, step in pipeline.steps if hasattr(step, "n_features_in_")), None)
        if fitted is None or fitted.n_features_in_ != n_features:
            raise ValueError(f"it was not fitted to {n_features} features")
    allowed_jobs = {repr(value) for name, value in pipeline.get_params().items() if name.endswith("n_jobs")}
    parts = list(_parts(pipeline))
    for part, _ in parts:
        if isinstance(part, BaseEstimator) and repr(getattr(part, "n_jobs", None)) not in {
            "None",
            *allowed_jobs,
        }:
            raise ValueError(f"{type(part).__name__} would start {part.n_jobs!r:.20} jobs")
    for kind, (fitted, check) in CHECKS.items():
        for part, width in reversed(parts):  # what is inside comes before what asks it
            if isinstance(part, kind) and hasattr(part, fitted):
                check(part, width)


# -- each kind of part -----------------------------------------------------------------------------------------------


def _check_tree(tree: Any, width: int) -> None:
    """Check a decision tree: children come after their parent and inside the tree, features inside the row."""
    if tree.node_count != tree.capacity or tree.node_count < 1 or tree.n_outputs != 1:
        raise ValueError("a tree does not have the nodes that it says")
    left, right = tree.children_left, tree.children_right
    _check_nodes(
        is_leaf=(left == -1) & (right == -1),
        left=left,
        right=right,
        feature=tree.feature,
        threshold=tree.threshold,
        width=width,
    )
    _require(np.isfinite(tree.value).all(), "a tree holds a value that is not finite")


def _check_boosted_tree(predictor: Any, width: int) -> None:
    """Check one tree of histogram boosting."""
    nodes = predictor.nodes
    is_leaf = nodes["is_leaf"] == 1
    if len(nodes) == 0 or (nodes["is_categorical"] != 0).any() or not np.isin(nodes["is_leaf"], (0, 1)).all():
        raise ValueError("a boosted tree has no nodes, or splits by category, which is not saved")
    _check_nodes(
        is_leaf=is_leaf,
        left=nodes["left"].astype(np.int64),
        right=nodes["right"].astype(np.int64),
        feature=nodes["feature_idx"],
        threshold=nodes["num_threshold"],
        width=width,
    )
    _require(np.isfinite(nodes["value"]).all(), "a boosted tree holds a value that is not finite")


def _check_nodes(
    *, is_leaf: BoolArray, left: Any, right: Any, feature: Any, threshold: Any, width: int
) -> None:
    inner = np.flatnonzero(~is_leaf)
    for child in (left[inner], right[inner]):
        _require(((child > inner) & (child < len(is_leaf))).all(), "a tree has a child outside itself")
    _require(
        ((feature[inner] >= 0) & (feature[inner] < width)).all(),
        "a tree splits by a feature that is not there",
    )
    _require(np.isfinite(threshold[inner]).all(), "a tree splits at a threshold that is not finite")


def _check_boosting(model: Any, width: int) -> None:
    """Check that gradient boosting writes as many columns as it makes room for."""
    stages = model.estimators_
    columns = model._raw_predict_init(np.zeros((1, width), dtype=np.float32))  # noqa: SLF001
    _require(
        stages.ndim == 2
        and stages.size > 0
        and columns.shape == (1, stages.shape[1])
        and columns.dtype == np.float64
        and all(tree.tree_.value.shape[1:] == (1, 1) for tree in stages.flat),
        "boosting has another number of trees in a stage than of columns",
    )


def _check_histogram_boosting(model: Any, width: int) -> None:
    categorical = np.asarray(model._bin_mapper.is_categorical_)  # noqa: SLF001
    _require(
        categorical.shape == (width,) and not categorical.any(),
        "histogram boosting has categorical features, which are not saved",
    )


def _check_support_vectors(model: Any, width: int) -> None:
    """Check that libsvm, which trusts its arguments, is told of as many vectors as it gets."""
    n_classes = len(model.classes_) if is_classifier(model) else 2
    counts = np.asarray(model._n_support)  # noqa: SLF001
    n_vectors = len(model.support_)
    total = int(counts.sum()) if is_classifier(model) else int(counts[0])
    shapes = {
        "support_": (n_vectors,),
        "support_vectors_": (n_vectors, width),
        "_n_support": (n_classes,),
        "_dual_coef_": (n_classes - 1, n_vectors),
        "_intercept_": (n_classes * (n_classes - 1) // 2,),
        "_probA": (0,),
        "_probB": (0,),
    }
    _require(
        all(np.shape(getattr(model, name)) == shape for name, shape in shapes.items())
        and (counts >= 0).all()
        and total == n_vectors
        and model._sparse is False  # noqa: SLF001
        and isinstance(model.kernel, str)
        and "_impl" not in vars(model),
        "its support vectors do not belong together",
    )


def _check_neighbours(model: Any, width: int) -> None:
    """Check that the neighbours' classes are classes."""
    rows = model._fit_X  # noqa: SLF001
    _require(
        isinstance(rows, np.ndarray)
        and rows.shape == (model.n_samples_fit_, width)
        and np.isfinite(rows).all(),
        "its neighbours are not rows of the features",
    )
    if is_classifier(model):
        positions = np.asarray(model._y)  # noqa: SLF001
        _require(
            positions.shape == (len(rows),)
            and positions.dtype.kind == "i"
            and ((positions >= 0) & (positions < len(model.classes_))).all(),
            "its neighbours have classes that are not there",
        )


def _check_random_state(state: np.random.RandomState, _: int) -> None:
    position = state.get_state(legacy=False).get("state", {}).get("pos", -1)
    _require(0 <= position <= MT19937_WORDS, "a random state is out of its bounds")


CHECKS: Mapping[type, tuple[str, Callable[[Any, int], None]]] = {
    Tree: ("node_count", _check_tree),
    TreePredictor: ("nodes", _check_boosted_tree),
    BaseLibSVM: ("support_", _check_support_vectors),
    NeighborsBase: ("_fit_X", _check_neighbours),
    np.random.RandomState: ("get_state", _check_random_state),
    BaseHistGradientBoosting: ("_bin_mapper", _check_histogram_boosting),
    BaseGradientBoosting: ("estimators_", _check_boosting),
}
"""The check of each kind of part, and the attribute without which it cannot predict and is not checked.

The last asks what is inside it, so all of that has been checked by then.
"""


# -- search trees are made again -------------------------------------------------------------------------------------


def drop_search_trees(pipeline: Pipeline) -> Pipeline:
    """Take the search trees out of a pipeline: they hold positions too, and follow from the neighbours."""
    for part, _ in _parts(pipeline):
        if isinstance(part, NeighborsBase) and hasattr(part, "_tree"):
            part._tree = None  # noqa: SLF001
    return pipeline


def rebuild_search_trees(pipeline: Pipeline) -> Pipeline:
    """Make the search trees again, as fitting did."""
    for part, _ in _parts(pipeline):
        if isinstance(part, NeighborsBase) and getattr(part, "_fit_method", None) in SEARCH_TREES:
            part._tree = SEARCH_TREES[part._fit_method](  # noqa: SLF001
                part._fit_X,  # noqa: SLF001
                part.leaf_size,
                metric=part.effective_metric_,
                **part.effective_metric_params_,
            )
    return pipeline


# -- what the parts are ----------------------------------------------------------------------------------------------


def _parts(root: Any) -> Iterator[tuple[Any, int]]:
    """Yield everything inside a fitted object, each with the number of columns that the estimators around it check.

    It is the least of theirs, and 0 where none of them checks any.
    """
    seen: set[tuple[int, int | None]] = set()
    waiting: list[tuple[Any, int | None]] = [(root, None)]
    while waiting:
        part, width = waiting.pop()
        if isinstance(part, BaseEstimator) and not isinstance(part, Pipeline):
            own = vars(part).get("n_features_in_")
            if type(own) is int:
                width = own if width is None else min(width, own)
        if (id(part), width) in seen or isinstance(part, (str, bytes, int, float)) or part is None:
            continue
        seen.add((id(part), width))
        yield part, width or 0
        waiting += [(one, width) for one in _inside(part)]


def _inside(part: Any) -> list[Any]:
    if isinstance(part, dict):
        return list(part.values())
    if isinstance(part, (list, tuple)):
        return list(part)
    if isinstance(part, np.ndarray):
        return list(part.flat) if part.dtype.hasobject else []
    return list(vars(part).values()) if hasattr(part, "__dict__") else []


def _require(holds: Any, problem: str) -> None:
    if not holds:
        raise ValueError(problem)
