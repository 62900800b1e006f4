"""What a replay found: how much was compared, and what differs."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import pandas as pd


@dataclass(frozen=True)
class Difference:
    """One value that differs between the backtest and the stream.

    Attributes:
        at: Timestamp of the bar, as in the bars.
        symbol: Its symbol; empty for one symbol's plain frame.
        what: The bars' column, the feature, ``forecast``, ``signal`` or ``target_weight``.
        batch: The backtest's value.
        stream: The stream's.
    """

    at: pd.Timestamp
    symbol: str
    what: str
    batch: Any
    stream: Any

    def __str__(self) -> str:
        whose = f" of {self.symbol}" if self.symbol else ""
        return (
            f"{self.what} at {self.at}{whose}: {self.batch!r} in the backtest, {self.stream!r} in the stream"
        )


@dataclass
class ReplayReport:
    """What a replay found.

    Attributes:
        n_bars: Bars replayed.
        n_served: Rows that the backtest served.
        n_signals: Signals compared.
        tolerance: How far forecasts may differ, as a share of the largest.
        worst_forecast: How far they do.
        counts: Values that differ, by kind: ``bar``, ``feature``, ``forecast``, ``signal``, ``target_weight``.
        first: The first difference of each kind.
        at_threshold: Signals that differ because a score lies within the tolerance of a threshold; the first 20.
        n_at_threshold: How many there are.
    """

    tolerance: float
    n_bars: int = 0
    n_served: int = 0
    n_signals: int = 0
    worst_forecast: float = 0.0
    counts: dict[str, int] = field(default_factory=dict)
    first: dict[str, Difference] = field(default_factory=dict)
    at_threshold: list[Difference] = field(default_factory=list)
    n_at_threshold: int = 0

    @property
    def is_equal(self) -> bool:
        """Whether nothing differs but signals whose score lies at a threshold."""
        return not self.counts

    @property
    def n_not_compared(self) -> int:
        """How many served rows have no model, or no bar in the replay, so that no signal was compared."""
        return self.n_served - self.n_signals

    @property
    def sentence(self) -> str:
        """Say what was found."""
        compared = f"{self.n_signals:,} signals of {self.n_served:,} served rows"
        if not self.is_equal:
            kinds = ", ".join(
                f"{count:,} {kind}{'s' if count != 1 else ''}" for kind, count in self.counts.items()
            )
            earliest = min(self.first.values(), key=lambda difference: difference.at)
            return f"The stream differs from the backtest in {kinds}. First: {earliest}. Compared were {compared}."
        if not self.n_signals:
            return f"Nothing was compared: no model could be trained for any of the {self.n_served:,} served rows."
        excused = f", {self.n_at_threshold} of them at a threshold" if self.n_at_threshold else ""
        said = (
            f"The stream equals the backtest: {self.n_bars:,} bars, {compared}{excused}; forecasts "
            f"differ by at most {self.worst_forecast:.2g}."
        )
        if self.n_not_compared:
            said += (
                f" {self.n_not_compared:,} served rows were not compared: no model could be trained for them."
            )
        return said

    def note(self, kind: str, difference: Difference) -> None:
        """Count a difference, and keep it when it is the first of its kind."""
        self.counts[kind] = self.counts.get(kind, 0) + 1
        self.first.setdefault(kind, difference)
