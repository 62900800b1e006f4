"""Any scikit-learn classifier or regressor as a backtester-model; importing this imports no scikit-learn."""

from importlib.metadata import version

from backtester_model_sklearn.config import NestedEstimator, PreprocessingStep, SklearnModelConfig

__version__ = version("backtester-model-sklearn")

__all__ = ["NestedEstimator", "PreprocessingStep", "SklearnModelConfig"]
