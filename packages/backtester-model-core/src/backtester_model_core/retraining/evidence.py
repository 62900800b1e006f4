"""What is known at an instant about the model in force: all that a retraining policy may go by."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from math import nan

import numpy as np

from backtester_model_core.evaluation import mean_with_bound, skill_series
from backtester_model_core.events import EventKind
from backtester_model_core.exceptions import EvaluationError
from backtester_model_core.typing import BoolArray, FloatArray, TimeArray

NOT_YET = np.datetime64("NaT", "ns")


@dataclass(frozen=True)
class LiveScores:
    """How a model has done over the latest decision times whose outcome is known, and what came before them.

    Attributes:
        n: Decision times that were scored.
        skill: Mean of g = (y - b)(f - b) over them.
        skill_upper: Its upper 95 % bound; infinite where too little is known.
        accuracy: Share of rows whose side came true.
        reference: Mean of g over all scored decision times before them, whichever model foresaw; NaN without any.
        n_reference: Number of those.
        latest_used: Latest instant at which an outcome in these figures became known; NaT without any.
    """

    n: int = 0
    skill: float = nan
    skill_upper: float = float("inf")
    accuracy: float = nan
    reference: float = nan
    n_reference: int = 0
    latest_used: np.datetime64 = NOT_YET


@dataclass(frozen=True)
class Evidence:
    """What is known at an instant about the model in force.

    It is plain numbers, so that a walk-forward and a live stream can both fill it in. What it says may rest on
    nothing that was not known at ``now``: the latest instant it used is kept, and checked.

    Attributes:
        now: UTC instant at which it is asked whether to train.
        trained_at: Instant at which the model in force was fitted.
        age_sessions: Sessions since then.
        last_training_at: Instant of the last training, also of a challenger that was not promoted.
        sessions_since_training: Sessions since then.
        sessions_served: Sessions that the model in force has served.
        new_labels: Labels that have become known since the last training.
        live: How it has done on outcomes known by now.
        events: How often each kind of event happened since it began to serve.
        n_trainings: Trainings so far, the first among them.
        is_refused: Whether the last training was refused, so that there is no model in force.
        latest_used: Latest instant of anything in it; by default that of the live scores.

    Raises:
        EvaluationError: When something in it was not known at ``now``.
    """

    now: np.datetime64
    trained_at: np.datetime64
    age_sessions: int = 0
    last_training_at: np.datetime64 = NOT_YET
    sessions_since_training: int = 0
    sessions_served: int = 0
    new_labels: int = 0
    live: LiveScores = field(default_factory=LiveScores)
    events: Mapping[EventKind, int] = field(default_factory=dict)
    n_trainings: int = 1
    is_refused: bool = False
    latest_used: np.datetime64 = NOT_YET

    def __post_init__(self) -> None:
        instants = (self.trained_at, self.last_training_at, self.live.latest_used, self.latest_used)
        latest = max((instant for instant in instants if not np.isnat(instant)), default=self.now)
        if latest > self.now:
            raise EvaluationError.not_yet_known(latest, self.now)
        object.__setattr__(self, "latest_used", latest)

    @property
    def age(self) -> np.timedelta64:
        """Time since the model in force was fitted."""
        return self.now - self.trained_at

    @property
    def since_training(self) -> np.timedelta64:
        """Time since the last training; that of the model in force where no other is known of."""
        known = not np.isnat(self.last_training_at)
        return self.now - (self.last_training_at if known else self.trained_at)


def side_came_true(forecast: FloatArray, outcome: FloatArray, classes: tuple[float, ...] | None) -> BoolArray:
    """Return whether forecast and outcome are on one side: of one half for the classes 0 and 1, else of zero.

    A walk-forward's accuracy is the share of rows of which this is true: in its windows, in what its policy goes by,
    and where policies are compared. A monitor parts a regression's sides at its baseline, and averages by decision
    time.
    """
    middle = 0.5 if classes == (0.0, 1.0) else 0.0
    return np.asarray((forecast > middle) == (outcome > middle), dtype=np.bool_)


class Scorebook:
    """Scores of forecasts by decision time, entered as their outcomes become known.

    Args:
        classes: Classes in their fixed order; ``None`` for regression.
        horizon: Bars from entry to exit, over which outcomes overlap.
    """

    def __init__(self, *, classes: tuple[float, ...] | None, horizon: int) -> None:
        self.classes = classes
        self.horizon = horizon
        self.latest_used = NOT_YET
        # in time order, with room for more behind the first ``_n``
        self._n = 0
        self._times = np.empty(0, dtype="datetime64[ns]")
        self._sums = np.empty((0, 3))  # of each decision time: sum of g, rows whose side came true, rows
        self._totals = np.empty(0)  # of mean g, over all decision times up to each

    def enter(
        self,
        known_at: TimeArray,
        *,
        usable_from: TimeArray,
        outcome: FloatArray,
        forecast: FloatArray,
        baseline: FloatArray,
        now: np.datetime64,
    ) -> int:
        """Enter rows whose outcome has become known, and return how many there were.

        Rows without a forecast, or whose outcome is unknown, are left out.

        Args:
            known_at: (n,) their decision times.
            usable_from: (n,) instants from which the outcomes may be used.
            outcome: (n,) what happened.
            forecast: (n,) what was foreseen.
            baseline: (n,) training mean of the model that foresaw.
            now: The present.

        Raises:
            EvaluationError: When an outcome is not yet known at ``now``.
        """
        scored = ~np.isnan(outcome) & ~np.isnan(forecast)
        if not scored.any():
            return 0
        latest = usable_from[scored].max()
        if not latest <= now:
            raise EvaluationError.not_yet_known(latest, now)
        self.latest_used = np.fmax(self.latest_used, latest)
        y, f, b = outcome[scored], forecast[scored], baseline[scored]
        one_each = np.arange(len(y))
        g = skill_series(one_each, outcome=y, forecast=f, baseline=b).g
        right = side_came_true(f, y, self.classes)
        self._add(known_at[scored], np.column_stack([g, right, np.ones(len(y))]))
        return len(y)

    def live(self, *, since: np.datetime64, window: int) -> LiveScores:
        """Score the latest decision times from an instant on, at most ``window`` of them.

        Args:
            since: First decision time that counts as live.
            window: Number of decision times.
        """
        first = max(int(np.searchsorted(self._times[: self._n], since)), self._n - window)
        latest = self._sums[first : self._n]
        skill, upper, n = mean_with_bound(latest[:, 0] / latest[:, 2], horizon=self.horizon)
        rows = latest.sum(axis=0)
        return LiveScores(
            n=n,
            skill=skill,
            skill_upper=upper,
            accuracy=float(rows[1] / rows[2]) if n else nan,
            reference=float(self._totals[first - 1] / first) if first else nan,
            n_reference=first,
            latest_used=self.latest_used,
        )

    def _add(self, times: TimeArray, sums: FloatArray) -> None:
        """Add rows to what their decision times have, new times in their place.

        Only what is not before the earliest of them is written anew, so that a session costs the same after years.
        """
        first = int(np.searchsorted(self._times[: self._n], times.min()))
        merged, place = np.unique(np.concatenate([self._times[first : self._n], times]), return_inverse=True)
        together = np.zeros((len(merged), 3))
        np.add.at(together, place, np.concatenate([self._sums[first : self._n], sums]))
        before = self._totals[first - 1 : first] if first else np.zeros(1)
        totals = np.cumsum(np.concatenate([before, together[:, 0] / together[:, 2]]))[1:]
        self._n = first + len(merged)
        self._reserve(self._n)
        written = slice(first, self._n)
        self._times[written], self._sums[written], self._totals[written] = merged, together, totals

    def _reserve(self, n: int) -> None:
        """See to it that there is room for so many decision times, doubling it where there is not."""
        if n > len(self._times):
            room = 2 * n
            self._times = np.resize(self._times, room)
            self._sums = np.resize(self._sums, (room, 3))
            self._totals = np.resize(self._totals, room)
