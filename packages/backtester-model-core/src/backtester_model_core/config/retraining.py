"""When a model is trained again, what its successor must show, and when it is too old to be followed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal, TypeAlias

import pydantic

from backtester_model_core.config.groups import Group, Size

PolicyName: TypeAlias = Literal["never", "schedule", "skill", "accuracy", "drift", "data_quality", "age"]
DriftKind: TypeAlias = Literal["feature_drift", "prediction_drift", "concept_drift"]


class AnyOf(Group):
    """A policy that is due as soon as one of several is."""

    any: Annotated[tuple[PolicyRule, ...], pydantic.Field(min_length=1, max_length=10)] = pydantic.Field(
        description="Policies of which one must be due."
    )


class AllOf(Group):
    """A policy that is due when each of several is, at the same session."""

    all: Annotated[tuple[PolicyRule, ...], pydantic.Field(min_length=1, max_length=10)] = pydantic.Field(
        description="Policies which must all be due."
    )


def _form_of(value: Any) -> str:
    """Say which of its forms a policy is given in, so that a fault in it is reported once."""
    if isinstance(value, AllOf) or (isinstance(value, Mapping) and "all" in value):
        return "all"
    return "any" if isinstance(value, AnyOf | Mapping) else "name"


PolicyRule: TypeAlias = Annotated[
    Annotated[PolicyName, pydantic.Tag("name")]
    | Annotated[AnyOf, pydantic.Tag("any")]
    | Annotated[AllOf, pydantic.Tag("all")],
    pydantic.Discriminator(_form_of),
]
"""A policy by its name, or a composition: ``{any = ["skill", {all = ["drift", "age"]}]}``."""

DECIDING = (
    "policy",
    "every",
    "cooldown",
    "min_new_labels",
    "max_trainings",
    "min_after_change",
    "challenge",
    "rollback_sessions",
    "warm_start",
)
"""Fields which at their defaults leave nothing to decide while a model serves: trainings then follow a plan."""


class RetrainingConfig(Group):
    """When a model is trained again, what its successor must show, and when it is too old to be followed."""

    policy: PolicyRule = pydantic.Field(
        default="schedule",
        description=(
            "When to train again: 'schedule', 'skill', 'accuracy', 'drift', 'data_quality', 'age' or 'never', or "
            'several of them, as {any = ["drift", "skill"]} or {all = ["drift", "schedule"]}.'
        ),
    )
    every: Size | None = pydantic.Field(
        default=None,
        description="Of 'schedule': length between trainings; validation.test_size when not given.",
    )
    max_age: Size = pydantic.Field(
        default=252, description="Of 'age': length after its fit at which a model is to be trained again."
    )
    skill_window: int = pydantic.Field(
        default=126,
        ge=30,
        le=100_000,
        description=(
            "Of 'skill' and 'accuracy': latest scored decision times over which they are measured; at least "
            "thirty horizons."
        ),
    )
    drift_kinds: Annotated[tuple[DriftKind, ...], pydantic.Field(min_length=1)] = pydantic.Field(
        default=("concept_drift",), description="Of 'drift': the kinds of drift that are listened to."
    )
    n_events: int = pydantic.Field(
        default=1,
        ge=1,
        le=100_000,
        description="Of 'drift' and 'data_quality': events since the model began to serve that make them due.",
    )
    cooldown: int = pydantic.Field(
        default=0,
        ge=0,
        le=100_000,
        description="Sessions after a training, also of a challenger that was not promoted, without another.",
    )
    min_new_labels: int = pydantic.Field(
        default=0,
        ge=0,
        le=10_000_000,
        description="Labels that must have become known since the last training.",
    )
    max_trainings: int | None = pydantic.Field(
        default=None,
        ge=1,
        le=100_000,
        description="Trainings in all, the first among them; no limit by default.",
    )
    min_after_change: int | None = pydantic.Field(
        default=None,
        ge=2,
        le=1_000_000,
        description=(
            "Once errors have risen (concept_drift), learn only from sessions since they did, though at least from so "
            "many; by default a training does not ask when they rose."
        ),
    )
    expires_after: Size | None = pydantic.Field(
        default=None,
        description="Age past which signals are NEUTRAL with reason stale_model; never by default.",
    )
    challenge: Literal["off", "unless_worse", "if_better"] = pydantic.Field(
        default="off",
        description=(
            "Whether a successor must first stand against the model in force on the latest labelled rows: it is "
            "promoted 'unless_worse' or only 'if_better', by a 95 % bound; 'off' promotes it in any case."
        ),
    )
    challenge_sessions: int = pydantic.Field(
        default=63,
        ge=2,
        le=100_000,
        description="Latest labelled decision times over which they are compared.",
    )
    rollback_sessions: int = pydantic.Field(
        default=0,
        ge=0,
        le=100_000,
        description=(
            "Scored decision times, at least thirty horizons, during which the model before is asked too, and put "
            "back when the new one does worse; 0 does not."
        ),
    )
    warm_start: bool = pydantic.Field(
        default=False,
        description="Continue the training of the model in force on new rows, where its adapter can.",
    )

    @property
    def is_planned(self) -> bool:
        """Whether trainings follow a plan that nothing which happens can change."""
        fields = type(self).model_fields
        return all(getattr(self, name) == fields[name].default for name in DECIDING)
