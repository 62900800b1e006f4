"""Signals from live bars, one bar at a time."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from time import perf_counter
from typing import Any, Literal, Self

import numpy as np
import pandas as pd

from backtester_model_core.evaluation import SkillEvidence
from backtester_model_core.events import Event, EventKind, EventLog, event_frame
from backtester_model_core.exceptions import TrainingError
from backtester_model_core.labels import label_kind
from backtester_model_core.model import BaseModel
from backtester_model_core.monitoring import Monitor
from backtester_model_core.plugins import plugins
from backtester_model_core.retraining import GuardedPolicy, Trigger, retraining_policy
from backtester_model_core.signals import ModelSignal
from backtester_model_core.streaming.answers import Answers, Foreseen
from backtester_model_core.streaming.clock import BarClock
from backtester_model_core.streaming.decisions import Undecided, decide_alone, decide_together
from backtester_model_core.streaming.incoming import Incoming, read_bar, read_together, rows_after, rows_of
from backtester_model_core.streaming.memory import SymbolMemory
from backtester_model_core.streaming.oversight import Oversight
from backtester_model_core.streaming.rows import LiveRows
from backtester_model_core.streaming.saved import STATE_FORMAT, check_state, read_state, save_stream
from backtester_model_core.streaming.serving import Models, Policies, Serving

NOTHING = Foreseen(float("nan"), None, float("nan"))


class SignalStream:
    """A trained model as a live source of signals; what it remembers does not grow with history.

    Feed it a symbol's bars from where the backtest's begin, or through :meth:`warm_up`, and it gives what the
    batch gives: features in every bit, scores to 1e-9 (1e-6 where the adapter has a compiled step).

    A bar that is not later than the latest of its symbol changes nothing: it is noted, and the signal that stands
    is returned again. A bar that ``check_bars`` refuses is an error, and changes nothing either. Bars that are
    missing are noted, and nothing is filled in: the next bar is the next row, as in a backtest.

    Args:
        model: A trained model, or one for each symbol.
        name: Name of the strategy for an engine; the model's by default.
        gate: What lets signals through where ``gate.mode`` is ``block``: ``evidence`` gathered live as outcomes
            become known, or the ``policy`` that the model has, as in a backtest.
        history: A walk-forward's ``predictions``: evidence of skill, and what live skill is compared with.
        retraining: What says when to train again; the configuration's policy by default.
        on_retrain: Called with the reason when it is time; a trained model that it returns serves the next bar.
            Without it the time is only noted.
        fast: Whether a compiled step may be used where the adapter has one, and compiled features where
            ``features.engine`` is ``compiled``.
        logger: Where events are logged.

    Raises:
        NotTrainedError: Before training.
    """

    def __init__(
        self,
        model: Models,
        *,
        name: str | None = None,
        gate: Literal["evidence", "policy"] = "evidence",
        history: pd.DataFrame | None = None,
        retraining: GuardedPolicy | None = None,
        on_retrain: Callable[[Trigger], Models | None] | None = None,
        fast: bool = True,
        logger: logging.Logger | None = None,
    ) -> None:
        self._serving = Serving(model, fast=fast)
        first = self._serving.first.model
        self.config = first.config
        self.name = name or self.config.model_name
        self.logger = logger or logging.getLogger(__name__)
        self._log = EventLog(self.logger)
        self._on_retrain = on_retrain
        self._check_every = self.config.monitoring.check_every
        self._clock = BarClock(self.config.data_config, like=first)
        self._rows = LiveRows(first, fast=fast)
        is_wrapped = plugins().is_wrapped(self.config.framework, "backtester_signal")
        self._hooked = is_wrapped or label_kind(self.config).is_meta
        wish, asks = retraining or retraining_policy(self.config), on_retrain is not None
        self._oversight = Oversight(
            self._serving, gates=gate == "evidence", policy=wish, asks=asks, logger=self.logger
        )
        if history is not None:
            self._oversight.bring(history)
        self._clear()
        self._began = self._oversight.snapshot()

    # -- bars in, signals out -----------------------------------------------------------------------------------

    def update(self, bar: Mapping[str, Any]) -> ModelSignal:
        """Take the next bar of one symbol and return its signal, for the next bar's open.

        Args:
            bar: ``timestamp``, the five columns and, of several symbols, ``symbol``. Symbols that share a
                portfolio go through :meth:`update_panel` together, else each is sized as if it were alone.

        Raises:
            BarsError: When the bar must be refused; nothing has changed then.
        """
        incoming = read_bar(bar)
        memory = self._rows.memory_of(incoming)
        if incoming.at <= memory.at:
            return self._ignored(memory, incoming)
        answers, foreseen = self._take(memory, incoming)
        return self._decided(memory, incoming, answers, foreseen)

    def update_panel(self, bars: Iterable[Mapping[str, Any]]) -> list[ModelSignal]:
        """Take the next bars of several symbols, all of one time, and return their signals in the same order.

        Raises:
            BarsError: When a bar must be refused, or the times differ; nothing has changed then.
        """
        given = read_together(bars)
        signals: dict[int, ModelSignal] = {}
        taken: dict[int, Undecided] = {}
        for place, incoming in enumerate(given):
            memory = self._rows.memory_of(incoming)
            if incoming.at <= memory.at:
                signals[place] = self._ignored(memory, incoming)
            else:
                taken[place] = Undecided(memory, incoming, *self._take(memory, incoming))
        if taken:
            signals |= dict(zip(taken, self._decided_together(list(taken.values())), strict=True))
        return [signals[place] for place in range(len(given))]

    def warm_up(self, bars: pd.DataFrame | Iterable[Mapping[str, Any]]) -> None:
        """Take bars that are past, so that the next one finds everything as a backtest would.

        Nothing is foreseen of them: the model may have learned from them.

        Args:
            bars: One symbol's frame, a panel by (timestamp, symbol), or single bars in order of time. Those that
                are not later than the latest of their symbol are noted and left out.

        Raises:
            BarsError: When a bar must be refused; those before it are taken.
        """
        for bar in rows_of(bars) if isinstance(bars, pd.DataFrame) else bars:
            incoming = read_bar(bar)
            memory = self._rows.memory_of(incoming)
            if incoming.at <= memory.at:
                self._ignored(memory, incoming)
            else:
                self._row_of(memory, incoming, may_train=False)
                memory.stand_aside()

    def generate_signals(self, data: pd.DataFrame, symbol: str = "") -> list[dict[str, Any]]:
        """Answer an event-driven engine, which passes one row at a time or a frame that grows.

        Args:
            data: The bar, or all bars so far; rows that were taken already are passed over.
            symbol: Whose bars they are.

        Returns:
            One ``ModelSignal.as_engine_dict`` for each new row, or the one that stands when none is new.
        """
        memory = self._rows.symbols.get(symbol)
        new = data if memory is None else rows_after(data, memory.at)
        if new.empty and memory is not None and memory.signal is not None:
            return [memory.signal.as_engine_dict()]
        return [self.update(bar).as_engine_dict() for bar in rows_of(new, symbol)]

    # -- the model --------------------------------------------------------------------------------------------------

    def replace_model(
        self,
        model: Models,
        *,
        policy: Policies | None = None,
        fitted_at: np.datetime64 | None = None,
    ) -> None:
        """Serve the next bar with another trained model of the same features; what was remembered stays.

        Args:
            model: A trained model, or one for each symbol.
            policy: How its forecasts become signals; its own when not given.
            fitted_at: Instant of its training; when its latest label was known, when not given.

        Raises:
            ModelError: When the other model has other features.
        """
        self._serving = self._serving.succeeded_by(model, policy)
        first = self._serving.first
        at = (
            first.trained_to
            if fitted_at is None
            else int(fitted_at.astype("datetime64[ns]").astype(np.int64))
        )
        self._oversight.serve(first.model, fitted_at=at)
        self._open_or_shut()

    @property
    def evidence(self) -> SkillEvidence:
        """Evidence of skill, gathered live."""
        return self._oversight.evidence

    @property
    def monitor(self) -> Monitor | None:
        """What watches the model; ``None`` where ``enable_monitoring`` is off."""
        return self._oversight.monitor

    @property
    def has_fast_step(self) -> bool:
        """Whether every model answers through a compiled step."""
        return self._serving.has_fast_step

    @property
    def may_trade(self) -> bool:
        """Whether signals are let through."""
        return self._serving.may_trade

    def latest_features(self, symbol: str = "") -> Sequence[float]:
        """Return the features of a symbol's latest bar, in the order of the model's ``columns``."""
        return self._rows.symbols[symbol].features

    def latest_forecast(self, symbol: str = "") -> float:
        """Return what was foreseen at a symbol's latest bar; NaN for nothing."""
        return self._rows.symbols[symbol].expected

    @property
    def events(self) -> tuple[Event, ...]:
        """The latest thousand events."""
        return self._log.events

    @property
    def event_frame(self) -> pd.DataFrame:
        """The same, one a row."""
        return event_frame(self.events)

    # -- state --------------------------------------------------------------------------------------------------

    def reset(self) -> None:
        """Forget every bar, and gather evidence from where this stream began."""
        self._oversight.restore(self._began)
        self._clear()

    def snapshot(self) -> dict[str, Any]:
        """Return the state as plain data, without the model; it may be written as JSON."""
        return {
            "format": STATE_FORMAT,
            "model": self._rows.layout,
            "rows": self._rows.snapshot(),
            "oversight": self._oversight.snapshot(),
            "clock": self._clock.snapshot(),
        }

    def save(self, folder: str | Path) -> None:
        """Save model and policy, where they are not there yet, and the state; a process that starts again loads all.

        Raises:
            ModelError: When the stream has a model for each symbol: save those by themselves, and the snapshot.
            ArtifactError: When the folder cannot be written.
        """
        is_gated = self._oversight.lets_through is not None
        save_stream(Path(folder), self._serving, is_gated=is_gated, state=self.snapshot())

    @classmethod
    def load(cls, folder: str | Path, **options: Any) -> Self:
        """Load a stream that :meth:`save` wrote, to go on where it stopped.

        Args:
            folder: Where it was saved.
            options: What the constructor takes, as it was given then.

        Raises:
            ArtifactError: When the model or the state must be refused.
        """
        stream = cls(BaseModel.load(Path(folder) / "model"), **options)
        stream.restore(read_state(Path(folder)))
        return stream

    def restore(self, snapshot: Mapping[str, Any]) -> None:
        """Go on from a snapshot, in place of what this stream remembers.

        Raises:
            ModelError: When it is of another format, or of another model.
        """
        check_state(snapshot, model=self._rows.layout, name=self.config.model_name)
        self._clear()
        self._rows.restore(snapshot["rows"])
        self._oversight.restore(snapshot["oversight"])
        self._clock.restore(snapshot["clock"])
        self._open_or_shut()

    # -- inside -------------------------------------------------------------------------------------------------

    def _clear(self) -> None:
        self._log.clear()
        self._rows.forget()
        self._clock.reset()
        self._open_or_shut()

    def _open_or_shut(self) -> None:
        """Let the gate follow the evidence, where it does."""
        if self._oversight.lets_through is not None:
            self._serving.gate(may_trade=self._oversight.lets_through)

    def _row_of(
        self, memory: SymbolMemory, incoming: Incoming, *, may_train: bool = True
    ) -> tuple[Any, float]:
        """Take a bar that comes next, and return the row that there is to ask about."""
        before = memory.at
        if incoming.at > self._clock.now:
            self._begin_time(incoming.at, may_train=may_train)
        row = self._rows.take(memory, incoming)
        if memory.n_bars > 1 and self._clock.is_long(incoming.at - before):
            message = f"no bar between {pd.Timestamp(before)} and {incoming.stamp}"
            self._note(EventKind.BARS_MISSING, message, incoming.symbol)
        self._oversight.saw(incoming, self._rows.columns)
        return row

    def _take(self, memory: SymbolMemory, incoming: Incoming) -> tuple[Answers | None, Foreseen]:
        """Take a bar that comes next, and foresee."""
        asked, scale = self._row_of(memory, incoming)
        answers = self._serving.of(incoming.symbol)
        monitor = self._oversight.monitor
        foreseen, seconds = NOTHING, None
        if asked is not None and answers is not None:
            started = 0.0 if monitor is None else perf_counter()
            foreseen = answers.foresee(asked, scale)
            seconds = None if monitor is None else perf_counter() - started
            if incoming.at >= answers.trained_to:  # of what it may have learned from it says nothing new
                self._oversight.awaits(incoming, foreseen.expected, answers.baseline)
        memory.expected = foreseen.expected
        if monitor is not None and incoming.at == self._clock.now:
            at = incoming.at + self._clock.offset
            monitor.saw(at, memory.features, foreseen.expected, seconds, incoming.symbol)
            if monitor.events:
                self._log.keep(self._oversight.noticed())
        return answers, foreseen

    def _decided(
        self, memory: SymbolMemory, incoming: Incoming, answers: Answers | None, foreseen: Foreseen
    ) -> ModelSignal:
        """Decide on one symbol by itself."""
        if answers is None or self._hooked:
            return self._decided_together([Undecided(memory, incoming, answers, foreseen)])[0]
        stamp = incoming.stamp if self._clock.is_stamped_at_close else incoming.stamp + self._clock.spacing
        return decide_alone(memory, answers, foreseen, stamp, incoming.symbol, self._oversight.is_stale)

    def _decided_together(self, undecided: Sequence[Undecided]) -> list[ModelSignal]:
        stamps, is_stale = self._clock.settled(self.config.data_config), self._oversight.is_stale
        return decide_together(undecided, columns=self._rows.columns, data_config=stamps, is_stale=is_stale)

    def _begin_time(self, at: int, *, may_train: bool) -> None:
        """Count a new time, and now and then look at what was known by the one before."""
        clock = self._clock
        before = clock.now
        clock.begin(at)
        if clock.n_times % self._check_every == 0:
            self._look(np.datetime64(before + clock.offset, "ns"), may_train=may_train)
        expiry = self._oversight.begin_time(at + clock.offset)
        if expiry is not None:
            self._log.keep([expiry])

    def _look(self, known_by: np.datetime64, *, may_train: bool) -> None:
        """Let what has become known decide on the gate and on a training."""
        self._log.keep(self._oversight.look(known_by))
        self._open_or_shut()
        trigger = self._oversight.wish(known_by) if may_train else None
        if trigger is not None:
            self._train(trigger)

    def _train(self, trigger: Trigger) -> None:
        """Ask for a successor, or note that it is time for one."""
        if self._on_retrain is None:
            return self._note(EventKind.RETRAIN_SUGGESTED, trigger.reason, figures=trigger.figures)
        self._note(EventKind.RETRAIN_TRIGGERED, trigger.reason, figures=trigger.figures)
        try:
            successor = self._on_retrain(trigger)
        except TrainingError as error:  # the model in force goes on, and is asked about again
            self._note(EventKind.REFUSED, str(error))
            successor = None
        if successor is None:
            return self._oversight.kept()
        self.replace_model(successor)
        return self._note(EventKind.MODEL_REPLACED, "a newly trained model serves from here on")

    def _ignored(self, memory: SymbolMemory, incoming: Incoming) -> ModelSignal:
        """Note a bar that comes late or again, and return the signal that stands."""
        message = memory.why_ignored(incoming)
        self._note(EventKind.BAR_IGNORED, message, incoming.symbol)
        if memory.signal is None:  # only warmed up
            answers = self._serving.of(incoming.symbol)
            return self._decided(memory, incoming, answers, NOTHING)
        return memory.signal

    def _note(
        self, kind: EventKind, message: str, symbol: str = "", figures: Mapping[str, float] | None = None
    ) -> None:
        now = np.datetime64(self._clock.now, "ns")
        self._log.say(Event(now, kind, message, symbol=symbol, figures=figures or {}))
