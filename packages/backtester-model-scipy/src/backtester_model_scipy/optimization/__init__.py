"""Minimise an objective by a method's name, within bounds and constraints, and refuse what did not converge."""

from backtester_model_scipy.optimization.methods import METHODS, Method, check_method
from backtester_model_scipy.optimization.problem import Constraint, Optimum, Problem, Search, remembered
from backtester_model_scipy.optimization.search import solve, standard_errors

__all__ = [
    "METHODS",
    "Constraint",
    "Method",
    "Optimum",
    "Problem",
    "Search",
    "check_method",
    "remembered",
    "solve",
    "standard_errors",
]
