"""What every model has; an adapter's configuration class adds its own fields."""

from __future__ import annotations

from typing import Literal

import pydantic

from backtester_model_core.config.groups import (
    CostsConfig,
    DataConfig,
    FeaturesConfig,
    GateConfig,
    LabelConfig,
    Name,
    ValidationConfig,
)
from backtester_model_core.config.monitoring import MonitoringConfig
from backtester_model_core.config.retraining import RetrainingConfig
from backtester_model_core.config.signals import CalibrationConfig, SizingConfig, ThresholdsConfig


class ModelConfig(pydantic.BaseModel):
    """What every model has; each adapter's configuration class adds its own fields."""

    model_config = pydantic.ConfigDict(
        frozen=True, extra="forbid", allow_inf_nan=False, protected_namespaces=(), defer_build=True
    )

    model_name: str = pydantic.Field(
        default="model",
        min_length=1,
        max_length=64,
        pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]*$",
        description="Name of the model in results, signals and run folders.",
    )
    model_type: Literal["classification", "regression"] = pydantic.Field(
        default="classification", description="Whether the label is a class or a number."
    )
    framework: str = pydantic.Field(
        min_length=1,
        max_length=64,
        description="Name of the adapter that trains and predicts, such as 'sklearn'.",
    )
    lookback_period: int = pydantic.Field(
        default=30,
        ge=1,
        le=10_000,
        description=(
            "Bars of its symbol's history, itself included, that a row needs before it may be decided on."
        ),
    )
    prediction_horizon: int = pydantic.Field(
        default=1, ge=1, le=10_000, description="Bars from entry to exit."
    )
    train_test_split: float = pydantic.Field(
        default=0.8,
        gt=0,
        lt=1,
        description=(
            "Share of the sessions before the first test session, where validation.train_size does not say."
        ),
    )
    validation_split: float = pydantic.Field(
        default=0.2,
        ge=0,
        lt=1,
        description=(
            "Latest share of the training rows, purged, that is held back to stop early and to "
            "measure the first window's residuals."
        ),
    )
    signal_threshold: float = pydantic.Field(
        default=0.5,
        ge=0,
        le=1,
        description="Probability of a rise (LONG) or fall (SHORT) from which a signal may be given.",
    )
    confidence_threshold: float = pydantic.Field(
        default=0.6,
        ge=0.5,
        le=1,
        description=(
            "Confidence from which a signal is given; at two classes it and signal_threshold act "
            "as their maximum."
        ),
    )
    strong_threshold: float | None = pydantic.Field(
        default=None,
        ge=0.5,
        le=1,
        description=(
            "Confidence from which a signal is strong; by default a quarter of the way from "
            "confidence_threshold to one."
        ),
    )
    enable_monitoring: bool = pydantic.Field(
        default=True,
        description=(
            "Watch the model while it serves, and record each window's live accuracy and skill as its labels become "
            "known."
        ),
    )
    retrain_threshold: float = pydantic.Field(
        default=0.7,
        ge=0,
        le=1,
        description=(
            "Suggest retraining when the upper 95 % bound of live skill falls below this share of "
            "its reference; of retraining.policy 'accuracy' the accuracy itself."
        ),
    )
    target_column: Name = pydantic.Field(
        default="close",
        description=(
            "What is foreseen: 'close' is the traded price, entered and left as the label says; "
            "any other column is foreseen by its relative change from t to t + horizon."
        ),
    )
    feature_columns: tuple[Name, ...] | None = pydantic.Field(
        default=None,
        min_length=1,
        max_length=5000,
        description=(
            "Columns to learn from, of the feature sets, the expressions and the bars; all of the "
            "sets and expressions when not given."
        ),
    )
    normalize_features: bool = pydantic.Field(
        default=True, description="Standardise features by the training rows' mean and deviation."
    )
    cv_folds: int = pydantic.Field(
        default=5, ge=2, le=100, description="Folds of the purged cross-validation."
    )
    random_state: int | None = pydantic.Field(
        default=0,
        ge=0,
        le=2**32 - 1,
        description=(
            "Seed of everything random; None draws one and records it, so a killed run starts again."
        ),
    )
    pooling: Literal["pooled", "per_symbol"] = pydantic.Field(
        default="pooled", description="One model for all symbols of a panel, or one for each."
    )
    features: FeaturesConfig = pydantic.Field(
        default_factory=FeaturesConfig, description="Which columns the model learns from."
    )
    label: LabelConfig = pydantic.Field(
        default_factory=LabelConfig, description="What the model learns to foresee."
    )
    validation: ValidationConfig = pydantic.Field(
        default_factory=ValidationConfig, description="How the walk-forward moves."
    )
    calibration: CalibrationConfig = pydantic.Field(
        default_factory=CalibrationConfig, description="How probabilities are brought to mean what they say."
    )
    thresholds: ThresholdsConfig = pydantic.Field(
        default_factory=ThresholdsConfig, description="From which confidence a side is taken and kept."
    )
    sizing: SizingConfig = pydantic.Field(
        default_factory=SizingConfig, description="How large a position a signal asks for."
    )
    costs: CostsConfig = pydantic.Field(default_factory=CostsConfig, description="What trading costs.")
    gate: GateConfig = pydantic.Field(
        default_factory=GateConfig, description="Whether a model may trade before it has shown skill."
    )
    monitoring: MonitoringConfig = pydantic.Field(
        default_factory=MonitoringConfig, description="What is watched while the model serves."
    )
    retraining: RetrainingConfig = pydantic.Field(
        default_factory=RetrainingConfig, description="When a model is trained again."
    )
    data_config: DataConfig = pydantic.Field(
        default_factory=DataConfig, description="Where bars come from and how their stamps are read."
    )

    @pydantic.model_validator(mode="after")
    def _check_strong_threshold(self) -> ModelConfig:
        if self.strong_threshold is not None and self.strong_threshold < self.confidence_threshold:
            raise ValueError(
                f"strong_threshold ({self.strong_threshold:g}) is below confidence_threshold "
                f"({self.confidence_threshold:g}): raise the first or lower the second"
            )
        return self

    @pydantic.model_validator(mode="after")
    def _check_class_balance(self) -> ModelConfig:
        if self.label.weighting.class_balance and self.model_type == "regression":
            raise ValueError("label.weighting.class_balance needs classes: model_type is 'regression'")
        return self

    @property
    def label_kind(self) -> str:
        """Name of the label in force."""
        return self.label.kind or ("direction" if self.model_type == "classification" else "forward_return")

    @property
    def strong_confidence(self) -> float:
        """Confidence from which a signal is strong."""
        if self.strong_threshold is not None:
            return self.strong_threshold
        return self.confidence_threshold + (1 - self.confidence_threshold) / 4
