"""Any adapter in a process of another environment, as a backtester-model; importing this starts nothing."""

from importlib.metadata import version

from backtester_model_isolated.config import IsolatedModelConfig
from backtester_model_isolated.interpreters import allow_interpreter

__version__ = version("backtester-model-isolated")

__all__ = ["IsolatedModelConfig", "allow_interpreter"]
