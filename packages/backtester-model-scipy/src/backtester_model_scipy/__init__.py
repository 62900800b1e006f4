"""Statistical and optimisation-based models as backtester-models; importing this imports no SciPy."""

from importlib.metadata import version

from backtester_model_scipy.catalogs import register_distribution, register_model, register_objective
from backtester_model_scipy.config import SciPyModelConfig

__version__ = version("backtester-model-scipy")

__all__ = ["SciPyModelConfig", "register_distribution", "register_model", "register_objective"]
