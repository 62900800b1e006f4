"""Fast answers to one row, which adapters share: linear scores, and what becomes of scores."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from operator import mul, sub
from typing import TypeAlias

import numpy as np

from backtester_model_core.typing import FloatArray, IntArray, RowStep

Link: TypeAlias = Callable[[list[float]], float | list[float]]
"""From the scores of one row to the answer: a value, or the probability of each class."""


# -- links -------------------------------------------------------------------------------------------------------


def value_link(scores: list[float]) -> float:
    """Return the only score, which is the value."""
    return scores[0]


def exponential_link(scores: list[float]) -> float:
    """Return the exponential of the only score."""
    return math.exp(scores[0])


def logistic_link(scores: list[float]) -> list[float]:
    """Return the probabilities of two classes from the score of the second against the first."""
    probability = expit(scores[0])
    return [1.0 - probability, probability]


def softmax_link(scores: list[float]) -> list[float]:
    """Return the probability of each class from its score."""
    largest = max(scores)
    odds = [math.exp(score - largest) for score in scores]
    total = sum(odds)
    return [one / total for one in odds]


def reference_link(scores: list[float]) -> list[float]:
    """Return the probability of each class from the scores of all but the first against it."""
    return softmax_link([0.0, *scores])


def expit(score: float) -> float:
    """Return ``1 / (1 + exp(-score))``, also where the exponential would not be finite."""
    if score >= 0.0:
        return 1.0 / (1.0 + math.exp(-score))
    odds = math.exp(score)
    return odds / (1.0 + odds)


# -- steps -------------------------------------------------------------------------------------------------------


def linear_step(
    weights: FloatArray, intercepts: FloatArray, link: Link, *, centre: FloatArray | None = None
) -> RowStep:
    """Return a step for scores that are weighted sums: ``link(intercepts + weights (row - centre))``.

    A centre near the rows keeps the digits that differences of large numbers would lose.

    Args:
        weights: (k, p) weights of k scores.
        intercepts: (k,) the scores at the centre.
        link: From the k scores to the answer.
        centre: (p,) what is subtracted from each row; nothing by default.
    """
    rows = [tuple(row) for row in weights.tolist()]
    constants = intercepts.tolist()
    middle = None if centre is None or not centre.any() else tuple(centre.tolist())
    if len(rows) == 1:
        return _one_score(rows[0], constants[0], link, middle)

    def answer(row: Sequence[float]) -> float | Sequence[float]:
        away = row if middle is None else list(map(sub, row, middle))
        return link(
            [sum(map(mul, one, away), constant) for one, constant in zip(rows, constants, strict=True)]
        )

    return answer


def _one_score(
    weights: tuple[float, ...], constant: float, link: Link, centre: tuple[float, ...] | None
) -> RowStep:
    if centre is None:
        return lambda row: link([sum(map(mul, weights, row), constant)])
    return lambda row: link([sum(map(mul, weights, map(sub, row, centre)), constant)])


def among_all_classes_step(step: RowStep, *, seen: IntArray, n_classes: int) -> RowStep:
    """Put the probabilities that a step gives to the classes at ``seen`` among those of all classes."""
    places = np.asarray(seen).tolist()
    if len(places) == n_classes:
        return step

    def answer(row: Sequence[float]) -> list[float]:
        whole = [0.0] * n_classes
        for place, probability in zip(places, step(row), strict=True):  # type: ignore[arg-type]  # of a classifier
            whole[place] = probability
        return whole

    return answer
