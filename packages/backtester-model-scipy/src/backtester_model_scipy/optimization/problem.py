"""What is minimised, within what, and where it ended."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias, TypeVar

import numpy as np
import pydantic

from backtester_model_core.config.groups import Group, Name
from backtester_model_core.typing import FloatArray

Loss: TypeAlias = Callable[[FloatArray], float]
Gradient: TypeAlias = Callable[[FloatArray], FloatArray]
Result = TypeVar("Result")


class Constraint(Group):
    """Linear bounds on a weighted sum of parameters: ``lower <= sum of weight times parameter <= upper``."""

    terms: dict[Name, float] = pydantic.Field(
        min_length=1, description="Weight of each parameter, by its name."
    )
    lower: float | None = pydantic.Field(default=None, description="Smallest value that is allowed.")
    upper: float | None = pydantic.Field(default=None, description="Largest value that is allowed.")


@dataclass(frozen=True, eq=False)
class Problem:
    """An objective over named parameters.

    Attributes:
        names: Names of the k parameters.
        start: (k,) where a local search begins; inside the bounds.
        loss: From (k,) parameters to the number to be minimised, such as a negative log-likelihood.
        gradient: Its derivative; ``None`` where it is taken by differences.
        lower: (k,) smallest values, minus infinity where there are none.
        upper: (k,) largest values, infinity where there are none.
        scale: (k,) the size of a noticeable change of each parameter.
        size: Number of rows that the loss is summed over.
        constraints: What must hold between parameters.
    """

    names: tuple[str, ...]
    start: FloatArray
    loss: Loss
    lower: FloatArray
    upper: FloatArray
    scale: FloatArray
    size: int
    gradient: Gradient | None = None
    constraints: tuple[Constraint, ...] = ()

    @classmethod
    def free(cls, names: tuple[str, ...], loss: Loss, gradient: Gradient | None, size: int) -> Problem:
        """Return a problem without bounds that starts at zero and whose parameters are of the order of one."""
        k = len(names)
        wide = np.full(k, np.inf)
        return cls(names, np.zeros(k), loss, -wide, wide, np.ones(k), size, gradient)


def remembered(function: Callable[[FloatArray], Result]) -> Callable[[FloatArray], Result]:
    """Return the function with its last result kept: a loss is asked for, and then its gradient at the same place."""
    last: list[tuple[FloatArray, Result]] = []

    def ask(values: FloatArray) -> Result:
        if not last or not np.array_equal(last[0][0], values):
            last[:] = [(values.copy(), function(values))]
        return last[0][1]

    return ask


@dataclass(frozen=True, eq=False)
class Optimum:
    """Where a search ended.

    Attributes:
        values: (k,) parameters.
        loss: The objective there.
        errors: (k,) standard errors by the inverse Hessian; NaN at a bound and where it cannot be inverted.
        note: How the search went, in a sentence.
    """

    values: FloatArray
    loss: float
    errors: FloatArray
    note: str


class Search(Group):
    """How an objective is minimised, and within what."""

    bounds: dict[Name, tuple[float | None, float | None]] = pydantic.Field(
        default_factory=dict,
        max_length=1000,
        description="Smallest and largest value of a parameter, by its name: [0.0, 0.5].",
    )
    constraints: tuple[Constraint, ...] = pydantic.Field(
        default=(), max_length=100, description="Linear constraints between parameters."
    )
    max_iterations: int = pydantic.Field(
        default=1000, ge=1, le=1_000_000, description="Iterations after which a search is given up."
    )
    tolerance: float = pydantic.Field(
        default=1e-12, gt=0, lt=1, description="Relative change of the objective per row that counts as none."
    )

    @pydantic.field_validator("bounds")
    @classmethod
    def _check_order(
        cls, value: dict[str, tuple[float | None, float | None]]
    ) -> dict[str, tuple[float | None, float | None]]:
        for name, (lower, upper) in value.items():
            if lower is not None and upper is not None and lower >= upper:
                raise ValueError(f"the lower bound of {name} ({lower:g}) is not below the upper ({upper:g})")
        return value
