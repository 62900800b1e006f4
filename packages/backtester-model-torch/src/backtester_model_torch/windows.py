"""Rows as a network takes them, and sliding windows that are views of those rows."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from backtester_model_core.typing import IntArray


@dataclass(frozen=True)
class Inputs:
    """What a network is given, without a copy of any window until a batch asks for it.

    Attributes:
        windows: (n, p) rows, or (n - steps + 1, steps, p) overlapping windows that share the rows' memory.
        starts: (m,) position of each input in ``windows``.
    """

    windows: Tensor
    starts: Tensor

    @classmethod
    def of(cls, rows: Tensor, *, steps: int | None, ends: IntArray | None) -> Inputs:
        """Take rows one by one, or for each end the ``steps`` rows up to and with it.

        Args:
            rows: (n, p) rows.
            steps: Rows of a window; ``None`` for rows one by one.
            ends: (m,) positions of each input's last row; ``None`` for every row.
        """
        last = torch.arange(len(rows)) if ends is None else torch.from_numpy(np.array(ends, dtype=np.int64))
        last = last.to(rows.device)
        if steps is None:
            return cls(rows, last)
        return cls(rows.unfold(0, steps, 1).transpose(1, 2), last - (steps - 1))

    def __len__(self) -> int:
        return len(self.starts)

    def batch(self, chosen: Tensor) -> Tensor:
        """Return the inputs at some positions, (b, p) or (b, steps, p): the only copy."""
        return self.windows.index_select(0, self.starts[chosen])
