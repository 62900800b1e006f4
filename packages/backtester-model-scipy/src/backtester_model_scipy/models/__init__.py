"""The models, each registered by its name when this room is imported."""

from backtester_model_scipy.models import linear, logistic
from backtester_model_scipy.models.model import Fitted, Model, Optimised, Rows

__all__ = ["Fitted", "Model", "Optimised", "Rows", "linear", "logistic"]
