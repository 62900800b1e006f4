"""How long predictions take, and how much memory the process holds."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

N_KEPT = 1_000
"""Predictions whose time is remembered."""

STATM = Path("/proc/self/statm")


class Latency:
    """The times of the last 1,000 predictions."""

    def __init__(self) -> None:
        self._seconds: list[float] = []
        self._next = 0

    def __len__(self) -> int:
        return len(self._seconds)

    def add(self, seconds: float) -> None:
        """Remember how long one prediction took."""
        if len(self._seconds) < N_KEPT:
            self._seconds.append(seconds)
        else:
            self._seconds[self._next] = seconds
            self._next = (self._next + 1) % N_KEPT

    def figures(self) -> dict[str, float]:
        """Return the median, the 95th and the 99th percentile in seconds, NaN before any prediction."""
        if not self._seconds:
            return dict.fromkeys(("p50", "p95", "p99"), float("nan"))
        found = np.quantile(self._seconds, (0.5, 0.95, 0.99))
        return dict(zip(("p50", "p95", "p99"), found.tolist(), strict=True))

    def snapshot(self) -> dict[str, Any]:
        """Return the state as plain data."""
        return {"seconds": list(self._seconds), "next": self._next}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Go on from a state that :meth:`snapshot` returned."""
        self._seconds = [float(one) for one in state["seconds"]]
        self._next = int(state["next"])


def process_bytes() -> float:
    """Return the memory that the process holds now; NaN where the system does not tell."""
    if not STATM.exists():
        return float("nan")
    import resource

    return float(STATM.read_text().split()[1]) * resource.getpagesize()
