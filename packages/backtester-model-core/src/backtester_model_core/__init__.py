"""Machine-learning models in trading backtests, without look-ahead: prepare, train, predict, signal.

Example:
    >>> import backtester_model_core as bm
    >>> bars = bm.check_bars(bm_bars)                                         # doctest: +SKIP
    >>> result = bm.walk_forward("logistic.toml", bars, out="runs/spy")       # doctest: +SKIP
    >>> print(result.verdict.sentence)                                        # doctest: +SKIP
"""

from backtester_model_core.adapter import HeldBack, ModelFrameworkAdapter, SequenceAdapter
from backtester_model_core.bars import check_bars, examine_bars
from backtester_model_core.config import DataConfig, ModelConfig
from backtester_model_core.dataset import Dataset, Prediction, TrainReport
from backtester_model_core.exceptions import BacktesterModelError, BarsError, ConfigError
from backtester_model_core.factory import ModelFactory, load_config
from backtester_model_core.hookspecs import hookimpl
from backtester_model_core.model import AdapterModel, BaseModel
from backtester_model_core.signals import ModelSignal, ModelSignalType, SignalPolicy, signal_records
from backtester_model_core.sources import DataRetrieval
from backtester_model_core.store import ModelStore
from backtester_model_core.walkforward import (
    WalkForwardResult,
    compare_retraining,
    walk_forward,
    walk_forward_meta,
)

__all__ = [
    "AdapterModel",
    "BacktesterModelError",
    "BarsError",
    "BaseModel",
    "ConfigError",
    "DataConfig",
    "DataRetrieval",
    "Dataset",
    "HeldBack",
    "ModelConfig",
    "ModelFactory",
    "ModelFrameworkAdapter",
    "ModelSignal",
    "ModelSignalType",
    "ModelStore",
    "Prediction",
    "SequenceAdapter",
    "SignalPolicy",
    "TrainReport",
    "WalkForwardResult",
    "check_bars",
    "compare_retraining",
    "examine_bars",
    "hookimpl",
    "load_config",
    "signal_records",
    "walk_forward",
    "walk_forward_meta",
]


def __getattr__(name: str) -> str:
    """Look up ``__version__`` when somebody asks: package metadata takes longer to import than the whole core."""
    if name != "__version__":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib.metadata import version

    return version("backtester-model-core")
