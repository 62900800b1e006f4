"""Arrays as plain data, for states that go through JSON."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from backtester_model_core.typing import FloatArray


def plain_numbers(array: FloatArray) -> list[float | None]:
    """Return numbers as plain data, row after row; ``None`` for what is not a number."""
    return [value if np.isfinite(value) else None for value in array.ravel().tolist()]


def numbers_of(plain: Sequence[float | None], *, n_columns: int) -> FloatArray:
    """Read what :func:`plain_numbers` returned, as rows of so many columns."""
    return np.array(plain, dtype=np.float64).reshape(-1, n_columns)


def plain_arrays(arrays: Mapping[str, FloatArray]) -> dict[str, Any]:
    """Return named arrays as plain data."""
    return {
        name: {"shape": list(array.shape), "values": plain_numbers(array)} for name, array in arrays.items()
    }


def arrays_of(plain: Mapping[str, Any]) -> dict[str, FloatArray]:
    """Read what :func:`plain_arrays` returned."""
    return {
        name: np.array(each["values"], dtype=np.float64).reshape(each["shape"])
        for name, each in plain.items()
    }
