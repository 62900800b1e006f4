"""What the training rows looked like: the distribution that live rows are compared with, as small arrays."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

import numpy as np

from backtester_model_core.config import MonitoringConfig
from backtester_model_core.exceptions import ArtifactError
from backtester_model_core.monitoring.drift import MEASURES, FeatureMeasure, JointMeasure, Yardstick
from backtester_model_core.monitoring.histogram import N_BINS, Bins, Histogram
from backtester_model_core.typing import FloatArray, IntArray, TimeArray

MAX_ROWS = 3_000
"""Training rows that a reference is made of, evenly spread in time."""

MAX_SAMPLE = 1_000
"""Training rows that are kept, evenly spread in time, for measures that want rows."""

MIN_WINDOWS = 5
"""Windows that the training rows must hold, so that it is known how much windows differ by themselves."""

GOLDEN = (5**0.5 - 1) / 2

MAX_JOINT_WINDOWS = 16
"""Windows of the training rows that a joint measure is tried on."""


def evenly_spread(n: int, *, at_most: int) -> IntArray | slice:
    """Return which of n rows to keep: all, or so many, one of each equal stretch.

    Where in its stretch a row lies follows the multiples of the golden ratio, so that a panel's symbols take turns.
    """
    if n <= at_most:
        return slice(None)
    turn = np.arange(at_most)
    return np.asarray((turn + turn * GOLDEN % 1) * (n / at_most), dtype=np.int64)


@dataclass(frozen=True, eq=False)
class TrainingRows:
    """Training rows as they are put aside at a training, at almost no cost, until somebody asks for the reference.

    Attributes:
        columns: Names of the p features.
        values: (n, p) features, in order of time.
        known_at: (n,) their instants.
    """

    columns: tuple[str, ...]
    values: FloatArray
    known_at: TimeArray

    @classmethod
    def of(
        cls,
        columns: tuple[str, ...],
        values: FloatArray,
        known_at: TimeArray,
        *,
        rows: IntArray | None = None,
    ) -> Self:
        """Copy rows, all or the given positions, thinned evenly where they are many."""
        chosen = evenly_spread(len(values if rows is None else rows), at_most=MAX_ROWS)
        if rows is not None:
            chosen = rows[chosen]
        return cls(columns, values[chosen].copy(), known_at[chosen].copy())


@dataclass(frozen=True, eq=False)
class Reference:
    """The distribution of each feature over the training rows, and how much windows of them differ by themselves.

    Attributes:
        columns: Names of the p features.
        histogram: The training rows in bins of their own quantiles.
        missing: (p,) share of values that are not known.
        ties: (p,) share of values that are there more than once; near 1 for a feature that stands still by nature.
        sample: (m, p) complete training rows, evenly spread in time.
        window: Decision times of a window, a multiple of ``check_every``; 0 when there were too few for drift.
        n_times: Decision times of the training rows.
        usual: For each measure what its distances usually are, (2, p), or (2, 1) for a joint measure: the mean of
            their squares and its degrees of freedom.
    """

    columns: tuple[str, ...]
    histogram: Histogram
    missing: FloatArray
    ties: FloatArray
    sample: FloatArray
    window: int
    n_times: int
    usual: Mapping[str, FloatArray]

    @classmethod
    def of(cls, rows: TrainingRows, settings: MonitoringConfig) -> Self:
        """Describe training rows.

        Raises:
            ConfigError: When a measure is not registered.
        """
        values = rows.values
        known = np.isfinite(values)
        bins = Bins.of(values)
        starts = np.flatnonzero(np.append(True, rows.known_at[1:] != rows.known_at[:-1]))
        time = np.repeat(np.arange(len(starts)), np.diff(np.append(starts, len(values))))
        n_times, every = len(starts), settings.check_every
        n_stretches = n_times // every
        # The oldest times that do not fill a stretch are left out of the stretches.
        skipped = n_times - n_stretches * every
        stretches = bins.count(
            values[time >= skipped],
            stretch=(time[time >= skipped] - skipped) // every,
            n_stretches=n_stretches,
        )
        per_window = min(settings.window, n_times // MIN_WINDOWS) // every
        complete = values[known.all(axis=1)]
        sample = complete[evenly_spread(len(complete), at_most=MAX_SAMPLE)]
        whole = Histogram(bins, stretches.counts.sum(axis=0), stretches.beyond.sum(axis=0))
        usual = {}
        if per_window:
            share = per_window * every / n_times
            usual = {
                name: _usual(name, whole, stretches.rolled(per_window), sample, share)
                for name in settings.measures
            }
        return cls(
            columns=rows.columns,
            histogram=whole,
            missing=1 - known.mean(axis=0),
            ties=_ties(values),
            sample=sample,
            window=per_window * every,
            n_times=n_times,
            usual=usual,
        )

    @property
    def bins(self) -> Bins:
        """Quantiles and range of each feature."""
        return self.histogram.bins

    @property
    def joint_size(self) -> int:
        """Rows of the sample that make as long a window as the live one."""
        return max(2, round(self.window / self.n_times * len(self.sample)))

    @property
    def fingerprint(self) -> str:
        """A digest of all that it says: equal for the references of one training."""
        digest = hashlib.sha256(repr(self.columns).encode())
        for name, array in sorted(self.to_arrays().items()):
            digest.update(name.encode() + np.ascontiguousarray(array).tobytes())
        return digest.hexdigest()

    def yardstick(self, measure: str) -> Yardstick:
        """Return how far is far, by one measure."""
        mean_square, degrees = self.usual[measure]
        return Yardstick(mean_square, degrees, self.n_times / self.window, MEASURES[measure].power)

    # -- as plain arrays --------------------------------------------------------------------------------------------

    def to_arrays(self) -> dict[str, FloatArray]:
        """Return everything as arrays of numbers, by name."""
        return {
            "edges": self.histogram.bins.edges,
            "range": np.stack([self.histogram.bins.low, self.histogram.bins.high]),
            "counts": self.histogram.counts,
            "beyond": self.histogram.beyond,
            "missing": self.missing,
            "ties": self.ties,
            "sample": self.sample,
            "extent": np.array([self.window, self.n_times], dtype=np.float64),
            **{f"usual_{name}": usual for name, usual in self.usual.items()},
        }

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, np.ndarray[Any, Any]], *, columns: tuple[str, ...]) -> Self:
        """Read what :meth:`to_arrays` returned.

        Raises:
            ArtifactError: When the arrays are not those of a reference for these features.
        """
        p, usual = len(columns), {name: array for name, array in arrays.items() if name.startswith("usual_")}
        wanted = {
            "edges": (N_BINS - 1, p),
            "range": (2, p),
            "counts": (N_BINS, p),
            "beyond": (2, p),
            "missing": (p,),
            "ties": (p,),
            "extent": (2,),
        }
        shapes = {name: array.shape for name, array in arrays.items()}
        sample = shapes.pop("sample", ())
        fits = {name: shape for name, shape in shapes.items() if name not in usual} == wanted
        fits &= sample[1:] == (p,) and all(each.shape in {(2, p), (2, 1)} for each in usual.values())
        fits &= all(array.dtype == np.float64 for array in arrays.values())
        if not fits or not _is_sound(arrays, usual):
            raise ArtifactError.refused(
                "The reference of the training rows", f"its arrays do not belong together: {shapes}"
            )
        bins = Bins(arrays["edges"], *arrays["range"])
        window, n_times = (int(number) for number in arrays["extent"])
        return cls(
            columns=columns,
            histogram=Histogram(bins, arrays["counts"], arrays["beyond"]),
            missing=arrays["missing"],
            ties=arrays["ties"],
            sample=arrays["sample"],
            window=window,
            n_times=n_times,
            usual={name.removeprefix("usual_"): each for name, each in usual.items()},
        )


def _is_sound(arrays: Mapping[str, FloatArray], usual: Mapping[str, FloatArray]) -> bool:
    """Say whether numbers are what they stand for: finite, in order, not negative."""
    window, n_times = arrays["extent"]
    plain = [
        arrays[name] for name in ("edges", "range", "counts", "beyond", "missing", "ties", "extent", "sample")
    ]
    return bool(
        all(np.isfinite(array).all() for array in plain)
        and (np.diff(arrays["edges"], axis=0) >= 0).all()
        and (arrays["range"][0] <= arrays["range"][1]).all()
        and all((arrays[name] >= 0).all() for name in ("counts", "beyond", "missing", "ties", "extent"))
        and 0 <= window * MIN_WINDOWS <= n_times
        and (window > 0) >= bool(usual)
        and not any((each <= 0).any() for each in usual.values())
    )


def _usual(name: str, whole: Histogram, windows: Histogram, sample: FloatArray, share: float) -> FloatArray:
    """Measure what windows that hold a share of the training rows show against all of them."""
    measure = MEASURES[name]
    if isinstance(measure, FeatureMeasure):
        distances = measure.distance(whole, windows)
        distances = np.where(whole.bins.varies, distances, np.nan)
    else:
        distances = _joint_distances(measure, sample, share)
    found = Yardstick.of(distances, power=measure.power, n_windows=1 / share)
    return np.stack([found.mean_square, found.degrees])


def _joint_distances(measure: JointMeasure, sample: FloatArray, share: float) -> FloatArray:
    """Measure windows of the sample against the rest of it."""
    size = max(2, round(share * len(sample)))
    n_windows = min(MAX_JOINT_WINDOWS, len(sample) // size)
    starts = np.linspace(0, len(sample) - size, n_windows).astype(np.int64)
    return np.array(
        [
            [
                measure.distance(
                    np.delete(sample, slice(start, start + size), axis=0), sample[start : start + size]
                )
            ]
            for start in starts
        ]
    )


def _ties(values: FloatArray) -> FloatArray:
    """Return (p,) the share of values, of at most 1,000, that equal another one."""
    some = np.sort(values[evenly_spread(len(values), at_most=MAX_SAMPLE)], axis=0)
    return (
        np.asarray((np.diff(some, axis=0) == 0).mean(axis=0)) if len(some) > 1 else np.zeros(values.shape[1])
    )
