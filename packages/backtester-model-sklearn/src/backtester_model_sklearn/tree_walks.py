"""What trees say of one row: by a compiled walk, or in plain Python by the bits of all their leaves at once."""

from __future__ import annotations

import struct
from bisect import bisect_left
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from backtester_model_core.compiled import compile_function
from backtester_model_core.typing import FloatArray, IntArray

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


LEAVES = 16_384
"""Leaves from which on trees no longer share one integer: what is kept grows with their square."""

MOST_BYTES = 150_000_000
"""What may be kept for trees that are answered by the bits of their leaves."""


# -- compiled -----------------------------------------------------------------------------------------------------


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


def compiled_walk(trees: Trees, n_features: int) -> Callable[[Sequence[float]], list[float]]:
    """Walk by compiled code; the core's extra ``fast`` must be installed."""
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


# -- plain --------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Grove:
    """Some trees whose leaves are the bits of one integer, tree by tree and from left to right.

    A node that sends a row to the right rules out the leaves to its left. Whatever the order in which nodes are asked,
    the leaf that a row falls into is then the leftmost of its tree that is not ruled out (Lucchese, Nardini, Orlando,
    Perego, Tonellotto & Venturini 2015). So all nodes of a column are answered by one search.

    Attributes:
        columns: Each column that is looked at, its thresholds in order, and of as many as a value exceeds the leaves
            that are left.
        all_leaves: Every bit.
        first_leaves: The leftmost of each tree.
        values: (n_leaves, width) what a leaf adds to the scores.
    """

    columns: list[tuple[int, list[float], list[int]]]
    all_leaves: int
    first_leaves: int
    values: FloatArray

    def reached(self, row: Sequence[float]) -> FloatArray:
        """Return the (n_trees, width) values of the leaves that a row falls into, in the order of the trees."""
        left = self.all_leaves
        for column, thresholds, remaining in self.columns:
            left &= remaining[bisect_left(thresholds, row[column])]
        leftmost = left ^ (left & (left - self.first_leaves))  # each tree has a leaf left, so none borrows
        octets = np.frombuffer(leftmost.to_bytes(-(-len(self.values) // 8), "little"), np.uint8)
        leaves = np.unpackbits(octets, bitorder="little").view(np.bool_).nonzero()[0]
        return self.values.take(leaves, axis=0)


def plain_walk(trees: Trees) -> Callable[[Sequence[float]], list[float]]:
    """Answer by the bits of the leaves, or node by node where these would take more than ``MOST_BYTES``."""
    n_inner, n_leaves = _counts(trees)
    if n_inner * min(n_leaves, LEAVES) // 8 > MOST_BYTES:
        return _node_by_node(trees)
    groves, base = list(_groves(trees)), trees.base

    def answer(row: Sequence[float]) -> list[float]:
        scores = base
        for grove in groves:
            scores = scores + grove.reached(row).reshape(-1, len(base)).sum(axis=0)
        answered: list[float] = scores.tolist()
        return answered

    return answer


def _node_by_node(trees: Trees) -> Callable[[Sequence[float]], list[float]]:
    """Walk from each root to a leaf."""
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


def _groves(trees: Trees) -> Iterator[_Grove]:
    """Put trees together, one behind the other, until they have more than ``LEAVES``."""
    in_a_round = len(trees.base) // trees.values.shape[1]  # trees that add to different scores stay together
    roots = trees.roots.reshape(-1, in_a_round)
    order: list[int] = []
    inner: list[tuple[int, int, int]] = []
    first_leaves = 0
    for number, these in enumerate(roots.tolist(), start=1):
        for root in these:
            first_leaves |= 1 << len(order)
            _enter(root, trees.children, order, inner)
        if len(order) > LEAVES or number == len(roots):
            yield _grove(trees, order, inner, first_leaves)
            order, inner, first_leaves = [], [], 0


def _enter(root: int, children: IntArray, order: list[int], inner: list[tuple[int, int, int]]) -> None:
    """Add a tree's leaves from left to right, and its inner nodes, each with the stretch of leaves to its left."""
    waiting = [(root, -1)]
    while waiting:
        node, first = waiting.pop()
        left, right = children[2 * node : 2 * node + 2].tolist()
        if first >= 0:  # all to its left has been entered
            inner.append((node, first, len(order)))
        elif left == node:
            order.append(node)
        else:
            waiting += [(right, -1), (node, len(order)), (left, -1)]


def _grove(
    trees: Trees, order: Sequence[int], inner: Sequence[tuple[int, int, int]], first_leaves: int
) -> _Grove:
    """Find out which leaves are left by how many thresholds of a column a value exceeds."""
    all_leaves = (1 << len(order)) - 1
    by_threshold = sorted(inner, key=lambda one: trees.thresholds[one[0]])
    columns: dict[int, tuple[list[float], list[int]]] = {}
    for node, first, stop in by_threshold:
        thresholds, remaining = columns.setdefault(int(trees.features[node]), ([], [all_leaves]))
        thresholds.append(float(trees.thresholds[node]))
        remaining.append(remaining[-1] & ~((1 << stop) - (1 << first)))
    named = [(column, *found) for column, found in columns.items()]
    return _Grove(named, all_leaves, first_leaves, trees.values[list(order)])


def _counts(trees: Trees) -> tuple[int, int]:
    """Return the numbers of inner nodes and of leaves."""
    n_leaves = int((trees.children[::2] == np.arange(len(trees.features))).sum())
    return len(trees.features) - n_leaves, n_leaves
