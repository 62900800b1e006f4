"""backtester-model signals in vectorbt: a decision at one close is filled at the next open."""

from importlib.metadata import version

from backtester_model_vectorbt.bridge import run_backtest

__version__ = version("backtester-model-vectorbt")

__all__ = ["run_backtest"]
