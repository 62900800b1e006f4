"""Calibration by the nondecreasing step function that fits best, its steps' middles joined by lines."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from math import isnan

import numpy as np

from backtester_model_core.calibration.kinds import CALIBRATORS, CalibratorKind
from backtester_model_core.exceptions import ArtifactError
from backtester_model_core.typing import FloatArray, IntArray

N_NEEDED = 1_000


@dataclass(frozen=True, eq=False)
class Isotonic:
    """A nondecreasing line through knots, level beyond the first and the last.

    Attributes:
        said: (m,) ascending probabilities that the model said.
        came: (m,) nondecreasing shares that came true.
    """

    said: FloatArray
    came: FloatArray

    def __call__(self, probability: FloatArray) -> FloatArray:
        """Return (n,) calibrated probabilities; NaN stays NaN."""
        return np.asarray(np.interp(probability, self.said, self.came), dtype=np.float64)

    def of_one(self, probability: float) -> float:
        """Return one calibrated probability."""
        said, came = self._knots
        if isnan(probability):
            return probability
        after = bisect_right(said, probability)
        if after == 0:
            return came[0]
        if after == len(said):
            return came[-1]
        slope = (came[after] - came[after - 1]) / (said[after] - said[after - 1])
        return slope * (probability - said[after - 1]) + came[after - 1]

    def to_arrays(self) -> Mapping[str, FloatArray]:
        """Return the knots."""
        return {"said": self.said, "came": self.came}

    def describe(self) -> Mapping[str, float]:
        """Return how many knots there are, and the lowest and highest share."""
        return {
            "n_knots": float(len(self.said)),
            "lowest": float(self.came[0]),
            "highest": float(self.came[-1]),
        }

    @cached_property
    def _knots(self) -> tuple[list[float], list[float]]:
        """The knots as Python has them: a single look-up in an array costs ten times as much."""
        return list(map(float, self.said)), list(map(float, self.came))


def fit_isotonic(probability: FloatArray, rose: FloatArray) -> Isotonic:
    """Fit by pooling adjacent violators (Ayer et al. 1955), centred (Oron & Flournoy 2017).

    Each pooled block is one knot, at the mean of what was said in it: joined by lines, such knots lie closer to a
    smooth truth than steps do. Shares stay 1/(n + 2) away from 0 and 1, so that no outcome is called impossible.
    """
    said, position, counts = np.unique(probability, return_inverse=True, return_counts=True)
    n_rows, n_rose = counts.astype(np.float64), np.bincount(position, weights=rose).astype(np.float64)
    starts = _pooled_starts(n_rose, n_rows)
    in_block = np.add.reduceat(n_rows, starts)
    share = np.add.reduceat(n_rose, starts) / in_block
    room = 1 / (len(probability) + 2)
    centre = np.add.reduceat(said * n_rows, starts) / in_block
    return Isotonic(centre, np.clip(share, room, 1 - room))


def restore_isotonic(arrays: Mapping[str, FloatArray]) -> Isotonic:
    """Read the knots back, and refuse what does not rise.

    Raises:
        ArtifactError: When they are no knots of a nondecreasing line between 0 and 1.
    """
    said, came = arrays.get("said"), arrays.get("came")
    if (
        set(arrays) != {"said", "came"}
        or said is None
        or came is None
        or said.ndim != 1
        or len(said) == 0
        or said.shape != came.shape
        or (np.diff(said) <= 0).any()
        or (np.diff(came) < 0).any()
        or not 0 < came[0] <= came[-1] < 1
    ):
        raise ArtifactError.refused("The calibrator", "its knots are not those of a line that rises")
    return Isotonic(said, came)


def _pooled_starts(total: FloatArray, weight: FloatArray) -> IntArray:
    """Return the first position of each block, after merging neighbours until the blocks' means rise."""
    starts: list[int] = []
    sums: list[float] = []
    weights: list[float] = []
    for position, (value, rows) in enumerate(zip(total.tolist(), weight.tolist(), strict=True)):
        start = position
        while sums and sums[-1] * rows >= value * weights[-1]:
            value, rows, start = value + sums.pop(), rows + weights.pop(), starts.pop()  # noqa: PLW2901
        starts.append(start)
        sums.append(value)
        weights.append(rows)
    return np.asarray(starts, dtype=np.int64)


CALIBRATORS.add("isotonic", CalibratorKind(fit_isotonic, restore_isotonic, N_NEEDED))
