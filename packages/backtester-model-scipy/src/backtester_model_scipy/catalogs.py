"""What a configuration may name: models, objectives and distributions, some of which users register in code.

A name stands for code that was registered before; no configuration ever holds an import path.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, TypeAlias, TypeVar

from backtester_model_core.catalog import Catalog
from backtester_model_core.typing import FloatArray

if TYPE_CHECKING:
    from backtester_model_scipy.models.model import Model

    ModelT = TypeVar("ModelT", bound=type[Model])

IN_CODE = "in code"

Loss: TypeAlias = Callable[[FloatArray, FloatArray, FloatArray], float]
"""From (score, target, weight), each (n,), to the number to be minimised."""

Slope: TypeAlias = Callable[[FloatArray, FloatArray, FloatArray], FloatArray]
"""From the same to the (n,) derivative with respect to the score."""


@dataclass(frozen=True)
class Objective:
    """What the model ``objective`` minimises over a linear score of the features.

    Attributes:
        loss: The number to be minimised; summed over rows, if standard errors are to mean anything.
        slope: Its derivative with respect to the score; ``None`` where it is taken by differences.
        task: The task it is meant for. In a classification of two classes the target is 0 or 1, and the
            probability of the second class is ``1 / (1 + exp(-score))``.
    """

    loss: Loss
    slope: Slope | None = None
    task: Literal["classification", "regression"] = "regression"


@dataclass(frozen=True)
class Distribution:
    """A continuous distribution that returns may be fitted by.

    Attributes:
        distribution: The name of one in ``scipy.stats``, or a frozen ``rv_continuous`` of one's own.
        bounds: Bounds of each shape parameter, by its name in SciPy.
    """

    distribution: Any
    bounds: Mapping[str, tuple[float, float]] = field(default_factory=dict)


MODELS: Catalog[type[Model]] = Catalog("model")
OBJECTIVES: Catalog[Objective] = Catalog("objective")
DISTRIBUTIONS: Catalog[Distribution] = Catalog("distribution")


def register_objective(
    name: str,
    *,
    slope: Slope | None = None,
    task: Literal["classification", "regression"] = "regression",
) -> Callable[[Loss], Loss]:
    """Register the decorated loss as an objective that configurations may name.

    Example:
        >>> @register_objective("lopsided")
        ... def lopsided(score, target, weight):
        ...     shortfall = target - score
        ...     return float((weight * shortfall**2 * (1 + 3 * (shortfall < 0))).sum())
    """

    def register(loss: Loss) -> Loss:
        OBJECTIVES.add(name, Objective(loss, slope, task), source=IN_CODE)
        return loss

    return register


def register_distribution(
    name: str, distribution: Any, *, bounds: Mapping[str, tuple[float, float]] | None = None
) -> None:
    """Register a distribution that configurations may name.

    Args:
        name: The name.
        distribution: An ``rv_continuous`` of ``scipy.stats``, or its name there.
        bounds: Bounds of each of its shape parameters.
    """
    DISTRIBUTIONS.add(name, Distribution(distribution, dict(bounds or {})), source=IN_CODE)


def register_model(name: str) -> Callable[[ModelT], ModelT]:
    """Register the decorated subclass of ``models.Model`` under a name."""

    def register(model_class: ModelT) -> ModelT:
        MODELS.add(name, model_class, source=model_class.__module__)
        return model_class

    return register


for _name, _bounds in {
    "normal": {},
    "laplace": {},
    "logistic": {},
    "hyperbolic_secant": {},
    "student_t": {"df": (2.05, 100.0)},
    "generalized_normal": {"beta": (0.3, 10.0)},
    "skew_normal": {"a": (-20.0, 20.0)},
    "johnson_su": {"a": (-10.0, 10.0), "b": (0.2, 20.0)},
    "normal_inverse_gaussian": {"a": (0.05, 50.0), "b": (-25.0, 25.0)},
}.items():
    _known_as = {
        "normal": "norm",
        "hyperbolic_secant": "hypsecant",
        "student_t": "t",
        "generalized_normal": "gennorm",
        "skew_normal": "skewnorm",
        "johnson_su": "johnsonsu",
        "normal_inverse_gaussian": "norminvgauss",
    }.get(_name, _name)
    DISTRIBUTIONS.add(_name, Distribution(_known_as, _bounds))
