"""What is watched while a model serves, and how far anything may go before it is said."""

from __future__ import annotations

from typing import Annotated

import pydantic

from backtester_model_core.config.groups import Group, Name


class MonitoringConfig(Group):
    """What is watched while a model serves; ``enable_monitoring`` says whether anything is.

    Lengths count decision times: bars of one symbol, sessions of a panel.
    """

    window: int = pydantic.Field(
        default=60,
        ge=10,
        le=10_000,
        description=(
            "Decision times whose rows are compared with the training rows; at most a fifth of those trained on "
            "are used, in steps of check_every."
        ),
    )
    check_every: int = pydantic.Field(
        default=20,
        ge=1,
        le=10_000,
        description="Decision times from one look at features and latency to the next.",
    )
    measures: Annotated[tuple[Name, ...], pydantic.Field(max_length=10)] = pydantic.Field(
        default=("psi", "ks"),
        description=(
            "Names of registered drift measures: 'psi', 'ks', 'wasserstein', or one that a package brings; none "
            "to look at data quality alone."
        ),
    )
    drift_level: float = pydantic.Field(
        default=0.01,
        gt=0,
        le=0.5,
        description="Chance of one look calling stationary features drifted, over all features and measures together.",
    )
    persistence: int = pydantic.Field(
        default=3,
        ge=1,
        le=100,
        description="Looks in a row at which a feature must be found drifted before it is said.",
    )
    detector: Name = pydantic.Field(
        default="adwin",
        description="Name of the registered detector of rising errors: 'adwin', 'page_hinkley' or 'ddm'.",
    )
    live_window: int = pydantic.Field(
        default=250,
        ge=20,
        le=100_000,
        description="Decision times with known outcomes over which live accuracy, error and skill are measured.",
    )
    max_missing: float = pydantic.Field(
        default=0.2,
        ge=0,
        le=1,
        description="Share of missing values of a feature, above that of the training rows, from which it is said.",
    )
    stale_after: int = pydantic.Field(
        default=10,
        ge=2,
        le=10_000,
        description="Bars of one symbol at which a feature may stand still before it is said.",
    )
    range_margin: float = pydantic.Field(
        default=0.5,
        ge=0,
        le=1000,
        description="How far outside the training rows' range a value may lie, as a share of that range.",
    )
    latency_limit: float | None = pydantic.Field(
        default=None,
        gt=0,
        le=3600,
        description="Seconds that 99 of 100 predictions may take at most before it is said; no limit when not given.",
    )

    @pydantic.model_validator(mode="after")
    def _check_window(self) -> MonitoringConfig:
        if self.window < self.check_every:
            raise ValueError(
                f"window ({self.window}) is below check_every ({self.check_every}): raise the first or lower the second"
            )
        return self
