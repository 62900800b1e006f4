"""What a calibrator is, and the kinds of calibrator by name."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from backtester_model_core.catalog import Catalog
from backtester_model_core.typing import FloatArray

NO_CALIBRATION = "none"
"""The name under which probabilities are left as they are."""

SMALLEST = 1e-6
"""Probabilities are moved this far away from 0 and 1 before their logarithm."""


class Calibrator(Protocol):
    """A fitted, frozen map from what a model says to how often that came true; it never turns the order round."""

    def __call__(self, probability: FloatArray) -> FloatArray:
        """Return (n,) calibrated probabilities, strictly between 0 and 1; NaN stays NaN."""

    def of_one(self, probability: float) -> float:
        """Return one calibrated probability, fast."""

    def to_arrays(self) -> Mapping[str, FloatArray]:
        """Return what was fitted, as arrays of finite numbers."""

    def describe(self) -> Mapping[str, float]:
        """Return the few figures that say what was fitted."""


@dataclass(frozen=True)
class CalibratorKind:
    """A way to calibrate, by name in :data:`CALIBRATORS`.

    Attributes:
        fit: From (n,) probabilities of a rise and (n,) whether it came, 1 or 0, to a calibrator.
        restore: From what ``to_arrays`` gave to the same calibrator; raises ``ArtifactError`` on anything else.
        n_needed: Independent rows (distinct decision times over the horizon) that a fit needs.
    """

    fit: Callable[[FloatArray, FloatArray], Calibrator]
    restore: Callable[[Mapping[str, FloatArray]], Calibrator]
    n_needed: int


CALIBRATORS: Catalog[CalibratorKind] = Catalog("calibrator")


@dataclass(frozen=True)
class Calibration:
    """What came of an attempt to calibrate.

    Attributes:
        kind: Name of the calibrator that was fitted; ``"none"`` where there is none.
        calibrator: What was fitted, if anything.
        message: What was fitted and on how many rows, or why nothing was.
        figures: The numbers of that.
    """

    kind: str
    calibrator: Calibrator | None
    message: str
    figures: Mapping[str, float]


def calibrator_kind(name: str) -> CalibratorKind | None:
    """Return the kind of calibrator of that name; ``None`` for ``"none"``.

    Raises:
        ConfigError: When there is none, with the nearest name.
    """
    return None if name == NO_CALIBRATION else CALIBRATORS[name]


def calibrate(name: str, probability: FloatArray, rose: FloatArray, *, n_independent: float) -> Calibration:
    """Fit a calibrator of a named kind to rows whose outcome is known, or say why none was fitted.

    Args:
        name: Name of the kind, or ``"none"``.
        probability: (n,) what was said, of a rise.
        rose: (n,) 1 where it came, 0 where it did not, NaN where neither can be said.
        n_independent: Distinct decision times over the horizon: outcomes that overlap count as one.
    """
    kind = calibrator_kind(name)
    usable = np.isfinite(probability) & np.isfinite(rose)
    p, came = probability[usable], rose[usable]
    figures = {"n_rows": float(len(p)), "n_independent": n_independent}
    rows = f"{len(p):,} rows worth {n_independent:,.0f} independent ones"
    if kind is None:
        return Calibration(NO_CALIBRATION, None, "not asked for", figures)
    if n_independent < kind.n_needed:
        reason = f"{rows} are too few for {name}, which needs {kind.n_needed:,}"
        return Calibration(NO_CALIBRATION, None, f"no calibration: {reason}", figures)
    if came.min() == came.max():
        return Calibration(NO_CALIBRATION, None, f"no calibration: {rows} all came out alike", figures)
    fitted = kind.fit(p, came)
    said = {name: round(value, 6) for name, value in fitted.describe().items()}
    what = ", ".join(f"{part} {value:.3g}" for part, value in said.items())
    low, high = fitted.of_one(float(p.min())), fitted.of_one(float(p.max()))
    upside_down = " (the order was upside down or absent: the base rate is said of every row)"
    message = f"{name} fitted to {rows}: {what}{upside_down if low == high else ''}"
    return Calibration(name, fitted, message, figures | said)
