"""backtester-model signals in backtesting.py: a decision at one close is filled at the next open."""

from importlib.metadata import version

from backtester_model_backtesting.bridge import run_backtest

__version__ = version("backtester-model-backtesting")

__all__ = ["run_backtest"]
