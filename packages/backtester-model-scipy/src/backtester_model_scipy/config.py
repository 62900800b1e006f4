"""What a SciPy model adds to the configuration; nothing here imports SciPy."""

from __future__ import annotations

from typing import Annotated, Any, Literal, TypeAlias

import pydantic

from backtester_model_core.config import ModelConfig
from backtester_model_core.config.groups import Name
from backtester_model_core.config.named import plain_data

DEFAULT_MODEL = {"classification": "logistic", "regression": "ridge"}

PlainValue: TypeAlias = Annotated[Any, plain_data(max_depth=4, has_tables=True)]


class SciPyModelConfig(ModelConfig):
    """A statistical model by name, its parameters, and how its objective is minimised."""

    framework: Literal["scipy"] = pydantic.Field(default="scipy", description="Name of this adapter.")
    model: Name | None = pydantic.Field(
        default=None,
        description="Name of a model; by default logistic for classification and ridge for regression.",
    )
    parameters: dict[Name, PlainValue] = pydantic.Field(
        default_factory=dict,
        max_length=100,
        description=(
            "The model's own parameters, such as the orders of an ARMA; for a model that is fitted by "
            "optimisation also bounds, constraints, max_iterations and tolerance."
        ),
    )
    optimization_method: Name | None = pydantic.Field(
        default=None,
        description=(
            "How the objective is minimised: a method of scipy.optimize.minimize such as 'L-BFGS-B', or "
            "'differential_evolution', 'dual_annealing', 'basinhopping' or 'shgo'; the model's own choice when "
            "not given."
        ),
    )

    @property
    def chosen_model(self) -> str:
        """Name of the model in force."""
        return self.model or DEFAULT_MODEL[self.model_type]
