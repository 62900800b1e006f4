"""A model is four steps: prepare, train, predict, signal."""

from backtester_model_core.model.adapted import AdapterModel
from backtester_model_core.model.model import BaseModel, prediction_metrics

__all__ = ["AdapterModel", "BaseModel", "prediction_metrics"]
