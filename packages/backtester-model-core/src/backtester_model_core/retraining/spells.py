"""Lengths that are counted in sessions or measured in time."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import numpy as np

from backtester_model_core.splits.spans import time_span


@dataclass(frozen=True)
class Spell:
    """A length of so many sessions, or of so much time.

    Attributes:
        sessions: Number of sessions; ``None`` where it is a time.
        time: The time; ``None`` where sessions are counted.
    """

    sessions: int | None = None
    time: np.timedelta64 | None = None

    @classmethod
    def of(cls, size: int | str) -> Self:
        """Read a size as configurations have it: a number of sessions, or a span such as ``"365D"``."""
        return cls(time=time_span(size)) if isinstance(size, str) else cls(sessions=size)

    def is_reached(self, sessions: int, time: np.timedelta64) -> bool:
        """Say whether so many sessions, and so much time, are as long as this or longer."""
        return bool(self._beside(sessions, time) >= 0)

    def is_exceeded(self, sessions: int, time: np.timedelta64) -> bool:
        """Say whether they are longer than this."""
        return bool(self._beside(sessions, time) > 0)

    def __str__(self) -> str:
        """Say how long it is."""
        if self.time is not None:
            return f"{self.time / np.timedelta64(1, 'D'):g} days"
        return f"{self.sessions:,} session{'s' if self.sessions != 1 else ''}"

    def _beside(self, sessions: int, time: np.timedelta64) -> float:
        """Return how much longer than this they are, in either unit."""
        if self.time is not None:
            return float((time - self.time) / np.timedelta64(1, "ns"))
        return float(sessions - (self.sessions or 0))
