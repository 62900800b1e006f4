"""The models, each registered by its name when this room is imported."""

from backtester_model_scipy.models import (
    autoregressive,
    linear,
    logistic,
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
    "linear",
    "logistic",
    "regime",
    "state_space",
    "volatility",
]
