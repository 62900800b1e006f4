"""Probabilities of all classes in their fixed order: 0 for a class that no training row had."""

from __future__ import annotations

import numpy as np

from backtester_model_core.typing import BoolArray, FloatArray, IntArray


def softmax(scores: FloatArray, *, seen: BoolArray | None = None) -> FloatArray:
    """Turn (n, n_classes) scores into probabilities, 0 where a class was never seen."""
    scores = scores if seen is None else np.where(seen, scores, -np.inf)
    odds = np.exp(scores - scores.max(axis=1, keepdims=True))
    probability: FloatArray = odds / odds.sum(axis=1, keepdims=True)
    return probability


def among_all_classes(probability: FloatArray, *, seen: IntArray, n_classes: int) -> FloatArray:
    """Put (n, k) probabilities of the k classes at the positions ``seen`` among those of all classes."""
    if probability.shape[1] == n_classes:
        return probability
    whole = np.zeros((len(probability), n_classes))
    whole[:, seen] = probability
    return whole
