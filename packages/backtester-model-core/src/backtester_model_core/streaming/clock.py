"""The times of the bars that a stream has taken: which is the latest, how many, and how far apart."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

MISSING_SPACINGS = 10
MISSING_DAYS = 5
NANOSECONDS_A_DAY = 86_400 * 10**9
NEVER = -(2**63)


class BarClock:
    """Counts bar times, as UTC nanoseconds of their stamps.

    Args:
        frequency: Spacing of the bars; the shortest distance between two times when not given.
        is_stamped_at_close: Whether a bar is known at its stamp, or one spacing later.
    """

    def __init__(self, *, frequency: str | None, is_stamped_at_close: bool) -> None:
        self._frequency = None if frequency is None else pd.Timedelta(frequency)
        self.is_stamped_at_close = is_stamped_at_close
        self.reset()

    def reset(self) -> None:
        """Begin again."""
        self.now = NEVER
        self.n_times = 0
        self._shortest = self._long_gap = 2**62

    def begin(self, at: int) -> None:
        """Take a later time."""
        distance = at - self.now
        if self.n_times and distance < self._shortest:
            self._shortest = distance
            self._long_gap = max(MISSING_SPACINGS * distance, MISSING_DAYS * NANOSECONDS_A_DAY)
        self.now = at
        self.n_times += 1

    def is_long(self, gap: int) -> bool:
        """Say whether bars are missing in a gap: ten spacings are, if they are more than five days."""
        return gap > self._long_gap

    @property
    def spacing(self) -> pd.Timedelta:
        """How long a bar takes."""
        return pd.Timedelta(self._shortest, "ns") if self._frequency is None else self._frequency

    @property
    def offset(self) -> int:
        """Nanoseconds from a bar's stamp to the instant at which it is known."""
        return 0 if self.is_stamped_at_close else int(self.spacing.value)

    def snapshot(self) -> list[int]:
        """Return the state as plain data."""
        return [self.now, self.n_times, self._shortest, self._long_gap]

    def restore(self, snapshot: Sequence[int]) -> None:
        """Go on from a snapshot."""
        self.now, self.n_times, self._shortest, self._long_gap = snapshot
