"""The first pass where a policy decides when to train: session by session, on what was then known."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol

import numpy as np

from backtester_model_core.config import ModelConfig
from backtester_model_core.dataset import Dataset
from backtester_model_core.events import Event, EventKind
from backtester_model_core.model import BaseModel
from backtester_model_core.retraining import (
    MIN_HORIZONS,
    Contest,
    Evidence,
    GuardedPolicy,
    Scorebook,
    Trigger,
    compare_forecasts,
    is_promoted,
    is_rolled_back,
)
from backtester_model_core.signals import ScoredRows
from backtester_model_core.splits import Window
from backtester_model_core.splits.windows import (
    advance,
    check_any_served,
    first_fit,
    resolve_train_size,
    rows_to_learn,
    served_from,
)
from backtester_model_core.typing import FloatArray, IntArray
from backtester_model_core.walkforward.blocks import Block
from backtester_model_core.walkforward.generations import Reign, Sessions, Stretch, Workshop


class Watch(Protocol):
    """What looks for drift while one generation after the other serves."""

    def serve(self, learned_from: Dataset) -> None:
        """Take the rows that the generation which serves from now on has learned from."""
        ...

    def observe(
        self, now: np.datetime64, *, served: Dataset, forecast: FloatArray, learned: ScoredRows
    ) -> Sequence[Event]:
        """Return what is noticed at an instant.

        Args:
            now: The present, the close of a session.
            served: The session's rows; their targets are not yet known and must not be looked at.
            forecast: (n,) what was foreseen on them.
            learned: Rows that the generation foresaw and whose outcomes have just become known.
        """
        ...


@dataclass(frozen=True, eq=False)
class Lived:
    """What the first pass of a walk-forward made.

    Attributes:
        windows: Stretches that were served: of each generation, and of what it serves every ``test_size``.
        blocks: What was foreseen in each.
        events: What was noticed and decided, in time order; ``None`` where windows were planned, and nobody watched.
    """

    windows: list[Window]
    blocks: list[Block]
    events: tuple[Event, ...] | None


class Life:
    """A walk-forward lived through once: call :meth:`run`.

    Args:
        workshop: Where generations are trained.
        policy: What says when to train.
        watch: What looks for drift; nothing is watched without.
    """

    def __init__(self, workshop: Workshop, policy: GuardedPolicy, *, watch: Watch | None = None) -> None:
        self.workshop = workshop
        self.dataset = workshop.dataset
        self.config: ModelConfig = workshop.model.config
        self.policy = policy
        self.watch = watch
        self.sessions = Sessions.of(self.dataset)
        validation = self.config.validation
        self.train_size = resolve_train_size(
            validation, train_test_split=self.config.train_test_split, n_sessions=len(self.sessions)
        )
        self.first = first_fit(self.sessions.known_at, self.train_size)
        learnable = self.dataset.is_complete & self.dataset.is_labelled
        self.usable_from = np.where(learnable, self.dataset.usable_from, np.datetime64("NaT"))
        known = np.flatnonzero(self.dataset.is_labelled)
        self.by_outcome = known[np.argsort(self.dataset.usable_from[known], kind="stable")]
        self.outcome_times = self.dataset.usable_from[self.by_outcome]
        self.book = Scorebook(classes=self.dataset.classes, horizon=self.config.prediction_horizon)
        self.forecast = np.full(len(self.dataset), np.nan)
        self.baseline = np.full(len(self.dataset), np.nan)
        # shares both arrays, which are filled as sessions are served
        self.scored = ScoredRows.of(self.dataset, forecast=self.forecast, baseline=self.baseline)
        self.shadow = np.full(len(self.dataset), np.nan)
        self.shadowed_to = 0
        self.stretches: list[Stretch] = []
        self.events: list[Event] = []
        self.reign: Reign | None = None
        self.heir: Reign | None = None  # what takes over once its training is done
        self.rival: Reign | None = None  # what may be put back
        self.since = 0  # session from which what happens counts as evidence about the reign
        self.counts: Counter[EventKind] = Counter()
        self.changed: int | None = None  # session at which errors began to rise, once they have
        self.last_training = self.first
        self.n_trainings = 1
        self.withheld: str | None = None

    def run(self, progress: Callable[[int, int], None] | None = None) -> Lived:
        """Live through all sessions after the first fit."""
        generation = self.workshop.train(self._rows_to_learn(self.first), is_first=True)
        self.heir = Reign(generation, self.first, self._served_from(self.first), self.first)
        n_sessions = len(self.sessions)
        for session in range(self.first + 1, n_sessions):
            self._live(session)
            if progress is not None:
                progress(session - self.first, n_sessions - 1 - self.first)
        windows = [stretch.window(self.sessions) for stretch in self.stretches]
        check_any_served(windows, self.config.validation)
        return Lived(windows, [stretch.block for stretch in self.stretches], tuple(self.events))

    def _live(self, session: int) -> None:
        """Serve one session, learn what has become known by its close, and decide what follows."""
        if self.heir is not None and session >= self.heir.start:
            self._begin(self.heir)
        if self.reign is None:
            return
        self._serve(self.reign, session)
        self._notice(self.reign, session)
        if self.heir is None and session < len(self.sessions) - 1:
            self._decide(self.reign, session)

    # -- serving -------------------------------------------------------------------------------------------------

    def _begin(self, heir: Reign) -> None:
        """Let an heir take over from this session on."""
        if self.stretches:
            self.stretches[-1] = self.stretches[-1].until(heir.start, self.sessions)
        self.reign, self.heir, self.rival = heir, None, heir.rival
        self.shadowed_to = heir.start
        if self.watch is not None:
            self.watch.serve(self.dataset.take(heir.generation.training.train_rows))
        self._count_from(heir.start)
        self._foresee(heir, heir.start, decided=heir.decided)

    def _count_from(self, session: int) -> None:
        """Begin to count evidence anew."""
        self.since = session
        self.counts.clear()
        self.withheld = None

    def _serve(self, reign: Reign, session: int) -> None:
        """See to it that the session's rows are foreseen, by a rival too."""
        if session >= self.stretches[-1].stop:
            self._foresee(reign, session, decided=session - 1)
        if self.rival is not None and session >= self.shadowed_to:
            self.shadowed_to = self._stretch_end(session)
            rows = self.sessions.rows(session, self.shadowed_to)
            self.shadow[rows] = self.rival.generation.foresee(rows).expected

    def _foresee(self, reign: Reign, session: int, *, decided: int) -> None:
        """Begin a stretch."""
        stop, generation = self._stretch_end(session), reign.generation
        rows = self.sessions.rows(session, stop)
        block = generation.foresee(rows)
        if self.stretches:
            block = replace(block, inner=None)  # the first stretch has them
        train_rows, number = generation.training.train_rows, len(self.stretches)
        self.stretches.append(Stretch(number, decided, reign.trained, session, stop, train_rows, rows, block))
        self.forecast[rows], self.baseline[rows] = block.expected, block.baseline

    def _stretch_end(self, session: int) -> int:
        """Return the session after a stretch that begins at one."""
        last = advance(self.sessions.known_at, session - 1, self.config.validation.test_size)
        return min(last + 1, len(self.sessions))

    def _notice(self, reign: Reign, session: int) -> None:
        """Enter the outcomes that have become known, and let the watch look."""
        now = self.sessions.known_at[session]
        before = self.sessions.known_at[session - 1]
        first, stop = np.searchsorted(self.outcome_times, [before, now], side="right")
        rows = self.by_outcome[first:stop]
        learned = self.scored.take(rows)
        self.book.enter(
            learned.known_at,
            usable_from=learned.label_end,
            outcome=learned.outcome,
            forecast=learned.forecast,
            baseline=learned.baseline,
            now=now,
        )
        if self.watch is not None:
            own = self.scored.take(rows[self.sessions.of_row[rows] >= reign.start]).known_by(now)
            seen = self.sessions.rows(session, session + 1)
            noticed = self.watch.observe(
                now, served=self.dataset.take(seen), forecast=self.forecast[seen], learned=own
            )
            self.events += [replace(event, window=len(self.stretches) - 1) for event in noticed]
            self.counts.update(event.kind for event in noticed)
            self._date_change(noticed, own)

    def _date_change(self, noticed: Sequence[Event], learned: ScoredRows) -> None:
        """Remember the session at which errors began to rise, counted back from the latest one that was scored."""
        for event in noticed:
            if event.kind is EventKind.CONCEPT_DRIFT and len(learned.known_at):
                latest = int(np.searchsorted(self.sessions.known_at, learned.known_at.max()))
                self.changed = max(0, latest - int(event.figures["n_since"]) + 1)

    # -- deciding ------------------------------------------------------------------------------------------------

    def _decide(self, reign: Reign, session: int) -> None:
        """Put the model before back, or train where the policy says so and nothing stands against it."""
        if self._is_rolled_back(reign, session):
            return
        evidence = self._evidence(reign, session)
        trigger = self.policy.wish.due(evidence)
        obstacle = None if trigger is None else self.policy.obstacle(evidence)
        if trigger is not None and obstacle is None:
            self._train(reign, session, trigger)
        elif trigger is not None and obstacle != self.withheld:
            message = f"{trigger.reason}, but {obstacle}"
            self._say(session, EventKind.RETRAIN_WITHHELD, message, trigger.figures)
        self.withheld = obstacle

    def _evidence(self, reign: Reign, session: int) -> Evidence:
        """Gather what is known at the close of a session."""
        times = self.sessions.known_at
        now, last = times[session], times[self.last_training]
        n_before, n_now = np.searchsorted(self.outcome_times, [last, now], side="right")
        settings = self.config.retraining
        return Evidence(
            now=now,
            trained_at=times[reign.trained],
            age_sessions=session - reign.trained,
            last_training_at=last,
            sessions_since_training=session - self.last_training,
            sessions_served=session - reign.start + 1,
            new_labels=int(n_now - n_before),
            live=self.book.live(since=times[self.since], window=self._enough(settings.skill_window)),
            events=dict(self.counts),
            n_trainings=self.n_trainings,
            is_refused=self.stretches[-1].is_refused,
        )

    def _train(self, reign: Reign, session: int, trigger: Trigger) -> None:
        """Train a successor on what is known by now, and let it serve if it holds its ground."""
        self._say(session, EventKind.RETRAIN_TRIGGERED, trigger.reason, trigger.figures)
        self.last_training = session
        self.n_trainings += 1
        rule = self.config.retraining.challenge
        train_rows = self._rows_to_learn(session)
        if rule != "off" and not self.stretches[-1].is_refused:
            contest = self._contest(reign, session, train_rows)
            promoted = is_promoted(contest, rule)
            kind = EventKind.CHALLENGER_PROMOTED if promoted else EventKind.CHAMPION_KEPT
            self._say(session, kind, _compared(contest, "challenger", "model in force"), contest.figures)
            if not promoted:
                self._count_from(session + 1)
                return
        continued = reign.generation if self.config.retraining.warm_start else None
        self.heir = Reign(
            self.workshop.train(train_rows, continued=continued),
            decided=session,
            start=self._served_from(session),
            trained=session,
            rival=replace(reign, rival=None) if self.config.retraining.rollback_sessions else None,
        )

    def _contest(self, reign: Reign, session: int, train_rows: IntArray) -> Contest:
        """Let a challenger, fitted to what was known before them, foresee the latest rows that the reign served."""
        dataset, now = self.dataset, self.sessions.known_at[session]
        served = self.sessions.of_row >= reign.start
        labelled = np.flatnonzero(served & (dataset.usable_from <= now) & ~np.isnan(self.forecast))
        latest = np.unique(self.sessions.of_row[labelled])[-self.config.retraining.challenge_sessions :]
        challenger = np.full(len(labelled), np.nan)
        if len(latest):
            labelled = labelled[self.sessions.of_row[labelled] >= latest[0]]
            fitted_at = self.sessions.known_at[latest[0] - 1]
            head = train_rows[self.usable_from[train_rows] <= fitted_at]
            challenger = self.workshop.train(head).foresee(labelled).expected
        return compare_forecasts(
            dataset.known_at[labelled],
            outcome=dataset.target[labelled],
            champion=self.forecast[labelled],
            challenger=challenger,
            horizon=self.config.prediction_horizon,
        )

    def _is_rolled_back(self, reign: Reign, session: int) -> bool:
        """Compare a promoted model with its rival on what it has served, and put that back if it did worse."""
        if self.rival is None:
            return False
        dataset, now = self.dataset, self.sessions.known_at[session]
        served = self.sessions.rows(reign.start, session + 1)
        rows = served[dataset.usable_from[served] <= now]
        horizon = self.config.prediction_horizon
        planned = self._enough(self.config.retraining.rollback_sessions)
        contest = compare_forecasts(
            dataset.known_at[rows],
            outcome=dataset.target[rows],
            champion=self.shadow[rows],
            challenger=self.forecast[rows],
            horizon=horizon,
        )
        if is_rolled_back(contest, planned=planned, horizon=horizon):
            message = _compared(contest, "model in force", "one before it")
            self._say(session, EventKind.ROLLED_BACK, message, contest.figures)
            self.heir = replace(self.rival, decided=session, start=session + 1)
        elif contest.n >= planned:
            self.rival = None
        return self.heir is not None

    def _enough(self, n_times: int) -> int:
        """Return a number of decision times, raised to the thirty horizons below which nothing is decided."""
        return max(n_times, MIN_HORIZONS * self.config.prediction_horizon)

    def _rows_to_learn(self, session: int) -> IntArray:
        """Return the rows that a fit at the close of a session may learn from, and of a new regime no older ones."""
        rolls = self.config.validation.scheme == "rolling"
        rows = rows_to_learn(
            self.dataset.known_at,
            self.usable_from,
            sessions=self.sessions.known_at,
            fit=session,
            last=self.train_size if rolls else None,
        )
        least = self.config.retraining.min_after_change
        if least is None or self.changed is None:
            return rows
        return rows[self.sessions.of_row[rows] >= min(self.changed, session - least + 1)]

    def _served_from(self, session: int) -> int:
        return served_from(self.sessions.known_at, session, self.config.validation.retrain_delay)

    def _say(self, session: int, kind: EventKind, message: str, figures: Mapping[str, float]) -> None:
        number = len(self.stretches) - 1
        self.events.append(Event(self.sessions.known_at[session], kind, message, number, figures=figures))


def _compared(contest: Contest, challenger: str, champion: str) -> str:
    """Say what a contest found."""
    if contest.n == 0:
        return f"the {challenger} and the {champion} have foreseen no row together whose outcome is known"
    return (
        f"the {challenger} has a squared error smaller by {contest.difference:.3g} than the {champion} over "
        f"{contest.n} decision times, 95 % bounds {contest.lower:.3g} and {contest.upper:.3g}"
    )


def live_through(
    model: BaseModel,
    dataset: Dataset,
    policy: GuardedPolicy,
    *,
    folder: Path | None = None,
    watch: Watch | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Lived:
    """Walk forward session by session, and train when a policy says so on what is known by then.

    Args:
        model: An untrained model; it stays untrained.
        dataset: All rows.
        policy: What says when to train.
        folder: A run folder in which every finished stretch is kept, so that a killed run resumes.
        watch: What looks for drift; nothing is watched without.
        progress: Called with (sessions done, sessions in all).

    Raises:
        SplitError: When the bars are too few for one session to be served.
    """
    return Life(Workshop(model, dataset, folder), policy, watch=watch).run(progress)
