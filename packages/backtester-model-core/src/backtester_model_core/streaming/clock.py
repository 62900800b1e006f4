"""The times of the bars that a stream has taken: which is the latest, how many, and how far apart."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

from backtester_model_core.bars.panel import bar_spacing
from backtester_model_core.config import DataConfig
from backtester_model_core.exceptions import ModelError
from backtester_model_core.model import BaseModel

MISSING_SPACINGS = 10
MISSING_DAYS = 5
NANOSECONDS_A_DAY = 86_400 * 10**9
NEVER = -(2**63)


class BarClock:
    """Counts bar times, as UTC nanoseconds of their stamps.

    Args:
        stamps: How bars are stamped.
        like: A model whose training bars say how far apart bars are, where ``stamps`` does not.

    Raises:
        ModelError: When bars are stamped at their open and nobody says how long they take.
    """

    def __init__(self, stamps: DataConfig, *, like: BaseModel) -> None:
        self.is_stamped_at_close = stamps.bar_stamp == "close"
        known_at = None if like.trained_on is None else like.trained_on.known_at
        if stamps.frequency is not None:
            self.spacing = pd.Timedelta(stamps.frequency)
        elif known_at is not None and len(known_at) > 1:
            self.spacing = pd.Timedelta(bar_spacing(pd.DatetimeIndex(known_at)))
        elif not self.is_stamped_at_close:
            raise ModelError(
                "Bars stamped at their open are known one spacing later. Say how long a bar takes in "
                "data_config.frequency, such as '1D' or '1h'."
            )
        else:
            self.spacing = pd.Timedelta(0)
        self.offset = 0 if self.is_stamped_at_close else int(self.spacing.value)
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

    def settled(self, stamps: DataConfig) -> DataConfig:
        """Return how bars are stamped, with the spacing that is known by now."""
        if self.is_stamped_at_close:
            return stamps
        return stamps.model_copy(update={"frequency": f"{self.spacing // pd.Timedelta('1s')}s"})

    def snapshot(self) -> list[int]:
        """Return the state as plain data."""
        return [self.now, self.n_times, self._shortest, self._long_gap]

    def restore(self, snapshot: Sequence[int]) -> None:
        """Go on from a snapshot."""
        self.now, self.n_times, self._shortest, self._long_gap = snapshot
