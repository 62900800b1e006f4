"""The models, each registered by its name when this room is imported."""

from backtester_model_scipy.models import (
    autoregressive,
    density,
    dependence,
    distribution,
    linear,
    logistic,
    objective,
    regime,
    state_space,
    volatility,
)
from backtester_model_scipy.models.model import Fitted, Model, Optimised, Rows

__all__ = [
    "Fitted",
    "Model",
    "Optimised",
    "Rows",
    "autoregressive",
    "density",
    "dependence",
    "distribution",
    "linear",
    "logistic",
    "objective",
    "regime",
    "state_space",
    "volatility",
]
