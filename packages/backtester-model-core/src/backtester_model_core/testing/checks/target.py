"""The check for the target among the features."""

from __future__ import annotations

import re

import numpy as np
import pandas as pd

from backtester_model_core.testing.leak import Leak
from backtester_model_core.typing import BoolArray, FloatArray

RESERVED = re.compile(
    r"(?i)^(y|target|labels?|label_end|outcome|answer)([_.]?\d+)?$"
    r"|(^|_)(target|label|forward|future|fwd|lead|tomorrow|next)(_|$)"
)
"""Names that say that a column holds what is to be foreseen."""

LIMIT = 0.95
COPY = 1 - 1e-9
MIN_ROWS = 30


def find_target_leaks(
    features: pd.DataFrame,
    target: pd.Series[float],
    *,
    known_after_bars: int = 2,
    limit: float = LIMIT,
    max_shift: int = 5,
) -> list[Leak]:
    """Look for the target among the features: by name, by association, and by copies shifted in time (T9).

    A column is reported when its name says that it holds the outcome; when its correlation or rank correlation
    with the target, or with a later row's target, is at least ``limit`` in size; when it separates one class
    from the others as well (area under the curve); and when it is a linear copy of an earlier row's target
    that was not known yet. Cannot find a leak that is diluted below the limit or bent beyond a monotone
    curve, and reports a clean column where the target really is that predictable. Takes milliseconds a column.

    Args:
        features: (n, p) features of one symbol, in time order, or of a panel.
        target: (n,) target on the same index; NaN where unknown.
        known_after_bars: Bars after which a row's label is known: ``horizon + 1`` where the exit is an open,
            ``horizon`` where it is a close.
        limit: Correlation from which a column is reported; for the area under the curve, its equivalent.
        max_shift: Rows by which later targets are compared.
    """
    leaks: list[Leak] = []
    is_panel = isinstance(target.index, pd.MultiIndex)
    ranked_features = features.rank()
    for shift in range(-max_shift, known_after_bars):
        # at a row, shift 0 is its own target, below zero that of a later row, above zero of an earlier one
        other = target.groupby(level="symbol").shift(shift) if is_panel else target.shift(shift)
        for name in features.columns:
            column = features[name].to_numpy(dtype=np.float64)
            outcome = other.to_numpy(dtype=np.float64)
            kept = np.isfinite(column) & np.isfinite(outcome)
            if kept.sum() < MIN_ROWS:
                continue
            message = (
                _copied(column[kept], outcome[kept])
                if shift > 0
                else _associated(column[kept], ranked_features[name].to_numpy()[kept], outcome[kept], limit)
            )
            if message:
                whose = {0: "the row's target"}.get(shift, f"the target {abs(shift)} rows {_side(shift)}")
                leaks.append(Leak("target", str(name), features.index[kept][0], None, f"{message} {whose}"))
    named = [str(name) for name in features.columns if RESERVED.search(str(name))]
    return leaks + [Leak("target", name, None, None, "its name is that of an outcome") for name in named]


def _side(shift: int) -> str:
    return "later" if shift < 0 else "earlier, before it was known,"


def _copied(column: FloatArray, outcome: FloatArray) -> str:
    """Say whether a column is a linear copy; two classes of neighbouring rows may agree by chance."""
    if len(np.unique(outcome)) <= 5:
        return ""
    found = _correlation(column, outcome)
    return f"copies, with correlation {found:.9f}," if abs(found) >= COPY else ""


def _associated(column: FloatArray, ranks: FloatArray, outcome: FloatArray, limit: float) -> str:
    linear = _correlation(column, outcome)
    if abs(linear) >= limit:
        return f"correlation {linear:.3f} with"
    monotone = _correlation(ranks, _ranks(outcome))
    if abs(monotone) >= limit:
        return f"rank correlation {monotone:.3f} with"
    classes = np.unique(outcome)
    if 2 <= len(classes) <= 5:
        for value in classes:
            area = _area_under_curve(column, outcome == value)
            if max(area, 1 - area) >= (1 + limit) / 2:
                return f"area under the curve {area:.3f} for the class {value:g} of"
    return ""


def _correlation(first: FloatArray, second: FloatArray) -> float:
    one, other = first - first.mean(), second - second.mean()
    size = float(np.sqrt((one**2).sum() * (other**2).sum()))
    return float((one * other).sum()) / size if size > 0 else 0.0


def _area_under_curve(column: FloatArray, is_class: BoolArray) -> float:
    """Return the share of pairs that a column orders rightly, ties counting half (Mann and Whitney 1947)."""
    n_in, n_out = int(is_class.sum()), int((~is_class).sum())
    if min(n_in, n_out) < 5:
        return 0.5
    ranks = _ranks(column)
    return float((ranks[is_class].sum() - n_in * (n_in + 1) / 2) / (n_in * n_out))


def _ranks(values: FloatArray) -> FloatArray:
    return np.asarray(pd.Series(values).rank(), dtype=np.float64)
