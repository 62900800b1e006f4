"""What every model of this package is: parameters that were checked, ``fit`` and ``forecast``."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar, NamedTuple, Self

import numpy as np
import pydantic

from backtester_model_core.config.groups import Group
from backtester_model_core.exceptions import ConfigError
from backtester_model_core.row_steps import Link
from backtester_model_core.typing import FloatArray, IntArray
from backtester_model_scipy.optimization import Optimum, Problem, Search, check_method, solve

MAX_ESTIMATES = 6
"""Estimates that a note shows, those furthest from zero in their standard errors."""


@dataclass(frozen=True, eq=False)
class Rows:
    """What a model learns from.

    Attributes:
        features: (n, p) complete rows, already standardised for a model that wants them so.
        target: (m,) class positions among the classes that occur, or values; m = n unless ``ends`` is given.
        n_classes: Number of classes that occur; ``None`` for regression.
        weight: (m,) sample weights; ones where none were given.
        names: Names of the p features.
        ends: (m,) positions in ``features`` of the rows to learn from, each after the rows of its symbol that
            the model asks for as context; ``None`` where every row stands by itself.
        seed: Seed of everything random.
        is_weighted: Whether weights were given.
    """

    features: FloatArray
    target: FloatArray | IntArray
    n_classes: int | None
    weight: FloatArray
    names: tuple[str, ...]
    ends: IntArray | None = None
    seed: int | None = None
    is_weighted: bool = False


@dataclass(frozen=True, eq=False)
class Fitted:
    """What a model learned: plain arrays by name, and notes on how the estimation went."""

    arrays: Mapping[str, FloatArray]
    notes: tuple[str, ...] = ()

    def __getitem__(self, name: str) -> FloatArray:
        return self.arrays[name]

    def state(self) -> dict[str, FloatArray]:
        """Return the arrays that make up all that was learned."""
        return dict(self.arrays)

    @classmethod
    def from_state(cls, state: Mapping[str, FloatArray], notes: Sequence[str] = ()) -> Self:
        """Return what was learned, from its arrays."""
        arrays = {name: np.ascontiguousarray(array, dtype=np.float64) for name, array in state.items()}
        return cls(arrays, tuple(notes))


class Scores(NamedTuple):
    """A forecast that is a function of weighted sums of the features.

    Attributes:
        weights: (k, p) weights of k scores.
        intercepts: (k,) the scores of a row of zeros.
        link: From the k scores of a row to the answer.
    """

    weights: FloatArray
    intercepts: FloatArray
    link: Link


class Model(Group, ABC):
    """A statistical model; its fields are its parameters, and what it learns is handed back as arrays.

    Attributes:
        name: The name that configurations give it.
        tasks: The tasks it answers.
        is_scaled: Whether it wants standardised features where the configuration asks for that.
    """

    name: ClassVar[str]
    tasks: ClassVar[frozenset[str]]
    is_scaled: ClassVar[bool] = True

    method: str | None = pydantic.Field(
        default=None, description="How it is fitted; a configuration says it by optimization_method."
    )

    @property
    def context_rows(self) -> int:
        """Number of a symbol's rows before a row that the answer for it needs."""
        return 0

    def check(self, columns: Sequence[str], horizon: int, n_classes: int | None) -> None:
        """Refuse parameters that do not go with the configuration's features, horizon or label.

        Raises:
            ConfigError: Saying what would.
        """

    @abstractmethod
    def fit(self, rows: Rows) -> Fitted:
        """Learn from rows.

        Raises:
            TrainingError: When nothing can be learned from them, or the optimiser did not converge.
        """

    @abstractmethod
    def forecast(self, fitted: Fitted, features: FloatArray, ends: IntArray | None = None) -> FloatArray:
        """Return (m,) values, or (m, n_classes) probabilities of the classes that occurred in training."""

    def importance(self, fitted: Fitted, deviation: FloatArray) -> FloatArray | None:
        """Return (p,) how far one deviation of each feature moves the answer; ``None`` where nobody can say.

        Args:
            fitted: What was learned.
            deviation: (p,) standard deviation of each feature as the model sees it.
        """
        return None

    def scores(self, fitted: Fitted) -> Scores | None:
        """Return the forecast as weighted sums, by which one row is answered fast; ``None`` where it is none."""
        return None

    def with_method(self, method: str | None) -> Self:
        """Return the model with its optimiser chosen.

        Raises:
            ConfigError: When it is fitted without one, or the method cannot keep what the model needs.
        """
        if method is not None:
            raise ConfigError(
                f"optimization_method is set to {method!r}, but the model {self.name!r} is not fitted by one of "
                "the general optimisers. Leave it out."
            )
        return self


class Optimised(Model, Search):
    """A model whose objective is minimised by a method of the user's choice.

    Attributes:
        default_method: The method where none is chosen.
        has_bounds: Whether its own parameters have bounds.
        has_constraints: Whether there are constraints between them.
    """

    default_method: ClassVar[str] = "L-BFGS-B"
    has_bounds: ClassVar[bool] = False
    has_constraints: ClassVar[bool] = False

    def with_method(self, method: str | None) -> Self:
        """Return the model with its optimiser chosen, one that keeps its bounds and constraints."""
        constrained = self.has_constraints or bool(self.constraints)
        chosen = method or ("SLSQP" if constrained else self.default_method)
        check_method(
            chosen, bounds=self.has_bounds or bool(self.bounds), constraints=constrained, model=self.name
        )
        return self.model_copy(update={"method": chosen})

    def minimise(self, problem: Problem, seed: int | None) -> Optimum:
        """Minimise an objective by the chosen method."""
        return solve(problem, self, self.method or self.default_method, model=self.name, seed=seed)


def design_of(features: FloatArray) -> FloatArray:
    """Return the features behind a column of ones."""
    return np.column_stack([np.ones(len(features)), features])


def estimates_note(names: Sequence[str], values: FloatArray, errors: FloatArray) -> str:
    """Return estimates with their standard errors, as a sentence."""
    with np.errstate(all="ignore"):
        order = np.argsort(-np.nan_to_num(np.abs(values / errors), nan=0.0), kind="stable")[:MAX_ESTIMATES]
    shown = [f"{names[at]} {values[at]:.4g} ({errors[at]:.2g})" for at in sorted(order.tolist())]
    more = f" and {len(values) - len(shown)} more" if len(values) > len(shown) else ""
    return f"Estimates (standard errors): {', '.join(shown)}{more}."


WEIGHTS_UNUSED = "The model takes no sample weights: every row counted the same."

__all__ = [
    "WEIGHTS_UNUSED",
    "Fitted",
    "Model",
    "Optimised",
    "Rows",
    "Scores",
    "design_of",
    "estimates_note",
]
