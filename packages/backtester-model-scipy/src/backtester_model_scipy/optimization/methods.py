"""The methods of SciPy by name, and what each can keep."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from backtester_model_core.exceptions import ConfigError


@dataclass(frozen=True)
class Method:
    """What a method of ``scipy.optimize`` can do.

    Attributes:
        kind: ``local`` from a start, or ``global`` in a box and polished by a local method.
        keeps_bounds: Whether it takes bounds.
        keeps_constraints: Whether it takes linear constraints.
        needs_gradient: Whether it cannot do without derivatives.
        needs_hessian: Whether it cannot do without second derivatives.
    """

    kind: Literal["local", "global"] = "local"
    keeps_bounds: bool = False
    keeps_constraints: bool = False
    needs_gradient: bool = False
    needs_hessian: bool = False


METHODS: Mapping[str, Method] = {
    "Nelder-Mead": Method(keeps_bounds=True),
    "Powell": Method(keeps_bounds=True),
    "CG": Method(),
    "BFGS": Method(),
    "Newton-CG": Method(needs_gradient=True),
    "L-BFGS-B": Method(keeps_bounds=True),
    "TNC": Method(keeps_bounds=True),
    "COBYLA": Method(keeps_bounds=True, keeps_constraints=True),
    "COBYQA": Method(keeps_bounds=True, keeps_constraints=True),
    "SLSQP": Method(keeps_bounds=True, keeps_constraints=True),
    "trust-constr": Method(keeps_bounds=True, keeps_constraints=True, needs_hessian=True),
    "dogleg": Method(needs_gradient=True, needs_hessian=True),
    "trust-ncg": Method(needs_gradient=True, needs_hessian=True),
    "trust-krylov": Method(needs_gradient=True, needs_hessian=True),
    "trust-exact": Method(needs_gradient=True, needs_hessian=True),
    "differential_evolution": Method("global", keeps_bounds=True, keeps_constraints=True),
    "dual_annealing": Method("global", keeps_bounds=True),
    "basinhopping": Method("global", keeps_bounds=True, keeps_constraints=True),
    "shgo": Method("global", keeps_bounds=True, keeps_constraints=True),
}
"""Every local method of ``scipy.optimize.minimize``, and the global ones, by the names that SciPy gives them."""


def check_method(name: str, *, bounds: bool, constraints: bool, model: str) -> None:
    """Refuse a method that SciPy does not have, or that cannot keep what must be kept.

    Raises:
        ConfigError: With the names of those that can.
    """
    if name not in METHODS:
        valid = ", ".join(METHODS)
        raise ConfigError(f"{ConfigError.unknown('optimization_method', name, METHODS)} Valid: {valid}.")
    method = METHODS[name]
    for what, wanted, kept in (
        ("constraints", constraints, "keeps_constraints"),
        ("bounds", bounds, "keeps_bounds"),
    ):
        if wanted and not getattr(method, kept):
            able = ", ".join(each for each, other in METHODS.items() if getattr(other, kept))
            raise ConfigError(
                f"optimization_method {name!r} keeps no {what}, which {model} has. Use one of: {able}."
            )
