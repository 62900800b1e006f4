"""The array types that the rooms hand to each other."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

FloatArray: TypeAlias = NDArray[np.float64]
"""Numbers in double precision; NaN stands for *unknown*."""

IntArray: TypeAlias = NDArray[np.int64]
"""Row positions, offsets and codes."""

BoolArray: TypeAlias = NDArray[np.bool_]
"""Row masks."""

TimeArray: TypeAlias = NDArray[np.datetime64]
"""UTC instants as ``datetime64[ns]``; NaT stands for *not yet*."""

NativeModel: TypeAlias = Any
"""A framework's own model object, which only its adapter looks into."""

ModelFiles: TypeAlias = Mapping[str, bytes]
"""A trained model as data: the content of each file by its name."""

RowStep: TypeAlias = Callable[[Any], float | Sequence[float]]
"""What answers one row: a value, or the probability of each class; see ``ModelFrameworkAdapter.compile_step``."""

__all__ = ["BoolArray", "FloatArray", "IntArray", "ModelFiles", "NativeModel", "RowStep", "TimeArray"]
