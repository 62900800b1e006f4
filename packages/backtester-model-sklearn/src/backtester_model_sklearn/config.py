"""What a scikit-learn model adds to the configuration; nothing here imports scikit-learn."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal, TypeAlias

import pydantic

from backtester_model_core.config import ModelConfig, Named, PlainValue
from backtester_model_core.config.groups import Group, Name

DEFAULT_CLASS = {"classification": "LogisticRegression", "regression": "Ridge"}


def _shape_of(value: Any) -> Literal["nested", "plain"]:
    return "nested" if isinstance(value, (Mapping, NestedEstimator)) else "plain"


class NestedEstimator(Group):
    """An estimator inside another, such as the tree that AdaBoost boosts."""

    model_class: Name = pydantic.Field(description="Name of a scikit-learn estimator.")
    hyperparameters: dict[Name, PlainValue] = pydantic.Field(
        default_factory=dict, max_length=100, description="Its parameters."
    )


Hyperparameter: TypeAlias = Annotated[
    Annotated[NestedEstimator, pydantic.Tag("nested")] | Annotated[PlainValue, pydantic.Tag("plain")],
    pydantic.Discriminator(_shape_of),
]

StepName: TypeAlias = Literal[
    "simple_imputer",
    "standard_scaler",
    "minmax_scaler",
    "robust_scaler",
    "quantile_transformer",
    "variance_threshold",
    "select_k_best",
    "pca",
]


class PreprocessingStep(Named):
    """One step before the estimator: a bare name, or a table of the name and its parameters."""

    name: StepName = pydantic.Field(description="Name of the step.")
    arguments: dict[Name, PlainValue] = pydantic.Field(
        default_factory=dict, max_length=20, description="Parameters of the scikit-learn transformer."
    )


class SklearnModelConfig(ModelConfig):
    """A scikit-learn classifier or regressor by name, its parameters, and what happens to features before it."""

    framework: Literal["sklearn"] = pydantic.Field(default="sklearn", description="Name of this adapter.")
    model_class: Name | None = pydantic.Field(
        default=None,
        description=(
            "Name of a scikit-learn estimator; by default LogisticRegression for classification and Ridge for "
            "regression."
        ),
    )
    hyperparameters: dict[Name, Hyperparameter] = pydantic.Field(
        default_factory=dict,
        max_length=100,
        description=(
            "Parameters of the estimator: numbers, texts, true, false and lists of those; for an estimator "
            "inside another a table of model_class and hyperparameters."
        ),
    )
    preprocessing: tuple[PreprocessingStep, ...] = pydantic.Field(
        default=(),
        max_length=20,
        description=(
            "Steps between features and estimator, in order, each fitted to the training rows only: a name "
            "such as 'robust_scaler', or a table such as {name = 'pca', n_components = 5}."
        ),
    )

    @property
    def estimator_name(self) -> str:
        """Name of the estimator in force."""
        return self.model_class or DEFAULT_CLASS[self.model_type]
