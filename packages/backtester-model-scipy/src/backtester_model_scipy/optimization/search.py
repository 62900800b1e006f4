"""Minimise a problem by a method's name, and refuse what did not converge."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from scipy import optimize

from backtester_model_core.exceptions import ConfigError, TrainingError
from backtester_model_core.typing import BoolArray, FloatArray
from backtester_model_scipy.optimization.methods import METHODS
from backtester_model_scipy.optimization.problem import Constraint, Loss, Optimum, Problem, Search

STEP = float(np.finfo(np.float64).eps ** (1 / 4))
"""Relative step of the differences of gradients; wide, as some gradients are differences of losses themselves."""

FLAT = 1e-5
"""Slope of the loss per row, in units of a parameter's scale, at which a search that gave up counts as converged."""

SEARCH_RADIUS = 10.0
"""Half the side of the box that a global method searches where a parameter has no bound, in units of its scale."""


def solve(problem: Problem, search: Search, method: str, *, model: str, seed: int | None = None) -> Optimum:
    """Minimise a problem's loss.

    A global method is followed by a local one from where it ended, whose convergence is what counts.

    Raises:
        TrainingError: When the search did not converge.
        ConfigError: When bounds or constraints name parameters that there are not.
    """
    run = _Run(_narrowed(problem, search), search, seed)
    with np.errstate(all="ignore"):
        found = run.globally(method) if METHODS[method].kind == "global" else run.locally(method, run.start)
        steepness = run.steepness(found.x)
    n_iterations = int(getattr(found, "nit", getattr(found, "nfev", 0)))
    converged = bool(found.success) or steepness < FLAT
    if not converged or not np.isfinite(found.x).all() or not np.isfinite(found.fun):
        raise TrainingError(
            f"{model} did not converge: {method} stopped after {n_iterations} iterations with a slope of "
            f"{steepness:.1e} per row ({_one_line(found.message)}). Use more rows, another optimization_method, "
            "bounds, or a larger max_iterations."
        )
    values = found.x * problem.scale
    loss = float(problem.loss(values))
    where = f"slope {steepness:.0e} per row" if np.isfinite(steepness) else "at a constraint"
    note = f"{method} converged in {n_iterations} iterations to {loss:.6g} ({where})."
    return Optimum(values, loss, run.errors(found.x), note)


def standard_errors(problem: Problem, values: FloatArray) -> FloatArray:
    """Return (k,) standard errors of parameters by the inverse Hessian of the loss; NaN where there are none."""
    return _Run(problem, Search(), None).errors(values / problem.scale)


