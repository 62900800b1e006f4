"""What follows a live model: its outcomes, its skill, what is watched, and whether it is to be trained again."""

from __future__ import annotations

import logging
from collections import Counter, deque
from collections.abc import Mapping, Sequence
from math import nan
from typing import Any

import numpy as np
import pandas as pd

from backtester_model_core.bars.panel import utc_stamps
from backtester_model_core.evaluation import SkillEvidence, mean_with_bound
from backtester_model_core.events import Event, EventKind
from backtester_model_core.model import BaseModel
from backtester_model_core.monitoring import KnownOutcomes, Monitor
from backtester_model_core.retraining import Evidence, GuardedPolicy, LiveScores, Spell, Trigger
from backtester_model_core.streaming.incoming import Incoming
from backtester_model_core.streaming.outcomes import OutcomeLedger

NOT_YET = np.datetime64("NaT", "ns")


class LiveBook:
    """Scores of the latest decision times, and the mean of all before them; it does not grow.

    Args:
        window: Decision times that count as live.
        horizon: Bars from entry to exit, over which outcomes overlap.
    """

    def __init__(self, *, window: int, horizon: int) -> None:
        self._live: deque[list[float]] = deque()
        self._window, self._horizon = window, horizon
        self._before = [0.0, 0.0]  # sum of g, and how many
        self.latest_used = NOT_YET

    def enter(self, known: KnownOutcomes, *, middle: float | None) -> None:
        """Take outcomes that have become known."""
        for right, _, g in known.by_decision_time(middle=middle).tolist():
            self._live.append([g, right])
            if len(self._live) > self._window:
                self._retire()
        if len(known.usable_from):
            self.latest_used = np.fmax(self.latest_used, known.usable_from.max())

    def begin_anew(self) -> None:
        """Take what is live for what came before: another model serves from here on."""
        while self._live:
            self._retire()

    def scores(self) -> LiveScores:
        """Return the figures that a policy goes by."""
        g, right = np.array(list(self._live)).reshape(-1, 2).T
        skill, upper, n = mean_with_bound(g, horizon=self._horizon)
        total, n_before = self._before
        return LiveScores(
            n=n,
            skill=skill,
            skill_upper=upper,
            accuracy=float(right.mean()) if n else nan,
            reference=total / n_before if n_before else nan,
            n_reference=int(n_before),
            latest_used=self.latest_used,
        )

    def snapshot(self) -> dict[str, Any]:
        """Return the state as plain data."""
        used = None if np.isnat(self.latest_used) else int(self.latest_used.astype(np.int64))
        return {"live": [list(row) for row in self._live], "before": list(self._before), "used": used}

    def restore(self, snapshot: Mapping[str, Any]) -> None:
        """Go on from a snapshot."""
        self._live = deque([float(value) for value in row] for row in snapshot["live"])
        self._before = [float(value) for value in snapshot["before"]]
        self.latest_used = NOT_YET if snapshot["used"] is None else np.datetime64(snapshot["used"], "ns")

    def _retire(self) -> None:
        g, _ = self._live.popleft()
        self._before = [self._before[0] + g, self._before[1] + 1]


