"""What happens to a model while it serves, told as events: drift, data quality, latency, live skill, rising errors."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from backtester_model_core.config import ModelConfig
from backtester_model_core.events import Event, EventKind, event_frame
from backtester_model_core.exceptions import ArtifactError, EvaluationError
from backtester_model_core.labels import label_kind
from backtester_model_core.monitoring.detectors import DETECTORS
from backtester_model_core.monitoring.foreseen import PredictionWatch
from backtester_model_core.monitoring.latency import Latency, process_bytes
from backtester_model_core.monitoring.outcomes import KnownOutcomes, LiveOutcomes, middle_of
from backtester_model_core.monitoring.quality import (
    Standstill,
    missing_features,
    outside_range,
    stale_features,
)
from backtester_model_core.monitoring.reference import Reference
from backtester_model_core.monitoring.state import numbers_of, plain_numbers
from backtester_model_core.monitoring.watch import Drifted, DriftWatch
from backtester_model_core.typing import BoolArray, FloatArray, TimeArray

STATE_FORMAT = 2
MAX_NAMED = 5
"""Features that a message names; its figures have all."""


class Monitor:
    """Watches one model, or one that is replaced by the next: what it is given, what it says, what then happens.

    A row costs a copy. Looks are taken every ``check_every`` decision times, once the last of them is over: when a
    row of a later one comes, or :meth:`close` is called. So an event may be handed out later than its instant, never
    with anything in it that was not known then.

    Args:
        config: The model's configuration; its group ``monitoring`` says what is watched.
        reference: What the training rows looked like.
        logger: Where events are logged.

    Attributes:
        events: What happened since the monitor was made or restored.
    """

    def __init__(
        self, config: ModelConfig, reference: Reference, *, logger: logging.Logger | None = None
    ) -> None:
        self.events: list[Event] = []
        self._logger = logger or logging.getLogger(__name__)
        self._settings = config.monitoring
        self._config = config
        self._middle = middle_of(label_kind(config).classes)
        self._watch = DriftWatch(reference, self._settings)
        self._foreseen = PredictionWatch(self._settings)
        self._standstill = Standstill(len(reference.columns))
        self._faulty: dict[str, BoolArray] = {}
        self._latency = Latency()
        self._is_slow = False
        self._outcomes = LiveOutcomes(window=self._settings.live_window, horizon=config.prediction_horizon)
        self._n_learned = 0
        self._errors: list[float] = []
        self._detector = DETECTORS[self._settings.detector]()
        self._rows = np.empty((0, len(reference.columns) + 1))
        # rows that came one by one: a list is filled faster than an array
        self._queued: list[list[float]] = []
        self._symbols: list[str] = []
        self._starts: list[int] = []
        self._now: int | None = None  # UTC nanoseconds: numpy's scalars are slow to make and to compare
        self._window: int | None = None

    # -- what is told to it -----------------------------------------------------------------------------------------

    def serve(self, reference: Reference, *, window: int | None = None) -> None:
        """Go on with a model that was trained on other rows; the rows seen so far count as its first.

        Args:
            reference: What its training rows looked like, with the same features.
            window: Number of the walk-forward window that events belong to from here on.
        """
        watch = DriftWatch(reference, self._settings)
        watch.follow(self._watch)
        self._watch, self._window = watch, window
        self._foreseen.renew()

    def saw(
        self,
        at: np.datetime64 | int,
        values: FloatArray | Sequence[float],
        expected: float,
        seconds: float | None,
        symbol: str = "",
    ) -> None:
        """Take one row of features, what was foreseen from it, and how long that took; rows in order of time.

        Args:
            at: Instant at which the row is known; a number of UTC nanoseconds is taken fastest.
            values: (p,) features in the model's order; NaN where unknown.
            expected: What was foreseen; NaN where nothing was.
            seconds: Time that the prediction took; ``None`` where nothing was asked.
            symbol: The row's symbol.

        Raises:
            EvaluationError: When the row is earlier than one before it, or of a decision time that is over.
        """
        now = at if isinstance(at, int) else _nanoseconds(at)
        if not self._starts or now != self._now:
            self._begin(now)
            self._starts.append(len(self._symbols))
            self._now = now
        self._queued.append([*values, expected])
        self._symbols.append(symbol)
        if seconds is not None:
            self._latency.add(seconds)

    def saw_rows(
        self,
        at: TimeArray,
        values: FloatArray,
        expected: FloatArray,
        *,
        symbols: Sequence[str] | None = None,
        after_look: Callable[[np.datetime64], None] | None = None,
    ) -> None:
        """Take a block of whole decision times at once; the events are those of one row after the other.

        Args:
            at: (n,) instants in order of time.
            values: (n, p) features.
            expected: (n,) what was foreseen.
            symbols: (n,) the rows' symbols, where there are several.
            after_look: Called after each look with its instant, such as to hand over outcomes known by then.

        Raises:
            EvaluationError: When rows are not in order of time.
        """
        if len(at) == 0:
            return
        if (at[1:] < at[:-1]).any():
            raise EvaluationError(
                "The rows are not in order of time. Sort them by the instant at which they are known."
            )
        self._begin(_nanoseconds(at[0]))
        names = [""] * len(at) if symbols is None else list(symbols)
        starts = [0, *(np.flatnonzero(at[1:] != at[:-1]) + 1).tolist(), len(at)]
        first = 0
        while first < len(starts) - 1:
            last = min(first + self._settings.check_every - len(self._starts), len(starts) - 1)
            rows, n_held = slice(starts[first], starts[last]), len(self._symbols)
            self._starts += [start - rows.start + n_held for start in starts[first:last]]
            added = np.column_stack([values[rows], expected[rows]])
            self._gather()
            self._rows = np.concatenate([self._rows, added])
            self._symbols += names[rows]
            self._now = _nanoseconds(at[rows.stop - 1])
            if self.close() and after_look is not None:
                after_look(at[rows.stop - 1])
            first = last

    def close(self) -> bool:
        """Take the look that is due once the latest decision time is over, and return whether one was."""
        if self._now is None or len(self._starts) < self._settings.check_every:
            return False
        self._look(np.datetime64(self._now, "ns"))
        return True

    def learned(self, now: np.datetime64, outcomes: KnownOutcomes) -> None:
        """Take outcomes that became known, whole decision times in order.

        Args:
            now: The present instant.
            outcomes: Rows whose outcomes are known by then, each handed over once.

        Raises:
            EvaluationError: When an outcome is not known at ``now``.
        """
        outcomes.check_known(now)
        for right, error, g in outcomes.by_decision_time(middle=self._middle).tolist():
            self._outcomes.add([right, error, g])
            self._n_learned += 1
            self._errors.append(1 - right)
            if len(self._errors) == self._config.prediction_horizon:
                self._detect(now)
            if self._n_learned % self._settings.live_window == 0:
                self._report(now)

    # -- what it tells ----------------------------------------------------------------------------------------------

    @property
    def frame(self) -> pd.DataFrame:
        """The events as a frame."""
        return event_frame(self.events)

    @property
    def drifted(self) -> tuple[str, ...]:
        """Names of the features that are drifted now."""
        return self._watch.drifted

    def figures(self) -> dict[str, float]:
        """Return live accuracy, error and skill, latency in seconds, and the memory that the process holds."""
        return {**self._outcomes.figures(), **self._latency.figures(), "process_bytes": process_bytes()}

    # -- across a restart -------------------------------------------------------------------------------------------

    def snapshot(self) -> dict[str, Any]:
        """Return the state as plain data: text, numbers, lists and tables of these."""
        self._gather()
        return {
            **self._identity(),
            "now": self._now,
            "window": self._window,
            "rows": plain_numbers(self._rows),
            "symbols": list(self._symbols),
            "starts": list(self._starts),
            "watch": self._watch.snapshot(),
            "foreseen": self._foreseen.snapshot(),
            "standstill": self._standstill.snapshot(),
            "faulty": {kind: flags.tolist() for kind, flags in self._faulty.items()},
            "latency": self._latency.snapshot(),
            "is_slow": self._is_slow,
            "outcomes": self._outcomes.snapshot(),
            "n_learned": self._n_learned,
            "errors": list(self._errors),
            "detector": self._detector.snapshot(),
        }

    def restore(self, state: Mapping[str, Any]) -> None:
        """Go on from a state that :meth:`snapshot` returned, in a monitor made for the same model.

        Raises:
            ArtifactError: When the state is of another format, other settings or another training, or is damaged.
        """
        other = [name for name, value in self._identity().items() if state.get(name) != value]
        if other:
            raise _refused(f"its {' and '.join(other)} differ from this model's")
        try:
            self._restore(state)
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise _refused(f"it is damaged ({type(error).__name__}: {error})") from error

    def _identity(self) -> dict[str, Any]:
        """Return what a state must share with the monitor that takes it over."""
        return {
            "format": STATE_FORMAT,
            "settings": self._settings.model_dump(mode="json"),
            "reference": self._watch.reference.fingerprint,
        }

    def _restore(self, state: Mapping[str, Any]) -> None:
        self._rows, self._queued = numbers_of(state["rows"], n_columns=self._rows.shape[1]), []
        self._symbols, self._starts = list(state["symbols"]), list(state["starts"])
        self._now = None if state["now"] is None else int(state["now"])
        self._window = state["window"]
        self._watch.restore(state["watch"])
        self._foreseen.restore(state["foreseen"])
        self._standstill.restore(state["standstill"])
        self._faulty = {kind: np.array(flags, dtype=np.bool_) for kind, flags in state["faulty"].items()}
        self._latency.restore(state["latency"])
        self._is_slow = bool(state["is_slow"])
        self._outcomes.restore(state["outcomes"])
        self._n_learned, self._errors = int(state["n_learned"]), [float(one) for one in state["errors"]]
        self._detector.restore(state["detector"])

    # -- looks ------------------------------------------------------------------------------------------------------

    def _begin(self, at: int) -> None:
        """Let a later decision time begin."""
        if self._now is not None and at <= self._now:
            late, latest = (np.datetime64(each, "ns") for each in (at, self._now))
            raise EvaluationError(
                f"A row of {late} comes after one of {latest}. Hand over rows in order of time."
            )
        self.close()

    def _look(self, at: np.datetime64) -> None:
        self._gather()
        rows, n = self._rows, len(self._rows)
        rows[~np.isfinite(rows)] = np.nan
        values = rows[:, :-1].copy()
        time = np.repeat(np.arange(len(self._starts)), np.diff([*self._starts, n]))
        self._look_at_quality(at, values)
        self._say_drift(at, EventKind.FEATURE_DRIFT, self._watch.look(values))
        self._say_drift(at, EventKind.PREDICTION_DRIFT, self._foreseen.look(time, rows[:, -1].copy()))
        self._look_at_latency(at)
        self._rows = np.empty((0, rows.shape[1]))
        self._symbols.clear()
        self._starts.clear()

    def _gather(self) -> None:
        """Put the rows that came one by one behind the others."""
        if self._queued:
            self._rows = np.concatenate([self._rows, np.array(self._queued, dtype=np.float64)])
            self._queued = []

    def _look_at_quality(self, at: np.datetime64, values: FloatArray) -> None:
        reference, settings = self._watch.reference, self._settings
        missing = np.isnan(values).mean(axis=0)
        outside = outside_range(values, reference, settings)
        longest = self._standstill.see(values, self._symbols)
        for fault, flags, figures in (
            ("missing", missing_features(missing, reference, settings), missing),
            ("stale", stale_features(longest, reference, settings), longest),
            ("outside the training range", outside.any(axis=0), outside.sum(axis=0)),
        ):
            new = np.flatnonzero(flags & ~self._faulty.get(fault, np.zeros_like(flags)))
            self._faulty[fault] = np.asarray(flags)
            if len(new):
                names = [reference.columns[j] for j in new]
                numbers = {name: float(figures[j]) for name, j in zip(names, new, strict=True)}
                shown = [f"{name} ({_UNIT[fault].format(numbers[name])})" for name in names]
                self._say(at, EventKind.DATA_QUALITY, f"{fault}: {_listed(shown)}", numbers)

    def _say_drift(self, at: np.datetime64, kind: EventKind, found: tuple[Drifted, ...]) -> None:
        if not found:
            return
        ordered = sorted(found, key=lambda each: each.limit / each.distance)
        figures = {f"{each.feature} by {each.measure}": each.distance / each.limit for each in ordered}
        whose = "the training rows" if kind is EventKind.FEATURE_DRIFT else "earlier ones"
        self._say(at, kind, f"unlike {whose}: {_listed([str(each) for each in ordered])}", figures)

    def _look_at_latency(self, at: np.datetime64) -> None:
        limit = self._settings.latency_limit
        if limit is None or not len(self._latency):
            return
        figures = self._latency.figures()
        was_slow, self._is_slow = self._is_slow, figures["p99"] > limit
        if self._is_slow and not was_slow:
            message = f"99 of 100 predictions take up to {figures['p99']:.3g} s, the limit is {limit:.3g} s"
            self._say(at, EventKind.SLOW_PREDICTION, message, {**figures, "process_bytes": process_bytes()})

    # -- outcomes ---------------------------------------------------------------------------------------------------

    def _detect(self, now: np.datetime64) -> None:
        """Tell the detector the mean error over one horizon's decision times: over fewer, outcomes overlap."""
        n_since = self._detector.update(sum(self._errors) / len(self._errors)) * len(self._errors)
        self._errors.clear()
        if n_since:
            figures = {**self._outcomes.figures(), "n_since": float(n_since)}
            message = (
                f"errors have risen, {n_since:,} decision times ago, says {self._settings.detector}; over the last "
                f"{figures['n']:.0f} {1 - figures['accuracy']:.1%} were wrong"
            )
            self._say(now, EventKind.CONCEPT_DRIFT, message, figures)

    def _report(self, now: np.datetime64) -> None:
        figures = self._outcomes.figures()
        message = (
            f"over {figures['n']:.0f} decision times accuracy {figures['accuracy']:.3f}, squared error "
            f"{figures['squared_error']:.3g}, skill {figures['skill']:.3g} (at most {figures['skill_upper']:.3g})"
        )
        self._say(now, EventKind.LIVE_METRICS, message, figures)

    def _say(self, at: np.datetime64, kind: EventKind, message: str, figures: Mapping[str, float]) -> None:
        event = Event(at, kind, message, self._window, figures=figures)
        self.events.append(event)
        self._logger.info("%s", event)


_UNIT = {"missing": "{:.0%}", "stale": "{:.0f} bars", "outside the training range": "{:.0f} values"}


def _nanoseconds(at: np.datetime64) -> int:
    """Return an instant as UTC nanoseconds."""
    return int(at.astype("datetime64[ns]").astype(np.int64))


def _listed(names: Sequence[str]) -> str:
    """List some names and count the others."""
    more = f" and {len(names) - MAX_NAMED} more" if len(names) > MAX_NAMED else ""
    return ", ".join(names[:MAX_NAMED]) + more


def _refused(problem: str) -> ArtifactError:
    return ArtifactError.refused(
        "The monitor's state", problem, "Start without it, or restore the model that it is of."
    )
