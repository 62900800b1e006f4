"""How much a feature matters to a model that cannot say so itself: by what is lost when the feature is shuffled."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from backtester_model_core.typing import FloatArray, IntArray

N_ROWS = 2000
N_SHUFFLES = 3


def permutation_importance(
    predict: Callable[[FloatArray, IntArray], FloatArray],
    features: FloatArray,
    target: FloatArray | IntArray,
    *,
    n_classes: int | None,
    seed: int | None = None,
    ends: IntArray | None = None,
) -> FloatArray:
    """Return (p,) how much worse shuffling each feature makes a model, or 0 where it does not.

    It is the rise of the mean squared error (of the probabilities, for a classifier) over three seeded shuffles, on
    at most 2,000 of the rows, evenly spread: Breiman (2001), Random Forests, Machine Learning 45, section 10.

    Args:
        predict: From (N, p) features and positions of rows to an answer for each of these rows.
        features: (N, p) rows, as an adapter is given them.
        target: (m,) class positions or values.
        n_classes: Number of classes; ``None`` for regression.
        seed: Seed of the shuffles.
        ends: (m,) positions of the rows that the target belongs to; ``None`` for every row.
    """
    answered = np.arange(len(features)) if ends is None else ends
    chosen = np.linspace(0, len(answered) - 1, min(len(answered), N_ROWS)).astype(np.int64)
    outcome = target[chosen] if n_classes is None else np.eye(n_classes)[target[chosen]]

    def error(rows: FloatArray) -> float:
        return float(np.mean((predict(rows, answered[chosen]) - outcome) ** 2))

    rng = np.random.default_rng(seed)
    plain = error(features)
    importance = np.zeros(features.shape[1])
    for column in range(features.shape[1]):
        shuffled = features.copy()
        rises = []
        for _ in range(N_SHUFFLES):
            shuffled[:, column] = rng.permutation(features[:, column])
            rises.append(error(shuffled) - plain)
        importance[column] = max(float(np.mean(rises)), 0.0)
    return importance