class Oversight:
    """Looks after a live model every so many decision times, by what is known then.

    Args:
        model: The model that serves first.
        gates: Whether evidence of skill decides on the gate, where ``gate.mode`` does not leave it open.
        policy: What says when to train again.
        logger: Where events are logged.

    Attributes:
        evidence: Evidence of skill gathered live.
        monitor: What watches the model; ``None`` where ``enable_monitoring`` is off.
    """

    def __init__(
        self, model: BaseModel, *, gates: bool, policy: GuardedPolicy, logger: logging.Logger
    ) -> None:
        config = model.config
        self.config = config
        self.policy = policy
        self.evidence = SkillEvidence(config.prediction_horizon)
        self.monitor: Monitor | None = None
        if config.enable_monitoring and model.reference is not None:
            self.monitor = Monitor(config, model.reference, logger=logger)
        self._book = LiveBook(window=config.retraining.skill_window, horizon=config.prediction_horizon)
        self._middle = None if model.classes is None else (model.classes[0] + model.classes[-1]) / 2
        self._gates = gates and config.gate.mode != "off"
        self._was_open = self.lets_through
        self._logger = logger
        self._awaits_outcomes = self._gates or config.enable_monitoring
        self._ledger: OutcomeLedger | None = None
        self._expires = (
            None if config.retraining.expires_after is None else Spell.of(config.retraining.expires_after)
        )
        self._counts: Counter[EventKind] = Counter()
        self._n_trainings = 1
        self._n_labels = 0
        self._age = 0
        self._trained_at: np.datetime64 = NOT_YET
        self._is_due = False
        self.is_stale = False

    @property
    def lets_through(self) -> bool | None:
        """Whether signals may pass by the evidence there is; ``None`` where the policy decides."""
        if not self._gates:
            return None
        return self.config.gate.mode == "warn" or self.evidence.shows_skill

    def bring(self, predictions: pd.DataFrame) -> None:
        """Take a walk-forward's out-of-sample predictions for evidence and for the reference of live skill.

        Args:
            predictions: ``WalkForwardResult.predictions``.
        """
        known = predictions.dropna(subset=["expected", "outcome", "label_end"])
        columns = {
            name: known[name].to_numpy(dtype=np.float64) for name in ("outcome", "expected", "baseline")
        }
        times = utc_stamps(known.index)
        self.evidence = SkillEvidence.of(
            times,
            outcome=columns["outcome"],
            forecast=columns["expected"],
            baseline=columns["baseline"],
            horizon=self.config.prediction_horizon,
        )
        usable_from = utc_stamps(pd.DatetimeIndex(known["label_end"]))
        outcomes = KnownOutcomes(
            times, usable_from, columns["expected"], columns["outcome"], columns["baseline"]
        )
        self._book.enter(outcomes, middle=self._middle)
        self._book.begin_anew()
        self._was_open = self.lets_through

    def serve(self, model: BaseModel, *, trained_to: int) -> None:
        """Look after another model from here on."""
        if self.monitor is not None and model.reference is not None:
            self.monitor.serve(model.reference)
        self._book.begin_anew()
        self._counts.clear()
        self._n_trainings += 1
        self._n_labels = self._age = 0
        self._trained_at = np.datetime64(trained_to, "ns")
        self._is_due = self.is_stale = False

    # -- what happens ---------------------------------------------------------------------------------------------

    def begin_time(self, at: int, *, trained_to: int) -> list[Event]:
        """Count a decision time since the training, and say when it has made the model too old."""
        if at <= trained_to:
            return []
        self._age += 1
        if self._expires is None or self.is_stale:
            return []
        self.is_stale = self._expires.is_exceeded(self._age, np.timedelta64(at - trained_to, "ns"))
        if not self.is_stale:
            return []
        message = f"the model is older than {self._expires}: its signals are not followed"
        return [self._said(Event(np.datetime64(at, "ns"), EventKind.EXPIRED, message))]

    def saw(self, incoming: Incoming, columns: Sequence[str]) -> None:
        """Remember a bar that will tell outcomes, by the columns that bars have."""
        if self._ledger is None and self._awaits_outcomes:
            self._ledger = OutcomeLedger(self.config, columns)
        if self._ledger is not None:
            self._ledger.saw(incoming.symbol, incoming.stamp, incoming.values)

    def awaits(self, incoming: Incoming, *, forecast: float, baseline: float) -> None:
        """Remember a forecast until its outcome is known."""
        if self._ledger is not None:
            self._ledger.foresaw(incoming.symbol, incoming.at, forecast=forecast, baseline=baseline)

    def look(self, now: np.datetime64, *, trained_to: int) -> tuple[list[Event], Trigger | None]:
        """Take what has become known, and return what there is to say and why to train again, if so."""
        if self._ledger is not None:
            self._learn(now)
        events: list[Event] = []
        if self.monitor is not None:
            events, self.monitor.events = self.monitor.events, []
            self._counts.update(event.kind for event in events)
        opens, was_open = self.lets_through, self._was_open
        self._was_open = opens
        if opens is not None and opens != was_open:
            kind = EventKind.GATE_OPENED if opens else EventKind.GATE_CLOSED
            value, n = self.evidence.value, self.evidence.n
            message = f"evidence of skill stands at {value:.3g} after {n} decision times"
            events.append(self._said(Event(now, kind, message, figures={"evidence": value, "n": float(n)})))
        return events, self._trigger(now, trained_to)

    def _said(self, event: Event) -> Event:
        self._logger.info("%s", event)
        return event

    def _learn(self, now: np.datetime64) -> None:
        outcomes = None if self._ledger is None else self._ledger.settle()
        if outcomes is None or len(outcomes.outcome) == 0:
            return
        known = KnownOutcomes(
            outcomes.known_at, outcomes.usable_from, outcomes.forecast, outcomes.outcome, outcomes.baseline
        )
        if self.monitor is not None:
            self.monitor.learned(now, known)
        self._book.enter(known, middle=self._middle)
        self._n_labels += len(outcomes.outcome)
        excess, lean = outcomes.outcome - outcomes.baseline, outcomes.forecast - outcomes.baseline
        _, starts = np.unique(outcomes.known_at, return_index=True)
        for rows in np.split(np.arange(len(excess)), starts[1:]):
            self.evidence.update(excess[rows], lean[rows])

    def _trigger(self, now: np.datetime64, trained_to: int) -> Trigger | None:
        """Ask the retraining policy; once it has wished for a training, it is not asked until there was one."""
        if self._is_due or not self.config.enable_monitoring:
            return None
        trained_at = self._trained_at if not np.isnat(self._trained_at) else np.datetime64(trained_to, "ns")
        if now <= trained_at:
            return None
        trigger = self.policy.due(
            Evidence(
                now=now,
                trained_at=trained_at,
                age_sessions=self._age,
                last_training_at=trained_at,
                sessions_since_training=self._age,
                sessions_served=self._age,
                new_labels=self._n_labels,
                live=self._book.scores(),
                events=dict(self._counts),
                n_trainings=self._n_trainings,
            )
        )
        self._is_due = trigger is not None
        return trigger

    # -- state --------------------------------------------------------------------------------------------------------

    def snapshot(self) -> dict[str, Any]:
        """Return the state as plain data."""
        trained_at = None if np.isnat(self._trained_at) else int(self._trained_at.astype(np.int64))
        return {
            "evidence": self.evidence.snapshot(),
            "book": self._book.snapshot(),
            "monitor": None if self.monitor is None else self.monitor.snapshot(),
            "outcomes": None if self._ledger is None else self._ledger.snapshot(),
            "counts": {kind.value: n for kind, n in self._counts.items()},
            "training": [
                self._n_trainings,
                self._n_labels,
                self._age,
                trained_at,
                self._is_due,
                self.is_stale,
            ],
        }

    def restore(self, snapshot: Mapping[str, Any]) -> None:
        """Go on from a snapshot.

        Raises:
            ArtifactError: When the monitor's part is of other settings, or damaged.
        """
        self._ledger = None
        self.evidence = SkillEvidence.restored(snapshot["evidence"])
        self._was_open = self.lets_through
        self._book.restore(snapshot["book"])
        if self.monitor is not None and snapshot["monitor"] is not None:
            self.monitor.restore(snapshot["monitor"])
        if self._awaits_outcomes and snapshot["outcomes"] is not None:
            self._ledger = OutcomeLedger(self.config, snapshot["outcomes"]["columns"])
            self._ledger.restore(snapshot["outcomes"])
        self._counts = Counter({EventKind(kind): n for kind, n in snapshot["counts"].items()})
        self._n_trainings, self._n_labels, self._age, trained_at, self._is_due, self.is_stale = snapshot[
            "training"
        ]
        self._trained_at = NOT_YET if trained_at is None else np.datetime64(trained_at, "ns")
