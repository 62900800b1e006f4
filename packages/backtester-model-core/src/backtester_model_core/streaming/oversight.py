"""What follows a live model: its outcomes, its skill, what is watched, and whether it is to be trained again."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from backtester_model_core.bars.panel import utc_stamps
from backtester_model_core.evaluation import SkillEvidence
from backtester_model_core.events import Event, EventKind
from backtester_model_core.model import BaseModel
from backtester_model_core.monitoring import KnownOutcomes, Monitor, middle_of
from backtester_model_core.retraining import GuardedPolicy, Spell, Trigger
from backtester_model_core.retraining.policies import MIN_HORIZONS
from backtester_model_core.streaming.book import LiveBook
from backtester_model_core.streaming.clock import NEVER
from backtester_model_core.streaming.incoming import Incoming
from backtester_model_core.streaming.outcomes import OutcomeLedger
from backtester_model_core.streaming.serving import Serving
from backtester_model_core.streaming.tenure import Tenure


class Oversight:
    """Looks after a live model every so many decision times, by what is known then.

    Args:
        serving: The models that serve first. Drift is watched where one model serves all symbols.
        gates: Whether evidence of skill decides on the gate, where ``gate.mode`` does not leave it open.
        policy: What says when to train again.
        asks: Whether the policy is asked also where ``enable_monitoring`` is off.
        logger: Where events are logged.

    Attributes:
        evidence: Evidence of skill gathered live.
        tenure: How long the model has served.
        monitor: What watches the model; ``None`` where ``enable_monitoring`` is off.
    """

    def __init__(
        self, serving: Serving, *, gates: bool, policy: GuardedPolicy, asks: bool, logger: logging.Logger
    ) -> None:
        model = serving.first.model
        config = model.config
        self.config = config
        self.policy = policy
        self.evidence = SkillEvidence(config.prediction_horizon)
        self.tenure = Tenure(serving.first.trained_to)
        self.monitor: Monitor | None = None
        if config.enable_monitoring and model.reference is not None and serving.is_pooled:
            self.monitor = Monitor(config, model.reference, logger=logger)
        n_live = max(config.retraining.skill_window, MIN_HORIZONS * config.prediction_horizon)
        self._book = LiveBook(window=n_live, horizon=config.prediction_horizon)
        self._middle = middle_of(model.classes)
        self._gates = gates and config.gate.mode != "off"
        self._was_open = self.lets_through
        self._logger = logger
        self._asks = asks or config.enable_monitoring
        self._awaits_outcomes = self._gates or self._asks
        self._brought_to = NEVER
        self._ledger: OutcomeLedger | None = None
        limit = config.retraining.expires_after
        self._expires = None if limit is None else Spell.of(limit)
        self._counts: Counter[EventKind] = Counter()
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
        self._brought_to = int(times.max().astype(np.int64)) if len(times) else NEVER

    def serve(self, model: BaseModel, *, fitted_at: int) -> None:
        """Look after another model from here on; the same one with another policy changes nothing."""
        if fitted_at == self.tenure.fitted_at:
            return
        if self.monitor is not None and model.reference is not None:
            self.monitor.serve(model.reference)
        self._book.begin_anew()
        self._counts.clear()
        self.tenure.succeed(fitted_at)
        self.is_stale = False

    # -- what happens ---------------------------------------------------------------------------------------------

    def begin_time(self, known_at: int) -> Event | None:
        """Count a decision time, and say when it has made the model too old."""
        self.tenure.begin_time(known_at)
        if self._expires is None or self.is_stale:
            return None
        age = np.timedelta64(known_at - self.tenure.fitted_at, "ns")
        self.is_stale = self._expires.is_exceeded(self.tenure.sessions, age)
        if not self.is_stale:
            return None
        message = f"the model is older than {self._expires}: its signals are not followed"
        return self._said(Event(np.datetime64(known_at, "ns"), EventKind.EXPIRED, message))

    def saw(self, incoming: Incoming, columns: Sequence[str]) -> None:
        """Remember a bar that will tell outcomes, by the columns that bars have."""
        if self._ledger is None and self._awaits_outcomes:
            self._ledger = OutcomeLedger(self.config, columns)
        if self._ledger is not None:
            self._ledger.saw(incoming.symbol, incoming.stamp, incoming.values)

    def awaits(self, incoming: Incoming, forecast: float, baseline: float) -> None:
        """Remember a forecast until its outcome is known; one that a backtest has brought is known already."""
        if self._ledger is not None and incoming.at > self._brought_to:
            self._ledger.foresaw(incoming.symbol, incoming.at, forecast, baseline)

    def noticed(self) -> list[Event]:
        """Return what the monitor has noticed since it was last asked; it is logged already."""
        if self.monitor is None or not self.monitor.events:
            return []
        events, self.monitor.events = self.monitor.events, []
        self._counts.update(event.kind for event in events)
        return events

    def look(self, now: np.datetime64) -> list[Event]:
        """Take what has become known by an instant, and return what there is to say."""
        self._learn(now)
        events = self.noticed()
        opens, was_open = self.lets_through, self._was_open
        self._was_open = opens
        if opens is not None and opens != was_open:
            kind = EventKind.GATE_OPENED if opens else EventKind.GATE_CLOSED
            value, n = self.evidence.value, self.evidence.n
            message = f"evidence of skill stands at {value:.3g} after {n} decision times"
            events.append(self._said(Event(now, kind, message, figures={"evidence": value, "n": float(n)})))
        return events

    def wish(self, now: np.datetime64) -> Trigger | None:
        """Ask the retraining policy; once it has wished for a training, it is not asked until there was one."""
        known_from = np.fmax(np.datetime64(self.tenure.fitted_at, "ns"), self._book.latest_used)
        if self.tenure.is_due or not self._asks or now < known_from:
            return None
        trigger = self.policy.due(
            self.tenure.evidence(now, live=self._book.scores(), events=dict(self._counts))
        )
        self.tenure.is_due = trigger is not None
        return trigger

    def kept(self) -> None:
        """Take note that a training has led to no successor."""
        self._book.begin_anew()
        self._counts.clear()
        self.tenure.tried()

    def _said(self, event: Event) -> Event:
        self._logger.info("%s", event)
        return event

    def _learn(self, now: np.datetime64) -> None:
        known = None if self._ledger is None else self._ledger.settle()
        if known is None or len(known.outcome) == 0:
            return
        if self.monitor is not None:
            self.monitor.learned(now, known)
        self._book.enter(known, middle=self._middle)
        self.tenure.learned(len(known.outcome))
        self.evidence.gather(
            known.known_at, excess=known.outcome - known.baseline, lean=known.forecast - known.baseline
        )

    # -- state --------------------------------------------------------------------------------------------------------

    def snapshot(self) -> dict[str, Any]:
        """Return the state as plain data."""
        return {
            "evidence": self.evidence.snapshot(),
            "book": self._book.snapshot(),
            "monitor": None if self.monitor is None else self.monitor.snapshot(),
            "outcomes": None if self._ledger is None else self._ledger.snapshot(),
            "counts": {kind.value: n for kind, n in self._counts.items()},
            "tenure": self.tenure.snapshot(),
            "is_stale": self.is_stale,
            "brought_to": self._brought_to,
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
        self.tenure.restore(snapshot["tenure"])
        self.is_stale, self._brought_to = snapshot["is_stale"], snapshot["brought_to"]
