"""Rows and sliding windows as a network takes them: one copy of the rows, and of windows only a batch at a time."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from backtester_model_core.scaling import Scaling
from backtester_model_core.typing import FloatArray, IntArray
from backtester_model_tf.backend import tf

MEASURED_ROWS = 1024
"""Rows of a batch when only the loss is wanted."""


@dataclass(frozen=True)
class Windows:
    """What a network is given, without a copy of any window until a batch asks for it.

    Attributes:
        rows: (n, p) rows.
        ends: (m,) position of each input's last row.
        steps: Rows of a window; ``None`` for rows one by one.
    """

    rows: FloatArray
    ends: IntArray
    steps: int | None

    @classmethod
    def of(cls, rows: FloatArray, *, steps: int | None, ends: IntArray | None) -> Windows:
        """Take rows one by one, or for each end the ``steps`` rows up to and with it; all rows where none is named."""
        return cls(rows, np.arange(len(rows)) if ends is None else np.asarray(ends, dtype=np.int64), steps)

    def __len__(self) -> int:
        return len(self.ends)

    def batch(self, first: int, size: int) -> FloatArray:
        """Return ``size`` inputs, (size, p) or (size, steps, p); the last one again where there are no more."""
        return self.rows[self._positions(self.ends[np.arange(first, first + size).clip(max=len(self) - 1)])]

    def _positions(self, ends: IntArray) -> IntArray:
        return ends if self.steps is None else ends[:, np.newaxis] + np.arange(1 - self.steps, 1)


def batches(
    windows: Windows,
    scaling: Scaling,
    target: NDArray[Any],
    weight: FloatArray | None,
    *,
    size: int,
    order: np.random.Generator | None = None,
    endless: bool = False,
) -> tuple[Any, int]:
    """Return a ``tf.data.Dataset`` of (inputs, target) or (inputs, target, weight), and its batches in one pass.

    Only the rows are held, standardised in single precision; each batch gathers its own windows. A last row that
    would stand alone joins the batch before it, because a batch of one has no variance to normalise by.

    Args:
        windows: (m) inputs.
        scaling: How their rows are standardised.
        target: (m,) class positions, or standardised values.
        weight: (m,) what each row counts, or ``None``.
        size: Rows of a batch.
        order: Gives every pass another order; ``None`` for that of the rows.
        endless: Whether a pass follows the other, which spares each epoch the start of a pipeline.
    """
    edges = [*range(size, len(windows) - 1, size)] if size > 1 else [*range(1, len(windows))]
    rows = tf.constant(scaling.apply(windows.rows))
    told = target.astype(np.float32) if target.dtype.kind == "f" else target.astype(np.int64)
    columns = [tf.constant(windows.ends), tf.constant(told)]
    if weight is not None:
        columns.append(tf.constant(weight.astype(np.float32)))
    offsets = None if windows.steps is None else tf.range(1 - windows.steps, 1, dtype=tf.int64)

    def orders() -> Iterator[IntArray]:
        for _ in itertools.count() if endless else range(1):
            places = np.arange(len(windows)) if order is None else order.permutation(len(windows))
            yield from np.split(places, edges)

    def gathered(chosen: Any) -> Any:
        ends, *rest = (tf.gather(column, chosen) for column in columns)
        inputs = tf.gather(rows, ends if offsets is None else ends[:, tf.newaxis] + offsets)
        return (inputs, *rest)

    signature = tf.TensorSpec((None,), tf.int64)
    places = tf.data.Dataset.from_generator(orders, output_signature=signature)
    return places.map(gathered, num_parallel_calls=1, deterministic=True).prefetch(1), len(edges) + 1
