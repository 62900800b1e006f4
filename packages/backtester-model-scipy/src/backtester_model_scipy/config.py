"""What a SciPy model adds to the configuration; nothing here imports SciPy."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Annotated, Any, Literal, TypeAlias

import pydantic

from backtester_model_core.config import ModelConfig
from backtester_model_core.config.groups import Name

DEFAULT_MODEL = {"classification": "logistic", "regression": "ridge"}

MAX_ITEMS = 1000
MAX_TEXT = 200
MAX_NESTING = 4


def _plain(value: Any, depth: int = 0) -> Any:
    """Return a number, a text, or a list or table of those, with lists as tuples; refuse anything else."""
    if value is None or isinstance(value, (bool, int)) or (isinstance(value, float) and math.isfinite(value)):
        return value
    if isinstance(value, str) and len(value) <= MAX_TEXT:
        return value
    if isinstance(value, (list, tuple)) and len(value) <= MAX_ITEMS and depth < MAX_NESTING:
        return tuple(_plain(item, depth + 1) for item in value)
    if isinstance(value, Mapping) and len(value) <= MAX_ITEMS and depth < MAX_NESTING:
        return {str(key): _plain(item, depth + 1) for key, item in value.items()}
    raise ValueError(
        f"a parameter is a finite number, a text of at most {MAX_TEXT} characters, true, false, or a list or "
        f"table of those, at most {MAX_ITEMS} long and {MAX_NESTING} deep"
    )


PlainValue: TypeAlias = Annotated[Any, pydantic.BeforeValidator(_plain)]


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
