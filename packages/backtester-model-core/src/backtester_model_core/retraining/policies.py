"""Policies that say when a model is to be trained again, and that compose.

A policy is a question to the evidence of an instant. It holds no state and no data, so that the same object says
the same in a walk-forward and on a live stream.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol

from backtester_model_core.config import ModelConfig, PolicyRule
from backtester_model_core.config.retraining import AllOf, AnyOf
from backtester_model_core.events import EventKind
from backtester_model_core.exceptions import ConfigError
from backtester_model_core.retraining.evidence import Evidence
from backtester_model_core.retraining.spells import Spell

MIN_HORIZONS = 30
"""Scored horizons below which live figures decide nothing: so few understate how uncertain their mean is."""


@dataclass(frozen=True)
class Trigger:
    """Why a model is to be trained again, in words and numbers.

    Attributes:
        reason: The reason, as part of a sentence.
        figures: The numbers behind it, by name.
    """

    reason: str
    figures: Mapping[str, float] = field(default_factory=dict)


class Policy(Protocol):
    """What says when a model is to be trained again."""

    def due(self, evidence: Evidence) -> Trigger | None:
        """Return why to train now, or ``None``."""
        ...


# -- single policies -----------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Never:
    """The first training is the last."""

    def due(self, evidence: Evidence) -> Trigger | None:  # noqa: ARG002 - nothing could change its mind
        """Return ``None``."""
        return None


@dataclass(frozen=True)
class Schedule:
    """A training every so often, counted from the last.

    Attributes:
        every: From one to the next.
    """

    every: Spell

    def due(self, evidence: Evidence) -> Trigger | None:
        """Say so once the last training is that long ago."""
        if not self.every.is_reached(evidence.sessions_since_training, evidence.since_training):
            return None
        sessions = evidence.sessions_since_training
        reason = f"the last training was {sessions:,} sessions ago, and one is due after {self.every}"
        return Trigger(reason, {"sessions_since_training": sessions})


@dataclass(frozen=True)
class Age:
    """A training once the model in force is old, counted from its own fit.

    Attributes:
        limit: Age from which it is to be trained again.
    """

    limit: Spell

    def due(self, evidence: Evidence) -> Trigger | None:
        """Say so once the model has reached that age."""
        if not self.limit.is_reached(evidence.age_sessions, evidence.age):
            return None
        reason = f"the model is {evidence.age_sessions:,} sessions old, and is trained again at {self.limit}"
        return Trigger(reason, {"age_sessions": evidence.age_sessions})


@dataclass(frozen=True)
class Skill:
    """A training once live skill has fallen, by more than chance explains, below a share of what it was.

    The upper 95 % bound of the live mean g must lie below ``share`` times the reference. Without a positive reference
    there is nothing to fall from, and it is never due.

    Attributes:
        share: Share of the reference.
        min_times: Decision times that must have been scored, live and before.
    """

    share: float
    min_times: int = MIN_HORIZONS

    def due(self, evidence: Evidence) -> Trigger | None:
        """Compare the bound with the reference."""
        live = evidence.live
        if min(live.n, live.n_reference) < self.min_times or not live.reference > 0:
            return None
        if live.skill_upper >= self.share * live.reference:
            return None
        reason = f"live skill is at most {live.skill_upper:.3g}, its reference {live.reference:.3g}"
        figures = {
            "live_skill": live.skill,
            "live_skill_upper": live.skill_upper,
            "reference_skill": live.reference,
            "n_live": live.n,
        }
        return Trigger(reason, figures)


@dataclass(frozen=True)
class Accuracy:
    """A training once live accuracy is below a number. At realistic edges 0.7 is always below.

    Attributes:
        below: The number.
        min_times: Decision times that must have been scored.
    """

    below: float
    min_times: int = MIN_HORIZONS

    def due(self, evidence: Evidence) -> Trigger | None:
        """Compare the share of sides that came true."""
        live = evidence.live
        if live.n < self.min_times or not live.accuracy < self.below:
            return None
        reason = f"live accuracy is {live.accuracy:.3f}, below {self.below:g}"
        return Trigger(reason, {"live_accuracy": live.accuracy, "n_live": live.n})


@dataclass(frozen=True)
class Counted:
    """A training once events of some kinds have happened often enough since the model began to serve.

    Attributes:
        kinds: The kinds that count.
        n_events: How many together.
    """

    kinds: tuple[EventKind, ...]
    n_events: int = 1

    def due(self, evidence: Evidence) -> Trigger | None:
        """Count them."""
        counts = {kind.value: evidence.events.get(kind, 0) for kind in self.kinds}
        if sum(counts.values()) < self.n_events:
            return None
        said = ", ".join(f"{n} x {kind.replace('_', ' ')}" for kind, n in counts.items() if n)
        return Trigger(
            f"{said} since the model began to serve", {f"n_{kind}": n for kind, n in counts.items()}
        )


@dataclass(frozen=True)
class Refused:
    """Another attempt, some time after a training that was refused and left no model in force.

    Attributes:
        every: From one attempt to the next.
    """

    every: Spell

    def due(self, evidence: Evidence) -> Trigger | None:
        """Say so once the refused training is that long ago."""
        trigger = Schedule(self.every).due(evidence) if evidence.is_refused else None
        return None if trigger is None else Trigger("the last training was refused", trigger.figures)


# -- compositions --------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class AnyDue:
    """Due as soon as one of several policies is.

    Attributes:
        policies: The several.
    """

    policies: tuple[Policy, ...]

    def due(self, evidence: Evidence) -> Trigger | None:
        """Return the reasons of those that are due."""
        found = [trigger for policy in self.policies if (trigger := policy.due(evidence)) is not None]
        return _joined(found) if found else None


@dataclass(frozen=True)
class AllDue:
    """Due when each of several policies is, at the same instant.

    Attributes:
        policies: The several.
    """

    policies: tuple[Policy, ...]

    def due(self, evidence: Evidence) -> Trigger | None:
        """Return the reasons of all, where all are due."""
        found = [trigger for policy in self.policies if (trigger := policy.due(evidence)) is not None]
        return _joined(found) if len(found) == len(self.policies) else None


@dataclass(frozen=True)
class GuardedPolicy:
    """A policy within bounds: how soon, on how much that is new, and how often it may train.

    Attributes:
        wish: What says when to train.
        cooldown: Sessions after a training without another.
        min_new_labels: Labels that must have become known since the last training.
        max_trainings: Trainings in all; ``None`` for no limit.
    """

    wish: Policy
    cooldown: int = 0
    min_new_labels: int = 0
    max_trainings: int | None = None

    def due(self, evidence: Evidence) -> Trigger | None:
        """Return why to train now, where nothing stands against it."""
        trigger = self.wish.due(evidence)
        return None if trigger is None or self.obstacle(evidence) else trigger

    def obstacle(self, evidence: Evidence) -> str | None:
        """Say what stands against a training now, or nothing."""
        if self.max_trainings is not None and evidence.n_trainings >= self.max_trainings:
            return f"the budget of {self.max_trainings} trainings is spent"
        if evidence.sessions_since_training <= self.cooldown:
            return f"the cooldown of {self.cooldown} sessions is not over"
        if evidence.new_labels < self.min_new_labels:
            return f"fewer than {self.min_new_labels} labels have become known since the last training"
        return None


# -- from a configuration ------------------------------------------------------------------------------------------


def retraining_policy(config: ModelConfig, *, wish: Policy | None = None) -> GuardedPolicy:
    """Return the policy of a configuration, or a policy of one's own within the configuration's bounds.

    A training that was refused is tried again after ``validation.test_size``, unless the policy is ``never``.
    """
    settings = config.retraining
    if wish is None:
        wish = _policy_of(settings.policy, config)
    if not isinstance(wish, Never):
        wish = AnyDue((wish, Refused(Spell.of(config.validation.test_size))))
    return GuardedPolicy(wish, settings.cooldown, settings.min_new_labels, settings.max_trainings)


def _policy_of(rule: PolicyRule, config: ModelConfig) -> Policy:
    """Build what a rule describes."""
    if isinstance(rule, AnyOf):
        return AnyDue(tuple(_policy_of(each, config) for each in rule.any))
    if isinstance(rule, AllOf):
        return AllDue(tuple(_policy_of(each, config) for each in rule.all))
    settings = config.retraining
    min_times = MIN_HORIZONS * config.prediction_horizon
    if rule in {"drift", "data_quality"} and not config.enable_monitoring:
        raise ConfigError(
            f"retraining.policy = {rule!r} goes by what monitoring notices, and enable_monitoring is false. Set it "
            "to true, or choose another policy."
        )
    policies: dict[str, Policy] = {
        "never": Never(),
        "schedule": Schedule(Spell.of(settings.every or config.validation.test_size)),
        "skill": Skill(config.retrain_threshold, min_times),
        "accuracy": Accuracy(config.retrain_threshold, min_times),
        "drift": Counted(tuple(EventKind(kind) for kind in settings.drift_kinds), settings.n_events),
        "data_quality": Counted((EventKind.DATA_QUALITY,), settings.n_events),
        "age": Age(Spell.of(settings.max_age)),
    }
    return policies[rule]


def _joined(triggers: list[Trigger]) -> Trigger:
    """Return several reasons as one."""
    figures = {name: value for trigger in triggers for name, value in trigger.figures.items()}
    return Trigger(" and ".join(trigger.reason for trigger in triggers), figures)