@dataclass(frozen=True, eq=False)
class _Run:
    """One search in units in which every parameter and the loss of one row are of the order of one."""

    problem: Problem
    search: Search
    seed: int | None
    start: FloatArray = field(init=False)

    def __post_init__(self) -> None:
        start = np.clip(self.problem.start, self.problem.lower, self.problem.upper)
        object.__setattr__(self, "start", start / self.problem.scale)

    # -- the objective in these units -----------------------------------------------------------------------------

    def loss(self, x: FloatArray) -> float:
        return self.problem.loss(x * self.problem.scale) / self.problem.size

    def gradient(self, x: FloatArray) -> FloatArray:
        if self.problem.gradient is None:
            return _differences(self.loss, x, self.lower, self.upper)
        return self.problem.gradient(x * self.problem.scale) * self.problem.scale / self.problem.size

    def hessian(self, x: FloatArray) -> FloatArray:
        """Return (k, k) second derivatives by central differences of the gradient."""
        steps = STEP * np.maximum(np.abs(x), 0.1)
        rows = [
            (self.gradient(x + step) - self.gradient(x - step)) / (2 * step.max()) for step in np.diag(steps)
        ]
        return np.asarray((np.array(rows) + np.array(rows).T) / 2)

    @property
    def lower(self) -> FloatArray:
        return self.problem.lower / self.problem.scale

    @property
    def upper(self) -> FloatArray:
        return self.problem.upper / self.problem.scale

    @property
    def has_bounds(self) -> bool:
        return bool(np.isfinite(self.lower).any() or np.isfinite(self.upper).any())

    def steepness(self, x: FloatArray) -> float:
        """Return the largest slope along which the loss would still fall inside the bounds."""
        if self.problem.constraints and _slack(self.problem, x * self.problem.scale) < 1e-6:
            return np.inf  # at a constraint the slope says nothing
        slope = self.gradient(x)
        blocked = ((slope > 0) & (x <= self.lower + 1e-9)) | ((slope < 0) & (x >= self.upper - 1e-9))
        return float(np.max(np.abs(np.where(blocked, 0.0, slope))))

    def errors(self, x: FloatArray) -> FloatArray:
        """Return (k,) standard errors: the root of the inverse Hessian's diagonal over the free parameters."""
        free: BoolArray = (x > self.lower + 1e-6) & (x < self.upper - 1e-6)
        errors = np.full(len(x), np.nan)
        with np.errstate(all="ignore"):
            hessian = self.hessian(x)[np.ix_(free, free)] * self.problem.size
        if free.any() and np.isfinite(hessian).all() and np.linalg.eigvalsh(hessian)[0] > 0:
            errors[free] = np.sqrt(np.diag(np.linalg.inv(hessian)))
        return np.asarray(errors * self.problem.scale)

    # -- the searches ---------------------------------------------------------------------------------------------

    def locally(self, method: str, start: FloatArray) -> Any:
        """Search from a start."""
        return optimize.minimize(self.loss, start, method=method, **self._arguments(method))

    def globally(self, method: str) -> Any:
        """Search a box, then from the best point in it."""
        lower = np.where(np.isfinite(self.lower), self.lower, self.start - SEARCH_RADIUS)
        upper = np.where(np.isfinite(self.upper), self.upper, self.start + SEARCH_RADIUS)
        box = optimize.Bounds(lower, upper)
        polisher = "SLSQP" if self.problem.constraints else "L-BFGS-B"
        n = self.search.max_iterations
        if method == "differential_evolution":
            found = optimize.differential_evolution(
                self.loss, box, rng=self.seed, maxiter=n, polish=False, constraints=self._constraints()
            )
        elif method == "dual_annealing":
            found = optimize.dual_annealing(self.loss, box, rng=self.seed, maxiter=min(n, 200), x0=self.start)
        elif method == "shgo":
            found = optimize.shgo(
                self.loss, box, constraints=self._constraints(), sampling_method="sobol", n=64
            )
        else:
            local = {"method": polisher, **self._arguments(polisher)}
            found = optimize.basinhopping(
                self.loss, self.start, niter=min(n, 50), minimizer_kwargs=local, rng=self.seed
            )
        best = self.start if found.x is None else np.clip(found.x, self.lower, self.upper)
        return self.locally(polisher, best)

    def _arguments(self, method: str) -> dict[str, Any]:
        """Return what a local method is handed."""
        able = METHODS[method]
        is_derivative_free = method in {"Nelder-Mead", "Powell", "COBYLA", "COBYQA"}
        arguments: dict[str, Any] = {
            "tol": max(self.search.tolerance, 1e-8) if is_derivative_free else self.search.tolerance,
            "options": {"maxfun" if method == "TNC" else "maxiter": self.search.max_iterations},
        }
        if method == "L-BFGS-B":
            arguments["options"] |= {"gtol": 1e-7, "maxfun": 100 * self.search.max_iterations}
        if not is_derivative_free:
            arguments["jac"] = self.gradient
        if able.needs_hessian:
            arguments["hess"] = self.hessian
        if able.keeps_bounds and self.has_bounds:
            arguments["bounds"] = optimize.Bounds(self.lower, self.upper)
        if able.keeps_constraints and self.problem.constraints:
            arguments["constraints"] = self._constraints()
        return arguments

    def _constraints(self) -> tuple[optimize.LinearConstraint, ...]:
        found = []
        for one in self.problem.constraints:
            weights, lower, upper = _row_of(one, self.problem.names)
            found.append(optimize.LinearConstraint(weights * self.problem.scale, lower, upper))
        return tuple(found)


def _narrowed(problem: Problem, search: Search) -> Problem:
    """Return the problem within the bounds and constraints that the user asks for as well."""
    lower, upper = problem.lower.copy(), problem.upper.copy()
    for name, (least, most) in search.bounds.items():
        at = _place_of(name, problem.names)
        lower[at] = lower[at] if least is None else max(lower[at], least)
        upper[at] = upper[at] if most is None else min(upper[at], most)
        if lower[at] >= upper[at]:
            raise ConfigError(
                f"The bounds of {name} leave nothing: it goes from {problem.lower[at]:g} to {problem.upper[at]:g}."
            )
    together = (*problem.constraints, *search.constraints)
    return replace(problem, lower=lower, upper=upper, constraints=together)


def _place_of(name: str, names: tuple[str, ...]) -> int:
    if name not in names:
        raise ConfigError.unknown("parameter to bound", name, names)
    return names.index(name)


def _row_of(constraint: Constraint, names: tuple[str, ...]) -> tuple[FloatArray, float, float]:
    """Return a constraint as weights of all parameters between two numbers."""
    weights = np.zeros(len(names))
    for name, weight in constraint.terms.items():
        weights[_place_of(name, names)] = weight
    lower = -np.inf if constraint.lower is None else constraint.lower
    upper = np.inf if constraint.upper is None else constraint.upper
    return weights, lower, upper


def _slack(problem: Problem, values: FloatArray) -> float:
    """Return how far the nearest constraint is."""
    rows = [_row_of(one, problem.names) for one in problem.constraints]
    gaps = [float(min(weights @ values - low, high - weights @ values)) for weights, low, high in rows]
    return min(gaps)


def _differences(loss: Loss, x: FloatArray, lower: FloatArray, upper: FloatArray) -> FloatArray:
    """Return central differences of a loss, one-sided where a bound is near."""
    slope = np.empty(len(x))
    for at in range(len(x)):
        step = np.zeros(len(x))
        step[at] = 1e-6 * max(abs(x[at]), 0.1)
        above = x + step if x[at] + step[at] <= upper[at] else x
        below = x - step if x[at] - step[at] >= lower[at] else x
        slope[at] = (loss(above) - loss(below)) / (above[at] - below[at])
    return slope


def _one_line(text: object) -> str:
    return " ".join(str(text).split())[:200]
