"""Several claims side by side: each is a chance to be lucky, and p-values are raised to pay for that."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from backtester_model_core.evaluation.rows import float_columns, known_rows
from backtester_model_core.typing import FloatArray


def holm_adjusted(p_value: ArrayLike) -> FloatArray:
    """Return p-values adjusted by the step-down procedure of Holm (1979).

    Claims whose adjusted p-value is at most 5 % hold together: with a chance of 5 % at most, whatever the dependence
    between them, is any of them false. Of m claims the smallest p-value is multiplied by m, the next by m - 1 and so
    on; none may fall below one before it. A NaN, a claim that cannot be tested, stays NaN and is not counted.

    Example:
        >>> holm_adjusted([0.04, 0.01, 0.03]).tolist()
        [0.06, 0.03, 0.06]
    """
    (p,) = float_columns(p_value=p_value)
    adjusted = np.full(len(p), np.nan)
    tested = np.flatnonzero(known_rows(p))
    order = tested[np.argsort(p[tested], kind="stable")]
    factor = np.arange(len(order), 0, -1)
    adjusted[order] = np.minimum(np.maximum.accumulate(factor * p[order]), 1.0)
    return adjusted
